/* <train-yourself>: a network learns in the reader's browser, in a worker, beside what the run's network did. */
"use strict";

/** Runs in the worker: trains as told, in slices, and reports; `build` makes the mathematics (see network.js). */
function lowcapTrainer(build, report) {
  const math = build();
  let task, train, test;
  return ({ digits, settings, id }) => {
    const own = (task = {}); // what was under way stops
    if (digits) {
      const { pixels, labels, features, top, n } = digits;
      train = { data: math.images(pixels.subarray(0, n * features), features, top), labels: labels.subarray(0, n) };
      test = { data: math.images(pixels.subarray(n * features), features, top), labels: labels.subarray(n) };
    }
    if (!settings) return;
    const net = math.start(settings.features, settings.width, settings.seed);
    const steps = math.training(net, train.data, train.labels, settings);
    let done = 0, next = 1, spent = 0;
    const look = () => report({
      id, step: done, last: done === settings.steps, seconds: spent / 1000, weights: net.all.slice(),
      loss: math.loss(math.logits(net, train.data), train.labels), f1: math.f1(math.logits(net, test.data), test.labels),
    });
    const slice = () => {
      if (task !== own) return;
      const begin = performance.now();
      while (done < Math.min(next, settings.steps) && performance.now() - begin < 30) done = steps.next().value;
      spent += performance.now() - begin;
      if (done >= next || done === settings.steps) {
        look();
        next = Math.ceil(done * 1.12);
      }
      if (done < settings.steps) setTimeout(slice);
    };
    look();
    setTimeout(slice);
  };
}

{
  const { math } = lowcap;
  const KEPT = 4; // earlier attempts that stay in the charts

  lowcap.define("train-yourself", class extends lowcap.Explorable {
    fits(state) {
      const fit = super.fits(state);
      return { ...fit, seed: Math.min(9999, Math.max(1, Math.round(fit.seed))) };
    }

    load({ pixels, labels }) {
      const { top, n } = this.data;
      this.digits = { pixels, labels, features: this.features, top, n };
      this.runs = [];
    }

    /** Another setting: what is being trained by the old one stops. */
    change(values) {
      this.stop();
      super.change(values);
    }

    begin(values = {}) {
      this.change(values);
      this.worker ??= this.hire();
      this.busy = true;
      this.id = (this.id ?? 0) + 1;
      this.runs = [...this.runs.filter((run) => run.points.length > 1).slice(-KEPT), { settings: { ...this.state }, points: [] }];
      this.worker.postMessage({ settings: { ...this.state, features: this.features }, id: this.id });
      this.draw();
    }

    another() {
      this.begin({ seed: this.state.seed + 1 });
    }

    train() {
      if (this.busy) this.stop();
      else this.begin();
    }

    /** A worker with the digits. Its code is the text of functions, since from the file system it may fetch none. */
    hire() {
      const text = `const hear = (${lowcapTrainer})(${lowcapNetwork}, (m) => postMessage(m)); onmessage = (event) => hear(event.data)`;
      const worker = new Worker(URL.createObjectURL(new Blob([text], { type: "text/javascript" })));
      worker.onmessage = (event) => this.hear(event.data);
      worker.postMessage({ digits: this.digits });
      return worker;
    }

    stop() {
      if (!this.busy) return;
      this.busy = false;
      this.id++;
      this.worker.postMessage({});
      this.draw();
    }

    hear({ id, last, weights, seconds, ...point }) {
      if (id !== this.id) return;
      const run = this.runs.at(-1);
      run.points.push(point);
      Object.assign(run, { weights, seconds });
      if (last) {
        this.busy = false;
        this.say();
      }
      if (last || !this.calm.matches) super.change({}); // with reduced motion only the end is drawn
    }

    clear() {
      this.runs = this.runs.slice(-1);
      this.draw();
    }

    says() {
      const { width, steps, rate, batch } = this.state, end = this.runs.at(-1)?.points.at(-1);
      const now = `${lowcap.neurons(width)}, learning rate ${rate}, ${batch || "all"} digits in each step`;
      if (this.busy || !end || end.step < steps) return `${now}, ${steps} steps. ${this.busy ? "Training." : "Press Train."}`;
      return `${now}: after ${end.step} steps F1 ${end.f1.toFixed(3)}, loss ${end.loss.toFixed(3)}.`;
    }

    draw() {
      const { runs, features, state } = this, run = runs.at(-1), end = run?.points.at(-1);
      this.show({ go: this.busy ? "Stop" : "Train" });
      for (const name of ["f1", "loss"]) {
        const chart = this.chart(`${name} curve`);
        for (const { points } of runs)
          chart.line(points.filter((p) => p.step).map((p) => [p.step, p[name]]), points === run.points ? "x-now" : "x-past");
        if (end?.step) chart.dot(end.step, end[name]);
      }
      const net = (this.net = math.start(features, run?.weights ? run.settings.width : state.width, state.seed));
      if (run?.weights) net.all.set(run.weights);
      this.units(net);
      if (!end) return;
      const epochs = (end.step * (run.settings.batch || this.data.n)) / this.data.n;
      this.show({ step: end.step.toLocaleString("en"), f1: end.f1.toFixed(3), loss: end.loss.toFixed(3), speed: end.step ? Math.round(epochs / run.seconds) : "–" });
    }

    save() {
      this.downloadNetwork(this.net);
    }
  });
}
