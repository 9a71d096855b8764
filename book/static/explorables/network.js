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

  /** A standard normal number (Box and Muller). */
  const normal = (next) => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());

  /** A network from its weights in one array: first layer, its biases, second layer, its bias. */
  function network(features, width, all = new Float32Array((features + 2) * width + 1)) {
    const a = features * width, b = a + width, c = b + width;
    return { features, width, all, wIn: all.subarray(0, a), bIn: all.subarray(a, b), wOut: all.subarray(b, c), bOut: all.subarray(c) };
  }

  /** A network from the parts `name` and `name rest` of a blob; `gone` says which weights of the first layer are none. */
  function unpacked(features, width, parts, name, gone = () => false) {
    const net = network(features, width), first = parts[name];
    for (let place = 0, k = 0; place < net.wIn.length; place++) if (!gone(place)) net.wIn[place] = first[k++];
    net.all.set(parts[`${name} rest`], net.wIn.length);
    return net;
  }

  /** An untrained network: weights 0.1 times a standard normal number, biases 0, as in the study. */
  function start(features, width, seed) {
    const net = network(features, width), next = random(seed);
    for (const weights of [net.wIn, net.wOut]) weights.forEach((_, i) => (weights[i] = 0.1 * normal(next)));
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

  function logits(net, data) {
    const hidden = new Float32Array(net.width);
    return Float32Array.from({ length: data.n }, (_, i) => forward(net, data, i, hidden));
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

  /** A step of gradient descent, in place, by the images `rows`; `grads` is room for the gradient, `hidden` as above. */
  function descend(net, data, labels, rows, rate, grads, hidden) {
    const { width, wOut, all } = net, { start, at, value } = data;
    grads.all.fill(0);
    for (const i of rows) {
      const error = (sigmoid(forward(net, data, i, hidden)) - labels[i]) / rows.length;
      grads.bOut[0] += error;
      for (let u = 0; u < width; u++) {
        if (hidden[u] === 0) continue; // silent: nothing flows back
        const back = error * wOut[u];
        grads.wOut[u] += error * hidden[u];
        grads.bIn[u] += back;
        for (let k = start[i]; k < start[i + 1]; k++) grads.wIn[at[k] * width + u] += value[k] * back;
      }
    }
    for (let j = 0; j < all.length; j++) all[j] -= rate * grads.all[j];
  }

  /** Numbers 0 to n - 1 in a random order, written into `rows`. */
  function shuffle(rows, next) {
    for (let i = 0; i < rows.length; i++) rows[i] = i;
    for (let i = rows.length - 1; i > 0; i--) {
      const j = Math.floor(next() * (i + 1));
      [rows[i], rows[j]] = [rows[j], rows[i]];
    }
  }

  /** Train by `settings` {rate, batch, steps, seed}: one step of gradient descent each time that it is asked. */
  function* training(net, data, labels, { rate, batch, steps, seed }) {
    const rows = new Uint32Array(data.n), next = random(seed + 1), size = batch || data.n;
    const grads = network(net.features, net.width), hidden = new Float32Array(net.width);
    for (let done = 1, at = data.n; done <= steps; done++, at += size) {
      if (at >= data.n) {
        shuffle(rows, next);
        at = 0;
      }
      descend(net, data, labels, rows.subarray(at, at + size), rate, grads, hidden);
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

  /** Which weights go first in `scope` first, layer or network, by size or at random: see lowcap/pruning.py. Places in
      `all`, for each group that is pruned by itself; equal ones in order of place. */
  function ranking({ all, wIn, width }, scope, seed = null) {
    const second = wIn.length + width, first = [...wIn.keys()], last = first.slice(0, width).map((u) => second + u);
    const groups = { first: [first], layer: [first, last], network: [first.concat(last)] }[scope];
    const score = (place) => (seed === null ? Math.abs(all[place]) : scatter(place, seed));
    return groups.map((places) => places.sort((a, b) => score(a) - score(b) || a - b));
  }

  /** A copy of the network without the share `sparsity` of its weights; `sparsity` is exact, as in Python. */
  function pruned(net, groups, sparsity) {
    const small = network(net.features, net.width, net.all.slice());
    for (const places of groups) for (const place of places.slice(0, roundHalfEven(sparsity * places.length))) small.all[place] = 0;
    return small;
  }

  function roundHalfEven(x) {
    const whole = Math.round(x);
    return x % 1 === 0.5 && whole % 2 ? whole - 1 : whole;
  }

  return { sigmoid, random, normal, network, unpacked, start, images, logits, f1, loss, explain, saliency, shuffle, training, ranking, pruned };
}

if (typeof module !== "undefined") module.exports = lowcapNetwork;
