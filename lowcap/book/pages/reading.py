"""What the stage adds to a chapter for its readers: links to the glossary, reading time, the notebook to download."""

import re
from collections.abc import Mapping
from pathlib import Path

from nbformat import NotebookNode

GLOSSARY = Path("book") / "glossary.md"
WORDS_PER_MINUTE = 200  # somewhat below what is usual for prose, since there are numbers and formulas in it
ENTRIES = re.compile(r"^```\{glossary\}\n(?:^:[^\n]*\n)*(.*?)^```", re.MULTILINE | re.DOTALL)
NOT_PROSE = r"""
      ^[ ]*(?P<fence>`{3,}|~{3,}|:{3,}).*?^[ ]*(?P=fence)[ ]*$  # code and directives (tables, notes, includes)
    | \$\$.*?\$\$ | \$[^$\n]+(?:\n[^$\n]+)?\$                    # mathematics
    | ^\#.*?$ | ^[ ]*\|.*?$ | ^\([\w-]+\)=[ ]*$                  # headings, tables, labels
    | (?:\{[\w:+-]+\})?(?P<tick>`+)(?!`).+?(?<!`)(?P=tick)(?!`)  # code, roles
    | !?\[[^\]]*\]\([^)]*\) | <a\ .*?</a> | </?[A-Za-z!][^>]*>   # links, pictures, HTML
"""
BEFORE_RUN_TIME = re.compile(r"(?:\*\*Reading time\*\*[^*]*)?(?=\*\*Run time\*\*)")
LAST_OF_OVERVIEW = re.compile(r"(?<=\n)(?=```\n)")


def glossary_terms(folder: Path) -> dict[str, int]:
    """The terms of the glossary under `folder`, each with the number of its entry; empty where there is no glossary."""
    path, terms, entry, inside = folder / GLOSSARY, dict[str, int](), 0, False
    entries = ENTRIES.search(path.read_text(encoding="utf-8")) if path.is_file() else None
    for line in entries[1].splitlines() if entries else []:
        if line.strip() and not line.startswith(" "):
            entry += inside
            inside, terms[line.strip()] = False, entry
        elif line.strip():
            inside = True
    return terms


def link_terms(texts: list[str], terms: Mapping[str, int]) -> list[str]:
    """The Markdown `texts` of one chapter with the first mention of each glossary entry, plurals too, linked to it.

    Only prose is touched: no heading, code, directive, role, mathematics, table, link or HTML.
    """
    pattern, seen = re.compile(f"{NOT_PROSE} | {_any_of(terms)}", re.MULTILINE | re.DOTALL | re.VERBOSE), set[int]()

    def linked(match: re.Match[str]) -> str:
        if not match["term"]:
            return match[0]
        said = " ".join(match["term"].split())
        term = _entry_of(said, terms)
        if terms[term] in seen:
            return match[0]
        seen.add(terms[term])
        return f"{{term}}`{said} <{term}>`"

    return [pattern.sub(linked, text) for text in texts] if terms else list(texts)


def _any_of(terms: Mapping[str, int]) -> str:
    longest_first = sorted(terms, key=len, reverse=True)
    return rf"(?<![\w-])(?P<term>{'|'.join(map(_spelled, longest_first))})(?![\w-])"


def _spelled(term: str) -> str:
    """A pattern of the term at the start of a sentence or within it, singular or plural, over a line's end or not."""
    words = re.escape(term).replace(r"\ ", r"\s+")
    first = f"[{term[0]}{term[0].upper()}]" if term[0].islower() else re.escape(term[0])
    plural = rf"(?:{words[1:-1]}ies|{words[1:]}s?)" if re.search("[^aeiou]y$", term) else rf"{words[1:]}(?:e?s)?"
    return first + plural


def _entry_of(said: str, terms: Mapping[str, int]) -> str:
    return next(term for term in sorted(terms, key=len, reverse=True) if re.fullmatch(_spelled(term), said))


def minutes(notebook: NotebookNode) -> int:
    """Minutes to read a chapter's text and captions, code left aside."""
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    texts += [cell.metadata.get("mystnb", {}).get("figure", {}).get("caption", "") for cell in notebook.cells]
    prose = re.sub(r"\{[\w:+-]+\}`[^`]*`", "x", "\n".join(texts))
    return max(1, round(len(re.findall(r"\w[\w'’.,-]*", prose)) / WORDS_PER_MINUTE))


def dress(notebook: NotebookNode, name: str, terms: Mapping[str, int]) -> None:
    """Make the chapter `name` ready for the site, in place: its first box completed, its terms linked."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "markdown"]
    texts = [cell.source for cell in cells]
    if texts and "**Run time**" in texts[0]:
        texts[0] = _completed(texts[0], minutes(notebook), f"../_sources/book/{name}.ipynb")
    for cell, text in zip(cells, link_terms(texts, terms), strict=True):
        cell.source = text


def _completed(opening: str, time: int, address: str) -> str:
    """The chapter's first text, with the reading time before the run time and the notebook at the end of the box."""
    said = f"**Reading time** {time} minute{'s' * (time > 1)}. "
    offer = f'**Download** <a href="{address}" download>this chapter as a notebook</a> with its results.\n'
    return LAST_OF_OVERVIEW.sub(offer, BEFORE_RUN_TIME.sub(said, opening, count=1), count=1)
