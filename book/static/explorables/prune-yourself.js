/* <prune-yourself>: one trained network, a slider over what share of its weights is zero, five ways to choose them. */
"use strict";

{
  const { math } = lowcap;
  const BINS = 60; // as in lowcap/explorables/elements.py
  const percent = (share) => `${Number((100 * share).toFixed(2))} %`;
  const counted = (weights) => weights.reduce((n, w) => n + (w !== 0), 0);

  lowcap.define("prune-yourself", class extends lowcap.Explorable {
    load(parts) {
      const { data, features } = this;
      this.images = math.images(parts.pixels, features, data.top);
      this.labels = parts.labels;
      this.dense = math.unpacked(features, data.width, parts, "dense");
      this.largest = lowcap.largest(this.dense.wIn);
      const order = (scope, seed) => math.ranking(this.dense, scope, seed), first = order("first");
      this.orders = { first, network: order("network"), layer: order("layer"), random: order("first", 0), tuned: first };
      this.tuned = data.tuned.map((level, i) => {
        const pruned = math.pruned(this.dense, first, level);
        return math.unpacked(features, data.width, parts, `tuned ${i}`, (place) => pruned.wIn[place] === 0);
      });
    }

    /** The network as a method leaves it; fine-tuned ones exist at a few levels only: the nearest. */
    prune(method, sparsity) {
      const { tuned } = this.data;
      if (method !== "tuned") return { level: sparsity, net: math.pruned(this.dense, this.orders[method], sparsity) };
      const far = (i) => Math.abs(tuned[i] - sparsity);
      const nearest = [...tuned.keys()].reduce((best, i) => (far(i) < far(best) ? i : best));
      return { level: tuned[nearest], net: this.tuned[nearest] };
    }

    f1(net) {
      return math.f1(math.logits(net, this.images), this.labels);
    }

    says() {
      const { level, f1, left, all } = this.seen;
      return `${percent(level)} of the weights are zero, ${this.data.methods[this.state.method]}: ${left} of ${all} weights are left, and F1 is ${f1.toFixed(3)}.`;
    }

    draw() {
      const { net, level, f1 } = this.score(this.state.method), { wIn, wOut, width } = net;
      const [left, all] = [counted(wIn) + counted(wOut), wIn.length + wOut.length].map((n) => n.toLocaleString("en"));
      const joined = wOut.filter((w, u) => w && wIn.some((v, i) => v && i % width === u)).length;
      this.seen = { net, level, f1, left, all };
      this.show({ left: `${left} of ${all}`, f1: f1.toFixed(4), joined: `${joined} of ${width}` });
      this.units(net, 0.7 * this.largest, this.dense.wOut);
      this.chart("curve").dot(level, f1);
      this.drawHistogram(net);
      this.scoreOthers();
    }

    /** Prune by a method, and write the live F1 into its row. */
    score(method) {
      const { sparsity } = this.state, { net, level } = this.prune(method, sparsity), f1 = this.f1(net);
      this.show({ [`f1 ${method}`]: f1.toFixed(3) + (level === sparsity ? "" : ` at ${percent(level)}`) });
      this.part(`bar ${method}`).style.setProperty("--x-at", f1);
      return { net, level, f1 };
    }

    /** The other methods follow one by one, so that the slider never waits; a new move of it comes first. */
    async scoreOthers() {
      const { state } = this;
      for (const method of Object.keys(this.data.methods)) {
        await new Promise((go) => setTimeout(go));
        if (this.state !== state) return;
        if (method !== state.method) this.score(method);
      }
    }

    drawHistogram(net) {
      const kept = Array(BINS).fill(0), gone = Array(BINS).fill(0), chart = this.chart("histogram"), wide = this.largest / BINS;
      let threshold = 0;
      this.dense.wIn.forEach((w, i) => {
        const bin = Math.min(BINS - 1, Math.floor(Math.abs(w) / wide));
        if (net.wIn[i]) return kept[bin]++;
        gone[bin]++;
        threshold = Math.max(threshold, Math.abs(w));
      });
      for (let i = 0; i < BINS; i++) {
        chart.bar(i * wide, (i + 1) * wide, 0, gone[i], "x-gone");
        chart.bar(i * wide, (i + 1) * wide, gone[i], gone[i] + kept[i], "x-kept");
      }
      if (threshold && this.state.method !== "random") chart.upright(threshold, "x-rule");
    }

    save() {
      this.downloadNetwork(this.seen.net);
    }
  });
}
