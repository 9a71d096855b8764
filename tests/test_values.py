"""Values that stand once: what names them agrees with where they come from."""

from lowcap import tasks, values
from lowcap.chapters.replay import experiments as replay
from lowcap.data import mnist_files
from lowcap.notebook import parameter_types, parameters


def test_the_datasets_are_those_that_can_be_read() -> None:
    assert values.DATASETS == tasks.DATASETS == (*mnist_files.CLASSES, "digits")
    assert ("auto", *values.DATASETS) == parameter_types.NAMED_DATASETS


def test_the_studys_pairs_seeds_and_widths_are_those_of_its_own_rows() -> None:
    rows = replay.reference()
    assert set(rows["pair"]) == {f"{a}-{b}" for a, b in values.STUDY_PAIRS}
    assert sorted(set(rows["width"])) == list(values.STUDY_WIDTHS)
    assert set(rows["seed"]) <= set(values.STUDY_SEEDS)


def test_every_chapter_that_names_the_studys_seeds_or_looks_closely_has_the_same() -> None:
    own = {chapter: parameters.schema(chapter)().model_dump() for chapter in parameters.chapters()}
    assert {p["sparsity"] for p in own.values() if "sparsity" in p} == {values.CLOSE}
    assert all(values.CLOSE in p["sparsities"] for p in own.values() if "sparsities" in p)
    assert {p["pairs"] for p in own.values() if "pairs" in p} == {values.STUDY_PAIRS}
    others = [p["seeds"] for chapter, p in own.items() if "seeds" in p and chapter != "07-saliency"]  # in another order
    assert set(others) == {values.STUDY_SEEDS}
