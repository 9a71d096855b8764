/* What all explorables share: data, state in the address, controls, drawing.

   An explorable is an element with its data as JSON, its form as a template, and a fallback for readers without
   JavaScript. Python writes all three (see lowcap/explorables/elements.py and forms.py); a class that extends `lowcap.Explorable`
   brings them to life. Large data come as named blobs: beside the element in a notebook, on the site as scripts that are
   fetched when needed (scripts, because `fetch` does not work from the file system). */
"use strict";

var lowcap = globalThis.lowcap || { packed: {}, unpacked: {} };
lowcap.math = lowcapNetwork();

{
  const folder = document.currentScript?.src?.replace(/[^/]*$/, ""); // none in a notebook

  /** A new element with some of its properties. */
  const element = (lowcap.element = (tag, properties) => Object.assign(document.createElement(tag), properties));

  /** Called by the scripts of the site: the deflated bytes of a blob, as base64. */
  lowcap.put = (name, text) => (lowcap.packed[name] = text);

  async function unpack(name) {
    const beside = document.querySelector(`script[data-blob="${name}"]`);
    if (beside) lowcap.put(name, beside.textContent);
    if (!lowcap.packed[name])
      await new Promise((onload) => document.head.append(element("script", { src: `${folder}${name}.js`, onload })));
    const packed = Uint8Array.from(atob(lowcap.packed[name]), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  /** How many bytes a number takes, and how to read one: byte i of b; in fixed16 all low bytes come first. */
  const KINDS = {
    u1: [1, (b) => (i) => b[i]],
    u2: [0.25, (b) => (i) => (b[i >> 2] >> (6 - 2 * (i & 3))) & 3],
    fixed16: [2, (b, n, scale) => (i) => (b[i] + 256 * b[i + n] - 32767.5) * scale],
    float32: [4, (b, n, scale, view = new DataView(b.buffer, b.byteOffset)) => (i) => view.getFloat32(4 * i, true)],
  };

  /** Parts of one blob, in order, as its `parts` {name: [kind, count, scale]} say; unpacked once, however many ask. */
  lowcap.parts = async ({ name, parts }) => {
    const bytes = await (lowcap.unpacked[name] ??= unpack(name)), found = {};
    let at = 0;
    for (const [part, [kind, n, scale]] of Object.entries(parts)) {
      const [size, reader] = KINDS[kind], read = reader(bytes.subarray(at), n, scale);
      found[part] = (kind[0] === "u" ? Uint8Array : Float32Array).from({ length: n }, (_, i) => read(i));
      at += Math.ceil(n * size);
    }
    return found;
  };

  /** A value of the kind that the start has, from the address or from a control. */
  const kindred = (value, start) =>
    ({ string: String, boolean: (v) => v === true || v === "1", number: (v) => (Number.isFinite(Number(v)) ? Number(v) : start) }[typeof start](value));

  const stopsOf = (control) => control.dataset?.stops && JSON.parse(control.dataset.stops);

  const read = (control) => (control.type === "checkbox" ? control.checked : (stopsOf(control)?.[control.value] ?? control.value));

  /** Show a value in its control, as nearly as it can; what it then has, undefined if it cannot. */
  function write(control, value, text) {
    const stops = stopsOf(control), far = (stop) => Math.abs(stop - value);
    if (control.type === "checkbox") return (control.checked = value);
    if (!stops) {
      control.value = value;
      return control.value === String(value) ? value : undefined;
    }
    control.value = stops.reduce((best, stop, i) => (far(stop) < far(stops[best]) ? i : best), 0);
    text.textContent = JSON.parse(control.dataset.texts)[control.value];
    control.setAttribute("aria-valuetext", text.textContent);
    control.style.setProperty("--x-at", control.value / control.max);
    return stops[control.value];
  }

  lowcap.Explorable = class extends HTMLElement {
    /* A subclass has `load(parts)`, which gets all parts of its blobs; `draw()`, everything anew; `says()`, the state in a sentence. It may
       have `fits(state)`, which mends values that no control looks after. Its buttons call its methods by name. */

    async connectedCallback() {
      if (this.begun) return; // JupyterLab takes outputs out of the page and puts them back
      this.begun = true;
      if (document.readyState === "loading") await new Promise((go) => document.addEventListener("DOMContentLoaded", go));
      this.data = JSON.parse(this.querySelector("script").textContent);
      this.form = this.querySelector("template").content.cloneNode(true).firstElementChild;
      this.calm = matchMedia("(prefers-reduced-motion: reduce)");
      const wanted = this.addressed();
      if (!wanted) await this.near();
      this.features = this.data.side ** 2;
      this.load(Object.assign({}, ...(await Promise.all((this.data.blobs ?? []).map(lowcap.parts)))));
      this.state = this.fits({ ...this.data.starts, ...this.remembered() });
      this.querySelector("template").replaceWith(this.form);
      this.classList.add("x-live");
      this.refresh();
      this.listen();
      if (wanted) this.scrollIntoView();
    }

    /** Data are fetched when the reader is about to come by. */
    near() {
      return new Promise((go) => {
        const seen = (entries, observer) => entries.some((e) => e.isIntersecting) && (observer.disconnect(), go());
        new IntersectionObserver(seen, { rootMargin: "1200px" }).observe(this);
      });
    }

    listen() {
      this.form.addEventListener("input", ({ target }) => this.change({ [target.name]: read(target) }));
      this.form.addEventListener("submit", (event) => event.preventDefault());
      this.form.addEventListener("click", ({ target }) => {
        const { do: name, values } = target.closest("button")?.dataset ?? {};
        if (name) this[name](values && JSON.parse(values));
      });
      const theme = new MutationObserver(() => this.refresh());
      for (const node of [document.documentElement, document.body])
        theme.observe(node, { attributeFilter: ["data-theme", "data-jp-theme-light"] });
      addEventListener("hashchange", () => this.addressed() && this.change({ ...this.data.starts, ...this.remembered() }));
    }

    /** The state with every value as its control can have it, and shown there; an impossible one is as at the start. */
    fits(state) {
      const fit = {};
      for (const [name, start] of Object.entries(this.data.starts)) {
        const control = this.form.elements[name], value = kindred(state[name], start);
        fit[name] = control ? (write(control, value, this.part(`text ${name}`)) ?? start) : value;
      }
      return fit;
    }

    /** Take over some values, draw, and, when the reader has come to rest, say what is seen and note it. */
    change(values) {
      this.state = this.fits({ ...this.state, ...values });
      this.waiting ??= requestAnimationFrame(() => this.refresh());
      clearTimeout(this.rest);
      this.rest = setTimeout(() => (this.note(), this.say()), 500);
    }

    refresh() {
      this.waiting = null;
      this.fits(this.state);
      for (const node of this.form.querySelectorAll("[data-when]")) {
        const [name, value] = node.dataset.when.split("=");
        node.classList.toggle("x-off", String(this.state[name]) !== value);
      }
      this.draw();
    }

    say() {
      this.form.querySelector("[role=status]").textContent = this.says();
    }

    addressed() {
      return location.hash.startsWith(`#${this.data.key}.`);
    }

    /** What the address says of this explorable, or of the others. */
    remembered(others = false) {
      const mine = `${this.data.key}.`, all = [...new URLSearchParams(location.hash.slice(1))];
      const kept = all.filter(([name]) => /^[a-z]+\.[a-z]+$/.test(name) && name.startsWith(mine) !== others);
      return Object.fromEntries(kept.map(([name, value]) => [others ? name : name.slice(mine.length), value]));
    }

    /** Write what differs from the start into the address, before what other explorables wrote. */
    note() {
      if (!folder) return;
      const { key, starts } = this.data, all = new URLSearchParams();
      for (const [name, value] of Object.entries(this.state))
        if (value !== starts[name]) all.set(`${key}.${name}`, typeof value === "boolean" ? Number(value) : value);
      for (const [name, value] of Object.entries(this.remembered(true))) all.set(name, value);
      if (all.size || this.addressed()) history.replaceState(history.state, "", all.size ? `#${all}` : location.pathname + location.search);
    }

    part(name) {
      return this.form.querySelector(`[data-part="${name}"]`);
    }

    /** Write texts into the parts of their names. */
    show(texts) {
      for (const [name, text] of Object.entries(texts)) this.part(name).textContent = text;
    }

    /** The answer that a logit gives: a bar that leans to a class, the class, and how sure the network is. */
    answer(name, logit) {
      const lean = Math.max(-10, Math.min(10, logit)) / 20, bar = this.part(`bar ${name}`);
      bar.style.cssText = `--x-from: ${0.5 + Math.min(lean, 0)}; --x-size: ${Math.abs(lean)}`;
      bar.classList.toggle("x-low", lean < 0);
      const sure = 100 * lowcap.math.sigmoid(Math.abs(logit));
      const text = `${this.data.pair[Number(logit > 0)]}, ${sure > 99.9 ? "> 99.9" : sure.toFixed(sure > 98 ? 1 : 0)} %`;
      this.show({ [`says ${name}`]: text });
      return text;
    }

    colour(name) {
      return getComputedStyle(this).getPropertyValue(`--x-${name}`);
    }

    /** A square image: what is above 0 in one colour of the theme, what is below in another; its pen. */
    paint(canvas, values, limit = 1, high = "ink") {
      const side = (canvas.width = canvas.height = Math.sqrt(values.length)), pen = canvas.getContext("2d");
      const colours = [this.colour("orange"), this.colour(high)];
      values.forEach((v, i) => {
        if (!v) return;
        pen.globalAlpha = Math.min(1, Math.abs(v) / limit);
        pen.fillStyle = colours[Number(v > 0)];
        pen.fillRect(i % side, Math.floor(i / side), 1, 1);
      });
      return pen;
    }

    /** A picture of a hidden unit: blue where ink speaks for the larger digit, orange for the other. */
    unit(net, u, limit, sign = Math.sign(net.wOut[u])) {
      const canvas = element("canvas", { className: "x-picture", ariaHidden: "true" });
      canvas.style.opacity = net.wOut[u] ? 1 : 0.3; // the output does not hear it
      this.paint(canvas, Float32Array.from({ length: net.features }, (_, d) => net.wIn[d * net.width + u] * sign), limit, "blue");
      return canvas;
    }

    /** Pictures of all hidden units. */
    units(net, limit = lowcap.largest(net.wIn), signs = net.wOut) {
      const place = this.part("fields");
      place.style.setProperty("--x-columns", Math.min(12, Math.max(6, net.width)));
      place.setAttribute("aria-label", `First-layer weights of ${lowcap.neurons(net.width)}, one small picture each`);
      place.replaceChildren(...Array.from(signs, (sign, u) => this.unit(net, u, limit, Math.sign(sign))));
    }

    /** Mouse, pen and touch on a picture `side` wide: `on(from, to)` gets the ends of each stroke as [x, y]. */
    strokes(canvas, side, on) {
      let last = null;
      const place = (event) => {
        const box = canvas.getBoundingClientRect();
        return [event.clientX - box.left, event.clientY - box.top].map((far) => (far / box.width) * side - 0.5);
      };
      canvas.addEventListener("pointerdown", (event) => {
        canvas.setPointerCapture(event.pointerId);
        on((last = place(event)), last);
      });
      canvas.addEventListener("pointermove", (event) => last && on(last, (last = place(event))));
      for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (last = null));
    }

    /** Arrow keys: `on([right, down])`. */
    arrows(canvas, on) {
      canvas.addEventListener("keydown", (event) => {
        const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
        if (!step) return;
        event.preventDefault(); // the page stays where it is
        on(step);
      });
    }

    /** Give the reader a file. */
    download(name, text) {
      element("a", { href: `data:text/plain;charset=utf-8,${encodeURIComponent(text)}`, download: name }).click();
    }

    downloadTable(name, rows) {
      this.download(name, rows.map((row) => row.join(",")).join("\n"));
    }

    downloadNetwork({ width, wIn, bIn, wOut, bOut }) {
      const plain = { width, classes: this.data.pair, w_in: [...wIn], b_in: [...bIn], w_out: [...wOut], b_out: bOut[0] };
      this.download("network.json", JSON.stringify(plain));
    }

    /** A chart that Python drew, without what was live in it; ways to add to that. */
    chart(name) {
      const svg = this.part(name), marks = svg.querySelector("g");
      const [x, y] = JSON.parse(svg.dataset.axes).map(([low, high, logarithmic, start, end]) => (v) =>
        start + (end - start) * (logarithmic ? Math.log(v / low) / Math.log(high / low) : (v - low) / (high - low)));
      const add = (tag, kind, places) => marks.append(lowcap.svg(tag, { class: kind, ...places }));
      marks.replaceChildren();
      return {
        line: (points, kind) => add("polyline", kind, { points: points.map(([a, b]) => [x(a), y(b)]).join(" ") }),
        dot: (a, b, kind = "x-dot") => add("circle", kind, { cx: x(a), cy: y(b), r: 5 }),
        upright: (a, kind) => add("line", kind, { x1: x(a), x2: x(a), y1: 0, y2: y(0) }),
        bar: (a, b, low, high, kind) => add("rect", kind, { x: x(a) + 0.5, width: x(b) - x(a) - 1, y: y(high), height: y(low) - y(high) }),
      };
    }
  };

  lowcap.svg = (tag, attributes) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes))
      if (name === "style") node.style.cssText = value; // the site's policy forbids it as an attribute
      else node.setAttribute(name, value);
    return node;
  };

  lowcap.largest = (values) => values.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
  lowcap.neurons = (n) => `${n} neuron${n > 1 ? "s" : ""}`;
  lowcap.define = (name, kind) => customElements.get(name) || customElements.define(name, kind);
}
