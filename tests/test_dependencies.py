"""What has changed, and nothing else, runs again: keys of chapters and origins of sweeps, in both directions."""

import ast
import re
import shutil
import sys
from collections.abc import Callable
from importlib.metadata import packages_distributions
from pathlib import Path

import nbformat
import pytest
from test_layers import ASKED_AGAIN

from lowcap import dependencies, provenance, templates
from lowcap.book import cache
from lowcap.files import PACKAGE
from lowcap.notebook import parameters
from lowcap.sweep.shards import NAMES

ROOT = PACKAGE.parent
NOTEBOOKS = {path.stem: path for path in sorted((ROOT / "book").glob("*.ipynb"))}
IDENTITY = {"name": "digits", "files": {}}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the checkout, as far as keys reach; its root."""
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("lowcap", "data/published", "book"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    return tmp_path


def key(tree: Path, chapter: str) -> str:
    """The key of a chapter in a checkout."""
    return cache.cache_key(tree / "book" / f"{chapter}.ipynb", {"width": 4}, IDENTITY, tree / "lowcap")


def sweep(tree: Path, experiment: str) -> dict:
    """What a sweep of an experiment follows from, in a checkout."""
    names = (f"lowcap.sweep.experiments.{experiment}", "lowcap.sweep.work")
    return dependencies.of_modules(*names, package=tree / "lowcap").facts()


def more(path: Path) -> None:
    """Another statement."""
    path.write_text(path.read_text("utf-8") + "\nANOTHER = 1\n", "utf-8")


def other_number(path: Path) -> None:
    path.write_text(re.sub(r"\d\.\d", "7.7", path.read_text("utf-8"), count=1), "utf-8")


def comment(path: Path) -> None:
    path.write_text("# Another comment.\n" + path.read_text("utf-8") + "# and another\n", "utf-8")


def docstrings(path: Path) -> None:
    """Other docstrings, of the module and of all that is in it."""
    module = ast.parse(path.read_text("utf-8"))
    found = [node for node in ast.walk(module) if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)]
    for node in found:
        if ast.get_docstring(node) is not None:
            node.body[0] = ast.Expr(ast.Constant("Something else."))
    assert ast.get_docstring(module) == "Something else."
    path.write_text(ast.unparse(module), "utf-8")


def layout(path: Path) -> None:
    """The same code as another formatter would write it."""
    before = path.read_text("utf-8")
    path.write_text(ast.unparse(ast.parse(before)), "utf-8")
    assert path.read_text("utf-8") != before


def claim_of(chapter: str) -> Callable[[Path], None]:
    """Another criterion of the first claim of this chapter."""

    def change(path: Path) -> None:
        entry = re.search(rf'criterion = "(?=[^\n]*\nchapter = "{chapter}")', path.read_text("utf-8"))
        assert entry
        text = path.read_text("utf-8")
        path.write_text(f"{text[: entry.end()]}Another one. {text[entry.end() :]}", "utf-8")

    return change


AGAIN = [
    ("book/03-magnitude.ipynb", lambda path: path.write_text(path.read_text().replace("epochs", "epochs ", 1))),
    ("lowcap/chapters/magnitude/parameters.py", more),
    ("lowcap/chapters/magnitude/experiments.py", more),
    ("lowcap/chapters/replay/pruned_study.py", more),
    ("lowcap/training.py", more),
    ("lowcap/data/mnist_files.py", more),  # through tasks alone
    ("lowcap/notebook/figures.py", more),
    ("lowcap/notebook/__init__.py", more),
    ("lowcap/book/execute.py", more),
    ("lowcap/explorables/elements.py", more),
    ("data/published/replay_seed0.csv", other_number),
    ("book/static/explorables/core.js", comment),
    ("book/static/explorables.css", comment),
    ("lowcap/notebook/templates/claim_box.html", comment),
    ("lowcap/explorables/templates/controls.html", comment),
    ("lowcap/claims.toml", claim_of("03-magnitude")),
]
NOT_AGAIN = [
    ("lowcap/cli.py", more),
    ("lowcap/provenance.py", more),
    ("lowcap/dependencies.py", more),
    ("lowcap/book/build.py", more),
    ("lowcap/book/gate.py", more),
    ("lowcap/book/pages/site.py", more),
    ("lowcap/book/pages/ledger_page.py", more),
    ("lowcap/sweep/engine.py", more),
    ("lowcap/chapters/capacity/experiments.py", more),
    ("lowcap/chapters/capacity/parameters.py", more),
    ("lowcap/chapters/held_up/multiverse.py", more),
    ("book/02-capacity.ipynb", comment),
    ("book/static/reading.js", comment),
    ("lowcap/book/pages/templates/paper.html", comment),
    ("lowcap/chapters/held_up/templates/choices.html", comment),
    ("lowcap/claims.toml", claim_of("02-capacity")),
    ("lowcap/claims.toml", comment),
    ("lowcap/training.py", comment),
    ("lowcap/training.py", docstrings),
    ("lowcap/training.py", layout),
    ("lowcap/chapters/magnitude/parameters.py", docstrings),
]


@pytest.mark.parametrize(("name", "change"), AGAIN, ids=[name for name, _ in AGAIN])
def test_what_a_chapter_follows_from_makes_it_run_again(name: str, change: Callable, tree: Path) -> None:
    before = key(tree, "03-magnitude")
    change(tree / name)
    assert key(tree, "03-magnitude") != before


@pytest.mark.parametrize(("name", "change"), NOT_AGAIN, ids=[f"{name} {how.__name__}" for name, how in NOT_AGAIN])
def test_what_a_chapter_does_not_follow_from_leaves_it_alone(name: str, change: Callable, tree: Path) -> None:
    before = key(tree, "03-magnitude")
    change(tree / name)
    assert key(tree, "03-magnitude") == before


@pytest.mark.parametrize("name", ["data/published/replay_seed0.csv", "book/static/explorables/core.js"])
def test_files_count_only_where_they_are_read(name: str, tree: Path) -> None:
    before = key(tree, "04-threshold")
    other_number(tree / name)
    comment(tree / name)
    assert key(tree, "04-threshold") == before


def test_the_chapter_that_asks_for_all_claims_follows_all_of_them(tree: Path) -> None:
    before = key(tree, "11-held-up")
    claim_of("02-capacity")(tree / "lowcap" / "claims.toml")
    assert key(tree, "11-held-up") != before


def test_versions_and_the_kind_of_machine_make_a_chapter_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {key(ROOT, "04-threshold")}
    monkeypatch.setattr(cache, "versions", lambda: {"torch": "0"})
    keys.add(key(ROOT, "04-threshold"))
    monkeypatch.setattr(cache.platform, "machine", lambda: "vax")
    assert len(keys | {key(ROOT, "04-threshold")}) == 3


def test_an_installed_package_has_its_files_inside(tree: Path) -> None:
    before = key(tree, "03-magnitude")
    shutil.move(tree / "data" / "published", tree / "lowcap" / "published")
    shutil.copytree(tree / "book" / "static", tree / "lowcap" / "static")
    assert key(tree, "03-magnitude") == before


@pytest.mark.parametrize(
    "name",
    ["sweep/experiments/capacity.py", "sweep/experiments/block.py", "sweep/work.py", "evaluation.py", "data/folder.py"],
)
def test_what_a_sweep_follows_from_ends_it(name: str, tree: Path) -> None:
    before = sweep(tree, "capacity")
    more(tree / "lowcap" / name)
    assert sweep(tree, "capacity") != before


@pytest.mark.parametrize(
    "name",
    [
        "cli.py",
        "claims.toml",
        "book/build.py",
        "book/pages/site.py",
        "chapters/tracing/activations.py",
        "chapters/capacity/experiments.py",
        "notebook/figures.py",
        "sweep/engine.py",
        "sweep/pools.py",
        "sweep/chapters.py",
        "sweep/experiments/tickets.py",
    ],
)
def test_what_a_sweep_does_not_follow_from_lets_it_go_on(name: str, tree: Path) -> None:
    before = sweep(tree, "capacity")
    more(tree / "lowcap" / name)
    assert sweep(tree, "capacity") == before


@pytest.mark.parametrize("name", NAMES)
def test_a_sweep_loads_no_other_experiment_and_neither_the_book_nor_the_engine(name: str) -> None:
    found = set(dependencies.of_modules(f"lowcap.sweep.experiments.{name}", "lowcap.sweep.work").modules)
    ours = {f"lowcap.sweep.experiments{part}" for part in ("", ".block", f".{name}")}
    assert {one for one in found if one.startswith("lowcap.sweep.experiments")} == ours
    assert not [one for one in found if one.startswith(("lowcap.book", "lowcap.notebook", "lowcap.sweep.engine"))]


@pytest.mark.parametrize("chapter", NOTEBOOKS)
def test_a_chapter_follows_from_no_other_but_the_replay(chapter: str) -> None:
    found = dependencies.of_chapter(nbformat.read(NOTEBOOKS[chapter], as_version=4), chapter).modules
    own = chapter[3:].replace("-", "_")
    folders = {name.split(".")[2] for name in found if name.startswith("lowcap.chapters.")}
    assert own in folders
    assert folders - {own, "replay"} == (ASKED_AGAIN if own == "held_up" else set())
    described = {name for name in found if name.startswith("lowcap.chapters.") and name.endswith(".parameters")}
    assert described == {parameters.schema(chapter).__module__}
    assert not [name for name in found if name.startswith(("lowcap.book", "lowcap.sweep", "lowcap.cli"))]


def test_imports_are_found_wherever_they_stand(tmp_path: Path) -> None:
    package = tmp_path / "lowcap"
    for folder in ("one", "two", "two/three"):
        (package / folder).mkdir(parents=True)
        (package / folder / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "one" / "a.py").write_text("import numpy\ndef f():\n    if f:\n        from lowcap import b, nothing\n")
    (package / "one" / "c.py").write_text("from . import a\nfrom ..two.three.d import x\n")
    (package / "two" / "__init__.py").write_text("import lowcap.e as other\n")
    for name in ("b", "e", "never", "two/three/d"):
        (package / f"{name}.py").touch()
    found = dependencies.of_modules("lowcap.one.c", package=package).modules
    assert list(found) == [
        "lowcap", "lowcap.b", "lowcap.e", "lowcap.one", "lowcap.one.a", "lowcap.one.c", "lowcap.two",
        "lowcap.two.three", "lowcap.two.three.d",
    ]  # fmt: skip


def test_ipythons_own_commands_do_not_hide_what_a_cell_imports() -> None:
    cells = ["%matplotlib inline\nfrom lowcap import tasks", "this is no Python", "from lowcap import files"]
    notebook = {"cells": [{"cell_type": "code", "source": source} for source in cells]}
    assert {"lowcap.tasks", "lowcap.files"} <= dependencies.of_chapter(notebook, "01-toy").modules.keys()


def mentions(*names: str) -> set[str]:
    """The modules of lowcap in whose code one of these names stands."""
    found = set()
    for module, path in MODULES.items():
        nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
        said = {node.id for node in nodes if isinstance(node, ast.Name)}
        said |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
        found |= {module} if said & set(names) else set()
    return found


def test_the_versions_of_all_packages_that_chapters_import_count() -> None:
    found = set()
    for chapter, path in NOTEBOOKS.items():
        about = dependencies.of_chapter(nbformat.read(path, as_version=4), chapter)
        for text in [*about.sources, *(path.read_text("utf-8") for path in about.modules.values())]:
            nodes = list(ast.walk(ast.parse(text)))
            found |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
            found |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    roots = {name.partition(".")[0] for name in found} - {*sys.stdlib_module_names, "lowcap"}
    ours = {
        "filelock",  # makes processes wait for each other, and decides nothing
        "pydantic_core",  # comes with pydantic, at the version that this one needs
    }
    distributions = {packages_distributions()[root][0] for root in roots - ours}
    assert distributions <= set(provenance.PACKAGES)
    assert len(distributions) > 10


def test_nothing_is_computed_from_docstrings_since_they_do_not_count() -> None:
    assert mentions("__doc__", "getdoc", "getsource", "getcomments") == set()


def test_modules_import_by_computed_names_only_where_it_is_followed() -> None:
    assert mentions("import_module", "__import__", "exec_module", "run_module") == {
        "lowcap.notebook.schemas",  # the parameters of the chapter that runs
        "lowcap.sweep.experiments.block",  # the experiment that is swept, where it begins
    }


def test_every_module_that_reads_files_of_the_package_says_so() -> None:
    reading = mentions("joinpath", "read_text", "read_bytes", "read_csv", "open", "__file__")
    reading |= {name for name, path in MODULES.items() if re.search(r"import .*\bbeside\b", path.read_text("utf-8"))}
    above = ("lowcap.book", "lowcap.sweep", "lowcap.cli")  # no chapter follows from these
    others = {
        "lowcap.dependencies",
        "lowcap.files",  # finds them for others
        "lowcap.templates",  # fills those beside the modules that import it, which count
        "lowcap.provenance",  # the machine's, for the record
        "lowcap.data.folder",  # images, whose identity is part of the key
        "lowcap.data.mnist_files",
    }
    known = {*dependencies.READS, dependencies.CLAIMS, *others}
    assert {module for module in reading if not module.startswith(above)} - known == set()
    assert {*dependencies.READS, dependencies.CLAIMS} <= reading


def test_a_template_takes_nothing_from_another_folder_and_so_counts_where_it_is_filled() -> None:
    found = sorted(PACKAGE.rglob("templates/*"))
    assert found
    for template in found:
        taken = templates.files(template.relative_to(PACKAGE).as_posix())
        assert {path.parent for path in taken} == {template.parent}
    filling = {MODULES[name].parent / "templates" for name in mentions("render")}
    assert {template.parent for template in found} == filling - {PACKAGE / "templates"}


@pytest.mark.parametrize("module", dependencies.READS)
def test_files_that_a_module_says_it_reads_are_there(module: str) -> None:
    installed, _, patterns = dependencies.READS[module]
    facts = dependencies.of_modules(module).facts()
    assert all(any(Path(name).match(f"{installed}/{pattern}") for name in facts) for pattern in patterns)
