// The networks of the page, on numbers small enough to work out by hand.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { test } from "node:test";

const build = createRequire(import.meta.url)("../../book/static/explorables/network.js");
const math = build();

/** 3 pixels, 2 hidden units. Weights lie as wIn[pixel * width + unit]. */
const small = () => math.network(3, 2, Float32Array.from([1, -1, 0.5, 2, -1, 0.25, 0.5, -0.5, 2, -3, 0.25]));
/** Two images: (1, 0, 1/2) and (0, 1, 0), given in whole numbers up to 4. */
const digits = () => math.images([4, 0, 2, 0, 4, 0], 3, 4);
const near = (seen, wanted, margin = 1e-6) => {
  assert.equal(seen.length, wanted.length);
  wanted.forEach((value, i) => assert.ok(Math.abs(seen[i] - value) <= margin, `${i}: ${seen[i]}, wanted ${value}`));
};

test("images become lists of lit pixels", () => {
  const { n, start, at, value } = digits();
  assert.equal(n, 2);
  assert.deepEqual([...start], [0, 2, 3]);
  assert.deepEqual([...at], [0, 2, 1]);
  assert.deepEqual([...value], [1, 0.5, 1]);
});

test("logits are those worked out by hand", () => {
  // image 0: hidden (1 - 0.5 + 0.5, -1 + 0.125 - 0.5) = (1, -1.375), so (1, 0) after ReLU: 2 * 1 + 0.25
  // image 1: hidden (0.5 + 0.5, 2 - 0.5) = (1, 1.5): 2 * 1 - 3 * 1.5 + 0.25
  near(math.logits(small(), digits()), [2.25, -2.25]);
});

test("an explanation adds up to the logit, and the gradient passes only units that fire", () => {
  const seen = math.explain(small(), digits(), 1);
  near(seen.hidden, [1, 1.5]);
  near(seen.shares, [2, -4.5]);
  near(math.saliency(small(), seen.hidden), [2 + 3, 1 - 6, -2 - 0.75]);
  near(math.saliency(small(), math.explain(small(), digits(), 0).hidden), [2, 1, -2]);
});

test("F1 and loss", () => {
  assert.equal(math.f1([1, -1, 2, 0], [1, 1, 0, 0]), 0.5); // one hit, one miss, one false alarm; 0 is no alarm
  assert.equal(math.f1([1, 3], [1, 1]), 1);
  assert.equal(math.f1([-1, -1], [0, 0]), 0);
  near([math.loss([0, 0], [0, 1])], [Math.log(2)]);
  near([math.loss([2, -3], [1, 1])], [(Math.log1p(Math.exp(-2)) + 3 + Math.log1p(Math.exp(-3))) / 2]);
  near([math.loss([1000, -1000], [1, 0])], [0]);
});

test("one step of gradient descent is the one worked out by hand", () => {
  const net = small(), rate = 0.1, before = [...net.all];
  const [step] = math.training(net, digits(), [1, 0], { rate, batch: 0, steps: 1, seed: 3 });
  const a = (1 / (1 + Math.exp(-2.25)) - 1) / 2, b = 1 / (1 + Math.exp(2.25)) / 2; // errors of the mean loss
  const gradient = [
    2 * a, 0, 2 * b, -3 * b, 2 * a * 0.5, 0, // first layer: the second unit is silent for image 0
    2 * a + 2 * b, -3 * b, // its biases
    a + b, 1.5 * b, a + b, // second layer, its bias
  ];
  assert.equal(step, 1);
  near(net.all, before.map((w, i) => w - rate * gradient[i]));
});

test("training lowers the loss, the same way for the same seed, and stops when told", () => {
  const runs = [1, 1, 2].map((seed) => {
    const net = math.start(3, 4, seed), first = math.loss(math.logits(net, digits()), [1, 0]);
    assert.equal([...math.training(net, digits(), [1, 0], { rate: 0.5, batch: 1, steps: 60, seed })].length, 60);
    assert.ok(math.loss(math.logits(net, digits()), [1, 0]) < first);
    return [...net.all];
  });
  assert.deepEqual(runs[0], runs[1]);
  assert.notDeepEqual(runs[0], runs[2]);
});

test("a start has small weights, like the study's, and no biases", () => {
  const net = math.start(784, 24, 1), weights = [...net.wIn, ...net.wOut];
  const mean = weights.reduce((sum, w) => sum + w, 0) / weights.length;
  const deviation = Math.sqrt(weights.reduce((sum, w) => sum + (w - mean) ** 2, 0) / weights.length);
  near([mean, deviation], [0, 0.1], 0.003);
  assert.ok([...net.bIn, ...net.bOut].every((bias) => bias === 0));
});

test("an epoch takes every image once", () => {
  const rows = new Uint32Array(50);
  math.shuffle(rows, math.random(7));
  assert.notDeepEqual([...rows], [...rows.keys()]);
  assert.deepEqual([...rows].sort((a, b) => a - b), [...rows.keys()]);
});

test("pruning takes the smallest weights, of one layer or of both", () => {
  const zeros = (scope, sparsity) => {
    const net = small(), left = math.pruned(net, math.ranking(net, scope), sparsity);
    assert.deepEqual([...net.all], [...small().all]); // the network itself stays
    return [...left.all].flatMap((w, i) => (w === 0 ? [i] : []));
  };
  assert.deepEqual(zeros("first", 0), []);
  assert.deepEqual(zeros("first", 1 / 3), [2, 5]); // 0.5 and 0.25 of six
  assert.deepEqual(zeros("first", 0.5), [0, 2, 5]); // among equal ones the first place
  assert.deepEqual(zeros("first", 1), [0, 1, 2, 3, 4, 5]); // biases and the second layer stay
  assert.deepEqual(zeros("layer", 0.5), [0, 2, 5, 8]);
  assert.deepEqual(zeros("network", 0.75), [0, 1, 2, 3, 4, 5]); // six of eight, all in the first layer
  assert.deepEqual(zeros("first", 0.25), [2, 5]); // 1.5 weights: rounded to the even number, as in Python
  assert.deepEqual(zeros("first", 5 / 12), [2, 5]); // 2.5 weights
});

test("random pruning is random, and the same on every page", () => {
  const net = math.start(20, 5, 2), [one, again, other] = [0, 0, 1].map((seed) =>
    [...math.pruned(net, math.ranking(net, "first", seed), 0.4).wIn].map((w) => w === 0));
  assert.equal(one.filter(Boolean).length, 40);
  assert.deepEqual(one, again);
  assert.notDeepEqual(one, other);
});

test("a network is put together from its parts, with the weights that were cut away as zeros", () => {
  const parts = { "tuned 0": [1, 2, 3, 4], "tuned 0 rest": [5, 6, 7, 8, 9] };
  const net = math.unpacked(3, 2, parts, "tuned 0", (place) => place === 1 || place === 4);
  assert.deepEqual([...net.wIn], [1, 0, 2, 3, 0, 4]);
  assert.deepEqual([...net.bIn, ...net.wOut, ...net.bOut], [5, 6, 7, 8, 9]);
  assert.deepEqual([...math.unpacked(2, 1, { a: [1, 2], "a rest": [3, 4, 5] }, "a").all], [1, 2, 3, 4, 5]);
});
