"""Scores by which weights are pruned: magnitude, random, activation, gradient, GraSP, SynFlow.

On untrained networks `gradient` is SNIP's; GraSP and SynFlow were made for them. All come as a
score per weight, `w_in (D, U)` and `w_out (U, K)`; the weights of the lowest score go first.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from lowcap.errors import UserError
from lowcap.evaluation import losses
from lowcap.population import Population

Layers = tuple[Tensor, Tensor]  # something per weight, as w_in (D, U) and w_out (U, K) are


def grasp(population: Population, x: Tensor, y: Tensor) -> Layers:
    """Weight times Hessian-gradient product of the loss on images `(B, D)` and labels `(B,)` (Wang et al. 2020).

    It tells how much of the gradient's squared length, to first order, would be lost without the weight; it may be
    negative. Gradient and Hessian are by the weights of both layers, member by member, without biases; a member that
    has diverged scores 0.
    """
    with torch.no_grad():
        logits = population(x).reshape(len(x), len(population), -1)
    fine = population.copy()
    for i in torch.where(~logits.isfinite().all(2).all(0))[0]:  # what has diverged must not spoil the others
        fine.w_in.data[:, fine.owner == i], fine.b_in.data[fine.owner == i] = 0, 0
        fine.w_out.data[fine.owner == i], fine.b_out.data[i] = 0, 0
    weights = (fine.w_in, fine.w_out)
    with torch.enable_grad():
        grads = torch.autograd.grad(losses(fine(x), y).sum(), weights, create_graph=True)
        length = torch.stack([(grad * grad.detach()).sum() for grad in grads]).sum()
        products = torch.autograd.grad(length, weights)
    return weights[0].detach() * products[0], weights[1].detach() * products[1]


def synflow(population: Population) -> Layers:
    """Weight times the gradient of R, the sum of a member's outputs for an image of ones when all weights are made
    positive and biases left out (Tanaka et al. 2020).

    No data is needed. In closed form it is the size of the weight times the sizes of all paths through it; over each
    layer of a member, and over the weights on either side of a hidden unit, it sums to the same.
    """
    first, last = population.w_in.detach().abs(), population.w_out.detach().abs()
    return first * last.sum(1), last * first.sum(0)[:, None]


def _given(name: str, value: Tensor | None, by: str) -> Tensor:
    if value is None:
        raise UserError(
            f"the score `{by}` needs `{name}`: pass training images and labels, x=task.x_train, y=task.y_train"
        )
    return value


def _magnitude(population: Population, x: Tensor | None, y: Tensor | None, seed: int) -> Layers:
    return population.w_in.abs(), population.w_out.abs()


def _random(population: Population, x: Tensor | None, y: Tensor | None, seed: int) -> Layers:
    parts = []
    for width, own in zip(population.widths, population.seeds, strict=True):
        generator = np.random.default_rng([seed, own, width])
        parts.append(
            (generator.random((population.n_features, width)), generator.random((width, population.n_outputs)))
        )
    w_in, w_out = np.concatenate([w for w, _ in parts], axis=1), np.concatenate([w for _, w in parts])
    return torch.from_numpy(w_in), torch.from_numpy(w_out)


def _activation(population: Population, x: Tensor | None, y: Tensor | None, seed: int) -> Layers:
    images = _given("x", x, "activation")
    rms, rms_hidden = (a.double().square().mean(0).sqrt()[:, None] for a in (images, population.hidden(images)))
    return population.w_in.abs() * rms, population.w_out.abs() * rms_hidden


def _gradient(population: Population, x: Tensor | None, y: Tensor | None, seed: int) -> Layers:
    images, labels = _given("x", x, "gradient"), _given("y", y, "gradient")
    weights = (population.w_in, population.w_out)
    with torch.enable_grad():
        # The gradient of a member that has diverged must not spoil the others'.
        logits = population(images).nan_to_num(0, 0, 0)
        grads = torch.autograd.grad(losses(logits, labels).sum(), weights)
    return (weights[0] * grads[0]).abs(), (weights[1] * grads[1]).abs()


def _grasp(population: Population, x: Tensor | None, y: Tensor | None, seed: int) -> Layers:
    scores = grasp(population, _given("x", x, "grasp"), _given("y", y, "grasp"))
    lowest = min(float(score.min()) for score in scores)  # what is gone already ranks below 0
    return scores[0].double() - lowest, scores[1].double() - lowest


def _synflow(population: Population, x: Tensor | None, y: Tensor | None, seed: int) -> Layers:
    return synflow(population)


SCORES: dict[str, Callable[[Population, Tensor | None, Tensor | None, int], Layers]] = {
    "magnitude": _magnitude,
    "random": _random,
    "activation": _activation,
    "gradient": _gradient,
    "grasp": _grasp,
    "synflow": _synflow,
}
