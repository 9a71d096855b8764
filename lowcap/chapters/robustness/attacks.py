"""The worst case: images changed within a small range so that one network is wrong, for each network its own.

The gradient of a network with one hidden layer is a matrix product, so no graph is needed: it is the sum of the input
weights of the units that fire, each times its output weight. Sources of the methods: Goodfellow et al. 2015 (one step
along the sign of the gradient) and Madry et al. 2018 (many small steps, each projected back into the range).
"""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd
import torch
from torch import Tensor

from lowcap.errors import UserError, fraction, whole_number
from lowcap.evaluation import answer_scores
from lowcap.population import Population
from lowcap.tasks import check_seed

ATTACKS = ("random signs", "fast gradient sign", "projected gradient descent")


def gradient(population: Population, member: int, x: Tensor) -> tuple[Tensor, Tensor]:
    """A member's logits `(N,)` for images `(N, D)`, and their gradients `(N, D)` with respect to the pixels.

    Raises:
        UserError: no such member, or networks for more than two classes.
    """
    if population.n_outputs != 1:
        raise UserError(f"attacks are for networks of a pair of classes, with one output; got {population.n_outputs}")
    member = population.check_member(member)
    with torch.no_grad():
        units = torch.where(population.owner == member)[0]
        w_in, w_out = population.w_in[:, units], population.w_out[units, 0]
        hidden = torch.addmm(population.b_in[units], x.to(w_in), w_in).relu_()  # (N, units)
        logits = hidden @ w_out + population.b_out[member, 0]
        slopes = (hidden > 0) * w_out  # of the logit by the sum of each unit: 0 where it is silent
        return logits, slopes @ w_in.T  # (N, units) @ (units, D) -> (N, D)


def fgsm(population: Population, member: int, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """Images `(N, D)` after one step of size epsilon along the sign of the gradient of a member's loss, in [0, 1].

    The sign of the loss's gradient is that of the logit's, turned against the label `y (N,)`; so taken, it does not
    vanish where the network is sure.

    Raises:
        UserError: epsilon outside [0, 1], or as `gradient` does.
    """
    wrong = (1 - 2 * y.to(x))[:, None]  # where the logit should go: up for class 0, down for class 1
    _, slope = gradient(population, member, x)
    return (x + fraction("epsilon", epsilon) * wrong * slope.sign()).clamp(0, 1)


def pgd(population: Population, member: int, x: Tensor, y: Tensor, epsilon: float, *, steps: int = 10) -> Tensor:
    """Images `(N, D)` after several steps of 2.5 epsilon / steps, each projected to within epsilon of x and to [0, 1].

    The first is x itself; of all images on the way the one that the member gets most wrong is returned.

    Raises:
        UserError: fewer than one step, or as `fgsm` does.
    """
    whole_number("steps", steps, 1)
    epsilon, wrong = fraction("epsilon", epsilon), 1 - 2 * y.to(x)
    low, high = (x - epsilon).clamp(min=0), (x + epsilon).clamp(max=1)
    now, worst, most = x, x.clone(), torch.full_like(wrong, -torch.inf)
    for _ in range(steps + 1):
        logits, slope = gradient(population, member, now)
        better = wrong * logits > most
        worst[better], most = now[better], torch.where(better, wrong * logits, most)
        moved = now + 2.5 * epsilon / steps * wrong[:, None] * slope.sign()
        now = torch.clamp(moved, low, high)  # back to within epsilon of x, and to [0, 1]
    return worst


def random_signs(x: Tensor, epsilon: float, *, noise_seed: int = 0) -> Tensor:
    """Images `(N, D)` with every pixel moved by epsilon up or down, at random, in [0, 1]: what a blind attack does.

    Raises:
        UserError: epsilon outside [0, 1], or a noise seed that is not a whole number of at least 0.
    """
    generator = torch.Generator().manual_seed(check_seed(noise_seed, "noise_seed"))
    signs = (torch.rand(x.shape, generator=generator) < 0.5).to(x) * 2 - 1
    return (x + fraction("epsilon", epsilon) * signs).clamp(0, 1)


def attacked(
    population: Population, x: Tensor, y: Tensor, epsilons: Iterable[float], *, steps: int = 10, noise_seed: int = 0
) -> pd.DataFrame:
    """Each member's scores on images `(N, D)` that are changed to mislead that member.

    Returns:
        A row per member, attack and epsilon: the columns of `Population.members`, `attack, epsilon, f1, accuracy`.
        The attack `random signs` is the control, the same for all members.

    Raises:
        UserError: as `fgsm` and `pgd` do.
    """
    rows = []
    for epsilon in epsilons:
        blind = random_signs(x, epsilon, noise_seed=noise_seed)  # once: the same for all members
        for attack in ATTACKS:
            guesses = []
            for i in range(len(population)):
                changed = blind
                if attack == "fast gradient sign":
                    changed = fgsm(population, i, x, y, epsilon)
                elif attack == "projected gradient descent":
                    changed = pgd(population, i, x, y, epsilon, steps=steps)
                guesses.append(gradient(population, i, changed)[0] > 0)
            guess = torch.stack(guesses, 1)
            frame = population.members.assign(**answer_scores(guess, y))
            rows.append(frame.assign(attack=attack, epsilon=float(epsilon)))
    return pd.concat(rows, ignore_index=True)
