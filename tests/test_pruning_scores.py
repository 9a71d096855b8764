"""Scores before training: equal to slow references, SynFlow conserved, SNIP the gradient score at the start."""

import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from toydata import toy_task

from lowcap import pruning, pruning_scores
from lowcap.errors import UserError
from lowcap.population import Population
from lowcap.pruning_scores import grasp, synflow
from lowcap.tasks import Task

SIZES = [(3, 0), (5, 1), (2, 2)]  # widths and seeds


def start(task: Task) -> Population:
    widths, seeds = zip(*SIZES, strict=True)
    options = {"n_features": task.n_features, "n_outputs": task.n_outputs, "init": "he"}
    return Population(widths, seeds, **options).double()


def loss_of(module: nn.Module, task: Task) -> torch.Tensor:
    logits = module(task.x_train.double())
    if task.n_outputs == 1:
        return binary_cross_entropy_with_logits(logits[:, 0], task.y_train.double())
    return cross_entropy(logits, task.y_train)


def scored(population: Population, scores: tuple[torch.Tensor, torch.Tensor], member: int) -> list[torch.Tensor]:
    """A member's scores, shaped like the weights of its module."""
    units = population.owner == member
    return [scores[0][:, units].T, scores[1][units].T]


@pytest.mark.parametrize("n_classes", [2, 3])
def test_grasp_is_weight_times_the_explicit_hessian_times_the_gradient(n_classes: int) -> None:
    task = toy_task(n_classes)
    population = start(task)
    found = grasp(population, task.x_train.double(), task.y_train)
    for member in range(len(SIZES)):
        module = population.to_module(member)
        weights = [module[0].weight, module[2].weight]
        shapes = [w.shape for w in weights]
        flat = torch.cat([w.detach().flatten() for w in weights])

        def loss(theta: torch.Tensor, module=module, shapes=shapes) -> torch.Tensor:
            first, last = theta.split([s.numel() for s in shapes])
            named = {"0.weight": first.view(shapes[0]), "2.weight": last.view(shapes[1])}
            return loss_of(lambda x: torch.func.functional_call(module, named, x), task)

        gradient = torch.func.grad(loss)(flat)
        hessian = torch.autograd.functional.hessian(loss, flat)
        expected = flat * (hessian @ gradient)
        torch.testing.assert_close(torch.cat([s.flatten() for s in scored(population, found, member)]), expected)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_synflow_is_weight_times_gradient_of_the_sum_of_outputs_for_an_image_of_ones(n_classes: int) -> None:
    population = start(toy_task(n_classes))
    found = synflow(population)
    for member in range(len(SIZES)):
        module = population.to_module(member)
        for parameter in module.parameters():
            parameter.data.abs_()
        weights = [module[0].weight, module[2].weight]
        grads = torch.autograd.grad(module(torch.ones(1, population.n_features).double()).sum(), weights)
        for score, weight, grad in zip(scored(population, found, member), weights, grads, strict=True):
            torch.testing.assert_close(score, weight.detach() * grad)


def test_synflow_conserves_the_sum_over_layers_and_over_hidden_units() -> None:
    population = start(toy_task(3))
    s_in, s_out = synflow(population)
    torch.testing.assert_close(s_in.sum(0), s_out.sum(1))
    for member in range(len(SIZES)):
        units = population.owner == member
        torch.testing.assert_close(s_in[:, units].sum(), s_out[units].sum())


def test_snip_is_the_gradient_score_of_untrained_networks() -> None:
    task = toy_task(3)
    population = start(task)
    found = pruning_scores.SCORES["gradient"](population, task.x_train.double(), task.y_train, 0)
    for member in range(len(SIZES)):
        module = population.to_module(member)
        # Lee et al.: the gradient by indicators c, at 1, that multiply the weights
        gates = [torch.ones_like(module[i].weight, requires_grad=True) for i in (0, 2)]
        named = {f"{i}.weight": module[i].weight * gate for i, gate in zip((0, 2), gates, strict=True)}
        loss = loss_of(lambda x, m=module, n=named: torch.func.functional_call(m, n, x), task)
        for score, grad in zip(scored(population, found, member), torch.autograd.grad(loss, gates), strict=True):
            torch.testing.assert_close(score, grad.abs())


def test_negative_grasp_scores_go_first_and_masked_weights_before_them() -> None:
    task = toy_task(3)
    population = pruning.prune(start(task), 0.25, scope="network", by="random")
    scores = grasp(population, task.x_train.double(), task.y_train)
    half = pruning.prune(population, 0.5, scope="network", by="grasp", x=task.x_train, y=task.y_train)
    for member in range(len(SIZES)):
        old, new, score = (
            torch.cat([part.flatten() for part in scored(population, layers, member)])
            for layers in ((population.mask_in, population.mask_out), (half.mask_in, half.mask_out), scores)
        )
        assert not (new & ~old).any()
        assert score[new].min() >= score[old & ~new].max()
        assert score[old & ~new].min() < 0


@pytest.mark.parametrize("missing", ["x", "y"])
def test_grasp_without_data_says_what_to_pass(missing: str) -> None:
    task = toy_task()
    data = {"x": task.x_train, "y": task.y_train} | {missing: None}
    with pytest.raises(UserError, match=f"the score `grasp` needs `{missing}`: pass training images and labels"):
        pruning.rank(start(task).float(), by="grasp", **data)
