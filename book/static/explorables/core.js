/* What all explorables share: data, state in the address, controls, drawing.

   An explorable is an element with its data as JSON, its form as a template, and a fallback for readers without
   JavaScript. Python writes all of them (see lowcap/explorables.py and lowcap/controls.py); its class extends
   `lowcap.Explorable`. Large data come as named blobs: beside the element in a notebook, on the site as scripts that
   are fetched when needed (scripts, because `fetch` does not work from the file system). */
"use strict";

var lowcap = globalThis.lowcap || { packed: {}, unpacked: {} };
lowcap.math = lowcapNetwork();

{
  const folder = document.currentScript?.src?.replace(/[^/]*$/, "");

  /** A new element of HTML with some of its properties. */
  const element = (lowcap.element = (tag, properties) => Object.assign(document.createElement(tag), properties));

  /** Called by the scripts of the site: the deflated bytes of a blob, as base64. */
  lowcap.put = (name, text) => (lowcap.packed[name] = text);

  async function unpack(name) {
    const beside = document.querySelector(`script[data-blob="${name}"]`)?.textContent;
    if (!beside && !lowcap.packed[name])
      await new Promise((onload) => document.head.append(element("script", { src: `${folder}${name}.js`, onload })));
    const packed = Uint8Array.from(atob(beside ?? lowcap.packed[name]), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  /** How many bytes a number takes, and how to read n of them: as they are, four to a byte, or in single precision. */
  const KINDS = {
    u1: [1, (bytes) => bytes],
    u2: [0.25, (bytes, n) => Uint8Array.from({ length: n }, (_, i) => (bytes[i >> 2] >> (6 - 2 * (i & 3))) & 3)],
    fixed16: [2, (bytes, n, scale) => Float32Array.from({ length: n }, (_, i) => (bytes[i] + 256 * bytes[i + n] - 32767.5) * scale)],
    float32: [4, (bytes) => new Float32Array(bytes.slice().buffer)],
  };

  /** Parts of one blob, in order, as its `parts` {name: [kind, count, scale]} say; unpacked once, however many ask. */
  lowcap.parts = async ({ name, parts }) => {
    const bytes = await (lowcap.unpacked[name] ??= unpack(name)), found = {};
    let at = 0;
    for (const [part, [kind, n, scale]] of Object.entries(parts)) {
      const [size, read] = KINDS[kind], end = at + Math.ceil(n * size);
      found[part] = read(bytes.subarray(at, end), n, scale);
      at = end;
    }
    return found;
  };

  /** Show a value in its control, as nearly as the control can; what it then has. */
  function write(control, value, text) {
    if (control.type === "checkbox") return (control.checked = Boolean(value));
    if (!control.dataset?.stops) {
      control.value = value;
      return control.value === String(value) ? value : undefined;
    }
    const stops = JSON.parse(control.dataset.stops), far = (stop) => Math.abs(stop - value);
    control.value = stops.reduce((best, stop, i) => (far(stop) < far(stops[best]) ? i : best), 0);
    text.textContent = JSON.parse(control.dataset.texts)[control.value];
    control.setAttribute("aria-valuetext", text.textContent);
    control.style.setProperty("--x-at", control.value / control.max);
    return stops[control.value];
  }

  function read(control) {
    if (control.type === "checkbox") return control.checked;
    return control.dataset.stops ? JSON.parse(control.dataset.stops)[control.value] : control.value;
  }

  /** A text from outside as a value of the kind that `start` has; undefined if it is none. */
  function kindred(text, start) {
    if (typeof start === "string") return String(text);
    if (typeof start === "boolean") return text === true || text === "1";
    return text !== "" && Number.isFinite(Number(text)) ? Number(text) : undefined;
  }

  lowcap.Explorable = class extends HTMLElement {
    /* A subclass has `async load()`, its data; `draw()`, everything anew; `says()`, the state in a sentence. It may
       have `fits(state)`, which mends values that no control looks after. Its buttons call its methods by name. */

    async connectedCallback() {
      if (this.form) return; // JupyterLab takes outputs out of the page and puts them back
      this.form = {};
      if (document.readyState === "loading") await new Promise((go) => document.addEventListener("DOMContentLoaded", go));
      this.data = JSON.parse(this.querySelector("script").textContent);
      this.form = this.querySelector("template").content.cloneNode(true).firstElementChild;
      this.calm = matchMedia("(prefers-reduced-motion: reduce)");
      const wanted = this.addressed();
      if (!wanted) await this.near();
      await this.load();
      this.state = this.fits({ ...this.data.starts, ...this.remembered() });
      this.append(this.form);
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
      this.form.addEventListener("input", ({ target }) => target.name && this.change({ [target.name]: read(target) }));
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

    /** The state with every value as its control can have it; an impossible one is as at the start. */
    fits(state) {
      const { starts } = this.data, kept = {};
      for (const name of Object.keys(starts)) {
        const control = this.form.elements[name];
        kept[name] = kindred(state[name], starts[name]) ?? starts[name];
        if (control) kept[name] = write(control, kept[name], this.part(`text ${name}`)) ?? starts[name];
      }
      return kept;
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
      this.fits(this.state); // writes the state into the controls
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

    /** What the address says of this explorable, and what it says of others. */
    remembered(others = false) {
      const found = {}, mine = `${this.data.key}.`;
      for (const [name, value] of new URLSearchParams(location.hash.slice(1)))
        if (/^[a-z]+\.[a-z]+$/.test(name) && others !== name.startsWith(mine)) found[others ? name : name.slice(mine.length)] = value;
      return found;
    }

    /** Write what differs from the start into the address, before what other explorables wrote. */
    note() {
      if (document.querySelector("[data-jp-theme-name], .jp-Notebook")) return;
      const { key, starts } = this.data, all = new URLSearchParams();
      for (const [name, value] of Object.entries(this.state))
        if (value !== starts[name]) all.set(`${key}.${name}`, value === Boolean(value) ? Number(value) : value);
      for (const [name, value] of Object.entries(this.remembered(true))) all.set(name, value);
      if (all.size || /^#[a-z]+\./.test(location.hash))
        history.replaceState(history.state, "", all.size ? `#${all}` : location.pathname + location.search);
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
      const [low, high] = this.data.pair, lean = Math.max(-10, Math.min(10, logit)) / 20, bar = this.part(`bar ${name}`);
      bar.style.setProperty("--x-from", 0.5 + Math.min(lean, 0));
      bar.style.setProperty("--x-size", Math.abs(lean));
      bar.classList.toggle("x-low", lean < 0);
      const sure = 100 * lowcap.math.sigmoid(Math.abs(logit));
      const text = `${logit > 0 ? high : low}, ${sure > 99.9 ? "> 99.9" : sure.toFixed(sure > 98 ? 1 : 0)} %`;
      this.show({ [`says ${name}`]: text });
      return text;
    }

    /** Images as a picture: what is above 0 in one colour of the theme, what is below in another. */
    paint(canvas, values, limit = 1, [low, high] = ["orange", "ink"]) {
      const side = (canvas.width = canvas.height = Math.sqrt(values.length)), pen = canvas.getContext("2d"), style = getComputedStyle(this);
      const colours = [low, high].map((name) => style.getPropertyValue(`--x-${name}`));
      for (let i = 0; i < values.length; i++) {
        if (!values[i]) continue;
        pen.globalAlpha = Math.min(1, Math.abs(values[i]) / limit);
        pen.fillStyle = colours[Number(values[i] > 0)];
        pen.fillRect(i % side, Math.floor(i / side), 1, 1);
      }
      return pen;
    }

    /** Weights of a hidden unit: blue where ink speaks for the larger digit, orange for the other. */
    paintUnit(canvas, net, u, limit, sign = Math.sign(net.wOut[u])) {
      const field = Float32Array.from({ length: net.features }, (_, d) => net.wIn[d * net.width + u] * sign);
      this.paint(canvas, field, limit, ["orange", "blue"]);
    }

    /** All hidden units; those that the output does not hear are pale. */
    paintFields(net, limit = largest(net.wIn), signs = net.wOut) {
      const place = this.part("fields"), { width } = net;
      if (place.children.length !== width)
        place.replaceChildren(...Array.from({ length: width }, () => element("canvas", { className: "x-picture", ariaHidden: "true" })));
      place.style.setProperty("--x-columns", Math.min(12, Math.max(6, width)));
      place.setAttribute("aria-label", `First-layer weights of ${width} hidden neurons, one small picture each`);
      [...place.children].forEach((canvas, u) => {
        canvas.style.opacity = net.wOut[u] ? 1 : 0.3;
        this.paintUnit(canvas, net, u, limit, Math.sign(signs[u]));
      });
    }

    /** Mouse, pen and touch on a picture of `side` pixels: `on(from, to)` gets each stroke's ends as [x, y]. */
    strokes(canvas, side, on) {
      let last = null;
      const place = (event) => {
        const box = canvas.getBoundingClientRect();
        return [((event.clientX - box.left) / box.width) * side - 0.5, ((event.clientY - box.top) / box.height) * side - 0.5];
      };
      canvas.addEventListener("pointerdown", (event) => {
        canvas.setPointerCapture(event.pointerId);
        on((last = place(event)), last);
      });
      canvas.addEventListener("pointermove", (event) => last && on(last, (last = place(event))));
      for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (last = null));
    }

    /** Offer a file. */
    download(name, text) {
      const href = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
      element("a", { href, download: name }).click();
      setTimeout(() => URL.revokeObjectURL(href), 10000);
    }

    downloadNetwork({ width, wIn, bIn, wOut, bOut }) {
      const plain = { width, classes: this.data.pair, w_in: [...wIn], b_in: [...bIn], w_out: [...wOut], b_out: bOut[0] };
      this.download("network.json", JSON.stringify(plain));
    }

    /** What is live in a chart that Python drew: ways to add to it. */
    chart(name) {
      const svg = this.part(name), marks = svg.querySelector("g");
      const [x, y] = JSON.parse(svg.dataset.axes).map(([low, high, logarithmic, start, end]) => (v) =>
        start + (end - start) * (logarithmic ? Math.log(v / low) / Math.log(high / low) : (v - low) / (high - low)));
      const add = (tag, kind, places) => marks.append(lowcap.svg(tag, { class: kind, ...places }));
      return {
        clear: () => marks.replaceChildren(),
        line: (points, kind) => add("polyline", kind, { points: points.map(([a, b]) => `${x(a)},${y(b)}`).join(" ") }),
        dot: (a, b, kind = "x-dot") => add("circle", kind, { cx: x(a), cy: y(b), r: 5 }),
        upright: (a, kind) => add("line", kind, { x1: x(a), x2: x(a), y1: 0, y2: y(0) }),
        bar: (a, b, low, high, kind) => add("rect", kind, { x: x(a) + 0.5, width: x(b) - x(a) - 1, y: y(high), height: y(low) - y(high) }),
      };
    }
  };

  lowcap.svg = (tag, attributes) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    return node;
  };

  const largest = (lowcap.largest = (values) => values.reduce((most, v) => Math.max(most, Math.abs(v)), 0));
  lowcap.neurons = (n) => `${n} neuron${n > 1 ? "s" : ""}`;
  lowcap.ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  lowcap.define = (name, kind) => customElements.get(name) || customElements.define(name, kind);
}
