/* <draw-digit>: networks of several widths answer to a drawing at once, and show what their answers are made of. */
"use strict";

{
  const { math } = lowcap;
  const STROKE = 15; // a drawing has whole numbers from 0 to 15, so that it fits into the address
  const SHOWN = 12; // hidden neurons that are shown one by one
  const signed = (v) => `${v < 0 ? "−" : "+"}${Math.abs(v).toFixed(2)}`;

  lowcap.define("draw-digit", class extends lowcap.Explorable {
    fits(state) {
      const fit = super.fits(state), { digit, ink } = fit;
      if (!this.examples[digit]) fit.digit = 0;
      if (ink && unpack(ink)?.length !== this.features) fit.ink = "";
      return fit;
    }

    load(parts) {
      const { data, features } = this;
      this.examples = Array.from(parts.labels, (label, i) => ({ label, pixels: parts.pixels.subarray(i * features, (i + 1) * features) }));
      this.nets = data.widths.map((width, i) => math.unpacked(features, width, parts, `net ${i}`));
      this.brush = { at: [data.side >> 1, data.side >> 2], down: false };
      const pad = this.part("pad");
      this.strokes(pad, data.side, (from, to) => this.stroke(from, to));
      this.arrows(pad, (step) => this.moveBrush(step));
      pad.addEventListener("keydown", (event) => this.press(event));
      for (const name of ["focus", "blur"]) pad.addEventListener(name, () => ((this.brush.down = false), this.draw()));
    }

    /* Drawing */

    moveBrush(step) {
      const from = this.brush.at, to = from.map((v, i) => Math.min(this.data.side - 1, Math.max(0, v + step[i])));
      this.brush.at = to;
      if (this.brush.down) this.stroke(from, to);
      this.draw();
    }

    press(event) {
      if (["Delete", "Backspace"].includes(event.key)) return this.clear();
      if (event.key !== " ") return;
      event.preventDefault(); // the page stays where it is
      this.brush.down = !this.brush.down;
      this.moveBrush([0, 0]);
    }

    clear() {
      this.change({ ink: pack(new Uint8Array(this.features)) });
    }

    another() {
      this.change({ digit: (this.state.digit + 1) % this.examples.length, ink: "" });
    }

    /** A line of ink; the first one on a test digit begins a new drawing. */
    stroke([x0, y0], [x1, y1]) {
      const { side } = this.data, ink = this.state.ink ? unpack(this.state.ink) : new Uint8Array(this.features);
      const long = (x1 - x0) ** 2 + (y1 - y0) ** 2;
      for (let i = 0; i < ink.length; i++) {
        const x = i % side, y = Math.floor(i / side);
        const t = long ? Math.max(0, Math.min(1, ((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / long)) : 0;
        const far = Math.hypot(x - x0 - t * (x1 - x0), y - y0 - t * (y1 - y0));
        ink[i] = Math.max(ink[i], Math.round(STROKE * Math.max(0, Math.min(1, side / 20 + 0.5 - far))));
      }
      this.change({ ink: pack(ink) });
    }

    /** What is on the pad, from 0 to 1, and what the networks get of it. */
    image() {
      const { side, top, box } = this.data, { ink, digit, centre } = this.state;
      const drawn = ink ? Float32Array.from(unpack(ink), (v) => v / STROKE) : Float32Array.from(this.examples[digit].pixels, (v) => v / top);
      return { drawn, seen: ink && centre ? centred(drawn, side, box) : drawn };
    }

    /* Answers */

    says() {
      const { ink, digit } = this.state, { pair, widths } = this.data;
      const what = this.blank ? "The pad is empty" : ink ? "Your drawing" : `A test digit, a ${pair[this.examples[digit].label]}`;
      return `${what}. ${this.answers.map(({ text }, i) => `${lowcap.neurons(widths[i])}: ${text}`).join("; ")}.`;
    }

    draw() {
      const { state, data } = this, [low, high] = data.pair, { drawn, seen } = this.image(), image = math.images(seen, this.features, 1);
      this.blank = !image.at.length;
      this.show({ what: state.ink ? "your drawing" : `a test digit, a ${data.pair[this.examples[state.digit].label]}: draw a ${low} or a ${high} over it` });
      this.answers = this.nets.map((net, i) => {
        const answer = math.explain(net, image);
        return { net, ...answer, text: this.answer(i, answer.logit) };
      });
      const own = (this.own = this.answers[data.widths.indexOf(state.width)]), pad = this.part("pad");
      const pen = this.paint(pad, drawn);
      if (pad.matches(":focus-visible")) {
        pen.globalAlpha = 1;
        pen.fillStyle = this.colour(this.brush.down ? "orange" : "blue");
        pen.fillRect(...this.brush.at, 1, 1);
      }
      this.paint(this.part("seen"), seen);
      const map = math.saliency(own.net, own.hidden);
      this.paint(this.part("map"), map, lowcap.largest(map), "blue");
      this.paint(this.part("veil"), seen, 2);
      this.drawUnits(own);
    }

    /** The hidden neurons that say most, and how all of them add up. */
    drawUnits({ net, shares, logit }) {
      const sum = (units) => units.reduce((total, u) => total + shares[u], 0), all = [...shares.keys()];
      const listed = all.toSorted((a, b) => Math.abs(shares[b]) - Math.abs(shares[a])).slice(0, SHOWN);
      const most = Math.abs(shares[listed[0]]) || 1, largest = lowcap.largest(net.wIn), rest = net.width - listed.length;
      const others = rest ? ` (of it ${signed(sum(all) - sum(listed))} from ${rest} that are not shown)` : "";
      this.show({ sum: `${lowcap.neurons(net.width)} add${net.width > 1 ? "" : "s"} ${signed(sum(all))}${others}, the network ${signed(net.bOut[0])} of its own: `
        + `${signed(logit)}, so it says ${this.data.pair[Number(logit > 0)]}. Its F1 on the test digits, from the run: ${this.data.f1[this.nets.indexOf(net)].toFixed(3)}.` });
      this.part("units").replaceChildren(...listed.map((u) => {
        const item = lowcap.element("li", { style: `--x-size: ${Math.abs(shares[u]) / most}` });
        const bar = lowcap.element("span", { className: shares[u] < 0 ? "x-share x-low" : "x-share" });
        item.append(this.unit(net, u, 0.7 * largest), bar, shares[u] ? signed(shares[u]) : "silent");
        return item;
      }));
    }

    save() {
      this.downloadNetwork(this.own.net);
    }
  });

  /** Ink as text for the address: hexadecimal digits, and for a run of zeros its length. */
  const pack = (ink) => Array.from(ink, (v) => v.toString(16)).join("").replace(/0{3,}/g, (run) => `z${run.length}.`);

  const unpack = (text) => {
    const digits = text.replace(/z(\d{1,3})\./g, (_, n) => "0".repeat(n));
    return /^[0-9a-f]*$/.test(digits) ? Uint8Array.from(digits, (v) => parseInt(v, 16)) : null;
  };

  /** As MNIST was made: scaled to fit a box (of 20 pixels), then the centre of mass moved to the middle. */
  function centred(image, side, box) {
    const lit = [...image.keys()].filter((i) => image[i]), axes = [lit.map((i) => i % side), lit.map((i) => Math.floor(i / side))];
    if (!lit.length) return image;
    const mass = lit.reduce((sum, i) => sum + image[i], 0), low = axes.map((places) => Math.min(...places));
    const size = axes.map((places, a) => Math.max(...places) - low[a] + 1), scale = box / Math.max(...size);
    const shift = axes.map((places, a) => { // of the scaled box, in whole pixels; it stays in the image
      const mean = places.reduce((sum, place, k) => sum + image[lit[k]] * (place - low[a] + 0.5), 0) / mass;
      return Math.max(0, Math.min(side - Math.round(size[a] * scale), Math.round(side / 2 - mean * scale)));
    });
    const at = (x, y) => (Math.min(x, y) >= 0 && Math.max(x, y) < side ? image[y * side + x] : 0);
    return Float32Array.from(image, (_, i) => {
      const [x, y] = [i % side, Math.floor(i / side)].map((place, a) => {
        const inside = place - shift[a] >= 0 && place - shift[a] < Math.round(size[a] * scale);
        return inside ? low[a] + (place - shift[a] + 0.5) / scale - 0.5 : -2;
      });
      const a = Math.floor(x), b = Math.floor(y), u = x - a, v = y - b;
      return (1 - v) * ((1 - u) * at(a, b) + u * at(a + 1, b)) + v * ((1 - u) * at(a, b + 1) + u * at(a + 1, b + 1));
    });
  }
}
