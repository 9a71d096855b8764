"""The types of chapters' parameters: what each accepts, in words, in which unit, and what it costs.

Each chapter's folder has a module `parameters` with one class, one line per parameter. The `parameters` cell of the
notebook is written from that class by `lowcap.notebook.parameters.cell`, and a test holds the two together.
"""

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, GetCoreSchemaHandler
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, core_schema

from lowcap.classes import pair_in_order
from lowcap.values import DATASETS as FETCHED
from lowcap.values import LARGEST_SEED, STUDY_PAIRS, STUDY_SEEDS

FIVE_PAIRS = [list(pair) for pair in STUDY_PAIRS]
SEEDS = list(STUDY_SEEDS)
LINEAR = "run time in proportion"  # the cost of more


@dataclass(frozen=True)
class Allowed:
    """What a parameter may be, in words, and the type that a notebook writes for it."""

    words: str
    notebook_type: str


def _not_empty(values: tuple) -> tuple:
    if not values:
        raise ValueError("the list is empty; name at least one")
    return values


def _unique(values: tuple) -> tuple:
    _not_empty(values)
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


def _no_percentage(value: float) -> float:
    if not 0 <= value <= 1:
        raise ValueError(f"did you mean {value / 100:g}?" if 1 < value <= 100 else "there is no such share")
    return value


def _known(dataset: str) -> str:
    """The name of a dataset; whether a folder is there and what it holds is seen when it is read."""
    path = dataset.removeprefix("folder:")
    if dataset not in NAMED_DATASETS and (path == dataset or not path.strip() or "\0" in path):
        near = get_close_matches(dataset.strip("\"' ").lower(), NAMED_DATASETS, n=1)
        raise ValueError(f"did you mean {near[0]}?" if near else "there is no such dataset")
    return dataset


def _listed(values: Any) -> Any:
    """Lists as tuples, which a frozen model keeps frozen."""
    return tuple(values) if isinstance(values, list) else values


@dataclass(frozen=True)
class ListOf(Allowed):
    """What a list may be: it comes as a list or tuple, becomes a tuple, and must not be empty.

    Pydantic asks an annotation for its schema; so one of these stands for three validators and the words.
    """

    unique: bool = True

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        check = _unique if self.unique else _not_empty
        values = core_schema.no_info_after_validator_function(check, handler(source))
        return core_schema.no_info_before_validator_function(_listed, values)


_Class = Annotated[int, Field(strict=True, ge=0, le=9)]
_Width = Annotated[int, Field(strict=True, ge=1, le=4096)]
_Seed = Annotated[int, Field(strict=True, ge=0, le=LARGEST_SEED)]
_Rate = Annotated[float, Field(strict=True, gt=0, le=100)]
_Penalty = Annotated[float, Field(strict=True, gt=0, le=1e9)]
_Between = Annotated[float, Field(strict=True, gt=0, lt=1)]
Pair = Annotated[
    tuple[_Class, _Class],
    AfterValidator(pair_in_order),
    BeforeValidator(_not_a_number),
    Allowed("two different classes from 0 to 9, written [4, 9]", "list[int]"),
]
Pairs = Annotated[
    tuple[Pair, ...],
    ListOf("a list of pairs, each two different classes from 0 to 9, written [[4, 9], [3, 8]]", "list[list[int]]"),
]
Widths = Annotated[
    tuple[_Width, ...], ListOf("a list of different whole numbers from 1 to 4096, written [2, 8, 64]", "list[int]")
]
Seeds = Annotated[
    tuple[_Seed, ...],
    ListOf(f"a list of different whole numbers from 0 to {LARGEST_SEED}, written [0, 42]", "list[int]"),
]
Rates = Annotated[
    tuple[_Rate, ...],
    ListOf("a list of different numbers above 0 and up to 100, written [0.01, 0.1]", "list[float]"),
]
Penalties = Annotated[
    tuple[_Penalty, ...],
    ListOf("a list of different numbers above 0 and up to 1e9, written [1.0, 10.0]", "list[float]"),
]
Share = Annotated[
    float,
    Field(strict=True),
    AfterValidator(_no_percentage),
    Allowed("a fraction from 0 to 1", "float"),
]
Shares = Annotated[
    tuple[_Between, ...],
    ListOf("a list of different fractions between 0 and 1, both excluded, written [0.4, 0.8]", "list[float]"),
]
Hidden = Annotated[
    tuple[_Width, ...], ListOf("a list of whole numbers from 1 to 4096, written [300, 100]", "list[int]", unique=False)
]
Init = Literal["he", "published"]
NAMED_DATASETS = ("auto", *FETCHED)
Dataset = Annotated[
    str,
    Field(strict=True),
    AfterValidator(_known),
    Allowed(f"one of {', '.join(NAMED_DATASETS)}, or folder:PATH with a folder of images per class", "str"),
]


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


def parameter(
    default: Any, meaning: str, bounds: tuple[float, float] | None = None, unit: str = "", cost: str = "none"
) -> Any:
    low, high = bounds or (None, None)
    strict = True if bounds else None
    notes: dict[str, Any] = {"unit": unit, "cost": cost}
    return Field(default, description=meaning, ge=low, le=high, strict=strict, json_schema_extra=notes)


class Parameters(BaseModel):
    """Base of every chapter's parameters: nothing unknown, nothing changed later, no infinities."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)
