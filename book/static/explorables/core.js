/* What all explorables share: data, state in the address, controls, drawing.

   An explorable is an element whose children are JSON and a fallback for readers without JavaScript. Its class extends
   `lowcap.Explorable`. Large data come as named blobs: beside the element in a notebook, on the site as scripts that are
   fetched when needed (scripts, because `fetch` does not work from the file system). */
"use strict";

var lowcap = globalThis.lowcap || { slots: {} };
lowcap.math = lowcapNetwork();

{
  const slots = lowcap.slots;
  const slot = (name) => {
    if (!slots[name]) {
      slots[name] = {};
      slots[name].arrived = new Promise((resolve) => (slots[name].put = resolve));
    }
    return slots[name];
  };

  /** Called by the scripts of the site: the deflated bytes of a blob, as base64. */
  lowcap.put = (name, text) => slot(name).put(text);

  /** The bytes of a blob: from beside the element, or from the site's folder; unpacked once, however many ask. */
  lowcap.blob = (name) => (slot(name).bytes ??= unpack(name));

  const folder = document.currentScript?.src?.replace(/[^/]*$/, "");

  async function unpack(name) {
    const here = document.querySelector(`script[data-blob="${name}"]`);
    if (here) lowcap.put(name, here.textContent);
    else if (folder) document.head.append(h("script", { src: `${folder}${name}.js` }));
    const packed = Uint8Array.from(atob((await slot(name).arrived).trim()), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  /** Numbers from bytes: whole ones as they are ("u2": four in each byte), others in single precision. */
  const numbers = (bytes, kind, n, scale) => {
    if (kind === "u1") return bytes;
    if (kind === "u2") return Uint8Array.from({ length: n }, (_, i) => (bytes[i >> 2] >> (6 - 2 * (i & 3))) & 3);
    if (kind === "float32") return new Float32Array(bytes.slice().buffer);
    return Float32Array.from({ length: n }, (_, i) => (bytes[i] + 256 * bytes[i + n] - 32767.5) * scale);
  };

  /** Parts of one blob, in order, as its `parts` {name: [kind, count, scale]} say. */
  lowcap.parts = async ({ name, parts }) => {
    const bytes = await lowcap.blob(name), found = {};
    let at = 0;
    for (const [part, [kind, n, scale]] of Object.entries(parts)) {
      const size = Math.ceil(n * { u1: 1, u2: 0.25, fixed16: 2, float32: 4 }[kind]);
      found[part] = numbers(bytes.subarray(at, at + size), kind, n, scale);
      at += size;
    }
    return found;
  };

  /** A new element: `h("p", {class: "note"}, "text", other)`; functions become listeners, true and false attributes. */
  const make = (create) => (tag, given = {}, ...children) => {
    const node = create(tag);
    for (const [name, value] of Object.entries(given)) {
      if (typeof value === "function") node.addEventListener(name, value);
      else if (name === "style") node.style.cssText = value; // an attribute would break the strict policy of the site
      else if (value === true) node.setAttribute(name, "");
      else if (value !== false && value != null) node.setAttribute(name, value);
    }
    node.append(...children.flat());
    return node;
  };
  const h = (lowcap.h = make((tag) => document.createElement(tag)));
  const s = (lowcap.s = make((tag) => document.createElementNS("http://www.w3.org/2000/svg", tag)));

  let count = 0;
  const fresh = () => `lowcap-${++count}`;
  const inNotebook = () => Boolean(document.querySelector("[data-jp-theme-name], .jp-Notebook"));

  /** One of several values, by radio buttons that look like one bar. */
  lowcap.choice = (label, values, onInput) => {
    const name = fresh();
    const radios = values.map(([value, text]) => {
      const radio = h("input", { type: "radio", name, value, input: () => onInput(value) });
      return { value, radio, node: h("label", {}, radio, h("span", {}, text)) };
    });
    const node = h("fieldset", { class: "x-choice" }, h("legend", {}, label), h("div", {}, radios.map((r) => r.node)));
    return { node, set: (value) => radios.forEach((r) => (r.radio.checked = r.value === value)) };
  };

  /** A number by a slider; `values` are its stops, `text` says one in words, `big` is how many stops Page Up goes. */
  lowcap.slider = (label, values, text, onInput) => {
    const id = fresh(), shown = h("b");
    const range = h("input", {
      id, type: "range", min: 0, max: values.length - 1, step: 1,
      input: () => (set(values[range.value]), onInput(values[range.value])),
    });
    const node = h("div", { class: "x-slider" }, h("label", { for: id }, label), shown, range);
    const set = (value) => {
      range.value = values.reduce((best, v, i) => (Math.abs(v - value) < Math.abs(values[best] - value) ? i : best), 0);
      shown.textContent = text(value);
      range.setAttribute("aria-valuetext", text(value));
      range.style.setProperty("--x-at", range.value / (values.length - 1));
    };
    return { node, set, range };
  };

  lowcap.toggle = (label, onInput) => {
    const box = h("input", { type: "checkbox", role: "switch", input: () => onInput(box.checked) });
    return { node: h("label", { class: "x-toggle" }, box, h("span", {}, label)), set: (on) => (box.checked = on) };
  };

  /** What the lines and blocks of a chart mean: [class, text] each. */
  lowcap.key = (...entries) =>
    h("p", { class: "x-key" }, entries.map(([kind, text]) => h("span", {}, h("span", { class: `x-swatch ${kind}` }), text)));

  lowcap.button = (label, click, kind = "") => h("button", { type: "button", class: `x-button ${kind}`, click }, label);

  lowcap.download = (label, file, content) =>
    lowcap.button(label, () => {
      const href = URL.createObjectURL(new Blob([content()], { type: "text/plain" }));
      h("a", { href, download: file }).click();
      setTimeout(() => URL.revokeObjectURL(href), 10000);
    }, "x-quiet");

  /** A small picture of numbers: blue above 0, orange below, the page's own ground at 0; or grey ink. */
  lowcap.picture = (className = "") => {
    const canvas = h("canvas", { class: `x-picture ${className}`, "aria-hidden": "true" });
    const draw = (values, side, limit, { low, zero, high }) => {
      if (canvas.width !== side) canvas.width = canvas.height = side;
      const pen = canvas.getContext("2d"), image = pen.createImageData(side, side);
      for (let i = 0; i < side * side; i++) {
        const t = Math.max(-1, Math.min(1, values[i] / limit || 0)), end = t < 0 ? low : high, share = Math.abs(t);
        for (let c = 0; c < 3; c++) image.data[4 * i + c] = zero[c] + share * (end[c] - zero[c]);
        image.data[4 * i + 3] = 255;
      }
      pen.putImageData(image, 0, 0);
    };
    return { canvas, draw };
  };

  /** A line chart. Axes are {from, to, ticks: [[value, text]], label, log}; returns places and ways to draw there. */
  lowcap.chart = (label, x, y, height) => {
    const node = s("svg", { class: "x-chart", role: "img", "aria-label": label });
    const clip = fresh(), box = { left: 40, right: 20, top: 10, bottom: 38 };
    const chart = { node };
    const share = (axis, v) => (axis.log ? Math.log(v / axis.from) / Math.log(axis.to / axis.from) : (v - axis.from) / (axis.to - axis.from));
    chart.x = (v) => box.left + share(x, v) * (chart.width - box.left - box.right);
    chart.y = (v) => height - box.bottom - share(y, v) * (height - box.top - box.bottom);
    chart.clear = (axes = {}) => {
      Object.assign(x, axes.x), Object.assign(y, axes.y);
      chart.width = node.clientWidth || 320;
      node.setAttribute("viewBox", `0 0 ${chart.width} ${height}`);
      node.style.height = `${height}px`;
      const [left, right, top, bottom] = [box.left, chart.width - box.right, box.top, height - box.bottom];
      chart.marks = s("g", { "clip-path": `url(#${clip})` });
      chart.over = s("g");
      const frame = { x: left - 5, y: top - 6, width: right - left + 10, height: bottom - top + 7 };
      node.replaceChildren(
        s("clipPath", { id: clip }, s("rect", frame)),
        ...y.ticks.flatMap(([v, text]) => [
          s("line", { class: "x-grid", x1: left, x2: right, y1: chart.y(v), y2: chart.y(v) }),
          s("text", { x: left - 7, y: chart.y(v) + 4, "text-anchor": "end" }, text),
        ]),
        ...x.ticks.map(([v, text]) => s("text", { x: chart.x(v), y: bottom + 16, "text-anchor": "middle" }, text)),
        s("line", { class: "x-axis", x1: left, x2: right, y1: bottom, y2: bottom }),
        s("text", { class: "x-name", x: right, y: height - 4, "text-anchor": "end" }, x.label),
        chart.marks, chart.over,
      );
    };
    chart.line = (points, className) =>
      chart.marks.append(s("polyline", { class: className, points: points.map(([a, b]) => `${chart.x(a).toFixed(1)},${chart.y(b).toFixed(1)}`).join(" ") }));
    chart.upright = (v, className, text, anchor = "start") => {
      const at = chart.x(v), shift = anchor === "start" ? 5 : -5;
      chart.marks.append(s("line", { class: className, x1: at, x2: at, y1: 0, y2: height - box.bottom }));
      if (text) chart.over.append(s("text", { class: className, x: at + shift, y: box.top + 6, "text-anchor": anchor }, text));
    };
    chart.dot = (a, b, className) => chart.over.append(s("circle", { class: className, cx: chart.x(a), cy: chart.y(b), r: 5.5 }));
    chart.bar = (a, b, low, high, className) =>
      chart.marks.append(s("rect", { class: className, x: chart.x(a) + 0.5, width: chart.x(b) - chart.x(a) - 1, y: chart.y(high), height: chart.y(low) - chart.y(high) }));
    return chart;
  };

  class Explorable extends HTMLElement {
    /* A subclass has: `starts()`, the state it begins with; `async load()`, its data; `build()`, its parts;
       `fits(state)`, the state with impossible values mended; `draw()`, everything anew; `says()`, a sentence. */

    async connectedCallback() {
      if (this.begun) return; // JupyterLab takes outputs out of the page and puts them back
      this.begun = true;
      if (document.readyState === "loading") await new Promise((go) => document.addEventListener("DOMContentLoaded", go));
      this.data = JSON.parse(this.querySelector('script[type="application/json"]').textContent);
      const wanted = location.hash.startsWith(`#${this.data.key}.`);
      if (!wanted) await this.near();
      await this.load();
      this.state = this.fits({ ...this.starts(), ...this.remembered() });
      this.calm = matchMedia("(prefers-reduced-motion: reduce)");
      this.status = h("p", { class: "x-status", role: "status" });
      const body = h("div", { class: "x-body" }, this.build(), this.status, this.legend());
      this.append(body);
      this.classList.add("x-live");
      this.draw();
      this.follow(body);
      if (wanted) this.scrollIntoView();
    }

    /** Data are fetched when the reader is about to come by. */
    near() {
      return new Promise((go) => {
        const seen = (entries, observer) => entries.some((e) => e.isIntersecting) && (observer.disconnect(), go());
        new IntersectionObserver(seen, { rootMargin: "1200px" }).observe(this);
      });
    }

    follow(body) {
      let width = 0;
      const again = () => requestAnimationFrame(() => this.isConnected && this.draw());
      new ResizeObserver(() => {
        if (body.clientWidth !== width) (width = body.clientWidth), again();
      }).observe(body);
      const watch = new MutationObserver(again);
      for (const node of [document.documentElement, document.body])
        watch.observe(node, { attributeFilter: ["data-theme", "data-jp-theme-light"] });
      addEventListener("hashchange", () => {
        if (location.hash.startsWith(`#${this.data.key}.`)) this.change({ ...this.starts(), ...this.remembered() });
      });
    }

    legend() {
      return h("p", { class: "x-legend" },
        h("span", { class: "x-tag x-tag-live" }, "computed live in your browser"),
        h("span", { class: "x-tag x-tag-run" }, "from the run that made this page"));
    }

    /** Take over some values, draw, and, when the reader has come to rest, say what is seen and note it. */
    change(values) {
      this.state = this.fits({ ...this.state, ...values });
      this.waiting ??= requestAnimationFrame(() => {
        this.waiting = null;
        this.draw();
      });
      clearTimeout(this.rest);
      this.rest = setTimeout(() => {
        this.note();
        this.say();
      }, 500);
    }

    say(sentence = this.says()) {
      this.status.textContent = sentence;
    }

    remembered() {
      const starts = this.starts(), found = {};
      for (const [name, value] of new URLSearchParams(location.hash.slice(1))) {
        const key = name.slice(this.data.key.length + 1);
        if (name !== `${this.data.key}.${key}` || !(key in starts)) continue;
        const kind = typeof starts[key], number = Number(value);
        if (kind === "string") found[key] = value;
        else if (kind === "boolean") found[key] = value === "1";
        else if (value !== "" && Number.isFinite(number)) found[key] = number;
      }
      return found;
    }

    /** Write what differs from the start into the address, before what other explorables wrote. */
    note() {
      if (inNotebook()) return;
      const starts = this.starts(), mine = `${this.data.key}.`, all = new URLSearchParams();
      for (const [key, value] of Object.entries(this.state))
        if (value !== starts[key]) all.set(mine + key, typeof value === "boolean" ? Number(value) : value);
      for (const [name, value] of new URLSearchParams(location.hash.slice(1)))
        if (/^[a-z]+\.[a-z]+$/.test(name) && !name.startsWith(mine)) all.set(name, value);
      const hash = all.size ? `#${all}` : "";
      if (hash !== location.hash && (hash || /^#[a-z]+\./.test(location.hash)))
        history.replaceState(history.state, "", hash || location.pathname + location.search);
    }

    /** Colours of the theme as [red, green, blue]. */
    colours() {
      const probe = h("i"), found = {};
      this.append(probe);
      for (const [name, token] of Object.entries({ low: "orange", zero: "ground", high: "blue", ink: "ink" })) {
        probe.style.color = `var(--x-${token})`;
        found[name] = getComputedStyle(probe).color.match(/[\d.]+/g).slice(0, 3).map(Number);
      }
      probe.remove();
      return found;
    }
  }
  lowcap.Explorable = Explorable;
  lowcap.define = (name, kind) => customElements.get(name) || customElements.define(name, kind);
}

/** Receptive fields of all hidden units: each is blue where ink speaks for the larger digit, orange for the other. */
lowcap.showFields = (place, net, data, colours, limit = 0, signs = net.wOut) => {
  const { features, width, wIn, wOut } = net;
  if (place.children.length !== width) {
    place.pictures = Array.from({ length: width }, () => lowcap.picture());
    place.replaceChildren(...place.pictures.map((p) => p.canvas));
    place.style.setProperty("--x-columns", Math.min(12, Math.max(6, width)));
    place.setAttribute("aria-label", `First-layer weights of ${width} hidden neurons, one small picture each`);
  }
  const most = limit || wIn.reduce((m, w) => Math.max(m, Math.abs(w)), 0);
  const field = new Float32Array(features);
  place.pictures.forEach(({ canvas, draw }, u) => {
    canvas.style.opacity = wOut[u] ? 1 : 0.3; // nobody listens to it
    for (let d = 0; d < features; d++) field[d] = wIn[d * width + u] * Math.sign(signs[u]);
    draw(field, data.side, most, colours);
  });
};

/** A network as plain JSON, for the reader to keep. */
lowcap.plain = ({ width, wIn, bIn, wOut, bOut }, { pair }) => (
  { width, classes: pair, w_in: [...wIn], b_in: [...bIn], w_out: [...wOut], b_out: bOut[0] });
