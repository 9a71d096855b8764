"""The same settings give the same numbers: to the last digit on this machine, within the stated tolerance on another
number of threads. There is no source of chance but seeds that are given."""

import ast
import os
import re

import nbformat
import pytest
import toybook

from lowcap.book import drift
from lowcap.book.build import results
from lowcap.book.execute import execute
from lowcap.notebook import ledger, parameters
from lowcap.parallel import cores

QUICK = {  # the chapters that always run, and what makes them quicker still; the others run weekly
    "01-replay": {},
    "02-capacity": {
        "pairs": [[4, 9]],
        "widths": [1, 4],
        "all_widths": [1, 4],
        "lr": 0.003,  # stopped on the way, where any difference shows
        "epochs": 1,
        "long_epochs": 2,
        "n_pairs": 3,
    },
}
CHAPTERS = [
    pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow, pytest.mark.weekly])
    for name in parameters.chapters()
]
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def run(chapter, folder, monkeypatch, threads):
    """All numbers and verdicts of a chapter at fast settings, in a fresh kernel with so many threads and cores."""
    for name in THREADS:
        monkeypatch.setenv(name, str(threads))
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(sorted(before)[:threads]))
    try:
        path = toybook.REAL / "book" / f"{chapter}.ipynb"
        settings = parameters.fast(chapter) | QUICK.get(chapter, {}) | {"dataset": "digits"}
        done = execute(path, folder, settings, "digits")
    finally:
        os.sched_setaffinity(0, before)
    found = ledger.collect([done.notebook])
    return {"results": results(found), "claims": ledger.verdicts(found)}


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores cannot be taken away here")
@pytest.mark.parametrize("chapter", CHAPTERS)
def test_the_same_numbers_again_and_on_another_number_of_threads(chapter, tmp_path, monkeypatch):
    first, again = (run(chapter, tmp_path, monkeypatch, 1) for _ in range(2))
    assert len(first["results"][chapter]) > 10
    assert drift.compare(first, again, 0.0) == []
    if cores() < 2:
        pytest.skip("this machine has one core")
    assert drift.compare(first, run(chapter, tmp_path, monkeypatch, 2)) == []


GLOBAL = re.compile(
    r"(np|numpy)\.random\.(?!default_rng$|Generator$|SeedSequence$|RandomState$|PCG64$)\w+|random\.(?!Random$)\w+"
    r"|torch\.(random\.\w+|(cuda\.)?(manual_)?seed(_all)?|set_rng_state|initial_seed)|\w*\.?seed_everything"
)
NEEDS = {  # what draws from a global source unless it is given one of its own, and by which argument
    "generator": re.compile(
        r"torch\.(rand|randn|randint|randperm|normal|bernoulli|multinomial|poisson)(_like)?"
        r"|.*\.(normal|uniform|random|bernoulli|exponential|geometric|cauchy|log_normal|xavier_\w+|kaiming_\w+)_"
        r"|.*(DataLoader|random_split|RandomSampler)"
    ),
    "random_state": re.compile(
        r"(.*\.)?(train_test_split|TSNE|UMAP|KMeans|StratifiedKFold|KFold|ShuffleSplit|MLPClassifier|resample|shuffle"
        r"|TruncatedSVD|RandomForestClassifier)|.*\.sample"
    ),
    "rng": re.compile(r"(.*\.)?(bootstrap|permutation_test|monte_carlo_test)"),
}
ALLOWED = {"attribution.py"}  # for Captum, which draws from NumPy's and torch's own streams; both are put back
SEEDED = re.compile(r"(.*\.)?(default_rng|Random|SeedSequence|RandomState)")  # by their first argument


def global_chance(text):
    """The calls in a program that draw from, or seed, a source of chance that others share; in a block
    `with torch.random.fork_rng()` nobody does."""
    tree = ast.parse(text)
    forks = [
        n for n in ast.walk(tree) if isinstance(n, ast.With) and "torch.random.fork_rng" in ast.unparse(n.items[0])
    ]
    alone = {id(inner) for fork in forks for inner in ast.walk(fork)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and id(node) not in alone:
            name, given = ast.unparse(node.func), {keyword.arg for keyword in node.keywords}
            needed = [argument for argument, names in NEEDS.items() if names.fullmatch(name)]
            unseeded = SEEDED.fullmatch(name) and not (node.args or given)
            if GLOBAL.fullmatch(name) or unseeded or set(needed) - given:
                yield f"line {node.lineno}: {ast.unparse(node)[:80]}"


def sources():
    for path in sorted((toybook.REAL / "lowcap").rglob("*.py")):
        yield path, path.read_text()
    for path in sorted((toybook.REAL / "book").rglob("*.ipynb")):
        cells = nbformat.read(path, as_version=4).cells
        yield path, "\n".join(cell.source for cell in cells if cell.cell_type == "code")


def test_no_chapter_and_no_module_draws_from_a_source_that_others_share():
    found = {path.name: list(global_chance(text)) for path, text in sources()}
    assert {name: calls for name, calls in found.items() if calls and name not in ALLOWED} == {}
    assert all(found[name] for name in ALLOWED)


@pytest.mark.parametrize(
    "text",
    ["np.random.seed(0)", "numpy.random.rand(3)", "torch.manual_seed(1)", "random.shuffle(x)",
     "np.random.default_rng()", "torch.randn(3)", "w.normal_(0, 1)", "TSNE(2)", "df.sample(3)"],
)  # fmt: skip
def test_shared_chance_is_found(text):
    assert list(global_chance(text))
    assert not list(global_chance("rng = np.random.default_rng(7)\nrng.normal(0, 1)\ntorch.randn(3, generator=g)"))
