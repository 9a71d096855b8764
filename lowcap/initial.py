"""Scores of weights before any training: GraSP and SynFlow. (SNIP's is `pruning.rank(by="gradient")` at the start.)

Both come as a score per weight, `w_in (D, U)` and `w_out (U, K)`; the weights of the lowest score go first.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lowcap.evaluation import losses
from lowcap.population import Population

Layers = tuple[Tensor, Tensor]


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
