"""The parameters of chapter 6: what may be changed, within which bounds, in which unit, and what it costs."""

from lowcap.notebook.parameter_types import LINEAR, SEEDS, Dataset, Pair, Parameters, Rates, Seeds, Shares, parameter
from lowcap.values import CLOSE, SPARSITIES

CHAPTER = "06-geometry"


class Geometry(Parameters):
    """Chapter 6: geometry."""

    dataset: Dataset = parameter("auto", "where the images come from; auto takes MNIST if it is there")
    pair: Pair = parameter([4, 9], "the pair of classes", unit="classes")
    width: int = parameter(24, "width of the networks", (2, 1024), "units", LINEAR)
    seeds: Seeds = parameter(SEEDS, "seeds of the study, one replica each", cost=LINEAR)
    n_seeds: int = parameter(10, "networks per protocol, the seeds of the study first", (2, 100), "networks", LINEAR)
    sparsities: Shares = parameter(list(SPARSITIES), "true sparsities", unit="fraction", cost=LINEAR)
    sparsity: float = parameter(CLOSE, "the sparsity that is looked at closely", (0.01, 0.999), "fraction")
    epochs: int = parameter(20, "passes over the training images (more where they are few)", (1, 500), "epochs", LINEAR)
    lr: float = parameter(0.05, "learning rate of SGD", (1e-6, 100.0), "per step")
    tune_epochs: int = parameter(3, "passes of fine-tuning after pruning", (1, 500), "epochs", LINEAR)
    n_images: int = parameter(
        1000, "test images that the measures look at, at most", (50, 10000), "images", "quadratic"
    )
    n_points: int = parameter(500, "test images in a map, at most", (50, 5000), "images", LINEAR)
    n_many: int = parameter(200, "test images in each of the many maps, at most", (50, 2000), "images", LINEAR)
    perplexity: float = parameter(30.0, "about how many neighbours t-SNE looks at", (2.0, 500.0), "images")
    perplexities: Rates = parameter([5.0, 30.0, 100.0], "values of it tried once", unit="images", cost=LINEAR)
    k: int = parameter(10, "nearest neighbours that are looked at, at most a third of the images", (1, 100), "images")


SCHEMA = Geometry

# Small enough to try the whole chapter in seconds, on the bundled digits; the numbers it gives mean nothing.
FAST = {
    "width": 8,
    "seeds": [0, 42],
    "n_seeds": 3,
    "sparsities": [0.5, 0.9],
    "sparsity": 0.9,
    "epochs": 4,
    "tune_epochs": 1,
    "n_images": 60,
    "n_points": 50,
    "n_many": 50,
    "perplexities": [5.0, 15.0],
    "k": 5,
}
