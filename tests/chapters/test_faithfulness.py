"""Agreement and faithfulness of maps: SciPy's and hand-worked answers, and networks whose right map is known."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.spatial.distance import cosine as cosine_distance
from scipy.stats import spearmanr
from torch import Tensor

from lowcap.chapters.saliency import faithfulness
from lowcap.chapters.saliency.attribution import METHODS, Settings, attribute
from lowcap.chapters.saliency.faithfulness import (
    MEASURES,
    agreements,
    centred_ranks,
    cosine,
    incompleteness,
    overlap,
    replaced,
    unexplained,
)
from lowcap.errors import UserError
from lowcap.population import Population


def linear(weights: list[float]) -> Population:
    """The logit is weights @ x for x of at least 0: a unit for the positive weights and one for the negative ones."""
    made = Population([2], [0], n_features=len(weights))
    values = torch.tensor(weights)
    made.w_in.data = torch.stack([values.clamp(min=0), (-values).clamp(min=0)], 1)
    made.w_out.data = torch.tensor([[1.0], [-1.0]])
    return made


@pytest.fixture
def pair(rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    a = rng.normal(size=(5, 40)).round(1)  # rounded, so that there are ties
    a[:, ::4] = 0
    return torch.tensor(a), torch.tensor(a + rng.normal(size=a.shape))


def test_cosine_and_rank_correlation_are_scipys(pair: tuple[Tensor, Tensor]) -> None:
    a, b = pair
    for i in range(len(a)):
        assert cosine(a, b)[i] == pytest.approx(1 - cosine_distance(a[i], b[i]), abs=1e-9)
        ranked = cosine(centred_ranks(a), centred_ranks(b))
        assert ranked[i] == pytest.approx(spearmanr(a[i], b[i]).statistic, abs=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_maps_without_any_content_agree_with_nothing(dtype: torch.dtype) -> None:
    none, some = torch.zeros(1, 6, dtype=dtype), torch.arange(6, dtype=dtype)[None]
    assert cosine(none, some).item() == 0
    for other in (none, some):
        assert cosine(centred_ranks(none), centred_ranks(other)).item() == 0
    assert overlap(none, none, 0.5).item() == 0


def test_overlap_worked_out_by_hand() -> None:
    a = torch.tensor([[9.0, -8.0, 7.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0]])
    b = torch.tensor([[0.0, 8.0, -7.0, 0.0, 0.0, 0.0, 0.0, 0.0, 6.0, 0.0]])
    assert overlap(a, b, 0.3).item() == pytest.approx(2 / 3)  # pixels 1 and 2 of {0, 1, 2} and {1, 2, 8}
    assert overlap(a, b, 0.5).item() == pytest.approx(2 / 5)  # black pixels are not among the largest five
    assert overlap(a, a, 0.3).item() == 1


def test_agreements_are_means_over_images_and_signs_count_where_they_should(pair: tuple[Tensor, Tensor]) -> None:
    a, b = (one[None].float() for one in pair)
    pixels = torch.arange(40) % 3 > 0
    rows = agreements(a, {"itself": a, "opposite": -a, "other": b}, pixels, share=0.25).set_index("with")
    assert rows.loc["itself", list(MEASURES)].tolist() == pytest.approx([1] * 5, abs=1e-6)
    assert rows.loc["opposite", list(MEASURES)].tolist() == pytest.approx([-1, 1, -1, 1, 1], abs=1e-6)
    cut = a[0][:, pixels], b[0][:, pixels]
    sizes = cut[0].abs(), cut[1].abs()
    signed, unsigned = (
        torch.tensor([spearmanr(*maps).statistic for maps in zip(*both, strict=True)]) for both in (cut, sizes)
    )
    expected = [cosine(*cut), cosine(*sizes), signed, unsigned, overlap(*cut, 0.25)]
    assert rows.loc["other", list(MEASURES)].tolist() == pytest.approx([v.mean().item() for v in expected], abs=1e-6)


def test_a_share_given_in_percent_is_refused() -> None:
    with pytest.raises(UserError, match=r"`share` must be a fraction from 0 to 1; got 10; did you mean 0.1"):
        agreements(torch.ones(1, 1, 4), {}, torch.ones(4, dtype=torch.bool), share=10)


def test_deletion_and_insertion_worked_out_by_hand() -> None:
    network, x = linear([2.0, -1.0, 1.0, 0.5]), torch.ones(1, 4)  # logit 2.5, so the answer is class 1
    order = x * torch.tensor([2.0, -1.0, 1.0, 0.5])
    shares, gone = replaced(network, x, order, steps=2)
    assert shares.tolist() == [0, 0.25, 1]
    assert gone[:, 0].tolist() == pytest.approx(torch.tensor([2.5, 0.5, 0.0]).sigmoid().tolist())
    _, put_in = replaced(network, x, order, steps=2, insert=True)
    assert put_in[:, 0].tolist() == pytest.approx(torch.tensor([0.0, 2.0, 2.5]).sigmoid().tolist())
    _, negative = replaced(linear([-2.0, 1.0, -1.0, -0.5]), x, order, steps=2)  # the answer is class 0
    assert negative[:, 0].tolist() == pytest.approx(gone[:, 0].tolist())


def test_a_linear_network_is_foretold_by_its_weights_and_by_nothing_else() -> None:
    weights = [2.0, -1.0, 1.0, 0.5, -3.0, 0.25] * 4
    network, x = linear(weights), torch.rand(3, 24, generator=torch.Generator().manual_seed(0)) + 0.2
    right = torch.tensor(weights).expand(3, -1)
    assert unexplained(network, x, right, "gradient").tolist() == pytest.approx([0] * 3, abs=1e-5)
    assert unexplained(network, x, 7 * right * x, "integrated gradients").tolist() == pytest.approx([0] * 3, abs=1e-5)
    assert unexplained(network, x, 0 * right, "gradient").tolist() == pytest.approx([1] * 3, abs=1e-5)
    assert (unexplained(network, x, right.roll(1, 1), "gradient") > 0.3).all()


def test_what_a_map_of_half_the_pixels_misses_worked_out_by_hand() -> None:
    network, x = linear([1.0, 2.0]), torch.ones(1, 2)
    gone = torch.rand(32, 2, generator=torch.Generator().manual_seed(0)) < 0.1  # the draws that are made
    first, second, both = (float(mask.sum()) for mask in (gone[:, 0], gone[:, 1], gone.all(1)))
    # The map knows the first pixel only: it foretells b for it, with the b that misses least, 1 + 2 both / first.
    least = 4 * second - 4 * both**2 / first
    whole = first + 4 * second + 4 * both
    assert 0.3 < least / whole < 0.9
    found = unexplained(network, x, torch.tensor([[5.0, 0.0]]), "gradient")
    assert found.item() == pytest.approx(least / whole, abs=1e-6)


def test_infidelity_and_sensitivity_do_not_depend_on_the_batch() -> None:
    network = Population([6], [0], n_features=16, init="he")
    x = torch.rand(6, 16, generator=torch.Generator().manual_seed(1))
    for method in METHODS:
        found = attribute(network, x, 0, method)
        for measure in (
            lambda some, m=method, f=found: unexplained(network, x[some], f[some], m),
            lambda some, m=method: faithfulness.sensitivity(network, x[some], m),
        ):
            parts = torch.cat([measure(slice(0, 2)), measure(slice(2, 6))])
            assert torch.allclose(measure(slice(0, 6)), parts, atol=1e-5)


def test_the_map_of_a_linear_network_does_not_move() -> None:
    network, x = linear([2.0, -1.0, 1.0, 0.5]), torch.full((2, 4), 0.5)
    assert faithfulness.sensitivity(network, x, "gradient").tolist() == [0, 0]
    assert (faithfulness.sensitivity(network, x, "input x gradient", radius=0.1) > 0.02).all()


def test_completeness_worked_out_by_hand() -> None:
    network, x = linear([2.0, -1.0]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])  # logits 2 and -1; black gives 0
    black = torch.zeros(1, 2)
    assert incompleteness(network, x, torch.tensor([[2.0, 0.0], [0.0, -1.0]]), black) == 0
    assert incompleteness(network, x, torch.tensor([[2.0, 1.0], [0.0, -1.5]]), black) == pytest.approx(0.75 / 1.5)
    starts = torch.tensor([[1.0, 0.0], [0.0, 0.0]])  # mean logit 1: the images change it by 1 and -2
    assert incompleteness(network, x, torch.tensor([[1.0, 0.0], [-2.0, 0.0]]), starts) == 0


def test_each_member_has_a_row_of_its_own(pair: tuple[Tensor, Tensor]) -> None:
    a, b = (one.float() for one in pair)
    rows = agreements(torch.stack([a, b]), {"a": torch.stack([a, a])}, torch.ones(40, dtype=torch.bool))
    assert rows["member"].tolist() == [0, 1]
    assert rows["cosine"][0] == pytest.approx(1, abs=1e-6)
    assert rows["cosine"][1] == pytest.approx(cosine(b, a).mean().item(), abs=1e-6)
    assert isinstance(rows, pd.DataFrame)


def test_settings_reach_the_method_whose_sensitivity_is_measured() -> None:
    network = Population([6], [0], n_features=16, init="he")
    x = torch.rand(4, 16, generator=torch.Generator().manual_seed(1))
    calm, wild = (faithfulness.sensitivity(network, x, "SmoothGrad", Settings(noise=n)) for n in (1.0, 1e-4))
    assert not torch.equal(calm, wild)
