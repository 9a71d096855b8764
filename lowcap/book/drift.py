"""Whether two runs of the book agree: recorded numbers side by side, verdicts too."""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lowcap.errors import BuildError, UserError

NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?")
TOLERANCE = 0.005  # other processors round differently; a training amplifies that a little
TIMED = "_speed_"  # in the keys of measured times, of which no two runs have the same
Results = Mapping[str, Any]


def read(place: str) -> Results:
    """A site's `results.json` from a file or an https address; UserError when there is none."""
    try:
        if place.startswith("https://"):
            from urllib.request import urlopen

            with urlopen(place, timeout=60) as answer:
                found = json.load(answer)
        else:
            found = json.loads(Path(place).read_text(encoding="utf-8"))
        return {"results": found["results"], "claims": found["claims"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{place} must be the results.json of a built book, as a file or https address: {error}"
        ) from None


def compare(before: Results, after: Results, tolerance: float = TOLERANCE) -> list[str]:
    """One line for each number that moved by more than `tolerance` (of 1, or of itself where it is larger), for each
    text and verdict that changed, and for each that only one of the two has. What measured times give may change."""
    old, new = _flat(before), _flat(after)
    lines = [f"{key}: only in the {'first' if key in old else 'second'}" for key in sorted({*old} ^ {*new})]
    moved = sorted(key for key in {*old} & {*new} if not (TIMED in key or _same(old[key], new[key], tolerance)))
    return lines + [f"{key}: {old[key]} became {new[key]}" for key in moved]


def _flat(found: Results) -> dict[str, Any]:
    numbers = {f"{chapter} {key}": value for chapter, own in found["results"].items() for key, value in own.items()}
    return numbers | {f"claim {claim['id']}": claim["verdict"] for claim in found["claims"]}


def _same(old: Any, new: Any, tolerance: float) -> bool:
    """Whether two values agree: numbers, and those within texts, to the tolerance; all else to the letter."""
    texts = [str(value).replace("\N{MINUS SIGN}", "-") for value in (old, new)]
    words, numbers = ([pattern(text) for text in texts] for pattern in (NUMBER.split, NUMBER.findall))
    pairs = zip(*(map(float, found) for found in numbers), strict=False)
    return words[0] == words[1] and all(math.isclose(a, b, rel_tol=tolerance, abs_tol=tolerance) for a, b in pairs)


def check(before: str, after: str, tolerance: float = TOLERANCE) -> int:
    """How many numbers and verdicts agree; BuildError listing those that do not."""
    old, new = read(before), read(after)
    lines = compare(old, new, tolerance)
    if lines:
        raise BuildError(f"{len(lines)} numbers or verdicts differ: {'; '.join(lines)}")
    return len(_flat(new))
