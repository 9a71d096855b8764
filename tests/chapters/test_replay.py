"""The replay: the published study's streams and arithmetic, down to the numbers that its code gives."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split
from torch import Tensor

from lowcap.chapters.replay import experiments as replay
from lowcap.errors import UserError
from lowcap.population import Population
from lowcap.recipe import PUBLISHED
from lowcap.tasks import load_task
from lowcap.training import train

REFERENCE = pd.read_csv(Path(__file__).parents[2] / "data" / "published" / "replay_seed0.csv")
KEYS = ["seed", "width", "pair"]
LABELS = np.array([8, 3, 5, 8, 8, 3, 8, 5, 3, 8, 8, 3, 5, 3, 8, 8, 3, 3, 8, 3, 3, 8, 8, 3, 3, 8])  # 11 x 3, 12 x 8


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Images that say their own position in the file."""
    images = np.stack([np.arange(len(LABELS)), np.ones(len(LABELS))], axis=1).astype(np.float32)
    monkeypatch.setattr(replay, "raw_training_images", lambda dataset: (images, LABELS))
    return images


def positions(x: Tensor) -> list[int]:
    return x[:, 0].int().tolist()


@pytest.mark.parametrize("seed", [0, 42])
def test_the_split_follows_the_stream_of_the_study(seed: int, toy: np.ndarray) -> None:
    data = replay.split((3, 8), seed)
    rng = np.random.default_rng(seed)
    kept = [*rng.choice(np.where(LABELS == 3)[0], 11, replace=False)]
    kept += [*rng.choice(np.where(LABELS == 8)[0], 11, replace=False)]
    shuffled = [kept[i] for i in rng.permutation(22)]
    y = [float(LABELS[i] == 8) for i in shuffled]
    expected = train_test_split(shuffled, y, test_size=0.2, stratify=y, random_state=seed)
    found = positions(data.x_train), positions(data.x_test), data.y_train.tolist(), data.y_test.tolist()
    assert [*found] == expected
    assert data.x_train.dtype == data.y_train.dtype == torch.float64


def test_the_split_balances_the_classes_and_shares_no_image(toy: np.ndarray) -> None:
    data = replay.split((8, 3), 1)
    train_rows, test_rows = positions(data.x_train), positions(data.x_test)
    assert len({*train_rows, *test_rows}) == len(train_rows) + len(test_rows) == 22
    assert [LABELS[i] == 8 for i in train_rows] == data.y_train.tolist()
    assert data.y_train.sum() + data.y_test.sum() == 11
    assert data.pair == (3, 8)


def test_first_weights_come_from_one_stream_with_the_width_outside_and_the_pair_inside() -> None:
    populations = replay.starts(7, (2, 3), pairs=((0, 1), (4, 9)), n_features=5)
    stream = np.random.RandomState(7)
    assert list(populations) == [(0, 1), (4, 9)]
    for i, width in enumerate((2, 3)):
        for population in populations.values():
            member = population.select([i])
            np.testing.assert_array_equal(member.w_in.detach(), stream.randn(5, width) * 0.1)
            np.testing.assert_array_equal(member.w_out.detach(), stream.randn(width, 1) * 0.1)
            assert not member.b_in.any()
            assert not member.b_out.any()
            assert (member.widths, member.seeds, member.w_in.dtype) == ([width], [7], torch.float64)


def test_the_global_stream_of_numpy_is_left_alone() -> None:
    np.random.seed(3)
    before = np.random.get_state()[1].tolist()
    replay.starts(7, (2,), n_features=5)
    assert np.random.get_state()[1].tolist() == before


def descend_plainly(w1: Any, w2: Any, x: Any, y: Any, lr: float, steps: int) -> tuple[list, tuple]:
    """One network by backpropagation as in a textbook: all images at once, mean binary cross-entropy."""
    b1, b2, logits = np.zeros(w1.shape[1]), np.zeros(1), []
    for _ in range(steps):
        before = x @ w1 + b1
        hidden = np.maximum(before, 0)
        logits.append(hidden @ w2 + b2)
        error = (1 / (1 + np.exp(-logits[-1])) - y[:, None]) / len(x)
        back = error @ w2.T * (before > 0)
        w1, b1 = w1 - lr * x.T @ back, b1 - lr * back.sum(0)
        w2, b2 = w2 - lr * hidden.T @ error, b2 - lr * error.sum(0)
    return logits, (w1, w2, b1, b2)


