/* <draw-digit>: networks of several widths answer to a drawing at once, and show what their answers are made of. */
"use strict";

{
  const { h, math } = lowcap;
  const STROKE = 15; // a drawing has whole numbers from 0 to 15, so that it fits into the address
  const FULL = 10; // the logit at which a bar is full
  const BLANK = "0-1-";
  const SHOWN = 12; // hidden neurons that are shown one by one

  lowcap.define("draw-digit", class extends lowcap.Explorable {
    starts() {
      return { digit: 1, width: Math.max(...this.data.widths.filter((w) => w <= 4), this.data.widths[0]), centre: true, ink: "" };
    }

    fits(state) {
      const { widths } = this.data, digit = Math.round(state.digit);
      return {
        digit: digit >= 0 && digit < this.examples.length ? digit : 0,
        width: widths.includes(state.width) ? state.width : this.starts().width,
        centre: state.centre,
        ink: /^\d+-[1-9]\d*-[0-9a-f]*$/.test(state.ink) ? state.ink : "",
      };
    }

    async load() {
      const { data } = this, features = (this.features = data.side ** 2);
      const [digits, nets] = await Promise.all([lowcap.parts(data.digits), lowcap.parts(data.nets)]);
      this.examples = Array.from(digits.labels, (label, i) => ({ label, pixels: digits.pixels.subarray(i * features, (i + 1) * features) }));
      this.nets = data.widths.map((width, i) => math.unpacked(features, width, nets, `net ${i}`));
      this.brush = { x: Math.floor(data.side / 2), y: Math.floor(data.side / 4), down: false };
    }

    build() {
      const { data } = this, [low, high] = data.pair;
      this.pad = lowcap.picture("x-pad");
      Object.entries({
        role: "application", tabindex: 0, "aria-label": "Drawing pad. Arrow keys move the brush, space puts it down or lifts it, Delete clears.",
      }).forEach(([name, value]) => this.pad.canvas.setAttribute(name, value));
      this.pad.canvas.removeAttribute("aria-hidden");
      this.listen(this.pad.canvas);
      this.seen = lowcap.picture(), this.map = lowcap.picture();
      this.centre = lowcap.toggle("centre it as MNIST does", (centre) => this.change({ centre }));
      const name = `network-${data.key}`;
      this.rows = this.nets.map((net) => {
        const radio = h("input", { type: "radio", name, value: net.width, input: () => this.change({ width: net.width }) });
        const bar = h("span", { class: "x-lean", "aria-hidden": "true" }), says = h("b");
        return { net, radio, bar, says, node: h("label", { class: "x-method" }, radio, h("span", {}, plural(net.width)), bar, says) };
      });
      this.units = h("ul", { class: "x-units" });
      this.sum = h("p", { class: "x-sum" });
      return [
        h("div", { class: "x-desk" },
          h("div", {},
            (this.what = h("p", { class: "x-title" })), this.pad.canvas,
            h("div", { class: "x-buttons" }, lowcap.button("Clear", () => this.clear(), "x-main"),
              lowcap.button("A test digit", () => this.change({ digit: (this.state.digit + 1) % this.examples.length, ink: "" }))),
            this.centre.node),
          h("fieldset", { class: "x-methods" }, h("legend", { class: "x-title" }, `${low} or ${high}? Networks of all widths answer`),
            h("p", { class: "x-ends", "aria-hidden": "true" }, h("span", {}, `← ${low}`), h("span", {}, `${high} →`)),
            this.rows.map((row) => row.node),
            h("div", { class: "x-two" },
              h("figure", {}, this.seen.canvas, h("figcaption", {}, "what the networks see")),
              h("figure", {}, this.map.canvas, h("figcaption", {}, `where ink would speak for ${high}, or for ${low}`)))),
        ),
        h("div", {}, this.sum, this.units),
        lowcap.key(["x-block", `speaks for ${high}`], ["x-block x-gone", `speaks for ${low}`]),
        h("div", { class: "x-buttons" }, lowcap.download("Download this network", "network.json", () => JSON.stringify(lowcap.plain(this.own.net, data)))),
      ];
    }

    /* Drawing */

    listen(canvas) {
      const { side } = this.data;
      const place = (event) => {
        const box = canvas.getBoundingClientRect();
        return [((event.clientX - box.left) / box.width) * side - 0.5, ((event.clientY - box.top) / box.height) * side - 0.5];
      };
      let last = null;
      canvas.addEventListener("pointerdown", (event) => {
        canvas.setPointerCapture(event.pointerId);
        last = place(event);
        this.stroke(...last, ...last);
      });
      canvas.addEventListener("pointermove", (event) => {
        if (!last) return;
        const now = place(event);
        this.stroke(...last, ...now);
        last = now;
      });
      for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (last = null));
      canvas.addEventListener("focus", () => this.draw());
      canvas.addEventListener("blur", () => ((this.brush.down = false), this.draw()));
      canvas.addEventListener("keydown", (event) => this.press(event));
    }

    press(event) {
      const { brush } = this, { side } = this.data;
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (step) {
        const x = Math.min(side - 1, Math.max(0, brush.x + step[0])), y = Math.min(side - 1, Math.max(0, brush.y + step[1]));
        if (brush.down) this.stroke(brush.x, brush.y, x, y);
        Object.assign(brush, { x, y });
      } else if (event.key === " " || event.key === "Enter") {
        brush.down = !brush.down;
        if (brush.down) this.stroke(brush.x, brush.y, brush.x, brush.y);
      } else if (event.key === "Delete" || event.key === "Backspace") this.clear();
      else return;
      event.preventDefault();
      this.draw();
    }

    clear() {
      this.change({ ink: BLANK });
    }

    /** A line of ink; the first one on a test digit begins a new drawing. */
    stroke(x0, y0, x1, y1) {
      const { side } = this.data, radius = side / 20, ink = this.state.ink ? unpack(this.state.ink, side) : new Uint8Array(this.features);
      const long = (x1 - x0) ** 2 + (y1 - y0) ** 2;
      for (let i = 0; i < ink.length; i++) {
        const x = i % side, y = Math.floor(i / side);
        const t = long ? Math.max(0, Math.min(1, ((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / long)) : 0;
        const far = Math.hypot(x - x0 - t * (x1 - x0), y - y0 - t * (y1 - y0));
        ink[i] = Math.max(ink[i], Math.round(STROKE * Math.max(0, Math.min(1, radius + 0.5 - far))));
      }
      this.change({ ink: pack(ink, side) });
    }

    /** What is on the pad, from 0 to 1, and what the networks get of it. */
    image() {
      const { side, top, box } = this.data, { ink, digit, centre } = this.state;
      const drawn = ink ? Float32Array.from(unpack(ink, side), (v) => v / STROKE) : Float32Array.from(this.examples[digit].pixels, (v) => v / top);
      return { drawn, seen: ink && centre ? centred(drawn, side, box) : drawn };
    }

    /* Answers */

    says() {
      const { ink, digit } = this.state, [low, high] = this.data.pair;
      const what = this.blank ? "The pad is empty" : ink ? "Your drawing" : `A test digit, a ${this.data.pair[this.examples[digit].label]}`;
      return `${what}. ${this.answers.map(({ net, logit }) => `${plural(net.width)}: ${logit > 0 ? high : low}, ${sure(logit)}`).join("; ")}.`;
    }

    draw() {
      const { state, data } = this, [low, high] = data.pair, { drawn, seen } = this.image(), colours = this.colours();
      const ink = { low: colours.zero, zero: colours.zero, high: colours.ink };
      const one = { start: [0, 0], at: [], value: [] };
      seen.forEach((v, i) => v && (one.at.push(i), one.value.push(v)));
      one.start[1] = one.at.length;
      this.blank = !one.at.length;
      this.centre.set(state.centre);
      this.what.textContent = state.ink ? "your drawing" : `a test digit, a ${data.pair[this.examples[state.digit].label]}: draw a ${low} or a ${high} over it`;
      this.answers = this.rows.map(({ net, radio, bar, says }) => {
        const answer = { net, ...math.explain(net, one) }, lean = Math.max(-1, Math.min(1, answer.logit / FULL)) / 2;
        radio.checked = net.width === state.width;
        says.textContent = `${lean > 0 ? high : low}, ${sure(answer.logit)}`;
        bar.style.setProperty("--x-from", 0.5 + Math.min(lean, 0));
        bar.style.setProperty("--x-size", Math.abs(lean));
        bar.classList.toggle("x-low", lean < 0);
        return answer;
      });
      this.own = this.answers.find(({ net }) => net.width === state.width);
      this.pad.draw(drawn, data.side, 1, ink);
      if (this.pad.canvas.matches(":focus-visible")) this.showBrush(colours);
      this.seen.draw(seen, data.side, 1, ink);
      const map = math.saliency(this.own.net, this.own.hidden), most = map.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
      this.map.draw(map, data.side, most, colours);
      this.shade(seen);
      this.drawUnits(colours, low, high);
    }

    /** The drawing over the saliency map, as a veil. */
    shade(seen) {
      const pen = this.map.canvas.getContext("2d");
      pen.fillStyle = getComputedStyle(this).color;
      seen.forEach((v, i) => {
        if (v < 0.35) return;
        pen.globalAlpha = 0.45 * v;
        pen.fillRect(i % this.data.side, Math.floor(i / this.data.side), 1, 1);
      });
      pen.globalAlpha = 1;
    }

    showBrush({ high, low }) {
      const pen = this.pad.canvas.getContext("2d");
      pen.fillStyle = `rgb(${this.brush.down ? low : high})`;
      pen.fillRect(this.brush.x, this.brush.y, 1, 1);
    }

    drawUnits(colours, low, high) {
      const { net, shares, logit } = this.own, { side } = this.data;
      const order = [...shares.keys()].sort((a, b) => Math.abs(shares[b]) - Math.abs(shares[a])).slice(0, SHOWN);
      const most = Math.max(...order.map((u) => Math.abs(shares[u])), 1e-6), limit = net.wIn.reduce((m, w) => Math.max(m, Math.abs(w)), 0);
      const sum = shares.reduce((a, b) => a + b, 0), listed = order.reduce((a, u) => a + shares[u], 0);
      const others = net.width > SHOWN ? ` (of it ${signed(sum - listed)} from ${net.width - SHOWN} that are not shown)` : "";
      this.sum.textContent = `${plural(net.width)} add${net.width > 1 ? "" : "s"} ${signed(sum)}${others}, the network ${signed(net.bOut[0])} of its own: ${signed(logit)}, so it says ${logit > 0 ? high : low}. `
        + `Its F1 on the test digits, from the run: ${this.data.f1[this.nets.indexOf(net)].toFixed(3)}.`;
      this.units.replaceChildren(...order.map((u) => {
        const picture = lowcap.picture(), field = Float32Array.from({ length: this.features }, (_, d) => net.wIn[d * net.width + u] * Math.sign(net.wOut[u]));
        picture.draw(field, side, 0.7 * limit, colours);
        const bar = h("span", { class: `x-share ${shares[u] < 0 ? "x-low" : ""}`, style: `--x-size: ${Math.abs(shares[u]) / most}` });
        return h("li", {}, picture.canvas, bar, h("span", {}, shares[u] ? signed(shares[u]) : "silent"));
      }));
    }
  });

  const plural = (n) => `${n} neuron${n > 1 ? "s" : ""}`;
  const signed = (v) => `${v < 0 ? "−" : "+"}${Math.abs(v).toFixed(2)}`;
  const sure = (logit) => (Math.abs(logit) > 7 ? "> 99.9 %" : `${(100 * math.sigmoid(Math.abs(logit))).toFixed(Math.abs(logit) > 4 ? 1 : 0)} %`);

  /** Ink as text for the address: where its frame begins, how wide that is, and its pixels as hexadecimal digits. */
  function pack(ink, side) {
    const lit = [...ink.keys()].filter((i) => ink[i]);
    if (!lit.length) return BLANK;
    const { left, top, wide, high } = frame(ink, side);
    const pixels = Array.from({ length: wide * high }, (_, i) => ink[(top + Math.floor(i / wide)) * side + left + (i % wide)]);
    return `${top * side + left}-${wide}-${pixels.map((v) => v.toString(16)).join("")}`;
  }

  function unpack(text, side) {
    const [start, wide, pixels] = text.split("-"), ink = new Uint8Array(side * side);
    [...pixels].forEach((v, i) => (ink[Number(start) + Math.floor(i / wide) * side + (i % wide)] = parseInt(v, 16)));
    return ink;
  }

  /** The smallest frame round all that is not empty. */
  function frame(image, side) {
    const lit = [...image.keys()].filter((i) => image[i] > 0), columns = lit.map((i) => i % side);
    const left = Math.min(...columns), top = Math.floor(lit[0] / side);
    return { left, top, wide: Math.max(...columns) - left + 1, high: Math.floor(lit.at(-1) / side) - top + 1 };
  }

  /** As MNIST was made: scaled to fit a box (of 20 pixels), then the centre of mass moved to the middle. */
  function centred(image, side, box) {
    if (!image.some((v) => v > 0)) return image;
    const { left, top, wide, high } = frame(image, side), scale = box / Math.max(wide, high);
    const w = Math.round(wide * scale), t = Math.round(high * scale), small = new Float32Array(w * t);
    const at = (x, y) => (x >= left && x < left + wide && y >= top && y < top + high ? image[y * side + x] : 0);
    let mass = 0, sumX = 0, sumY = 0;
    for (let i = 0; i < w * t; i++) {
      const x = left + ((i % w) + 0.5) / scale - 0.5, y = top + (Math.floor(i / w) + 0.5) / scale - 0.5;
      const [a, b] = [Math.floor(x), Math.floor(y)], [u, v] = [x - a, y - b];
      small[i] = (1 - v) * ((1 - u) * at(a, b) + u * at(a + 1, b)) + v * ((1 - u) * at(a, b + 1) + u * at(a + 1, b + 1));
      mass += small[i], sumX += small[i] * (i % w), sumY += small[i] * Math.floor(i / w);
    }
    const place = (sum, size) => Math.max(0, Math.min(side - size, Math.round(side / 2 - sum / mass - 0.5)));
    const [dx, dy] = [place(sumX, w), place(sumY, t)], out = new Float32Array(side * side);
    small.forEach((v, i) => (out[(Math.floor(i / w) + dy) * side + (i % w) + dx] = v));
    return out;
  }
}
