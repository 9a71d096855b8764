"""The benchmarks: rivals train the very networks that ours trains, and a fast run measures everyone."""

import json
import re
from pathlib import Path
from types import ModuleType

import pytest
import torch

from lowcap.population import Population
from lowcap.recipe import CONVERGED
from lowcap.tasks import load_task

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def baselines(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import baselines

    return baselines


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import __main__

    return __main__


@pytest.mark.parametrize("classes", [(4, 9), (1, 4, 9)])
@pytest.mark.parametrize("name", ["OneByOne", "Tight", "Stacked", "Wide"])
def test_a_rival_trains_the_same_networks_as_ours(baselines: ModuleType, name: str, classes: tuple) -> None:
    task = load_task(classes, dataset="digits")
    starts = Population.grid((1, 3, 5), (0, 1), n_features=64, n_outputs=task.n_outputs).double()
    two_steps = CONVERGED.but(batch_size=len(task.x_train) // 2 + 1)
    images, before = task.x_test.double(), starts.w_in.detach().clone()
    answers = []
    for kind in (baselines.Ours, getattr(baselines, name)):
        trainer = kind(starts, task, two_steps)
        assert trainer.seconds() > 0
        answers.append(trainer.logits(images).detach())
    torch.testing.assert_close(*answers, rtol=0, atol=1e-10)
    assert torch.equal(starts.w_in, before)
    assert (answers[0] - starts(images).view_as(answers[0])).abs().max() > 1e-3


def test_scikit_learn_trains_networks_of_the_same_sizes_with_the_same_recipe(baselines: ModuleType) -> None:
    task = load_task((4, 9), dataset="digits")
    trainer = baselines.Sklearn(Population([3, 5], [0, 1], n_features=64), task, CONVERGED)
    trainer.epoch()
    assert [[w.shape for w in model.coefs_] for model in trainer.models] == [[(64, w), (w, 1)] for w in (3, 5)]
    assert {(m.learning_rate_init, m.momentum, m.batch_size, m.n_iter_) for m in trainer.models} == {
        (0.05, 0.9, 128, 1)
    }
    assert ((trainer.logits(task.x_test)[:, 0, 0] > 0).numpy() == trainer.models[0].predict(task.x_test.numpy())).all()


@pytest.mark.weekly
def test_a_fast_run_measures_everyone_and_writes_it_down(
    bench: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    threads = torch.get_num_threads()
    page = tmp_path / "README.md"
    page.write_text("Before\n<!-- bench:start -->\nold\n<!-- bench:end -->\nAfter\n")
    bench.main(["--fast", "--json", str(tmp_path / "speed.json"), "--readme", str(page)])
    found = json.loads((tmp_path / "speed.json").read_text())
    assert torch.get_num_threads() == threads
    assert {"cpu", "cores", "python", "torch", "numpy", "scikit-learn"} <= found["machine"].keys()
    binary, narrow, ten = found["cases"]
    assert [r["name"][:3] for r in binary["rivals"]] == ["(a)", "(b)", "(c)", "(d)", "(e)"]
    assert [r["target"] for r in binary["rivals"]] == [10, 5, 3, 4.5, 1.3]
    assert (narrow["rivals"][0]["target"], ten["rivals"][0]["target"], binary["product"]["target"]) == (40, 2, 0.75)
    for rival in binary["rivals"] + narrow["rivals"] + ten["rivals"]:
        assert 0 < rival["ratio"]["min"] <= rival["ratio"]["median"] <= rival["ratio"]["max"]
        assert rival["reached"] == (rival["ratio"]["median"] >= rival["target"])
        if not rival["name"].startswith("(d)"):
            assert rival["largest_difference"] < 1e-5
            assert rival["f1"] == pytest.approx(rival["f1_ours"], abs=0.01)
    pruning = found["pruning"]
    assert (pruning["networks"], pruning["levels"], pruning["target"]) == (22, 20, 5)
    assert pruning["reached"] == (pruning["seconds"]["median"] <= 5)
    assert pruning["ratio"]["min"] > 0
    assert pruning["same_sizes"]
    assert pruning["largest_difference"] < 1e-5
    assert {job["name"]: job["target"] for job in found["inside"]} == {
        "t-SNE map": 20,
        "attribution": 60,
        "corruption": 30,
    }
    for job in found["inside"]:
        assert job["reached"] == (job["seconds"]["median"] <= job["target"])
        assert (job["ratio"] is None) == (job["name"] == "t-SNE map")
    printed = capsys.readouterr().out
    assert "12 kinds, 6 severities" in printed
    assert "pruning 22 networks to 20 levels" in printed
    assert all(rival["name"] in printed for rival in binary["rivals"])
    assert "The targets are for MNIST; this was digits." in printed

    head, table, tail = re.split(r"<!-- bench:\w+ -->\n", page.read_text())
    assert (head, tail) == ("Before\n", "After\n")
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| ")][1:]
    assert [row[1:3] for row in rows] == [
        [f"{rival['ms']:.2f}", f"{case['ours_ms']:.2f}"] for case in found["cases"] for rival in case["rivals"]
    ]
    assert "digits, " in table
    assert f"a share of {binary['product']['share']['median']:.2f} " in table


def test_the_readme_has_the_table_as_the_benchmarks_write_it(bench: ModuleType) -> None:
    text = (ROOT / "README.md").read_text()
    table = text.split(bench.readme.START)[1].split(bench.readme.END)[0].strip().splitlines()
    names = [line.split(" | ")[0].removeprefix("| ") for line in table if line.startswith("| ")]
    cases = {"4-9": 5, "4-9, widths up to 8": 1, "10 classes": 1}
    assert [name.split("; ")[-1] for name in names[1:]] == [case for case, n in cases.items() for _ in range(n)]
    assert bench.readme.HEAD in "\n".join(table)
    with pytest.raises(ValueError, match="must hold the lines"):
        bench.readme.into("no marks", "new")


def test_no_rounds_are_refused(bench: ModuleType, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stop:
        bench.main(["--rounds", "0"])
    assert stop.value.code == 2
    assert "--rounds must be at least 1; got 0" in capsys.readouterr().err
