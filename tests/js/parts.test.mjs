// How data come out of a blob, in the forms that lowcap/explorables/blob.py packs.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import vm from "node:vm";
import { deflateSync } from "node:zlib";

/** What the scripts of a page make, with no more of a page than they touch when they are loaded. */
function page() {
  const document = { querySelector: () => null, querySelectorAll: () => [], addEventListener() {}, head: { append() {} } };
  const context = { document, HTMLElement: class {}, customElements: { define() {}, get() {} }, atob, Blob, Response, DecompressionStream };
  vm.createContext(context);
  for (const name of ["network.js", "core.js"])
    vm.runInContext(readFileSync(new URL(`../../book/static/explorables/${name}`, import.meta.url), "utf8"), context);
  return context.lowcap;
}

async function unpacked(parts, bytes) {
  const lowcap = page();
  lowcap.put("blob", deflateSync(Uint8Array.from(bytes)).toString("base64"));
  const found = await lowcap.parts({ name: "blob", parts });
  return Object.fromEntries(Object.entries(found).map(([name, numbers]) => [name, [...numbers]]));
}

test("16-bit numbers: low bytes first, then high ones, around the middle", async () => {
  const whole = [0, 32767, 32768, 65535, 258];
  const bytes = [...whole.map((v) => v & 255), ...whole.map((v) => v >> 8)];
  const { w } = await unpacked({ w: ["fixed16", 5, 0.5] }, bytes);
  assert.deepEqual(w, [-16383.75, -0.25, 0.25, 16383.75, (258 - 32767.5) / 2]);
});

test("parts follow each other: bytes, four shades to a byte, single precision", async () => {
  const single = [...new Uint8Array(Float32Array.from([1.5, -2]).buffer)];
  const bytes = [7, 255, 0b00_01_10_11, 0b11_00_00_00, ...single, 1];
  const found = await unpacked({ a: ["u1", 2], b: ["u2", 5], c: ["float32", 2], d: ["u1", 1] }, bytes);
  assert.deepEqual(found, { a: [7, 255], b: [0, 1, 2, 3, 3], c: [1.5, -2], d: [1] });
});
