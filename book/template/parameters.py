"""The parameters of chapter 0: what may be changed, within which bounds, in which unit, and what it costs."""

from lowcap.notebook.parameter_types import LINEAR, Dataset, Pair, Parameters, Widths, parameter

CHAPTER = "00-template"


class Template(Parameters):
    """Chapter 0: a title that asks a question."""

    dataset: Dataset = parameter("auto", "where the images come from; auto takes MNIST if it is there")
    pair: Pair = parameter([4, 9], "the pair of classes", unit="classes")
    widths: Widths = parameter([1, 4, 16], "hidden widths", unit="units", cost=LINEAR)
    n_seeds: int = parameter(10, "networks per width", (2, 100), "networks", LINEAR)


SCHEMA = Template

# Small enough to try the whole chapter in seconds, on the bundled digits; the numbers it gives mean nothing.
FAST = {"widths": [1, 4], "n_seeds": 2}
