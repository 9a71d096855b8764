"""The archive of the book: complete, checkable, the same bytes for the same book, and only ever of a book that is up to
date. The crate in it is read back with `rocrate`."""

import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import nbformat
import pytest
import toybook
import yaml
from jsonschema import Draft7Validator
from rocrate.rocrate import ROCrate

from lowcap.book.publish import archive as module
from lowcap.book.publish.archive import archive, check
from lowcap.errors import BuildError, UserError

ROOT = Path(__file__).parents[3]
OUTPUT = Path("_build")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A book with a figure, a number and a judged claim; tests leave it as it was."""
    root = tmp_path_factory.mktemp("archive") / "book"
    shutil.copytree(toybook.built(tmp_path_factory), root, symlinks=True)
    (root / ".ci").mkdir()
    for name in module.BESIDE:
        shutil.copy(ROOT / name, root / name)
    return root


@pytest.fixture(scope="module")
def packed(root):
    return archive(root, OUTPUT, root / "dist" / "book.zip")


@pytest.fixture(scope="module")
def unpacked(packed, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(packed) as archived:
        archived.extractall(folder)
    return folder


@pytest.fixture
def facts(root):
    return json.loads((root / "_build/html/provenance.json").read_text())["01-replay"]


def test_all_that_belongs_to_the_book_is_in_the_archive(root, unpacked):
    site = (root / "_build" / "html").resolve()
    pages = {f"site/{p.relative_to(site).as_posix()}" for p in site.rglob("*") if p.is_file()}
    inside = {p.relative_to(unpacked).as_posix() for p in unpacked.rglob("*") if p.is_file()}
    beside = {"notebooks/01-replay.ipynb", "results.json", "provenance.json", "ro-crate-metadata.json", "SHA256SUMS"}
    assert inside == pages | beside | {Path(name).name for name in module.BESIDE}
    executed = nbformat.read(unpacked / "notebooks/01-replay.ipynb", as_version=4)
    assert [cell.execution_count for cell in executed.cells if cell.cell_type == "code"] == [1, 2, 3]


def test_check_sums_are_those_of_coreutils(unpacked):
    done = subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=unpacked, capture_output=True)
    assert done.returncode == 0, done.stderr
    lines = (unpacked / "SHA256SUMS").read_text().splitlines()
    assert len(lines) == sum(p.is_file() for p in unpacked.rglob("*")) - 1


def test_the_same_book_gives_the_same_bytes(root, packed, tmp_path):
    later = {path: path.stat().st_mtime + 5000 for path in (root / "_build/html").resolve().rglob("*.html")}
    for path, time in later.items():
        os.utime(path, (time, time))
    assert archive(root, OUTPUT, tmp_path / "again.zip").read_bytes() == packed.read_bytes()


def test_the_crate_says_what_ran_on_what_with_what(unpacked, facts):
    crate = ROCrate(unpacked)
    (run,) = crate.get_by_type("CreateAction")
    assert run["endTime"] == facts["executed"]
    assert run["result"] == [crate.get("notebooks/01-replay.ipynb")]
    given = {thing["name"]: thing["value"] for thing in run["object"] if thing.type == "PropertyValue"}
    assert {name: json.loads(value) for name, value in given.items()} == facts["parameters"]
    (data,) = [thing for thing in run["object"] if thing.type == "Dataset"]
    assert data["name"] == "digits"
    assert str(facts["data"]["n_test"]) in data["description"]
    needs = {need["name"]: need["softwareVersion"] for need in run["instrument"]["softwareRequirements"]}
    assert needs == facts["versions"]
    assert run["duration"] == f"PT{facts['seconds']:g}S"


def test_the_crate_holds_the_ledger(unpacked):
    (review,) = ROCrate(unpacked).get_by_type("ClaimReview")
    (claim,) = json.loads((unpacked / "results.json").read_text())["claims"]
    assert review["claimReviewed"] == claim["sentence"]
    assert review["reviewBody"] == claim["criterion"]
    assert review["reviewRating"]["name"] == claim["verdict"] == "holds"
    assert [(n["name"], n["value"]) for n in review["hasPart"]] == [("compared", "5")]


def test_every_file_that_the_crate_lists_is_there_with_its_sum_and_every_reference_leads_somewhere(unpacked):
    crate = ROCrate(unpacked)
    listed = [entity for entity in crate.data_entities if entity.type == "File"]
    sums = dict(reversed(line.split("  ")) for line in (unpacked / "SHA256SUMS").read_text().splitlines())
    assert {entity.id: entity["sha256"] for entity in listed} == {
        name: digest
        for name, digest in sums.items()
        if not name.startswith("site/") and name != "ro-crate-metadata.json"
    }
    graph = json.loads((unpacked / "ro-crate-metadata.json").read_text())["@graph"]
    ids = {entity["@id"] for entity in graph}
    pointed = {value["@id"] for entity in graph for value in _flat(entity) if isinstance(value, dict)}
    assert {id_ for id_ in pointed - ids if not id_.startswith("https://")} == set()


def _flat(entity):
    for value in entity.values():
        yield from value if isinstance(value, list) else [value]


def test_an_archive_that_was_altered_or_cut_off_is_told(packed, tmp_path):
    assert check(packed) > 20
    other = tmp_path / "other.zip"
    with zipfile.ZipFile(packed) as old, zipfile.ZipFile(other, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(b"digits", b"mnist!"))
    with pytest.raises(BuildError, match=r"altered.*results\.json|altered.*provenance\.json"):
        check(other)
    other.write_bytes(packed.read_bytes()[:-5000])
    with pytest.raises(BuildError, match="damaged"):
        check(other)
    with zipfile.ZipFile(packed) as old, zipfile.ZipFile(other, "w") as new:
        for name in old.namelist()[1:]:
            new.writestr(name, old.read(name))
    with pytest.raises(BuildError, match=r"missing.*CITATION\.cff"):
        check(other)
    with pytest.raises(UserError, match="no file"):
        check(tmp_path / "nowhere.zip")


def test_without_a_book_there_is_no_archive(root, tmp_path):
    with pytest.raises(BuildError, match=r"no book in elsewhere.*make book"):
        archive(root, Path("elsewhere"), tmp_path / "book.zip")


@pytest.mark.parametrize("name", ["book/01-replay.ipynb", "book/index.md"])
def test_a_book_that_is_not_that_of_the_sources_is_not_packed(root, tmp_path, name):
    path = root / name
    text = path.read_text()
    path.write_text(text.replace("A chapter", "The chapter").replace("A toy", "The toy"))
    try:
        with pytest.raises(BuildError, match=r"not that of the sources: (01-replay|book/index\.md) changed.*make book"):
            archive(root, OUTPUT, tmp_path / "book.zip")
    finally:
        path.write_text(text)
    assert not list(tmp_path.iterdir())


def test_where_nothing_can_be_written_the_last_archive_stays(root, packed, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="--out must be a file that can be written; got"):
        archive(root, OUTPUT, tmp_path / "file" / "book.zip")
    before = packed.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    with pytest.raises(UserError, match="No space left on device"):
        archive(root, OUTPUT, packed)
    assert packed.read_bytes() == before
    assert [path.name for path in packed.parent.iterdir()] == ["book.zip"]


def test_a_wheel_of_other_code_is_refused_and_one_of_this_code_is_packed(root, tmp_path):
    (root / "dist").mkdir(exist_ok=True)
    wheel = root / "dist" / f"lowcap-{module.version('lowcap')}-py3-none-any.whl"
    package = root / "lowcap"
    package.mkdir()
    (package / "core.py").write_text("answer = 42\n")
    try:
        for source, told in (("answer = 41\n", True), ("answer = 42\n", False)):
            with zipfile.ZipFile(wheel, "w") as made:
                made.writestr("lowcap/core.py", source)
            if told:
                with pytest.raises(BuildError, match="other sources"):
                    archive(root, OUTPUT, tmp_path / "book.zip")
            else:
                with zipfile.ZipFile(archive(root, OUTPUT, tmp_path / "book.zip")) as packed:
                    assert packed.read(wheel.name) == wheel.read_bytes()
    finally:
        wheel.unlink()
        shutil.rmtree(package)


def test_the_citation_file_is_valid():
    schema = json.loads((ROOT / "tests" / "cff-1.2.0.json").read_text())
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert [error.message for error in Draft7Validator(schema).iter_errors(citation)] == []
    del citation["authors"]
    assert [error.message for error in Draft7Validator(schema).iter_errors(citation)]
