"""The stage: a mirror of the book's sources inside the build folder, where chapters run and pages are made."""

import copy
import re
import shutil
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import yaml

from lowcap.book.source import CONFIG, TOC, Book

IGNORED = shutil.ignore_patterns(".ipynb_checkpoints", "__pycache__", "_generated", "*.failed.ipynb")
GENERATED = Path("book") / "_generated"
MNIST_HELP = (
    "Put the four MNIST files in a folder and name it in LOWCAP_DATA, or let them be downloaded, "
    "then run `make book DATASET=mnist`."
)


def prepare(book: Book, stage: Path) -> None:
    """Make `stage` a fresh copy of the book's folder (its `_config.yml` and `_toc.yml` come with `configure`)."""
    shutil.rmtree(stage, ignore_errors=True)
    shutil.copytree(book.root / "book", stage / "book", ignore=IGNORED)
    (stage / GENERATED).mkdir()


def configure(
    book: Book,
    stage: Path,
    *,
    banner: str,
    repository: str | None,
    chapter: str | None = None,
    one_file: bool = False,
) -> None:
    """Write the staged `_config.yml` and `_toc.yml`; with `chapter` the book is that one and, unless it is to be one
    file, the glossary and the references."""
    config = copy.deepcopy(book.config)
    options = config.setdefault("sphinx", {}).setdefault("config", {}).setdefault("html_theme_options", {})
    if banner:
        options["announcement"] = banner
    if repository:
        _launch(config, repository)
    toc = book.toc if chapter is None else _single(book, chapter, one_file)
    (stage / CONFIG).write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8")
    (stage / TOC).write_text(yaml.safe_dump(toc, sort_keys=False), encoding="utf-8")


def _launch(config: dict[str, Any], repository: str) -> None:
    config["repository"] = {"path_to_book": "", "branch": "main", **config.get("repository", {}), "url": repository}
    # No button for Colab: the theme's opens the notebook of the repository, in which `lowcap` would be missing. The one
    # that a reader downloads brings it along (`bootstrap`), and Colab opens that by File > Upload notebook.
    config["launch_buttons"] = {"notebook_interface": "jupyterlab", "binderhub_url": "https://mybinder.org"}
    config.setdefault("html", {}).update(use_repository_button=True, use_issues_button=True)


def _single(book: Book, chapter: str, one_file: bool) -> dict[str, Any]:
    toc: dict[str, Any] = {"format": "jb-book", "root": _name(book, book.chapters[chapter])}
    needed = [path for path in book.documents if path.stem in {"glossary", "references"} and not one_file]
    if needed:
        toc["chapters"] = [{"file": _name(book, path)} for path in needed]
    return toc


def _name(book: Book, path: Path) -> str:
    return path.relative_to(book.root).with_suffix("").as_posix()


def web_address(remote: str | None) -> str | None:
    """The https address of a repository on GitHub or GitLab from a git remote, without any user or password in it.

    None for a remote that is a folder or lies on another host: a launch button to it would lead nowhere.
    """
    match = re.fullmatch(
        r"(?:(?:https?|ssh|git)://(?:[^@/]*@)?|git@)(git(?:hub|lab)\.com)(?::\d+)?[:/](.+?)(?:\.git)?/?", remote or ""
    )
    return f"https://{match[1]}/{match[2]}" if match else None


def banner(dataset: str, fast: bool, classes: Sequence[str] = ()) -> str:
    """What every page must say at its top when it does not show the book's own results; empty when it does.

    `classes` are the names of the dataset's classes, where they are not digits.
    """
    said, help_in_html = [], re.sub("`(.+?)`", r"<code>\1</code>", MNIST_HELP)
    if dataset == "digits":
        said.append(
            "Computed on scikit-learn’s bundled 8×8 digits, not on MNIST: numbers and verdicts differ from the "
            f"book’s own. {help_in_html}"
        )
    elif dataset != "mnist":
        said.append(f"Computed on {escape(dataset)}, not on MNIST: numbers and verdicts differ from the book’s own.")
    if classes:
        said.append("Its classes: " + ", ".join(f"{i} is {escape(name)}" for i, name in enumerate(classes)) + ".")
    if fast:
        said.append("Fast settings: few networks and few seeds, for a quick look and for tests.")
    return " ".join(said)
