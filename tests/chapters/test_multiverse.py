"""Other choices, other verdicts: universes are counted right, and each question starts from what its chapter does."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr

from lowcap import statistics, training
from lowcap.chapters.capacity import experiments as capacity
from lowcap.chapters.held_up import multiverse, other_questions, questions_over_pairs
from lowcap.chapters.held_up.multiverse import Question, explore, kept, shares
from lowcap.chapters.magnitude import experiments as magnitude
from lowcap.chapters.replay import experiments as replay
from lowcap.chapters.replay import pruned_study
from lowcap.chapters.robustness import experiments as robustness
from lowcap.errors import UserError
from lowcap.notebook import claims
from lowcap.recipe import ADAM, CONVERGED, PUBLISHED
from lowcap.tasks import load_task

TOY = Question(
    "graceful",
    "toy",
    {"a": {"one": 1, "two": 2}, "b": {"low": 0, "middle": 1, "high": 2}},
    lambda option: (option["a"] + option["b"] > 2, option["a"] == 2),
)


def test_every_combination_is_a_universe_and_ours_is_the_first():
    rows = explore([TOY])
    assert rows["verdict"].tolist() == [
        "does not hold", "does not hold", "holds", "holds in part", "holds", "holds",
    ]  # fmt: skip
    assert rows["changed"].tolist() == [0, 1, 1, 1, 2, 2]
    alone = rows.loc[rows["changed"] == 1, ["choice", "ours", "option"]].to_numpy().tolist()
    assert alone == [["b", "low", "middle"], ["b", "low", "high"], ["a", "one", "two"]]
    assert rows.loc[rows["changed"] != 1, ["choice", "ours", "option"]].isna().all(axis=None)


def test_universes_are_summed_up():
    rows = explore([TOY])
    line = kept(rows).loc["graceful"]
    assert (line["name"], line["verdict"]) == ("toy", "does not hold")
    assert (line["alternatives"], line["turns"], line["universes"]) == (3, 2, 6)
    assert line["agree"] == pytest.approx(2 / 6)
    found = shares(rows).loc["toy"]
    assert found.sum() == pytest.approx(1)
    assert found["holds"] == pytest.approx(3 / 6)
    assert found["holds in part"] == pytest.approx(1 / 6)
    assert found["not tested here"] == 0


def test_a_question_is_about_a_claim_and_has_alternatives():
    with pytest.raises(UserError, match=r"id of a claim in claims\.toml; got 'x'"):
        Question("x", "x", {}, lambda option: (True, False))
    with pytest.raises(UserError, match="choice `a` needs options, our own first; got none"):
        Question("graceful", "x", {"a": {}}, lambda option: (True, False))
    alone = explore([Question("graceful", "x", {"a": {"one": 1}}, lambda option: (True, False))])
    assert kept(alone).loc["graceful", ["alternatives", "turns", "universes", "agree"]].to_list() == [0, 0, 1, 1]


def test_a_table_of_texts_breaks_its_lines(monkeypatch):
    shown, text = [], "<b>a</b> " + 89 * "long " + "long"
    monkeypatch.setattr(multiverse, "show", shown.append)
    multiverse.table(pd.DataFrame({"a": [text], "b": [2]}, pd.Index(["one"], name="claim")))
    html = shown[0]["text/html"]
    assert html.startswith('<table class="dataframe texts">')
    assert "<th>claim</th>" in html
    assert f"<td>{text}</td>" in html


def test_what_turns_a_verdict_is_listed():
    found = multiverse.turned(explore([TOY]))
    assert found.index.tolist() == ["toy", "toy"]
    assert found["exchanged"].tolist() == ["b: low → <b>high</b>", "a: one → <b>two</b>"]
    assert found["verdict"].tolist() == ["does not hold → <b>holds</b>", "does not hold → <b>holds in part</b>"]


def test_choices_are_listed_with_ours_in_bold():
    odd = Question("graceful", "odd", {"a < b": {"1 & 2": 1, "3": 3}}, lambda option: (True, False))
    found = multiverse.listed([TOY, odd])
    assert found["universes"].to_dict() == {"toy": 6, "odd": 2}
    assert found.loc["toy"].iloc[0] == "a: <b>one</b>, two<br>b: <b>low</b>, middle, high"
    assert found.loc["odd"].iloc[0] == "a &lt; b: <b>1 &amp; 2</b>, 3"


def test_an_interval_over_digits_is_the_jackknife_of_digits():
    rng = np.random.default_rng(2)
    names = [f"{a}-{b}" for a in range(6) for b in range(a + 1, 6)]
    hard = pd.Series(rng.normal(size=15), names)
    needed = hard + rng.normal(size=15)
    over = questions_over_pairs.correlation(hard, needed, "digits")
    each = []
    for digit in "012345":
        left = [name for name in names if digit not in name]
        each.append(spearmanr(hard[left], needed[left]).statistic)
    error = np.sqrt(np.sum((np.array(each) - np.mean(each)) ** 2))
    whole = spearmanr(hard, needed).statistic
    assert over.to_list() == pytest.approx([whole, whole - 1.96 * error, whole + 1.96 * error])
    assert (
        questions_over_pairs.correlation(hard, needed, "pairs").to_list()
        == statistics.rank_correlation(hard, needed).to_list()
    )
    assert np.isnan(
        questions_over_pairs.correlation(hard[:3], needed[:3], "digits")["low"]
    )  # two digits less leave too few pairs
    assert questions_over_pairs.correlation(hard, hard, "digits").to_list() == pytest.approx([1, 1, 1])


@pytest.fixture(scope="module")
def pairs():
    """Rows of trained and pruned networks on four pairs of the bundled digits."""
    names = [(0, 1), (4, 9), (2, 7), (0, 9)]
    recipes = {"SGD": CONVERGED.but(epochs=3), "Adam": ADAM.but(epochs=2)}
    found = {
        name: questions_over_pairs.pruned_pairs(names, [2, 4, 8], range(2), recipe, [4, 8], dataset="digits")
        for name, recipe in recipes.items()
    }
    return {k: v[0] for k, v in found.items()}, {k: v[1] for k, v in found.items()}, names


def test_pairs_are_trained_as_by_the_chapters(pairs):
    rows, pruned, names = pairs
    recipe = CONVERGED.but(epochs=3).stretched(load_task([0, 1], dataset="digits"))
    own = capacity.sweep(names, [2, 4, 8], range(2), recipe, dataset="digits")
    for column in ("f1", "accuracy"):
        one = rows["SGD"].query("pair == '0-1'")[column].to_numpy()
        assert np.allclose(one, own.query("pair == '0-1'")[column].to_numpy())
    first = pruned["SGD"].query("layers == 'first'")
    by_chapter = magnitude.sweep(
        [(4, 9)], [2, 4, 8], range(2), CONVERGED.but(epochs=3), [0.0, 0.9], dataset="digits"
    ).query("width > 2")
    keys = ["width", "seed", "level"]
    both = first.query("pair == '4-9' and level in [0.0, 0.9]").set_index(keys)["f1"]
    assert both.sort_index().to_numpy() == pytest.approx(by_chapter.set_index(keys)["f1"].sort_index().to_numpy())
    assert set(pruned["SGD"]["width"]) == {4, 8}
    tenths = pruned["SGD"].query("pair == '2-7'")["level"].unique()
    assert set(tenths) == set(questions_over_pairs.LEVELS)  # not a pair of the study
    assert set(questions_over_pairs.TENTHS) <= set(pruned["SGD"].query("pair == '4-9'")["level"])


def test_minimum_widths_are_judged_on_printed_pairs(pairs):
    frame = pd.DataFrame(
        [
            (pair, w, s, f1, f1)
            for pair in ("0-1", "4-9")
            for w, f1 in ((2, 0.5), (4, 0.95), (16, 0.95))
            for s in (0, 1)
        ],
        columns=["pair", "width", "seed", "f1", "accuracy"],
    )
    question = questions_over_pairs.minimum_width(
        {"SGD": frame, "Adam": frame.assign(f1=0.95)}, threshold=0.9, dataset="mnist"
    )
    option = {"optimiser": "SGD", "score": "f1", "over the starts": "mean", "wide enough": True}
    assert question.judged(option) == (False, True)  # 0-1 needs the 4 that are printed, 4-9 needs 4 instead of 12
    assert question.judged(option | {"optimiser": "Adam"}) == (False, False)
    never = questions_over_pairs.minimum_width({"SGD": frame.assign(f1=0.5)}, threshold=0.9, dataset="mnist")
    assert never.judged(option) == (True, True)  # no pair gets by with less
    none = questions_over_pairs.minimum_width(pairs[0], threshold=0.9, dataset="digits")
    assert none.judged({"optimiser": "SGD", "score": "f1", "over the starts": "mean", "wide enough": True}) == (
        None,
        False,
    )


def test_questions_over_pairs_have_an_answer_in_every_universe(pairs):
    rows, pruned, names = pairs
    hard = questions_over_pairs.difficulties(names, dataset="digits")
    assert ((hard >= 0) & (hard < 0.5)).all(axis=None)
    questions = [
        questions_over_pairs.capacity_difficulty(rows, hard, threshold=0.9, tolerance=0.005, factor=1.5),
        questions_over_pairs.simple_tasks(pruned, hard, 4, least=0.9, tolerance=0.01, factor=2.0),
    ]
    found = explore(questions)
    assert found.groupby("claim").size().to_dict() == {"capacity-difficulty": 432, "simple-tasks": 288}
    scores = (
        pd.DataFrame({"pair": names_of(10), "width": 4, "seed": 0, "layers": "first"})
        .assign(rank=range(45))
        .merge(pd.DataFrame({"level": questions_over_pairs.LEVELS}), how="cross")
    )
    scores["f1"] = 0.99 - 0.6 * (scores["level"] > 0.995 * (1 - scores["rank"] / 50))
    hard = pd.DataFrame({"linear": range(45), "nearest": range(45)}, index=names_of(10))
    both = {"SGD": pd.concat([scores, scores.assign(width=8)])}
    judged = questions_over_pairs.simple_tasks(both, hard, 4, least=0.9, tolerance=0.01, factor=2.0).judged
    option = {"optimiser": "SGD", "width": 4, "pruned": "first", "over the starts": "mean", "interval": "pairs"}
    option |= {"tolerance": 0.01, "times the error": 2.0}
    assert judged(option) == (True, True)  # the harder, the less
    hard["linear"] = -hard["linear"]
    assert questions_over_pairs.simple_tasks(both, hard, 4, least=0.9, tolerance=0.01, factor=2.0).judged(option) == (
        False,
        False,
    )


def names_of(n):
    return [f"{a}-{b}" for a in range(n) for b in range(a + 1, n)]


def test_the_studys_own_networks_are_pruned_as_in_chapter_3():
    levels, pairs = [0.0, 0.5, 0.9], [(4, 9)]
    rows = other_questions.studys_own(levels, [4, 6], [0, 42], pairs, dataset="digits")
    own = pruned_study.published(levels, seeds=[0, 42], pairs=pairs, widths=[4, 6], dataset="digits").query(
        "kind == 'true'"
    )
    keys = ["width", "seed", "level"]
    same = rows.query("pruned == 'both layers' and images == 'held out'").set_index(keys)["f1"].sort_index()
    assert same.to_numpy() == pytest.approx(own.set_index(keys)["f1"].sort_index().to_numpy(), abs=1e-12)
    dense = rows.query("level == 0").pivot_table(index=["width", "seed"], columns=["pruned", "images"], values="f1")
    assert (dense["both layers"] == dense["first layer"]).all(axis=None)  # severity 0 is the identity


def falls(step):
    """Rows of one network that loses so much F1 at every tenth, as of `studys_own` and as of `pruned_pairs`."""
    levels = sorted({*questions_over_pairs.TENTHS, 0.95, 0.99})
    rows = pd.DataFrame(
        {"level": levels, "f1": [1 - step * 10 * level for level in levels], "pair": "4-9", "width": 24}
    )
    every = [
        rows.assign(pruned=pruned, images=images)
        for pruned in ("both layers", "first layer")
        for images in ("held out", "official")
    ]
    return pd.concat([*every, pd.concat(every).assign(width=64)]), rows.assign(layers="first")


def test_falls_are_judged_by_their_largest_step():
    steep, gentle = falls(0.06), falls(0.04)
    option = {"pruned": "both layers", "images": "held out", "over the starts": "mean", "width": 24, "optimiser": "SGD"}
    for own, after, verdict in ((gentle, steep, (True, False)), (steep, gentle, (False, True))):
        question = other_questions.graceful(own[0], {"SGD": after[1], "Adam": after[1]}, 24)
        assert question.judged(option | {"graceful up to": 0.05}) == verdict
    harm = other_questions.pruning_unharmed(falls(0.0005)[0], 24)
    bars = [(0.001, (False, False)), (0.004, (False, True)), (0.01, (True, True))]
    for bar, verdict in bars:
        assert harm.judged(option | {"unharmed below": bar}) == verdict


def test_what_can_go_without_loss_is_counted_per_width():
    shares = np.arange(11) / 10
    rows = pd.concat(
        pd.DataFrame({"width": width, "network": 0, "by": by, "read_out": "plain", "removed": range(11),
                      "kept": range(10, -1, -1), "share": shares, "val": np.where(shares <= last, 0.9, 0.1),
                      "test": np.where(shares <= 0.2, 0.9, 0.1)})
        for width, by, last in ((10, "firing", 0.3), (10, "weighted", 0.7), (10, "random", 0.9), (20, "firing", 0.7),
                                (20, "weighted", 0.1), (20, "random", 0.1))
    )  # fmt: skip
    question = other_questions.trace_no_loss(rows, least=0.6, loss=0.005)
    verdicts = {(row.choice, row.option): row.verdict for row in explore([question]).query("changed == 1").itertuples()}
    assert explore([question])["verdict"].iloc[0] == "holds in part"  # random goes further, but only `best` may use it
    assert verdicts["width", "20"] == "holds"
    assert verdicts["score", "the best of three"] == "holds"
    assert verdicts["chosen on", "test images"] == "does not hold"


def test_integrated_gradients_from_a_black_image_lie_on_ink_by_arithmetic():
    task = load_task([4, 9], dataset="digits")
    dense = training.trained(task, [4], range(2), CONVERGED.but(epochs=2).stretched(task))
    start = training.start(task, [4], range(2), CONVERGED)
    for networks in ({"study": dense, "converged": dense}, {"study": start, "converged": start}):
        question = other_questions.saliency_strokes(networks, task.x_test[:10])
        option = {
            "map": "integrated gradients",
            "a pixel is ink above": 0.0,
            "ink at least so many times as bright": 3.0,
        }
        assert question.judged(option) == (True, True)
    assert question.judged(option | {"map": "gradient"}) == (False, False)  # of networks at their start


def test_robustness_is_judged_by_what_it_means():
    tasks = [load_task([4, 9], dataset="digits", split_seed=i) for i in range(2)]
    networks = robustness.trained(tasks, PUBLISHED.but(epochs=5), [2, 6], 2)
    found = explore([other_questions.robust_published(networks, 2, 6, sigma=0.3, patch=7)])
    assert len(found) == 81
    assert set(found["verdict"]) <= {"holds", "holds in part", "does not hold"}
    same = robustness.trained(tasks, PUBLISHED.but(epochs=0), [2, 6], 2)
    for task, population in same:
        population.w_in.data *= 0  # nothing is seen, so nothing is lost, whatever the width
        assert torch.equal(population(task.x_test), population(task.x_test[:1]).expand(len(task.x_test), -1))
    none = explore([other_questions.robust_published(same, 2, 6, sigma=0.3, patch=7)])
    assert set(none["verdict"]) == {"does not hold"}


def test_a_late_descent_of_random_features_speaks_against_feature_learning():
    tasks = [load_task("all", dataset="digits"), load_task([4, 9], dataset="digits")]
    question = other_questions.feature_learning(tasks, 60, (0.1, 0.2), 8, 2)
    found = explore([question])
    assert len(found) == 36
    narrow = {"training images": 60, "wrong labels": 0.2, "widest, times the images": 8}
    assert question.judged(narrow | {"late descent, of the rise": 0.25}) == (False, False)
    assert question.judged(narrow | {"late descent, of the rise": 1e9}) == (True, True)


def test_the_claims_that_are_asked_again_are_known_and_their_figures_too():
    assert "choices" in claims.catalogue()
    assert claims.catalogue()["choices"].chapter == "11-held-up"
    assert multiverse.MARKS.keys() >= {claim.expected for claim in claims.catalogue().values()}
    assert replay.printed("mnist").query("quantity == 'minimum_width'")["pair"].nunique() >= 4
