"""The typed parameters of each chapter: what may be changed, within which bounds, in which unit, and what it costs.

One class per chapter, one line per parameter. The `parameters` cell of a chapter is written from its class by
`lowcap.parameters.cell`, and a test holds the two together.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.fields import FieldInfo

FIVE_PAIRS = [[0, 1], [1, 7], [4, 9], [3, 8], [5, 6]]
LARGEST_SEED = 2**32 - 1  # what NumPy's legacy generator takes


@dataclass(frozen=True)
class Allowed:
    """What a parameter may be, in words, and the type that a notebook writes for it."""

    words: str
    notebook_type: str


def _unique(values: tuple) -> tuple:
    if not values:
        raise ValueError("the list is empty; name at least one")
    twice = sorted({value for value in values if values.count(value) > 1})
    if twice:
        raise ValueError(f"{', '.join(_written(value) for value in twice)} comes twice; name each once")
    return values


def _written(value: Any) -> str:
    return str(list(value)) if isinstance(value, tuple) else str(value)


def _not_a_number(value: Any) -> Any:
    if isinstance(value, int | float):
        raise ValueError("one number is not a pair, and 4_9 is read as the number 49; write [4, 9]")
    return value


def _two_classes(pair: tuple[int, int]) -> tuple[int, int]:
    """The pair in rising order: class 1 of a task is the larger label, whichever way round the pair was written."""
    if pair[0] == pair[1]:
        raise ValueError("the two classes are the same; name two different ones")
    return min(pair), max(pair)


def _listed(values: Any) -> Any:
    """Lists as tuples, which a frozen model keeps frozen."""
    return tuple(values) if isinstance(values, list) else values


_Class = Annotated[int, Field(strict=True, ge=0, le=9)]
Pair = Annotated[
    tuple[_Class, _Class],
    AfterValidator(_two_classes),
    BeforeValidator(_not_a_number),
    Allowed("two different classes from 0 to 9, written [4, 9]", "list[int]"),
]
Pairs = Annotated[
    tuple[Pair, ...],
    AfterValidator(_unique),
    BeforeValidator(_listed),
    Allowed("a list of pairs, each two different classes from 0 to 9, written [[4, 9], [3, 8]]", "list[list[int]]"),
]
Widths = Annotated[
    tuple[Annotated[int, Field(strict=True, ge=1, le=4096)], ...],
    AfterValidator(_unique),
    BeforeValidator(_listed),
    Allowed("a list of different whole numbers from 1 to 4096, written [2, 8, 64]", "list[int]"),
]
Seeds = Annotated[
    tuple[Annotated[int, Field(strict=True, ge=0, le=LARGEST_SEED)], ...],
    AfterValidator(_unique),
    BeforeValidator(_listed),
    Allowed(f"a list of different whole numbers from 0 to {LARGEST_SEED}, written [0, 42]", "list[int]"),
]
Rates = Annotated[
    tuple[Annotated[float, Field(strict=True, gt=0, le=100)], ...],
    AfterValidator(_unique),
    BeforeValidator(_listed),
    Allowed("a list of different numbers above 0 and up to 100, written [0.01, 0.1]", "list[float]"),
]
Dataset = Literal["auto", "mnist", "fashion-mnist", "kmnist", "digits"]


def allowed(field: FieldInfo) -> Allowed:
    """What `field` accepts, in words, and its type in a notebook; from the same bounds that are enforced."""
    for note in field.metadata:
        if isinstance(note, Allowed):
            return note
    if field.annotation in (int, float):
        low = next(note.ge for note in field.metadata if hasattr(note, "ge"))
        high = next(note.le for note in field.metadata if hasattr(note, "le"))
        kind = "a whole number" if field.annotation is int else "a number"
        return Allowed(f"{kind} from {low} to {high}", field.annotation.__name__)
    return Allowed("one of " + ", ".join(get_args(field.annotation)), "str")


def _field(
    default: Any, meaning: str, bounds: tuple[float, float] | None = None, unit: str = "", cost: str = "none"
) -> Any:
    low, high = bounds or (None, None)
    strict = True if bounds else None
    notes: dict[str, Any] = {"unit": unit, "cost": cost}
    return Field(default, description=meaning, ge=low, le=high, strict=strict, json_schema_extra=notes)


class Parameters(BaseModel):
    """Base of every chapter's parameters: nothing unknown, nothing changed later, no infinities."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)


