"""The tangent kernel against explicit Jacobians, and the linearised network against gradient descent on it."""

import numpy as np
import pytest
import torch
from torch import nn

from lowcap.chapters.descent import tangent_kernel
from lowcap.errors import UserError
from lowcap.tasks import load_task


@pytest.fixture
def toy() -> tuple[nn.Sequential, torch.Tensor, torch.Tensor]:
    """A network of 3 inputs and 5 units in double precision, 7 images and 4 others."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 1)).double()
    return net, torch.randn(7, 3).double(), torch.randn(4, 3).double()


def jacobian(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Gradients by all parameters, one image at a time, by plain autograd."""
    rows = [torch.autograd.grad(net(image[None])[0, 0], list(net.parameters())) for image in x]
    return torch.stack([torch.cat([grad.flatten() for grad in row]) for row in rows])


def test_the_kernel_is_the_product_of_explicit_jacobians(toy) -> None:
    net, x, other = toy
    assert torch.allclose(tangent_kernel.tangent_kernel(net, x, other), jacobian(net, x) @ jacobian(net, other).T)
    assert torch.allclose(tangent_kernel.tangent_kernel(net, x), jacobian(net, x) @ jacobian(net, x).T)


def test_any_other_module_has_its_kernel_from_torch_func(toy) -> None:
    _, x, other = toy
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4, bias=False), nn.ReLU(), nn.Linear(4, 1)).double()
    assert torch.allclose(tangent_kernel.tangent_kernel(net, x, other), jacobian(net, x) @ jacobian(net, other).T)


@pytest.mark.parametrize("biases", [(True, True), (False, True), (True, False)])
def test_the_kernel_written_out_is_that_of_torch_func(biases) -> None:
    torch.manual_seed(2)
    net = nn.Sequential(nn.Linear(11, 13, bias=biases[0]), nn.ReLU(), nn.Linear(13, 1, bias=biases[1])).double()
    x, other = torch.randn(7, 11).double(), torch.randn(5, 11).double()
    gradients = torch.cat(tangent_kernel._gradients(net, x), 1) @ torch.cat(tangent_kernel._gradients(net, other), 1).T
    assert torch.allclose(tangent_kernel.tangent_kernel(net, x, other), gradients)


def test_chunks_change_nothing(toy, monkeypatch) -> None:
    _, x, other = toy
    net = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1)).double()
    whole = tangent_kernel.tangent_kernel(net, x, other)
    monkeypatch.setattr(tangent_kernel, "CHUNK", 3)
    assert torch.allclose(tangent_kernel.tangent_kernel(net, x, other), whole)


def test_the_kernel_is_symmetric_and_positive_semidefinite(toy) -> None:
    net, x, _ = toy
    found = tangent_kernel.tangent_kernel(net, torch.cat([x, x[:2]]))  # two images twice: not full rank
    values = torch.linalg.eigvalsh(found)
    assert torch.allclose(found, found.T)
    assert values.min() > -1e-9 * values.max()
    assert values.min() < 1e-9 * values.max()


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_closed_form_is_gradient_descent_on_the_linearised_network(toy, momentum) -> None:
    net, x, other = toy
    y = torch.randn(7).double()
    first, first_other = (net(images)[:, 0].detach() for images in (x, other))
    j, j_other = jacobian(net, x), jacobian(net, other)
    lr = 0.3 / float(torch.linalg.eigvalsh(j @ j.T)[-1])
    moved = torch.zeros(j.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([moved], lr=lr, momentum=momentum)
    lazy = tangent_kernel.Linearised(j @ j.T, first, y, lr, momentum)
    for step in range(1, 51):
        optimizer.zero_grad()
        (first + j @ moved - y).square().sum().div(2).backward()
        optimizer.step()
        if step in (1, 2, 10, 50):
            by_hand = first_other + j_other @ moved.detach()
            assert torch.allclose(lazy.outputs(j_other @ j.T, first_other, [step])[0], by_hand, atol=1e-9), step


def test_no_step_is_the_network_itself_and_all_time_is_kernel_regression(toy) -> None:
    net, x, other = toy
    y = torch.randn(7).double()
    found, cross = tangent_kernel.tangent_kernel(net, x), tangent_kernel.tangent_kernel(net, other, x)
    first, first_other = net(x)[:, 0].detach(), net(other)[:, 0].detach()
    out = tangent_kernel.Linearised(found, first, y, 0.01).outputs(cross, first_other, [0, None])
    assert torch.allclose(out[0], first_other)
    assert torch.allclose(out[1], first_other + cross @ torch.linalg.solve(found, y - first), atol=1e-6)


def test_the_change_of_a_kernel_by_hand() -> None:
    first = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    assert tangent_kernel.change(3 * first, first) == pytest.approx((2.0, 0.0), abs=1e-6)
    assert tangent_kernel.change(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), first)[1] == pytest.approx(1.0)


def test_wide_networks_are_lazier_and_closer_to_their_linearisation() -> None:
    task = load_task((4, 9), dataset="digits")
    rows = tangent_kernel.follow(task, [4, 256], [0, 1], n=60, noise=0.2, steps=120, looks=5)
    last = rows[rows["step"] == 120].groupby("width").mean()
    assert last.loc[256, "turn"] < last.loc[4, "turn"]
    assert last.loc[256, "moved"] < last.loc[4, "moved"]
    assert last.loc[256, "agreement"] > last.loc[4, "agreement"]
    start = rows[rows["step"] == 0]
    assert np.allclose(start[["distance", "turn", "moved"]], 0, atol=1e-5)
    assert (start["agreement"] == 1).all()
    assert np.allclose(start["test_error"], start["lazy_test_error"])


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (
            lambda: tangent_kernel.tangent_kernel(nn.Linear(3, 2), torch.ones(2, 3)),
            "one output per image, shape (B, 1); got",
        ),
        (
            lambda: tangent_kernel.Linearised(torch.eye(3), torch.ones(2), torch.ones(3), 0.1),
            "shapes (N, N), (N,), (N,); got [(3, 3), (2,), (3,)]",
        ),
        (
            lambda: tangent_kernel.Linearised(torch.eye(1), torch.ones(1), torch.ones(1), 0.0),
            "`lr` must be a number above 0",
        ),
        (
            lambda: tangent_kernel.follow(
                load_task("all", dataset="digits"), [4], [0], n=50, noise=0.0, steps=5, looks=2
            ),
            "`task` must have two classes, for one output; got 10",
        ),
        (
            lambda: tangent_kernel.follow(
                load_task((4, 9), dataset="digits"), [4], [0], n=50, noise=0.0, steps=0, looks=2
            ),
            "`steps` must be a whole number of at least 1; got 0",
        ),
    ],
)
def test_bad_input_is_one_clear_line(call, told) -> None:
    with pytest.raises(UserError) as caught:
        call()
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
