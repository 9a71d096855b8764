/* <train-yourself>: a network learns in the reader's browser, in a worker, beside what the run's network did. */
"use strict";

/** Runs in the worker: trains as told, in slices, and reports; `build` makes the mathematics (see network.js). */
function lowcapTrainer(build, report) {
  const math = build();
  let task = null, train = null, test = null;
  return (message) => {
    task = null;
    if (message.pixels) {
      const { pixels, labels, features, top, n } = message;
      train = { data: math.images(pixels.subarray(0, n * features), features, top), labels: labels.subarray(0, n) };
      test = { data: math.images(pixels.subarray(n * features), features, top), labels: labels.subarray(n) };
    }
    if (!message.settings) return;
    const { features, settings, id } = message, net = math.start(features, settings.width, settings.seed);
    const steps = math.training(net, train.data, train.labels, settings);
    const look = (done, last) => {
      const score = { loss: math.loss(math.logits(net, train.data), train.labels) };
      score.f1 = math.f1(math.logits(net, test.data), test.labels);
      report({ id, step: done, last, seconds: spent / 1000, weights: net.all.slice(), ...score });
    };
    let done = 0, next = 1, spent = 0;
    const own = (task = {});
    const slice = () => {
      if (task !== own) return;
      const begin = performance.now();
      while (done < settings.steps && performance.now() - begin < 30) {
        done = steps.next().value;
        if (done >= next || done === settings.steps) {
          spent += performance.now() - begin;
          look(done, done === settings.steps);
          next = Math.ceil(done * 1.12);
          return setTimeout(slice);
        }
      }
      spent += performance.now() - begin;
      if (done < settings.steps) setTimeout(slice);
    };
    look(0, false);
    setTimeout(slice);
  };
}

