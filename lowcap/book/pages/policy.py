"""A strict Content-Security-Policy: pages run and load only files of the site itself, and nothing that stands in them.

What the theme and pandas write into pages (scripts, styles, handlers of clicks) moves into files. The policy is the
same for every page, so a server may send it as a header too; as a `<meta>` tag it also holds where no server is.
"""

import hashlib
import html
import re
from dataclasses import dataclass, field
from pathlib import Path

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; worker-src blob:; form-action 'self'; base-uri 'none'"
)
PLACE = Path("_static") / "moved"
TAG = re.compile(r"<[a-zA-Z][\w-]*(?:\s+[^\s=<>\"'/]+(?:\s*=\s*(?:\"[^\"]*\"|'[^']*'|[^\s\"'<>]+))?)+\s*/?>")
SCRIPTS = re.compile(r"(?:<script(?![^>]*\b(?:src|type)=)[^>]*>.*?</script>\s*)+", re.DOTALL)
SCRIPT = re.compile(r"<script[^>]*>(.*?)</script>", re.DOTALL)
STYLE = re.compile(r"<style[^>]*>(.*?)</style>", re.DOTALL)
NOSCRIPT = re.compile(r"<noscript>.*?</noscript>", re.DOTALL)
HANDLER = re.compile(r"\son(\w+)=\"([^\"]*)\"")
LOOK = re.compile(r"\sstyle=\"([^\"]*)\"")
CLASS = re.compile(r"\sclass=\"([^\"]*)\"")
LISTEN = (
    "for (const e of document.querySelectorAll('[data-on-{event}=\"{name}\"]'))\n"
    '  e.addEventListener("{event}", function (event) {{ {code} }});\n'
)


def apply(site: Path) -> None:
    """Move what stands in the pages of `site` into files, and give each page the policy."""
    (site / PLACE).mkdir(parents=True, exist_ok=True)
    for path in site.rglob("*.html"):
        page = _Page(site, "../" * (len(path.relative_to(site).parts) - 1))
        path.write_text(page.rewritten(path.read_text(encoding="utf-8")), encoding="utf-8")


@dataclass
class _Page:
    """One page on its way; `up` leads from it to the root of the site."""

    site: Path
    up: str
    styles: dict[str, None] = field(default_factory=dict)  # in order, each once
    handlers: dict[str, None] = field(default_factory=dict)

    def rewritten(self, text: str) -> str:
        if "<head>" not in text:
            return text
        text = SCRIPTS.sub(lambda found: self._script("".join(f"{s}\n" for s in SCRIPT.findall(found[0]))), text)
        text = NOSCRIPT.sub(lambda found: STYLE.sub(lambda style: self._sheet(style[1]), found[0]), text)
        text = STYLE.sub(self._keep, text)
        text = TAG.sub(lambda found: self._tag(found[0]), text)
        head = f'<head>\n<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        text = text.replace("<head>", head, 1)
        if self.styles:
            text = text.replace("</head>", self._sheet("\n".join(self.styles)) + "\n</head>", 1)
        if self.handlers:
            text = text.replace("</body>", self._script("".join(self.handlers)) + "</body>", 1)
        return text

    def _keep(self, style: re.Match[str]) -> str:
        self.styles[style[1].strip()] = None
        return ""

    def _tag(self, tag: str) -> str:
        """A tag without handlers and looks of its own."""
        for event, code in HANDLER.findall(tag):
            self.handlers[LISTEN.format(event=event, name=_name(code), code=_text(code))] = None
        tag = HANDLER.sub(lambda found: f' data-on-{found[1]}="{_name(found[2])}"', tag)
        look = LOOK.search(tag)
        if look is None:
            return tag
        name = f"look-{_name(look[1])}"
        self.styles[f".{name}.{name}.{name} {{ {_text(look[1])} }}"] = None  # thrice, to win as the attribute did
        tag = LOOK.sub("", tag)
        if CLASS.search(tag):
            return CLASS.sub(lambda found: f' class="{found[1]} {name}"', tag)
        return re.sub(r"^<[\w-]+", lambda found: f'{found[0]} class="{name}"', tag)

    def _script(self, code: str) -> str:
        return f'<script src="{self.up}{self._moved(code, "js")}"></script>\n'

    def _sheet(self, style: str) -> str:
        return f'<link rel="stylesheet" href="{self.up}{self._moved(style, "css")}">'

    def _moved(self, text: str, kind: str) -> str:
        path = PLACE / f"{_name(text)}.{kind}"
        (self.site / path).write_text(text, encoding="utf-8")
        return path.as_posix()


def _name(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def _text(attribute: str) -> str:
    return html.unescape(attribute)