def toy_descent(**kwargs: Any) -> tuple[Population, Tensor, Tensor]:
    rng = np.random.default_rng(0)
    x, y = rng.random((23, 6)) * (rng.random(6) < 0.7), rng.integers(0, 2, 23).astype(float)
    return replay.starts(3, (2, 5, 3), pairs=((0, 1),), n_features=6)[0, 1], torch.tensor(x), torch.tensor(y)


def test_descent_is_that_of_the_textbook_for_every_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "BLOCK_ROWS", 5)
    population, x, y = toy_descent()
    assert not x.any(0).all()  # some pixels are always zero
    start = population.select(range(3))
    found = torch.stack(list(replay.descend(population, x, y, lr=0.7, steps=20)))
    for i in range(3):
        first = (p.detach().numpy() for p in (start.select([i]).w_in, start.select([i]).w_out))
        logits, weights = descend_plainly(*first, x.numpy(), y.numpy(), 0.7, 20)
        np.testing.assert_allclose(found[:, :, i], np.stack(logits)[:, :, 0], rtol=0, atol=1e-12)
        member = population.select([i])
        ours = member.w_in, member.w_out, member.b_in, member.b_out[0]
        for a, b in zip(ours, weights, strict=True):
            np.testing.assert_allclose(a.detach(), b, rtol=0, atol=1e-12)


def test_logits_are_those_before_each_step_and_the_population_keeps_up_with_them() -> None:
    population, x, y = toy_descent()
    for logits in replay.descend(population, x, y, steps=3):
        torch.testing.assert_close(logits, population(x).detach(), rtol=0, atol=1e-12)


def test_a_network_that_diverges_spoils_no_other() -> None:
    (healthy, x, y), (sick, *_) = toy_descent(), toy_descent()
    sick.w_in.data[:, :2] = np.inf
    expected = list(replay.descend(healthy, x, y, steps=3))[-1]
    torch.testing.assert_close(
        list(replay.descend(sick, x, y, steps=3))[-1][:, 1:], expected[:, 1:], rtol=0, atol=1e-12
    )


small = st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0])  # many ties


@settings(deadline=None, max_examples=40)
@given(st.data(), st.sampled_from([1, 10, 34, 50, 80, 99, 100]), st.booleans())
def test_pruning_zeroes_everything_up_to_the_kth_smallest_magnitude_of_each_layer(
    data: st.DataObject, percentage: int, as_run: bool
) -> None:
    population = Population([2, 9], [0, 1], n_features=23)
    for weight in (population.w_in, population.w_out):
        drawn = data.draw(st.lists(small, min_size=weight.numel(), max_size=weight.numel()))
        weight.data = torch.tensor(drawn).view_as(weight)
    result = replay.pruned(population, percentage / 100, as_run=as_run)
    for i in range(2):
        before, after = population.to_module(i), result.to_module(i)
        for old, new in zip(before.parameters(), after.parameters(), strict=True):
            magnitudes = sorted(old.detach().abs().flatten().tolist())
            k = int(percentage / 100 / (100 if as_run else 1) * len(magnitudes)) if old.ndim == 2 else 0
            threshold = magnitudes[k - 1] if k else -1.0
            assert torch.equal(new, torch.where(old.abs() <= threshold, 0.0, old))


def test_95_per_cent_as_run_takes_less_than_one() -> None:
    population = Population([24], [0])
    weights = population.w_in.numel()
    for as_run, gone_in, gone_out in ((True, 178, 0), (False, 17_875, 22)):
        other = replay.pruned(population, 0.95, as_run=as_run)
        assert ((other.w_in == 0).sum(), (other.w_out == 0).sum()) == (gone_in, gone_out)
    assert 178 / weights < 0.01
    assert population.w_in.all()


@pytest.mark.parametrize("as_run", [True, False])
def test_as_many_weights_go_as_in_the_studys_own_arithmetic_at_each_of_its_percentages_and_widths(as_run: bool) -> None:
    population = Population(replay.WIDTHS, range(len(replay.WIDTHS))).double()  # no two weights of the same size
    for percentage in replay.PERCENTAGES:
        result = replay.pruned(population, percentage / 100, as_run=as_run)
        for i, width in enumerate(replay.WIDTHS):
            gone = [int((layer.weight == 0).sum()) for layer in (result.to_module(i)[0], result.to_module(i)[2])]
            share = percentage / 100 / 100 if as_run else percentage / 100  # a text and a code in percent
            assert gone == [int(share * (784 * width)), int(share * width)]


