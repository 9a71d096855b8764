"""What the theme ships and a site does not use: rules of its style sheets, scripts. The rest stays."""

import re
from collections.abc import Set
from pathlib import Path

OURS = {"lowcap.css", "explorables.css", "print.css"}  # left as they were written, to be read
RULE = re.compile(r"([^{}]+)\{([^{}]*)\}")  # innermost braces: a selector and its declarations
EMPTY = re.compile(r"@(?:media|supports|container|layer)\b[^{};]*\{\s*\}")
COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
CLASS = re.compile(r"\.((?!\d)(?:[\w-]|\\.)+)")
EITHER = re.compile(r":(?:not|is|where|has)\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)|\[[^\]]*\]")
STEM = 4  # a script may put a class together, from "bs-tooltip-" and "top"; shorter beginnings say nothing
SEARCH = re.compile(r'\s*<script src="[^"]*(?:searchtools|language_data|searchindex)\.js[^"]*"></script>')
EMPTIED = re.compile(r'\s*<script[^>]* src="[^"]*scripts/fontawesome\.js[^"]*"></script>')
DESIGN = re.compile(r"\s*<(?:script|link)\b[^>]*(?:design-tabs\.js|sphinx-design\.min\.css)[^>]*>(?:</script>)?")


def thin(site: Path) -> None:
    """Drop rules for classes that nothing on the site has, and what pages load without using it."""
    pages = {path: path.read_text("utf-8") for path in site.rglob("*.html")}
    used = {
        name for page in pages.values() for value in re.findall(r'class=["\']([^"\']*)', page) for name in value.split()
    }
    design = any(name.startswith("sd-") for name in used)
    for path, page in pages.items():
        lean = EMPTIED.sub("", page)
        lean = lean if path.name == "search.html" else SEARCH.sub("", lean)
        path.write_text(lean if design else DESIGN.sub("", lean), encoding="utf-8")
    words = {word for path in site.glob("_static/**/*.js") for word in re.findall(r"[\w-]+", path.read_text("utf-8"))}
    stems = tuple(word for word in words if word.endswith("-") and len(word) > STEM)
    for path in site.glob("_static/**/*.css"):
        if path.name not in OURS:
            path.write_text(kept(path.read_text("utf-8"), used | words, stems), encoding="utf-8")


def kept(sheet: str, names: Set[str], stems: tuple[str, ...] = ()) -> str:
    """The sheet without selectors that need a class which is not in `names` and starts with none of the `stems`."""

    def usable(selector: str) -> bool:
        needed = (name.replace("\\", "") for name in CLASS.findall(EITHER.sub("", selector)))
        return all(name in names or (stems and name.startswith(stems)) for name in needed)

    def lean(rule: re.Match[str]) -> str:
        head, selectors = _split(rule[1])
        if selectors[0].lstrip().startswith("@"):
            return rule[0]
        left = [selector for selector in selectors if usable(selector)]
        return f"{head}{','.join(left)}{{{rule[2]}}}" if left else head

    sheet, before = RULE.sub(lean, COMMENT.sub("", sheet)), ""
    while sheet != before:
        sheet, before = EMPTY.sub("", sheet), sheet
    return sheet


def _split(text: str) -> tuple[str, list[str]]:
    """What stands before a rule (`@import ...;`), and its selectors, which commas outside brackets part."""
    head, _, selectors = text.rpartition(";")
    parts, depth = [""], 0
    for character in selectors:
        depth += (character in "([") - (character in ")]")
        if character == "," and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return f"{head};" if head else "", parts
