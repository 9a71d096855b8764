"""How to cite the book: `CITATION.cff` is the one source, from which the front page's box is made."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from lowcap.errors import UserError

FILE = "CITATION.cff"
BOX = Path("book") / "_generated" / "citation.md"
REQUIRED = ("cff-version", "message", "title", "authors", "version", "date-released", "references")


def read(root: Path) -> dict[str, Any]:
    """The checkout's `CITATION.cff`; raises UserError for a file that is no YAML or lacks what a citation needs."""
    try:
        facts = yaml.safe_load((root / FILE).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{root / FILE} is not valid YAML: {' '.join(str(error).split())}") from None
    missing = [key for key in REQUIRED if key not in facts] if isinstance(facts, dict) else list(REQUIRED)
    if missing:
        raise UserError(f"{root / FILE} lacks {', '.join(missing)}; a citation needs {', '.join(REQUIRED)}")
    return facts


def write(root: Path, stage: Path, address: str | None) -> None:
    """Write the box for the front page; nothing for a book without `CITATION.cff`."""
    if (root / FILE).is_file():
        (stage / BOX).write_text(box(read(root), address), encoding="utf-8")


def box(facts: Mapping[str, Any], address: str | None) -> str:
    """Markdown with the citation of the book and of the paper that it replays, as text and as BibTeX.

    `address` is the book's repository on the web, if it has one.
    """
    book = _entry(facts) | ({"url": address} if address else {})
    entries = [book, *map(_entry, facts["references"])]
    return _block("text", map(_text, entries)) + _block("bibtex", map(_bibtex, entries))


def _block(language: str, parts: Iterable[str]) -> str:
    return f"```{{code-block}} {language}\n:class: citation\n" + "\n\n".join(parts) + "\n```\n\n"


def _entry(facts: Mapping[str, Any]) -> dict[str, str]:
    """The fields of one work, named as in BibTeX."""
    year = str(facts.get("year") or str(facts["date-released"])[:4])
    fields = {"author": " and ".join(map(_name, facts["authors"])), "title": facts["title"], "year": year}
    if "version" in facts:
        fields["version"] = str(facts["version"])
    return fields | {key: facts[key] for key in ("doi", "url") if key in facts}


def _name(author: Mapping[str, str]) -> str:
    """A person as "family, given"; a group in braces, so that no program takes it apart."""
    return f"{author['family-names']}, {author['given-names']}" if "family-names" in author else f"{{{author['name']}}}"


def _text(entry: Mapping[str, str]) -> str:
    author = entry["author"].replace("{", "").replace("}", "")
    version = f" Version {entry['version']}." if "version" in entry else ""
    link = f"https://doi.org/{entry['doi']}" if "doi" in entry else entry.get("url", "")
    return f"{author} ({entry['year']}). {entry['title']}.{version} {link}".strip()


def _bibtex(entry: Mapping[str, str]) -> str:
    key = "".join(c for c in entry["author"].split(",")[0].lower() if c.isalnum()) + entry["year"]
    key = key if "," in entry["author"] else f"lowcap{entry['year']}"
    lines = "".join(f"  {name} = {{{value}}},\n" for name, value in entry.items())
    return f"@misc{{{key},\n{lines}}}"
