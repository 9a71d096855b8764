/* <prune-yourself>: one trained network, a slider over what share of its weights is zero, five ways to choose them. */
"use strict";

{
  const { h, math } = lowcap;
  const METHODS = {
    first: ["first layer, smallest first", "in the first layer, smallest first"],
    network: ["both layers together, smallest first", "in both layers together, smallest first"],
    layer: ["each layer by itself, smallest first", "in each layer by itself, smallest first"],
    random: ["first layer, at random", "in the first layer, at random"],
    tuned: ["first layer, then fine-tuned", "in the first layer, and then fine-tuned"],
  };
  const STOPS = [...Array(200).keys()].map((i) => i / 200).concat(0.0095, 0.998, 0.999).sort((a, b) => a - b);
  const BINS = 60;
  const percent = (share) => `${Number((100 * share).toFixed(2))} %`;

  lowcap.define("prune-yourself", class extends lowcap.Explorable {
    starts() {
      return { sparsity: 0.0095, method: "layer" };
    }

    fits({ sparsity, method }) {
      return { sparsity: Math.min(0.999, Math.max(0, sparsity)), method: METHODS[method] ? method : this.starts().method };
    }

    async load() {
      const { data } = this, features = data.side ** 2;
      const [digits, nets] = await Promise.all([lowcap.parts(data.digits), lowcap.parts(data.nets)]);
      this.images = math.images(digits.pixels, features, data.top);
      this.labels = digits.labels;
      this.dense = math.unpacked(features, data.width, nets, "dense");
      const { dense } = this, first = math.ranking(dense, "first");
      this.orders = { first, network: math.ranking(dense, "network"), layer: math.ranking(dense, "layer"), random: math.ranking(dense, "first", 0), tuned: first };
      this.tuned = data.tuned.map((level, i) => {
        const pruned = math.pruned(dense, first, level);
        return math.unpacked(features, data.width, nets, `tuned ${i}`, (place) => pruned.wIn[place] === 0);
      });
      this.largest = dense.wIn.reduce((m, w) => Math.max(m, Math.abs(w)), 0);
      this.scores = new Float32Array(this.images.n);
    }

    build() {
      const jump = (share, text) => lowcap.button(text, () => this.change({ sparsity: share }));
      this.slider = lowcap.slider("share of the weights that is zero", STOPS, percent, (sparsity) => this.change({ sparsity }));
      const marks = h("div", { class: "x-marks" },
        h("span", { style: `--x-at: ${STOPS.indexOf(0.0095) / (STOPS.length - 1)}` }, "0.95 %: what ran as “95 %”"),
        h("span", { class: "x-after", style: `--x-at: ${STOPS.indexOf(0.95) / (STOPS.length - 1)}` }, "a true 95 %"));
      const name = `method-${this.data.key}`;
      this.rows = Object.fromEntries(Object.entries(METHODS).filter(([key]) => this.data.curves[key].length).map(([key, [text]]) => {
        const radio = h("input", { type: "radio", name, value: key, input: () => this.change({ method: key }) });
        const bar = h("span", { class: "x-bar", "aria-hidden": "true" }), f1 = h("b");
        const node = h("label", { class: `x-method x-m-${key}` }, radio, h("span", {}, text), bar, f1);
        return [key, { node, radio, bar, f1 }];
      }));
      this.numbers = ["weights left", "F1 on all test digits", "neurons still joined"].map((text) => [text, h("dd", {})]);
      const score = [0, 0.25, 0.5, 0.75, 1].map((v) => [v, String(v)]);
      this.curve = lowcap.chart("F1 against sparsity", { from: 0, to: 1, ticks: [0, 0.25, 0.5, 0.75, 1].map((v) => [v, percent(v)]), label: "weights that are zero" }, { from: 0, to: 1, ticks: score }, 220);
      this.histogram = lowcap.chart("Histogram of the sizes of the first layer's weights", {}, {}, 220);
      this.fields = h("div", { class: "x-fields", role: "img" });
      const says = h("fieldset", { class: "x-methods" }, h("legend", { class: "x-title" }, "which weights go, and the F1 that is left"),
        Object.values(this.rows).map((row) => row.node));
      return [
        h("div", {}, this.slider.node, marks),
        h("div", { class: "x-buttons" }, jump(0, "none"), jump(0.0095, "0.95 %"), jump(0.5, "50 %"), jump(0.9, "90 %"), jump(0.95, "95 %"), jump(0.99, "99 %")),
        says,
        h("dl", { class: "x-numbers" }, this.numbers.map(([text, node]) => h("div", {}, h("dt", {}, text), node))),
        h("div", {}, h("p", { class: "x-title" }, "what each hidden neuron still looks for; those that the output no longer hears are pale"), this.fields),
        h("div", { class: "x-pair" },
          h("div", {}, h("p", { class: "x-title" }, "F1: the dot is live, the lines are from the run"), this.curve.node),
          h("div", {}, h("p", { class: "x-title" }, "how large the weights of the first layer are"), this.histogram.node)),
        lowcap.key(["x-block", "weights that stay"], ["x-block x-gone", "weights that go"]),
        h("div", { class: "x-buttons" }, lowcap.download("Download the pruned network", "network.json", () => JSON.stringify(lowcap.plain(this.net, this.data)))),
      ];
    }

    /** The network as a method leaves it; fine-tuned ones exist at a few levels only: the nearest. */
    prune(method, sparsity) {
      const { tuned } = this.data;
      if (method !== "tuned") return { level: sparsity, net: math.pruned(this.dense, this.orders[method], sparsity) };
      const nearest = tuned.reduce((best, v, i) => (Math.abs(v - sparsity) < Math.abs(tuned[best] - sparsity) ? i : best), 0);
      return { level: tuned[nearest], net: this.tuned[nearest] };
    }

    f1(net) {
      return math.f1(math.logits(net, this.images, this.scores), this.labels);
    }

    says() {
      const { level, method, f1, left, all } = this.seen;
      return `${percent(level)} of the weights are zero ${METHODS[method][1]}: ${left.toLocaleString("en")} of ${all.toLocaleString("en")} weights are left, and F1 is ${f1.toFixed(3)}.`;
    }

    draw() {
      const { sparsity, method } = this.state, colours = this.colours();
      this.slider.set(sparsity);
      const { level, f1, net } = this.score(method);
      Object.assign(this, { net, seen: { level, method, f1 } });
      this.scoreOthers();
      const { seen } = this, count = (weights) => weights.reduce((n, w) => n + (w !== 0), 0);
      const joined = net.wOut.reduce((n, w, u) => n + (w !== 0 && net.wIn.some((v, i) => v !== 0 && i % net.width === u)), 0);
      Object.assign(seen, { left: count(net.wIn) + count(net.wOut), all: net.wIn.length + net.wOut.length });
      [`${seen.left.toLocaleString("en")} of ${seen.all.toLocaleString("en")}`, seen.f1.toFixed(4), `${joined} of ${net.width}`]
        .forEach((text, i) => (this.numbers[i][1].textContent = text));
      lowcap.showFields(this.fields, net, this.data, colours, 0.7 * this.largest, this.dense.wOut);
      this.drawCurve();
      this.drawHistogram();
    }

    /** Write the live F1 of a method into its row. */
    score(key) {
      const { sparsity, method } = this.state, { net, level } = this.prune(key, sparsity), f1 = this.f1(net), row = this.rows[key];
      row.radio.checked = key === method;
      row.f1.textContent = f1.toFixed(3) + (level === sparsity ? "" : ` at ${percent(level)}`);
      row.bar.style.setProperty("--x-at", f1);
      return { net, level, f1 };
    }

    /** The other methods follow one by one, so that the slider never waits; a new move of it comes first. */
    async scoreOthers() {
      const state = this.state;
      for (const key of Object.keys(this.rows)) {
        await new Promise((go) => setTimeout(go));
        if (this.state !== state) return;
        if (key !== state.method) this.score(key);
      }
    }

    drawCurve() {
      this.curve.clear();
      for (const [key, points] of Object.entries(this.data.curves)) this.curve.line(points, `x-m-${key}${key === this.state.method ? " x-own" : ""}`);
      this.curve.upright(0.0095, "x-mark");
      this.curve.upright(0.95, "x-mark");
      this.curve.dot(this.seen.level, this.seen.f1, "x-dot");
    }

    drawHistogram() {
      const { dense, net, largest, histogram } = this, kept = Array(BINS).fill(0), gone = Array(BINS).fill(0);
      let threshold = 0;
      dense.wIn.forEach((w, i) => {
        const out = net.wIn[i] === 0, bin = Math.min(BINS - 1, Math.floor((BINS * Math.abs(w)) / largest));
        (out ? gone : kept)[bin]++;
        if (out) threshold = Math.max(threshold, Math.abs(w));
      });
      const top = Math.max(...kept.map((k, i) => k + gone[i])), width = largest / BINS;
      const ticks = [0, 0.25, 0.5, 0.75, 1].map((v) => [v * largest, (v * largest).toFixed(2)]);
      histogram.clear({ x: { from: 0, to: largest, ticks, label: "size of the weight" }, y: { from: 0, to: top, ticks: [[0, "0"], [top, top.toLocaleString("en")]] } });
      kept.forEach((k, i) => {
        histogram.bar(i * width, (i + 1) * width, 0, gone[i], "x-gone");
        histogram.bar(i * width, (i + 1) * width, gone[i], gone[i] + k, "x-kept");
      });
      if (threshold && this.state.method !== "random") histogram.upright(threshold, "x-rule", threshold > 0.1 * largest && "threshold");
    }
  });
}
