"""The typed parameters of each chapter: what may be changed, within which bounds, in which unit, and what it costs.

One class per chapter, one line per parameter. The `parameters` cell of a chapter is written from its class by
`lowcap.notebook.parameters.cell`, and a test holds the two together.
"""

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator
from pydantic.fields import FieldInfo

FIVE_PAIRS = [[0, 1], [1, 7], [4, 9], [3, 8], [5, 6]]
LARGEST_SEED = 2**32 - 1  # what NumPy's legacy generator takes


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


def _two_classes(pair: tuple[int, int]) -> tuple[int, int]:
    """The pair in rising order: class 1 of a task is the larger label, whichever way round the pair was written."""
    if pair[0] == pair[1]:
        raise ValueError("the two classes are the same; name two different ones")
    return min(pair), max(pair)


def _no_percentage(value: float) -> float:
    if not 0 <= value <= 1:
        raise ValueError(f"did you mean {value / 100:g}?" if 1 < value <= 100 else "there is no such share")
    return value


def _known(dataset: str) -> str:
    """The name of a dataset; whether a folder is there and what it holds is seen when it is read."""
    path = dataset.removeprefix("folder:")
    if dataset not in DATASETS and (path == dataset or not path.strip() or "\0" in path):
        near = get_close_matches(dataset.strip("\"' ").lower(), DATASETS, n=1)
        raise ValueError(f"did you mean {near[0]}?" if near else "there is no such dataset")
    return dataset


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
Penalties = Annotated[
    tuple[Annotated[float, Field(strict=True, gt=0, le=1e9)], ...],
    AfterValidator(_unique),
    BeforeValidator(_listed),
    Allowed("a list of different numbers above 0 and up to 1e9, written [1.0, 10.0]", "list[float]"),
]
Share = Annotated[
    float,
    Field(strict=True),
    AfterValidator(_no_percentage),
    Allowed("a fraction from 0 to 1", "float"),
]
Shares = Annotated[
    tuple[Annotated[float, Field(strict=True, gt=0, lt=1)], ...],
    AfterValidator(_unique),
    BeforeValidator(_listed),
    Allowed("a list of different fractions between 0 and 1, both excluded, written [0.4, 0.8]", "list[float]"),
]
Hidden = Annotated[
    tuple[Annotated[int, Field(strict=True, ge=1, le=4096)], ...],
    AfterValidator(_not_empty),
    BeforeValidator(_listed),
    Allowed("a list of whole numbers from 1 to 4096, written [300, 100]", "list[int]"),
]
Init = Literal["he", "published"]
DATASETS = ("auto", "mnist", "fashion-mnist", "kmnist", "digits")
Dataset = Annotated[
    str,
    Field(strict=True),
    AfterValidator(_known),
    Allowed(f"one of {', '.join(DATASETS)}, or folder:PATH with a folder of images per class", "str"),
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


class Magnitude(Parameters):
    """Chapter 3: magnitude pruning."""

    dataset: Dataset = _field("auto", "where the images come from; auto takes MNIST if it is there")
    pair: Pair = _field([4, 9], "the pair that is looked at closely", unit="classes")
    pairs: Pairs = _field(FIVE_PAIRS, "the pairs of the study", unit="classes", cost=_LINEAR)
    width: int = _field(24, "the width that is looked at closely", (1, 1024), "units", _LINEAR)
    seeds: Seeds = _field([0, 42, 78], "seeds of the study, one replica each", cost=_LINEAR)
    widths: Widths = _field([2, 4, 8, 24, 64], "hidden widths", unit="units", cost=_LINEAR)
    n_seeds: int = _field(10, "networks per pair and width", (2, 100), "networks", _LINEAR)
    n_pairs: int = _field(45, "how many of the 45 pairs, the five of the study first", (1, 45), "pairs", _LINEAR)
    epochs: int = _field(20, "passes over the training images (more where they are few)", (1, 500), "epochs", _LINEAR)
    lr: float = _field(0.05, "learning rate of SGD", (1e-6, 100.0), "per step")
    tune_epochs: int = _field(3, "passes of fine-tuning after pruning", (1, 500), "epochs", _LINEAR)
    sparsity: float = _field(0.95, "the sparsity that is looked at closely", (0.0, 0.999), "fraction")
    least: float = _field(0.9, "F1 that a pruned network has to reach, after the paper", (0.0, 1.0), "F1")
    tolerance: float = _field(0.01, "how far below its dense F1 a pruned network may stay", (0.0, 1.0), "F1")
    factor: float = _field(2.0, "how many times the error of its dense network it may make", (1.0, 100.0))


class Threshold(Parameters):
    """Chapter 4: weights under a threshold."""

    dataset: Dataset = _field("auto", "where the images come from; auto takes MNIST if it is there")
    tau: float = _field(0.4, "threshold after training, and of the steeper ramp", (0.0, 10.0), "size of a weight")
    loop_tau: float = _field(0.001, "threshold inside the training loop", (0.0, 10.0), "size of a weight")
    ramp_tau: float = _field(0.1, "threshold at which the gentler ramp ends", (0.0, 10.0), "size of a weight")
    over: Share = _field(0.8, "share of the training over which a threshold ramps up")
    percentile: Share = _field(0.2, "share of each layer that is removed in the loop")
    high_percentile: Share = _field(0.9, "the same, a larger share")
    taus: Rates = _field([0.001, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6],
                         "thresholds tried after training", unit="size of a weight")  # fmt: skip
    n_train: int = _field(8000, "training images, at most", (100, 60000), "images", _LINEAR)
    epochs: int = _field(3, "passes over the training images (more where they are few)", (1, 100), "epochs", _LINEAR)
    tune_epochs: int = _field(1, "passes of fine-tuning (more where images are few)", (1, 100), "epochs", _LINEAR)
    batch_size: int = _field(32, "images per step", (1, 4096), "images", "run time falls a little")
    lr: float = _field(0.005, "learning rate of AdamW", (1e-6, 100.0), "per step")
    n_seeds: int = _field(2, "convolutional networks per rule", (1, 50), "networks", _LINEAR)
    widths: Widths = _field([24, 256], "hidden widths of the networks without convolutions", unit="units", cost=_LINEAR)
    mlp_seeds: int = _field(3, "networks per width and rule", (1, 100), "networks", _LINEAR)


class Tracing(Parameters):
    """Chapter 5: tracing activations."""

    dataset: Dataset = _field("auto", "where the images come from; auto takes MNIST if it is there")
    width: int = _field(256, "the width that is looked at closely", (4, 1024), "units", _LINEAR)
    widths: Widths = _field([32, 64, 128, 256, 512], "hidden widths", unit="units", cost=_LINEAR)
    n_seeds: int = _field(3, "networks per width", (1, 50), "networks", _LINEAR)
    epochs: int = _field(6, "passes over the training images (more where they are few)", (1, 500), "epochs", _LINEAR)
    lr: float = _field(0.002, "learning rate of Adam at the start", (1e-6, 1.0), "per step")
    tune_epochs: int = _field(2, "passes of retraining after removal", (1, 500), "epochs", _LINEAR)
    target: float = _field(0.95, "accuracy that the smallest subnetwork has to reach", (0.0, 1.0), "accuracy")
    loss: float = _field(0.005, "accuracy that may be lost against the whole network", (0.0, 1.0), "accuracy")
    least: float = _field(0.6, "share of the neurons that can go, as claimed", (0.05, 0.95), "fraction")
    shares: Shares = _field([0.4, 0.6, 0.8], "shares of the neurons removed before retraining", unit="fraction",
                            cost=_LINEAR)  # fmt: skip
    digit: int = _field(3, "the class whose specialist is looked at closely", (0, 9), "class")
    specialist_loss: float = _field(0.02, "balanced accuracy that a specialist may lose", (0.0, 0.5), "accuracy")
    rounds: int = _field(20, "times that each way of computing is timed", (2, 1000), "rounds", "a few seconds")


class Geometry(Parameters):
    """Chapter 6: geometry."""

    dataset: Dataset = _field("auto", "where the images come from; auto takes MNIST if it is there")
    pair: Pair = _field([4, 9], "the pair of classes", unit="classes")
    width: int = _field(24, "width of the networks", (2, 1024), "units", _LINEAR)
    seeds: Seeds = _field([0, 42, 78], "seeds of the study, one replica each", cost=_LINEAR)
    n_seeds: int = _field(10, "networks per protocol, the seeds of the study first", (2, 100), "networks", _LINEAR)
    sparsities: Shares = _field([0.5, 0.8, 0.9, 0.95, 0.99], "true sparsities", unit="fraction", cost=_LINEAR)
    sparsity: float = _field(0.95, "the sparsity that is looked at closely", (0.01, 0.999), "fraction")
    epochs: int = _field(20, "passes over the training images (more where they are few)", (1, 500), "epochs", _LINEAR)
    lr: float = _field(0.05, "learning rate of SGD", (1e-6, 100.0), "per step")
    tune_epochs: int = _field(3, "passes of fine-tuning after pruning", (1, 500), "epochs", _LINEAR)
    n_images: int = _field(1000, "test images that the measures look at, at most", (50, 10000), "images", "quadratic")
    n_points: int = _field(500, "test images in a map, at most", (50, 5000), "images", _LINEAR)
    n_many: int = _field(200, "test images in each of the many maps, at most", (50, 2000), "images", _LINEAR)
    perplexity: float = _field(30.0, "about how many neighbours t-SNE looks at", (2.0, 500.0), "images")
    perplexities: Rates = _field([5.0, 30.0, 100.0], "values of it tried once", unit="images", cost=_LINEAR)
    k: int = _field(10, "nearest neighbours that are looked at, at most a third of the images", (1, 100), "images")


class Saliency(Parameters):
    """Chapter 7: saliency."""

    dataset: Dataset = _field("auto", "where the images come from; auto takes MNIST if it is there")
    pair: Pair = _field([4, 9], "the pair of classes", unit="classes")
    study_width: int = _field(48, "width of the networks of the study", (1, 1024), "units", _LINEAR)
    seeds: Seeds = _field(
        [42, 0, 78, 1, 2, 3, 4, 5, 6, 7], "seeds of its networks; 42, 0 and 78 are its own", cost=_LINEAR
    )
    width: int = _field(24, "width of the networks that are trained to the end", (1, 1024), "units", _LINEAR)
    n_seeds: int = _field(10, "networks that are trained to the end", (2, 100), "networks", _LINEAR)
    n_images: int = _field(500, "test images that are explained, at most", (20, 10000), "images", _LINEAR)
    sparsities: Shares = _field([0.5, 0.8, 0.9, 0.95, 0.99], "true sparsities of the first layer", unit="fraction",
                                cost=_LINEAR)  # fmt: skip
    sparsity: float = _field(0.95, "the sparsity that is looked at closely", (0.01, 0.999), "fraction")
    epochs: int = _field(20, "passes over the training images (more where they are few)", (1, 500), "epochs", _LINEAR)
    lr: float = _field(0.05, "learning rate of SGD", (1e-6, 100.0), "per step")
    tune_epochs: int = _field(3, "passes of fine-tuning after pruning", (1, 500), "epochs", _LINEAR)
    epsilon: float = _field(0.1, "by how much the map of the study raises a pixel", (1e-4, 1.0), "of a pixel's range")
    top: float = _field(0.1, "share of the pixels that count as the brightest of a map", (0.01, 0.99), "fraction")


class Robustness(Parameters):
    """Chapter 8: robustness."""

    dataset: Dataset = _field("auto", "where the images come from; auto takes MNIST if it is there")
    pair: Pair = _field([4, 9], "the pair that is looked at closely", unit="classes")
    small: int = _field(24, "the narrower of the two widths that are compared", (1, 1024), "units", _LINEAR)
    large: int = _field(64, "the wider of them", (1, 1024), "units", _LINEAR)
    widths: Widths = _field([1, 2, 4, 8, 24, 64], "hidden widths", unit="units", cost=_LINEAR)
    seeds: Seeds = _field([0, 42, 78], "seeds of the study, one replica each", cost=_LINEAR)
    n_splits: int = _field(5, "splits into training and validation images", (1, 50), "splits", _LINEAR)
    n_starts: int = _field(8, "networks per width and split", (2, 100), "networks", _LINEAR)
    epochs: int = _field(12, "passes over the training images (more where they are few)", (1, 500), "epochs", _LINEAR)
    lr: float = _field(0.05, "learning rate of SGD", (1e-6, 100.0), "per step")
    sigma: float = _field(0.3, "standard deviation of the noise that decides", (0.01, 10.0), "of a pixel's range")
    patch: int = _field(7, "side of the patch that decides", (1, 28), "pixels of 28")
    matters: float = _field(0.005, "F1 that an effect has to exceed", (0.0, 1.0), "F1")
    rare: Share = _field(0.01, "a pixel is seldom lit in fewer than this share of the images")
    n_pairs: int = _field(45, "how many of the 45 pairs, the five of the study first", (1, 45), "pairs", _LINEAR)
    pair_starts: int = _field(4, "networks per pair and width", (2, 100), "networks", _LINEAR)
    pair_epochs: int = _field(5, "passes over the training images of each pair", (1, 500), "epochs", _LINEAR)
    sparsities: Shares = _field([0.5, 0.8, 0.9, 0.95, 0.99], "true sparsities of the first layer", unit="fraction",
                                cost=_LINEAR)  # fmt: skip
    tune_epochs: int = _field(3, "passes of fine-tuning after pruning", (1, 500), "epochs", _LINEAR)
    epsilon: float = _field(0.05, "how far an attack may move a pixel", (0.001, 1.0), "of a pixel's range")
    n_attacked: int = _field(300, "test images that are attacked, at most", (10, 10000), "images", _LINEAR)

    @field_validator("large")
    @classmethod
    def _another_width(cls, large: int, info: ValidationInfo) -> int:
        if large == info.data.get("small"):
            raise ValueError("that is the width of `small` too; name two different widths")
        return large


class Tickets(Parameters):
    """Chapter 9: winning tickets."""

    dataset: Dataset = _field("auto", "where the images come from; auto takes MNIST if it is there")
    pair: Pair = _field([4, 9], "the pair of the small networks", unit="classes")
    widths: Widths = _field([24, 64], "hidden widths on the pair", unit="units", cost=_LINEAR)
    n_seeds: int = _field(10, "networks per width on the pair", (2, 100), "networks", _LINEAR)
    rounds: int = _field(24, "rounds of pruning; each removes a fifth of what is left", (7, 40), "rounds", _LINEAR)
    control_rounds: Widths = _field([7, 14, 19, 24], "rounds after which controls are trained, those up to `rounds`",
                                    unit="rounds", cost=_LINEAR)  # fmt: skip
    close: int = _field(14, "the round that is looked at closely; at most `rounds`", (1, 40), "round")
    mild: int = _field(7, "a milder round, for the claims; at most `rounds`", (1, 40), "round")
    epochs: int = _field(6, "passes over the training images of the pair (more where few)", (2, 200), "epochs", _LINEAR)
    rewind_to: int = _field(1, "the early epoch, before the last, to which tickets go back too", (1, 100), "epoch")
    lr: float = _field(0.05, "learning rate of SGD on the pair", (1e-6, 100.0), "per step")
    init: Init = _field("he", "first weights on the pair, and of all networks without attention")
    tolerance: float = _field(0.005, "how far below its reference a network may stay", (0.0, 1.0), "accuracy")
    shares: Shares = _field([0.01, 0.05, 0.1, 0.5], "shares of a training after which a mask is taken",
                            unit="fraction", cost=_LINEAR)  # fmt: skip
    noise: Share = _field(0.2, "share of wrong training labels")
    n_small: int = _field(1000, "images of the small training set", (20, 10000), "images")
    n_draws: int = _field(2, "draws of the images and of the wrong labels", (1, 20), "draws", _LINEAR)
    large_hidden: Hidden = _field([300, 100], "hidden widths of the large network", unit="units", cost=_LINEAR)
    large_images: int = _field(6000, "training images of the large networks, at most", (100, 60000), "images", _LINEAR)
    large_epochs: int = _field(4, "passes over them", (1, 200), "epochs", _LINEAR)
    large_seeds: int = _field(3, "large networks and transformers each", (2, 20), "networks", _LINEAR)
    blocks: int = _field(1, "blocks of the transformer", (1, 4), "blocks", _LINEAR)
    transformer_images: int = _field(2500, "training images of the transformer", (100, 60000), "images", _LINEAR)
    transformer_epochs: int = _field(10, "passes over them", (1, 200), "epochs", _LINEAR)


class Descent(Parameters):
    """Chapter 10: double descent."""

    dataset: Dataset = _field("auto", "where the images come from; auto takes MNIST if it is there")
    pair: Pair = _field([4, 9], "the pair that is looked at beside all ten classes", unit="classes")
    noises: Shares = _field([0.1, 0.2], "shares of wrong training labels, beside none", unit="fraction", cost=_LINEAR)
    n_closed: int = _field(400, "training images of the random features", (20, 2000), "images", "its cube")
    reach: int = _field(17, "widest random features, in multiples of the images", (2, 32), "times", _LINEAR)
    n_seeds: int = _field(10, "draws of images, wrong labels and random features", (1, 100), "draws", _LINEAR)
    penalties: Penalties = _field(
        [1.0, 10.0, 100.0, 1000.0], "penalties of ridge regression, beside none", unit="squared error"
    )
    widths: Widths = _field([2, 4, 6, 8, 12, 16, 24, 32, 64], "widths of trained networks", unit="units",
                            cost=_LINEAR)  # fmt: skip
    wide: Widths = _field([128, 512], "very wide ones, as far as it takes to reach 16 thresholds", unit="units",
                          cost=_LINEAR)  # fmt: skip
    n_train: int = _field(4000, "training images of the trained networks, ten classes", (20, 60000), "images", _LINEAR)
    n_pair: int = _field(1200, "the same, for the pair", (20, 12000), "images", _LINEAR)
    trained_seeds: int = _field(2, "trained networks per width", (1, 50), "networks", _LINEAR)
    wide_seeds: int = _field(1, "very wide networks per width", (1, 50), "networks", _LINEAR)
    epochs: int = _field(200, "passes over the training images", (2, 2000), "epochs", _LINEAR)
    lr: float = _field(0.002, "learning rate of Adam", (1e-6, 1.0), "per step")
    weight_decay: float = _field(1.0, "weight decay that is to tame the peak", (0.0, 100.0), "per step and rate")
    sizes: Widths = _field([250, 500, 1000, 2000, 4000], "training images where the width is fixed", unit="images",
                           cost=_LINEAR)  # fmt: skip
    sample_width: int = _field(12, "the width of those trained networks", (1, 1024), "units", _LINEAR)
    kernel_widths: Widths = _field([8, 32, 128, 512], "widths where the tangent kernel is computed", unit="units",
                                   cost=_LINEAR)  # fmt: skip
    kernel_seeds: int = _field(4, "networks per width there", (1, 50), "networks", _LINEAR)
    n_kernel: int = _field(400, "training images there", (20, 1000), "images", "its square")
    steps: int = _field(300, "full-batch steps there", (1, 10000), "steps", _LINEAR)
    patch_widths: Widths = _field([4, 8, 12, 24, 40], "widths of the transformers, even", unit="numbers",
                                  cost=_LINEAR)  # fmt: skip
    n_patch: int = _field(2000, "training images of the transformers and their rivals", (20, 60000), "images", _LINEAR)
    patch_seeds: int = _field(2, "transformers per width", (1, 20), "networks", _LINEAR)
    patch_epochs: int = _field(120, "passes over the training images there", (1, 2000), "epochs", _LINEAR)
    patch_lr: float = _field(0.007, "learning rate of Adam there", (1e-6, 1.0), "per step")


class HeldUp(Parameters):
    """Chapter 11: what held up."""

    dataset: Dataset = _field("auto", "where the images come from; auto takes MNIST if it is there")
    pairs: Pairs = _field(FIVE_PAIRS, "the pairs of the study", unit="classes", cost=_LINEAR)
    n_pairs: int = _field(45, "how many of the 45 pairs, the five of the study first", (1, 45), "pairs", _LINEAR)
    widths: Widths = _field([1, 2, 4, 8, 24, 64], "hidden widths", unit="units", cost=_LINEAR)
    width: int = _field(24, "the width of pruned networks, and of those that noise is put before", (1, 1024), "units",
                        _LINEAR)  # fmt: skip
    other_width: int = _field(64, "another one, for the same", (1, 1024), "units", _LINEAR)
    n_seeds: int = _field(3, "networks per pair and width", (2, 100), "networks", _LINEAR)
    epochs: int = _field(20, "passes over the training images with SGD (more where they are few)", (1, 500), "epochs",
                         _LINEAR)  # fmt: skip
    adam_epochs: int = _field(10, "the same, with Adam", (1, 500), "epochs", _LINEAR)
    seeds: Seeds = _field([0, 42, 78], "seeds of the study, one replica each", cost=_LINEAR)
    traced_widths: Widths = _field([256, 64], "hidden widths of traced networks", unit="units", cost=_LINEAR)
    traced_epochs: int = _field(6, "passes over the training images of all ten classes", (1, 500), "epochs", _LINEAR)
    pair: Pair = _field([4, 9], "the pair of the maps, of noise and of random features", unit="classes")
    map_width: int = _field(48, "width of the networks of the study whose maps are drawn", (1, 1024), "units", _LINEAR)
    n_images: int = _field(200, "test images that are explained, at most", (20, 10000), "images", _LINEAR)
    n_splits: int = _field(5, "splits into training and validation images, for noise", (1, 50), "splits", _LINEAR)
    n_starts: int = _field(4, "networks per width and split, for noise", (2, 100), "networks", _LINEAR)
    n_closed: int = _field(400, "training images of random features", (40, 2000), "images", "its cube")
    reach: int = _field(17, "widest random features, in multiples of the images", (4, 32), "times", _LINEAR)
    n_draws: int = _field(5, "draws of images, wrong labels and random features", (1, 100), "draws", _LINEAR)

    @field_validator("other_width")
    @classmethod
    def _another_width(cls, other_width: int, info: ValidationInfo) -> int:
        if other_width == info.data.get("width"):
            raise ValueError("that is `width` too; name two different widths")
        return other_width


SCHEMAS: dict[str, type[Parameters]] = {"01-replay": Replay, "02-capacity": Capacity, "03-magnitude": Magnitude,
                                        "04-threshold": Threshold, "05-tracing": Tracing, "06-geometry": Geometry,
                                        "07-saliency": Saliency, "08-robustness": Robustness, "09-tickets": Tickets,
                                        "10-descent": Descent, "11-held-up": HeldUp}  # fmt: skip

# Small enough to try a whole chapter in seconds, on the bundled digits; the numbers it gives mean nothing.
FAST: dict[str, dict[str, Any]] = {
    "01-replay": {"pairs": [[0, 1], [4, 9]], "widths": [2, 8, 24], "seeds": [0, 42],
                  "grid_lrs": [0.001, 0.03, 0.3], "grid_seeds": 1},
    "02-capacity": {"pairs": [[0, 1], [4, 9]], "widths": [1, 4, 16], "n_seeds": 3, "all_widths": [1, 4, 16],
                    "all_seeds": 2, "published_seeds": 2, "epochs": 8, "long_epochs": 16, "n_pairs": 8},
    "03-magnitude": {"pairs": [[0, 1], [4, 9]], "width": 16, "widths": [4, 16], "seeds": [0, 42], "n_seeds": 3,
                     "n_pairs": 6, "epochs": 6, "tune_epochs": 2},
    "04-threshold": {"taus": [0.01, 0.1, 0.4], "n_train": 500, "epochs": 1, "n_seeds": 1, "widths": [8, 24],
                     "mlp_seeds": 2, "high_percentile": 0.8, "batch_size": 256},
    "05-tracing": {"width": 24, "widths": [8, 24], "n_seeds": 2, "epochs": 2, "tune_epochs": 1, "target": 0.8,
                   "shares": [0.5], "rounds": 2},
    "06-geometry": {"width": 8, "seeds": [0, 42], "n_seeds": 3, "sparsities": [0.5, 0.9], "sparsity": 0.9, "epochs": 4,
                    "tune_epochs": 1, "n_images": 60, "n_points": 50, "n_many": 50, "perplexities": [5.0, 15.0],
                    "k": 5},
    "07-saliency": {"study_width": 8, "seeds": [42, 0], "width": 8, "n_seeds": 3, "n_images": 40, "epochs": 4,
                    "sparsities": [0.5, 0.9], "sparsity": 0.9, "tune_epochs": 1},
    "08-robustness": {"small": 8, "large": 24, "widths": [2, 8, 24], "seeds": [0, 42], "n_splits": 2, "n_starts": 3,
                      "epochs": 2, "n_pairs": 5, "pair_starts": 3, "pair_epochs": 1, "sparsities": [0.5, 0.9],
                      "tune_epochs": 1, "n_attacked": 60},
    "09-tickets": {"widths": [6, 12], "n_seeds": 3, "rounds": 7, "control_rounds": [7], "close": 7, "mild": 4,
                   "epochs": 2, "shares": [0.1], "n_small": 150, "n_draws": 1, "large_hidden": [20, 10],
                   "large_epochs": 1, "large_seeds": 2, "transformer_epochs": 1, "transformer_images": 300,
                   "large_images": 400},
    "10-descent": {"n_closed": 60, "n_seeds": 3, "widths": [2, 4, 16], "wide": [32], "n_train": 200, "n_pair": 100,
                   "trained_seeds": 1, "epochs": 20, "sizes": [50, 100], "sample_width": 4,
                   "kernel_widths": [4, 16], "kernel_seeds": 2, "n_kernel": 60, "steps": 20, "patch_widths": [4, 8],
                   "n_patch": 100, "patch_seeds": 1, "patch_epochs": 2},
    "11-held-up": {"pairs": [[0, 1], [4, 9]], "n_pairs": 6, "widths": [1, 4, 16], "width": 4, "other_width": 16,
                   "n_seeds": 2, "epochs": 4, "adam_epochs": 3, "seeds": [0, 42], "traced_widths": [24, 12],
                   "traced_epochs": 2, "map_width": 8, "n_images": 40, "n_splits": 2, "n_starts": 2, "n_closed": 60,
                   "reach": 8, "n_draws": 2},
}  # fmt: skip
