"""What is asked for never becomes code, and never leads out of its folder."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import nbformat
import papermill
import pytest
import toybook

from lowcap import tasks
from lowcap.book import build
from lowcap.book.run import run
from lowcap.errors import UserError
from lowcap.notebook import parameters

ROOT = Path(__file__).parents[1]
CODE = [*sorted((ROOT / "lowcap").rglob("*.py")), *sorted((ROOT / ".ci").glob("links"))]
HOSTILE = [
    "__import__('os').system('touch owned')",
    "1; open('owned', 'w')",
    "[4, open('owned', 'w')]",
    '"\nopen("owned", "w")\n"',
    "\\\"; open('owned', 'w') #",
    "${open('owned', 'w')}",
    "{0.__class__}",
    "`touch owned`",
    "$(touch owned)",
    "!touch owned",
    "%system touch owned",
]
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "pickle.load", "pickle.loads",
                   "joblib.load", "pd.read_pickle", "torch.load", "np.load", "yaml.load", "yaml.unsafe_load",
                   "tempfile.mktemp", "shutil.unpack_archive"}  # fmt: skip
FORBIDDEN_MODULES = {"pickle", "dill", "marshal", "shelve", "cloudpickle"}
ALLOWED = {"lowcap/book/source.py": {"yaml.load"}}  # by its own loader, a SafeLoader


def calls(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


@pytest.mark.parametrize("path", CODE, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_is_unpickled_evaluated_or_given_to_a_shell(path):
    tree = ast.parse(path.read_text())
    name = path.relative_to(ROOT).as_posix()
    assert {called for called, _ in calls(tree)} & FORBIDDEN_CALLS <= ALLOWED.get(name, set())
    assert not [ast.unparse(k) for _, node in calls(tree) for k in node.keywords if k.arg == "shell"]
    imports = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imports |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not {module.split(".")[0] for module in imports} & FORBIDDEN_MODULES


def test_ruffs_own_list_of_dangers_finds_nothing_either():
    # S101, S603, S607: asserts of our own invariants; programs by name, always as a list and never through a shell.
    # S310: addresses that are checked to start with https. S311: random numbers for science, not for secrets.
    rules = ["--select", "S", "--ignore", "S101,S310,S311,S603,S607,S506"]
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--isolated", *rules, "lowcap"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("value", HOSTILE)
def test_a_value_never_becomes_code(value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for chapter, name in (
        ("01-replay", "pairs"),
        ("01-replay", "lr"),
        ("01-replay", "dataset"),
        ("02-capacity", "pair"),
    ):
        with pytest.raises(UserError, match=f"`{name}` must be"):
            parameters.validate(chapter, {name: value})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["lr;x", "lr x", "__import__('os')", "a.b", "lr\nopen('owned','w')", "../lr"])
def test_a_name_never_becomes_code(name):
    with pytest.raises(UserError, match="name=value"):
        parameters.parse_assignments([f"{name}=1"])


def test_papermill_writes_hostile_values_as_text_and_the_chapter_refuses_them(tmp_path, monkeypatch):
    """All of them in one run: papermill's own injection, then the check in the chapter's second cell."""
    monkeypatch.chdir(tmp_path)
    cells = ["from lowcap.notebook import parameters", "try:\n    parameters.check('01-replay', globals())\n"
             "except ValueError as error:\n    print(error)", "print(repr(values))"]  # fmt: skip
    made = toybook.notebook(parameters.cell("01-replay") + "\nvalues = []", *cells)
    made.cells[1].metadata.tags = ["parameters"]
    nbformat.write(made, "chapter.ipynb")
    given = {"values": HOSTILE, "dataset": HOSTILE[0], "lr": HOSTILE[1], "pairs": HOSTILE[2]}
    done = papermill.execute_notebook("chapter.ipynb", "out.ipynb", given, kernel_name="python3", progress_bar=False)
    said, values = (cell.outputs[0].text for cell in done.cells[-2:])
    assert ast.literal_eval(values) == HOSTILE
    assert all(f"`{name}` must be" in said for name in ("dataset", "lr", "pairs"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["chapter.ipynb", "out.ipynb"]


@pytest.mark.parametrize(
    "name", ["../01-replay", "/etc/passwd", "..", "01-replay/../../x", "01-replay.ipynb", "", "a\0b"]
)
def test_a_chapter_is_one_of_those_there_are_and_nothing_is_written_for_another(name, tmp_path):
    with pytest.raises(UserError, match="there is no chapter"):
        run(ROOT, name, [], tmp_path / "out")
    with pytest.raises(UserError, match="unknown chapter"):
        build.build(ROOT, build.Options(again=(name,), output=tmp_path / "out"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["../mnist", "/etc", "mnist/../../x", "mnist\0", "MNIST"])
def test_a_dataset_is_one_of_those_there_are(name):
    with pytest.raises(UserError, match="dataset"):
        tasks.resolve(name)


def test_a_table_of_contents_cannot_lead_out_of_the_book(tmp_path):
    root = toybook.make(tmp_path / "book")
    (tmp_path / "outside.md").write_text("# Outside")
    toc = (root / "_toc.yml").read_text()
    (root / "_toc.yml").write_text(toc + "  - file: ../outside\n")
    with pytest.raises(UserError, match=r"\.\./outside.*in the folder book"):
        build.build(root, build.Options(dataset="digits"))
    assert json.dumps(sorted(path.name for path in tmp_path.iterdir())) == '["book", "outside.md"]'