@pytest.mark.parametrize("wrong", [95, -0.1, True])
def test_pruning_takes_a_fraction_not_a_percentage(wrong: float) -> None:
    with pytest.raises(UserError, match=f"`sparsity` must be a fraction from 0 to 1; got {wrong!r}"):
        replay.pruned(Population([2], [0]), wrong, as_run=False)


def test_a_probability_of_one_half_counts_as_class_1() -> None:
    assert replay._f1(torch.tensor([[0.0, -1.0]] * 4), torch.tensor([0.0, 1.0, 1.0, 0.0])).tolist() == [2 / 3, 0]


def test_rows_come_in_the_order_of_the_study_once_each() -> None:
    seen = []
    rows = replay.run(
        [1, 0, 1],
        widths=(3, 2),
        pairs=((4, 9), (1, 0)),
        dataset="digits",
        steps=2,
        percentages=(50,),
        progress=lambda *at: seen.append(at),
    )
    expected = [(s, w, p) for s in (1, 0) for w in (3, 2) for p in ("4-9", "0-1")]
    assert list(rows[KEYS].itertuples(index=False, name=None)) == expected
    assert sorted(seen) == [(0, (0, 1)), (0, (4, 9)), (1, (0, 1)), (1, (4, 9))]
    assert list(rows)[-2:] == ["f1_pruned_as_run_50", "f1_pruned_true_50"]
    assert rows.notna().all(axis=None)


def test_best_and_final_f1_and_the_loss_are_those_before_each_step() -> None:
    row = replay.run([0], widths=(4,), pairs=((4, 9),), dataset="digits", steps=6, lr=2.0).iloc[0]
    data = replay.split((4, 9), 0, dataset="digits")
    population = replay.starts(0, n_features=64)[4, 9].select([replay.WIDTHS.index(4)])
    logits = list(replay.descend(population, data.x_train, data.y_train, lr=2.0, steps=6))
    f1 = [replay._f1(z, data.y_train).item() for z in logits]
    assert (row.best_train_f1, row.final_train_f1) == (max(f1), f1[-1])
    assert row.best_train_f1 > row.final_train_f1
    loss = torch.nn.BCEWithLogitsLoss()(logits[-1][:, 0], data.y_train)
    assert row.final_loss == pytest.approx(loss.item(), abs=1e-12)
    assert row.w1_sum == pytest.approx(population.w_in.sum().item(), abs=1e-12)
    assert row.test_f1 == replay._f1(population(data.x_test).detach(), data.y_test)


def assert_agrees_with_the_reference(rows: pd.DataFrame) -> None:
    """Everything to rounding; a single example may have flipped in one network of all."""
    expected = rows[KEYS].merge(REFERENCE, on=KEYS)
    assert list(rows) == list(REFERENCE)
    assert len(expected) == len(rows)
    assert (expected[["n_train", "n_test"]] == rows[["n_train", "n_test"]]).all(axis=None)
    distance = (rows.drop(columns=KEYS) - expected.drop(columns=KEYS)).abs()
    assert distance.final_loss.max() < 1e-8
    assert distance.test_auc.max() < 1e-6
    assert distance.w1_sum.max() < 1e-5
    f1 = distance.filter(like="f1")
    one_flip = np.where(
        f1.columns.str.contains("train"), 4 / rows.n_train.to_numpy()[:, None], 4 / rows.n_test.to_numpy()[:, None]
    )
    assert (f1 < one_flip).all(axis=None)
    assert (f1 > 1e-6).any(axis=1).sum() <= 1


@pytest.mark.parametrize(("widths", "pairs"), [((2, 4), replay.PAIRS), ((6,), ((4, 9), (1, 7)))])
def test_a_network_is_the_same_whichever_others_are_asked_for(widths: tuple, pairs: tuple) -> None:
    every = replay.run([0], widths=(2, 4, 6), dataset="digits", steps=5, percentages=(80,)).set_index(KEYS)
    some = replay.run([0], widths=widths, pairs=pairs, dataset="digits", steps=5, percentages=(80,)).set_index(KEYS)
    assert len(some) == len(widths) * len(pairs)
    pd.testing.assert_frame_equal(some, every.loc[some.index], rtol=0, atol=1e-12)


@pytest.mark.mnist
def test_the_narrow_networks_of_seed_0_agree_with_the_study() -> None:
    rows = replay.run([0], widths=(4, 8), pairs=((4, 9), (0, 1), (5, 6)), dataset="mnist")
    assert len(rows) == 6
    assert_agrees_with_the_reference(rows)


