/* <claim-ledger>: the table of claims, which is all there is without this script, with a search and two filters. */
"use strict";

lowcap.define("claim-ledger", class extends lowcap.Explorable {
  load() {
    this.claims = Array.from(this.querySelectorAll("tbody tr"), (row) => {
      const [, source, verdict] = Array.from(row.cells, (cell) => cell.textContent.trim());
      return { row, source, verdict: verdict.replace(/^\S+ | \(this run\)$/g, ""), text: row.textContent.toLowerCase() };
    });
  }

  draw() {
    const { text, source, verdict, open } = this.state, words = text.toLowerCase().split(" ");
    for (const claim of this.claims)
      claim.row.hidden = !claim.source.startsWith(source) || ![claim.verdict, ""].includes(verdict) || !words.every((word) => claim.text.includes(word));
    if (open !== this.opened) for (const details of this.querySelectorAll("tbody details")) details.open = open;
    this.opened = open;
    this.show({ count: this.says() });
  }

  says() {
    const shown = this.claims.filter(({ row }) => !row.hidden), counts = {};
    for (const { verdict } of shown) counts[verdict] = (counts[verdict] ?? 0) + 1;
    const each = Object.entries(counts).map(([verdict, n]) => `${verdict}: ${n}`);
    return `${shown.length} of ${this.claims.length} claims. ${each.join(", ")}`;
  }
});