{
  const { h, math } = lowcap;
  const RATES = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1];
  const STEPS = [100, 200, 500, 1000, 2000, 5000];
  const KEPT = 4; // earlier attempts that stay in the charts

  lowcap.define("train-yourself", class extends lowcap.Explorable {
    starts() {
      return { width: this.data.width, rate: 0.1, batch: 128, steps: 1000, seed: 1 };
    }

    fits(state) {
      const near = (values, v) => values.reduce((best, w) => (Math.abs(w - v) < Math.abs(best - v) ? w : best));
      return {
        width: near(this.data.widths, state.width),
        rate: near(RATES, state.rate),
        batch: state.batch ? 128 : 0,
        steps: near(STEPS, state.steps),
        seed: Math.min(9999, Math.max(1, Math.round(state.seed))),
      };
    }

    async load() {
      const { pixels, labels } = await lowcap.parts(this.data.digits);
      this.digits = { pixels, labels, features: this.data.side ** 2, top: this.data.top, n: this.data.n };
      this.runs = [];
    }

    build() {
      const { data } = this, steps = data.published.steps;
      const set = (name) => (value) => this.adjust({ [name]: value });
      this.controls = {
        width: lowcap.choice("hidden neurons", data.widths.map((w) => [w, w]), set("width")),
        batch: lowcap.choice("digits in each step", [[0, `all ${data.n.toLocaleString("en")}`], [128, "128"]], set("batch")),
        rate: lowcap.slider("learning rate", RATES, String, set("rate")),
        steps: lowcap.slider("steps", STEPS, (v) => v.toLocaleString("en"), set("steps")),
      };
      this.go = lowcap.button("Train", () => (this.busy ? this.stop() : this.begin()), "x-main");
      const buttons = h("div", { class: "x-buttons" }, this.go,
        lowcap.button(`The paper’s ${steps} steps`, () => {
          this.adjust({ rate: data.published.rate, batch: 0, steps });
          this.begin();
        }),
        lowcap.button("Another start", () => {
          this.adjust({ seed: this.state.seed + 1 });
          this.begin();
        }),
      );
      this.numbers = Object.fromEntries(["step", "F1 on test digits", "loss", "epochs a second"].map((name) => [name, h("dd", {}, "–")]));
      const score = [0, 0.25, 0.5, 0.75, 1].map((v) => [v, String(v)]);
      this.f1 = lowcap.chart("F1 on the test digits against steps", {}, { from: 0, to: 1, ticks: score }, 210);
      this.loss = lowcap.chart("Loss on the training digits against steps", {},
        { from: 0, to: 0.8, ticks: [0, 0.2, 0.4, 0.6, 0.8].map((v) => [v, String(v)]) }, 210);
      this.fields = h("div", { class: "x-fields", role: "img" });
      return [
        h("div", { class: "x-controls" }, this.controls.width.node, this.controls.batch.node, this.controls.rate.node, this.controls.steps.node),
        buttons,
        h("dl", { class: "x-numbers" }, Object.entries(this.numbers).map(([name, node]) => h("div", {}, h("dt", {}, name), node))),
        h("div", { class: "x-pair" },
          h("div", {}, h("p", { class: "x-title" }, "F1 on test digits"), this.f1.node),
          h("div", {}, h("p", { class: "x-title" }, "loss on training digits"), this.loss.node)),
        lowcap.key(["x-now", "this network, live"], ["x-past", "earlier ones"],
          ["x-ref", `the published protocol, from the run (median of ${data.published.starts} starts)`]),
        h("div", {}, h("p", { class: "x-title" }, "what each hidden neuron looks for"), this.fields),
        h("div", { class: "x-buttons" },
          lowcap.download("Download this network", "network.json", () => JSON.stringify(lowcap.plain(this.net, data))),
          lowcap.download("Download its curves", "curves.csv", () => this.curves()),
          lowcap.button("Clear earlier ones", () => ((this.runs = this.runs.slice(-1)), this.draw()), "x-quiet")),
      ];
    }

    /** Another setting: what is being trained by the old one stops. */
    adjust(values) {
      this.stop();
      this.change(values);
    }

    begin() {
      this.worker ??= this.hire();
      this.busy = true;
      this.id = (this.id || 0) + 1;
      this.runs = [...this.runs.filter((run) => run.points.length > 1).slice(-KEPT), { settings: { ...this.state }, points: [] }];
      this.worker.postMessage({ settings: { ...this.state }, features: this.digits.features, id: this.id });
      this.draw();
    }

    /** A worker with the digits; where workers are not allowed, the page does its work, in slices. */
    hire() {
      const hear = (message) => this.hear(message);
      let worker;
      try {
        const text = `onmessage = ((hear) => (event) => hear(event.data))((${lowcapTrainer})(${lowcapNetwork}, (m) => postMessage(m)))`;
        worker = new Worker(URL.createObjectURL(new Blob([text], { type: "text/javascript" })));
        worker.onmessage = (event) => hear(event.data);
      } catch {
        worker = { postMessage: lowcapTrainer(lowcapNetwork, hear) };
      }
      worker.postMessage(this.digits);
      return worker;
    }

    stop() {
      if (!this.busy) return;
      this.busy = false;
      this.id++;
      this.worker.postMessage({});
      this.draw();
    }

    hear({ id, step, loss, f1, last, seconds, weights }) {
      if (id !== this.id) return;
      const run = this.runs.at(-1);
      run.points.push({ step, loss, f1 });
      Object.assign(run, { weights, seconds });
      if (last) {
        this.busy = false;
        this.say();
      }
      if (last || !this.calm.matches) this.change({}); // with reduced motion only the end is drawn
    }

    says() {
      const { width, steps, rate, batch } = this.state, end = this.runs.at(-1)?.points.at(-1);
      const now = `${width} hidden neuron${width === 1 ? "" : "s"}, learning rate ${rate}, ${batch || "all"} digits in each step`;
      if (this.busy || !end || end.step < steps) return `${now}, ${steps.toLocaleString("en")} steps. ${this.busy ? "Training." : "Press Train."}`;
      return `${now}: after ${end.step.toLocaleString("en")} steps F1 ${end.f1.toFixed(3)}, loss ${end.loss.toFixed(3)}.`;
    }

    draw() {
      const { state, data, runs } = this;
      for (const [name, control] of Object.entries(this.controls)) control.set(state[name]);
      this.go.textContent = this.busy ? "Stop" : "Train";
      const most = Math.max(state.steps, ...runs.map((run) => run.settings.steps));
      const ticks = [1, 10, 100, 1000].filter((v) => v <= most).concat(most > 1000 ? [5000] : []).map((v) => [v, v.toLocaleString("en")]);
      const x = { from: 1, to: most, log: true, ticks, label: "steps" };
      this.f1.clear({ x }), this.loss.clear({ x });
      const reference = data.published.curves[state.width];
      for (const [chart, name] of [[this.f1, "f1"], [this.loss, "loss"]]) {
        chart.upright(data.published.steps, "x-mark", "the paper stops", "end");
        chart.line(data.published.at.map((step, i) => [Math.max(step, 1), reference[name][i]]), "x-ref");
        runs.forEach((run, i) => {
          const points = run.points.filter((p) => p.step > 0).map((p) => [p.step, p[name]]);
          const own = i === runs.length - 1;
          if (points.length) {
            chart.line(points, own ? "x-now" : "x-past");
            if (own) chart.dot(...points.at(-1), "x-dot");
          }
        });
      }
      this.tell(runs.at(-1));
    }

    tell(run) {
      const end = run?.points.at(-1), width = run?.weights ? run.settings.width : this.state.width, { n } = this.digits;
      const epochs = end && (end.step * (run.settings.batch || n)) / n / run.seconds;
      const shown = end ? [end.step.toLocaleString("en"), end.f1.toFixed(3), end.loss.toFixed(3),
        end.step ? `${Math.round(epochs)}` : "–"] : ["–", "–", "–", "–"];
      Object.values(this.numbers).forEach((node, i) => (node.textContent = shown[i]));
      const net = math.network(this.digits.features, width, run?.weights || math.start(this.digits.features, width, this.state.seed).all);
      lowcap.showFields(this.fields, net, this.data, this.colours());
      this.net = net;
    }

    curves() {
      const rows = this.runs.flatMap(({ settings: { width, rate, batch, seed }, points }) =>
        points.map((p) => [width, rate, batch || "all", seed, p.step, p.f1, p.loss].join(",")));
      return ["width,rate,batch,seed,step,f1,loss", ...rows].join("\n");
    }
  });
}
