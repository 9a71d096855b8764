/* <corrupt-it>: noise and a black patch on test digits, for networks of all widths at once. */
"use strict";

{
  const { math } = lowcap;
  const BATCH = 50; // digits that are scored before the page may do something else

  lowcap.define("corrupt-it", class extends lowcap.Explorable {
    fits(state) {
      const fit = super.fits(state), room = this.data.side - fit.patch;
      for (const name of ["row", "column"]) fit[name] = Math.min(room, Math.max(0, Math.round(fit[name])));
      if (!(fit.digit in this.labels)) fit.digit = 0;
      return fit;
    }

    load(parts) {
      const { data } = this, pad = this.part("pad");
      this.labels = parts.labels;
      this.pixels = Float32Array.from(parts.pixels, (v) => v / data.top);
      this.nets = data.widths.map((width, i) => math.unpacked(this.features, width, parts, `net ${i}`));
      this.strokes(pad, data.side, (_, to) => this.cover(to));
      this.arrows(pad, ([right, down]) => this.change({ column: this.state.column + right, row: this.state.row + down }));
    }

    /** Put the middle of the patch to a place. */
    cover([x, y]) {
      const patch = this.state.patch || this.data.patch, half = (patch - 1) / 2;
      this.change({ patch, row: y - half, column: x - half });
    }

    another() {
      this.change({ digit: (this.state.digit + 1) % this.labels.length });
    }

    again() {
      this.change({ seed: this.state.seed + 1 });
    }

    /** Standard normal numbers, one for each pixel of each digit: a stronger noise is the same noise, multiplied. */
    normal() {
      const { seed } = this.state;
      if (this.drawn?.seed !== seed) {
        const next = math.random(seed);
        this.drawn = { seed, normal: Float32Array.from(this.pixels, () => math.normal(next)) };
      }
      return this.drawn.normal;
    }

    /** Test digits from..to, corrupted: the noise first, then the patch. */
    corrupted(from, to) {
      const { features, data: { side }, state: { noise, clip, patch, row, column } } = this;
      const images = this.pixels.slice(from * features, to * features), normal = noise && this.normal();
      for (let i = 0; i < images.length; i++) {
        const down = (Math.floor(i / side) % side) - row, right = (i % side) - column;
        if (noise) images[i] += noise * normal[from * features + i];
        if (clip) images[i] = Math.min(1, Math.max(0, images[i]));
        if (down >= 0 && down < patch && right >= 0 && right < patch) images[i] = 0;
      }
      return images;
    }

    logits(from, to) {
      const images = math.images(this.corrupted(from, to), this.features, 1);
      return this.nets.map((net) => math.logits(net, images));
    }

    draw() {
      const { digit, patch, row, column } = this.state, { pair } = this.data, pad = this.part("pad");
      const pen = this.paint(pad, this.corrupted(digit, digit + 1));
      pen.globalAlpha = 0.3;
      pen.fillStyle = this.colour("orange");
      pen.fillRect(column, row, patch, patch);
      this.show({ what: `a test digit, a ${pair[this.labels[digit]]}` });
      this.texts = this.logits(digit, digit + 1).map(([logit], i) => this.answer(i, logit));
      this.form.classList.add("x-waiting");
      this.scored = this.score();
    }

    /** F1 of all networks, in slices; a new move of the reader comes first. */
    async score() {
      const { state, labels } = this, found = this.nets.map(() => new Float32Array(labels.length));
      for (let from = 0; from < labels.length; from += BATCH) {
        await new Promise((go) => setTimeout(go));
        if (this.state !== state) return;
        this.logits(from, Math.min(from + BATCH, labels.length)).forEach((logits, i) => found[i].set(logits, from));
      }
      this.f1 = found.map((logits) => math.f1(logits, labels));
      this.form.classList.remove("x-waiting");
      for (const name of ["noise", "patch"]) {
        const chart = this.chart(`${name} curve`);
        this.f1.forEach((f1, i) => chart.dot(state[name], Math.max(1 - f1, 0.005), `x-dot x-s${i}`)); // the axis has errors
      }
      this.f1.forEach((f1, i) => this.show({ [`f1 ${i}`]: f1.toFixed(3) }));
    }

    async say() {
      await this.scored;
      super.say();
    }

    says() {
      const { noise, patch, row, column } = this.state, { widths } = this.data;
      const where = patch ? `a patch of ${patch} by ${patch} pixels at row ${row + 1}, column ${column + 1}` : "no patch";
      return `Noise ${noise}, ${where}. ${widths.map((w, i) => `${lowcap.neurons(w)}: ${this.texts[i]}, F1 ${this.f1?.[i].toFixed(3)}`).join("; ")}.`;
    }

    save() {
      const { noise, clip, patch, row, column, seed } = this.state;
      const rows = this.data.widths.map((width, i) => [width, noise, clip, patch, row, column, seed, this.f1[i]]);
      this.downloadTable("corrupted.csv", [["width", "noise", "clip", "patch", "row", "column", "seed", "f1"], ...rows]);
    }
  });
}