_LINEAR = "run time in proportion"


class Replay(Parameters):
    """Chapter 1: the published study, replayed."""

    dataset: Dataset = _field("auto", "where the images come from; auto takes MNIST if it is there")
    pairs: Pairs = _field(FIVE_PAIRS, "pairs of classes to tell apart", unit="classes", cost=_LINEAR)
    widths: Widths = _field([2, 4, 6, 8, 10, 12, 16, 24, 32, 48, 64], "hidden widths", unit="units", cost=_LINEAR)
    seeds: Seeds = _field([0, 42, 78], "seeds of the study, one replica each", cost=_LINEAR)
    steps: int = _field(100, "full-batch gradient steps per network", (1, 2000), "steps", _LINEAR)
    lr: float = _field(0.03, "learning rate of the study", (1e-6, 100.0), "per step")
    grid_pair: Pair = _field([4, 9], "pair of the learning-rate grid", unit="classes")
    grid_lrs: Rates = _field([1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0], "learning rates of the grid",
                             unit="per step", cost=_LINEAR)  # fmt: skip
    grid_seeds: int = _field(2, "networks per width and learning rate in the grid", (1, 50), "networks", _LINEAR)


class Capacity(Parameters):
    """Chapter 2: how small can the networks be?"""

    dataset: Dataset = _field("auto", "where the images come from; auto takes MNIST if it is there")
    pair: Pair = _field([4, 9], "the pair that is looked at closely", unit="classes")
    pairs: Pairs = _field(FIVE_PAIRS, "the pairs of the study", unit="classes", cost=_LINEAR)
    widths: Widths = _field([1, 2, 4, 6, 8, 10, 12, 16, 24, 32, 48, 64], "hidden widths", unit="units", cost=_LINEAR)
    n_seeds: int = _field(10, "networks per pair and width", (1, 100), "networks", _LINEAR)
    all_widths: Widths = _field([1, 2, 4, 8, 16, 32, 64], "hidden widths for all pairs", unit="units", cost=_LINEAR)
    all_seeds: int = _field(10, "networks per pair and width for all pairs", (1, 100), "networks", _LINEAR)
    published_seeds: int = _field(3, "replicas by the published protocol", (1, 50), "networks", _LINEAR)
    epochs: int = _field(20, "passes over the training images (more where they are few)", (1, 500), "epochs", _LINEAR)
    lr: float = _field(0.05, "learning rate", (1e-6, 100.0), "per step")
    long_epochs: int = _field(60, "passes in the longer run that checks convergence", (1, 2000), "epochs", _LINEAR)
    threshold: float = _field(0.9, "mean F1 that a width has to exceed, after the paper", (0.0, 1.0), "F1")
    tolerance: float = _field(0.005, "how far below the widest network a width may stay", (0.0, 1.0), "F1")
    factor: float = _field(1.5, "how many times the error of the widest network a width may make", (1.0, 100.0))
    n_pairs: int = _field(45, "how many of the 45 pairs, the five of the study first", (1, 45), "pairs", _LINEAR)


SCHEMAS: dict[str, type[Parameters]] = {"01-replay": Replay, "02-capacity": Capacity}

# Small enough to try a whole chapter in seconds, on the bundled digits; the numbers it gives mean nothing.
FAST: dict[str, dict[str, Any]] = {
    "01-replay": {"pairs": [[0, 1], [4, 9]], "widths": [2, 8, 24], "seeds": [0, 42],
                  "grid_lrs": [0.001, 0.03, 0.3], "grid_seeds": 1},
    "02-capacity": {"pairs": [[0, 1], [4, 9]], "widths": [1, 4, 16], "n_seeds": 3, "all_widths": [1, 4, 16],
                    "all_seeds": 2, "published_seeds": 2, "epochs": 8, "long_epochs": 16, "n_pairs": 8},
}  # fmt: skip
