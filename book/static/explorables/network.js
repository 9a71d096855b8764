/* The networks of this book in plain JavaScript: pixels - width - 1 with ReLU, for two classes.

   No page in here, so that the same lines run in the page, in a worker (which gets the text of `lowcapNetwork`) and in
   node. Weights lie as in Python: `wIn[pixel * width + unit]`. Images are kept as lists of their lit pixels, because
   four pixels in five are black. Everything is single precision, as in torch. */
"use strict";

function lowcapNetwork() {
  const sigmoid = (z) => 1 / (1 + Math.exp(-z));

  /** A source of chance with a seed (mulberry32): numbers from 0 to 1. */
  function random(seed) {
    let state = seed >>> 0;
    return () => {
      state = (state + 0x6d2b79f5) >>> 0;
      let t = Math.imul(state ^ (state >>> 15), state | 1);
      t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
  }

  /** A network from its weights in one array: first layer, its biases, second layer, its bias. */
  function network(features, width, all = new Float32Array((features + 2) * width + 1)) {
    const a = features * width, b = a + width, c = b + width;
    const part = (from, to) => all.subarray(from, to);
    return { features, width, all, wIn: part(0, a), bIn: part(a, b), wOut: part(b, c), bOut: part(c, c + 1) };
  }

  /** A network from the parts `name` and `name rest` of a blob; `gone` says which weights of the first layer are none. */
  function unpacked(features, width, parts, name, gone = () => false) {
    const net = network(features, width), first = parts[name];
    for (let place = 0, k = 0; place < net.wIn.length; place++) if (!gone(place)) net.wIn[place] = first[k++];
    net.all.set(parts[`${name} rest`], net.wIn.length);
    return net;
  }

  const copy = (net) => network(net.features, net.width, net.all.slice());

  /** An untrained network: weights 0.1 times a standard normal number, biases 0, as in the study. */
  function start(features, width, seed) {
    const net = network(features, width), next = random(seed);
    for (const weights of [net.wIn, net.wOut])
      for (let i = 0; i < weights.length; i++)
        weights[i] = 0.1 * Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
    return net;
  }

  /** Images, given as whole numbers up to `top`, as lists of lit pixels: image i has those from start[i] on. */
  function images(pixels, features, top) {
    const n = pixels.length / features, start = new Uint32Array(n + 1), at = [], value = [];
    for (let i = 0; i < pixels.length; i++) {
      if (pixels[i]) at.push(i % features), value.push(pixels[i] / top);
      if ((i + 1) % features === 0) start[(i + 1) / features] = at.length;
    }
    return { n, start, at: Uint16Array.from(at), value: Float32Array.from(value) };
  }

  /** The logit of image i; `hidden` takes the activations. */
  function forward(net, data, i, hidden) {
    const { width, wIn, bIn, wOut } = net, { at, value } = data, from = data.start[i], to = data.start[i + 1];
    let logit = net.bOut[0];
    for (let u = 0; u < width; u++) {
      let sum = bIn[u];
      for (let k = from; k < to; k++) sum += value[k] * wIn[at[k] * width + u];
      hidden[u] = sum > 0 ? sum : 0;
      logit += hidden[u] * wOut[u];
    }
    return logit;
  }

  function logits(net, data, out = new Float32Array(data.n)) {
    const hidden = new Float32Array(net.width);
    for (let i = 0; i < data.n; i++) out[i] = forward(net, data, i, hidden);
    return out;
  }

  /** F1 of class 1, at logit 0; 0 where it is undefined. */
  function f1(logits, labels) {
    let both = 0, either = 0;
    for (let i = 0; i < logits.length; i++) {
      const guess = logits[i] > 0 ? 1 : 0;
      both += guess & labels[i];
      either += guess + labels[i];
    }
    return either ? (2 * both) / either : 0;
  }

  /** Mean cross-entropy in nats. */
  function loss(logits, labels) {
    let sum = 0;
    for (let i = 0; i < logits.length; i++) {
      const z = logits[i];
      sum += Math.max(z, 0) - z * labels[i] + Math.log1p(Math.exp(-Math.abs(z)));
    }
    return sum / logits.length;
  }

  /** What the logit of image i is made of: activations, and each unit's share. */
  function explain(net, data, i = 0) {
    const hidden = new Float32Array(net.width), logit = forward(net, data, i, hidden);
    return { logit, hidden, shares: hidden.map((a, u) => a * net.wOut[u]) };
  }

  /** How the logit changes with each pixel: the gradient, through the units that fire. */
  function saliency(net, hidden) {
    const { features, width, wIn, wOut } = net, map = new Float32Array(features);
    for (let d = 0; d < features; d++)
      for (let u = 0; u < width; u++) if (hidden[u] > 0) map[d] += wIn[d * width + u] * wOut[u];
    return map;
  }

  /** Gradient descent in place, without allocating anything: `step` uses the images rows[from..to]. */
  function trainer(net, data, labels) {
    const { width, wOut, all } = net, { at, value } = data;
    const grads = network(net.features, width), gIn = grads.wIn, { bIn: gBias, wOut: gOut, all: gAll } = grads;
    const hidden = new Float32Array(width);
    function step(rows, from, to, rate) {
      gAll.fill(0);
      for (let r = from; r < to; r++) {
        const i = rows[r], error = (sigmoid(forward(net, data, i, hidden)) - labels[i]) / (to - from);
        grads.bOut[0] += error;
        for (let u = 0; u < width; u++) {
          if (hidden[u] === 0) continue; // silent: nothing flows back
          const back = error * wOut[u];
          gOut[u] += error * hidden[u];
          gBias[u] += back;
          for (let k = data.start[i], end = data.start[i + 1]; k < end; k++) gIn[at[k] * width + u] += value[k] * back;
        }
      }
      for (let j = 0; j < all.length; j++) all[j] -= rate * gAll[j];
    }
    return { step };
  }

  /** Numbers 0 to n - 1 in a random order, written into `rows`. */
  function shuffle(rows, next) {
    for (let i = 0; i < rows.length; i++) rows[i] = i;
    for (let i = rows.length - 1; i > 0; i--) {
      const j = Math.floor(next() * (i + 1)), held = rows[i];
      rows[i] = rows[j], rows[j] = held;
    }
  }

  /** Train by `settings` {rate, batch, steps, seed}: one step of gradient descent each time that it is asked. */
  function* training(net, data, labels, { rate, batch, steps, seed }) {
    const rows = new Uint32Array(data.n), next = random(seed + 1), { step } = trainer(net, data, labels);
    const size = batch || data.n;
    let at = data.n;
    for (let done = 1; done <= steps; done++) {
      if (at >= data.n) shuffle(rows, next), (at = 0);
      step(rows, at, Math.min(at + size, data.n), rate);
      at += size;
      yield done;
    }
  }

  /** A score per place that looks random but is the same everywhere: the last step of MurmurHash3. */
  function scatter(i, seed) {
    let h = (i + Math.imul(seed, 0x9e3779b9)) >>> 0;
    h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
    h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
    return (h ^ (h >>> 16)) >>> 0;
  }

  /** The places of the weights in the order in which they go: equal ones in order of place. */
  function order(scores) {
    return Uint32Array.from(scores.keys()).sort((a, b) => scores[a] - scores[b] || a - b);
  }

  /** Which weights go first in `scope` first, layer or network, by size or at random: see lowcap/pruning.py. */
  function ranking(net, scope, seed = null) {
    const score = (weights) => Array.from(weights, (w, i) => (seed === null ? Math.abs(w) : scatter(i, seed)));
    const first = score(net.wIn), last = score(net.wOut);
    if (scope === "network") return [order(first.concat(last))];
    return scope === "layer" ? [order(first), order(last)] : [order(first)];
  }

  /** A copy of the network without the share `sparsity` of its weights; `sparsity` is exact, as in Python. */
  function pruned(net, orders, sparsity) {
    const small = copy(net), n = net.wIn.length;
    orders.forEach((places, layer) => {
      const gone = roundHalfEven(sparsity * places.length);
      for (let k = 0; k < gone; k++) {
        const place = places[k] + (layer ? n : 0);
        if (place < n) small.wIn[place] = 0;
        else small.wOut[place - n] = 0;
      }
    });
    return small;
  }

  function roundHalfEven(x) {
    const low = Math.floor(x), rest = x - low;
    return rest > 0.5 || (rest === 0.5 && low % 2) ? low + 1 : low;
  }

  return { random, network, unpacked, copy, start, images, forward, logits, f1, loss, explain, saliency, trainer, training,
    shuffle, scatter, ranking, pruned, sigmoid };
}

if (typeof module !== "undefined") module.exports = lowcapNetwork;