@pytest.mark.mnist
@pytest.mark.weekly  # a book on MNIST does not build either if they disagree: claim `replay-exact`
def test_all_networks_of_seed_0_agree_with_the_study(tmp_path: Path) -> None:
    rows = replay.to_csv(tmp_path / "replay.csv", [0], dataset="mnist")
    assert len(rows) == 55
    assert_agrees_with_the_reference(rows)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "replay.csv"), rows, check_exact=True)


def test_a_place_that_cannot_be_written_is_found_before_anything_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "run", lambda *args, **kwargs: pytest.fail("computed"))
    with pytest.raises(FileNotFoundError, match="no"):
        replay.to_csv(tmp_path / "no" / "such.csv")
    with pytest.raises(UserError, match=f"`path` must be a file to write; {tmp_path} is a folder"):
        replay.to_csv(tmp_path)


@pytest.mark.parametrize("failure", [KeyboardInterrupt, MemoryError])
def test_a_replay_that_is_interrupted_leaves_the_old_file(
    failure: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise failure

    (tmp_path / "replay.csv").write_text("old")
    monkeypatch.setattr(replay, "run", fail)
    with pytest.raises(failure):
        replay.to_csv(tmp_path / "replay.csv")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("replay.csv", "old")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pairs": [(4, 4)]}, "a pair must be two different digits from 0 to 9 such as (4, 9); got (4, 4)"),
        ({"pairs": [(3, 12)]}, "a pair must be two different digits from 0 to 9 such as (4, 9); got (3, 12)"),
        ({"pairs": [(1, 2, 3)]}, "a pair must be two different digits from 0 to 9 such as (4, 9); got (1, 2, 3)"),
        ({"pairs": "all"}, "a pair must be two different digits from 0 to 9 such as (4, 9); got 'a'"),
        ({"pairs": []}, "at least one seed, width, pair and step"),
        ({"widths": [0]}, "`widths` must be whole numbers of at least 1; got 0"),
        ({"widths": [-2]}, "`widths` must be whole numbers of at least 1; got -2"),
        ({"widths": []}, "at least one seed, width, pair and step"),
        ({"seeds": []}, "at least one seed, width, pair and step"),
        ({"seeds": [-1]}, "`seed` must be a whole number from 0 to 4294967295; got -1"),
        ({"seeds": [2**32]}, "`seed` must be a whole number from 0 to 4294967295"),
        ({"steps": 0}, "and a positive `lr`; got 3, 11, 5, steps=0 and lr=0.03"),
        ({"lr": 0}, "and a positive `lr`; got 3, 11, 5, steps=100 and lr=0"),
        ({"lr": float("nan")}, "and a positive `lr`"),
        ({"dataset": "letters"}, "`dataset` must be one of auto, mnist"),
    ],
)
def test_a_replay_that_cannot_be_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        replay.run(**({"dataset": "digits"} | arguments))
    assert message in str(error.value)


def test_a_learning_rate_trains_as_the_published_recipe_does() -> None:
    data = replay.split((4, 9), 0, dataset="digits")
    rows = replay.learning_rates(data, [0.1, 1.0], widths=(2, 5), n_seeds=2, steps=8)
    task = load_task((4, 9), dataset="digits")
    swapped = {"x_train": data.x_train.float(), "y_train": data.y_train.float(), "live": data.x_train.bool().any(0)}
    task = type(task)(**{**vars(task), **swapped})
    for lr, found in rows.groupby("lr"):
        population, seen = Population.grid((2, 5), range(2), n_features=64), []
        look = lambda _, p, seen=seen: seen.append(replay._f1(p(task.x_train).detach(), task.y_train))  # noqa: E731
        train(population, task, PUBLISHED.but(lr=lr, epochs=7), on_epoch=look)
        np.testing.assert_allclose(found.best_train_f1, torch.stack(seen).amax(0), atol=0.01)
        np.testing.assert_allclose(found.final_train_f1, seen[-1], atol=0.01)
    assert rows.groupby("lr").final_train_f1.mean().is_monotonic_increasing


def test_the_printed_numbers_are_those_of_the_data_folder() -> None:
    printed = replay.printed()
    assert list(printed) == ["quantity", "pair", "width", "condition", "value", "spread", "source"]
    assert len(printed) > 10


def test_a_run_on_other_data_has_no_printed_number_beside_it() -> None:
    for dataset in ("digits", "fashion-mnist", "folder:mine"):
        assert len(replay.printed(dataset)) == 0
        assert list(replay.printed(dataset)) == list(replay.printed())
    assert len(replay.printed("mnist")) == len(replay.printed()) > 20
