"""The parameters of chapter 7: what may be changed, within which bounds, in which unit, and what it costs."""

from lowcap.notebook.parameter_types import LINEAR, Dataset, Pair, Parameters, Seeds, Shares, parameter
from lowcap.values import CLOSE, SPARSITIES

CHAPTER = "07-saliency"


class Saliency(Parameters):
    """Chapter 7: saliency."""

    dataset: Dataset = parameter("auto", "where the images come from; auto takes MNIST if it is there")
    pair: Pair = parameter([4, 9], "the pair of classes", unit="classes")
    study_width: int = parameter(48, "width of the networks of the study", (1, 1024), "units", LINEAR)
    seeds: Seeds = parameter(
        [42, 0, 78, 1, 2, 3, 4, 5, 6, 7], "seeds of its networks; 42, 0 and 78 are its own", cost=LINEAR
    )
    width: int = parameter(24, "width of the networks that are trained to the end", (1, 1024), "units", LINEAR)
    n_seeds: int = parameter(10, "networks that are trained to the end", (2, 100), "networks", LINEAR)
    n_images: int = parameter(500, "test images that are explained, at most", (20, 10000), "images", LINEAR)
    sparsities: Shares = parameter(list(SPARSITIES), "true sparsities of the first layer", unit="fraction", cost=LINEAR)
    sparsity: float = parameter(CLOSE, "the sparsity that is looked at closely", (0.01, 0.999), "fraction")
    epochs: int = parameter(20, "passes over the training images (more where they are few)", (1, 500), "epochs", LINEAR)
    lr: float = parameter(0.05, "learning rate of SGD", (1e-6, 100.0), "per step")
    tune_epochs: int = parameter(3, "passes of fine-tuning after pruning", (1, 500), "epochs", LINEAR)
    epsilon: float = parameter(
        0.1, "by how much the map of the study raises a pixel", (1e-4, 1.0), "of a pixel's range"
    )
    top: float = parameter(0.1, "share of the pixels that count as the brightest of a map", (0.01, 0.99), "fraction")


SCHEMA = Saliency

# Small enough to try the whole chapter in seconds, on the bundled digits; the numbers it gives mean nothing.
FAST = {
    "study_width": 8,
    "seeds": [42, 0],
    "width": 8,
    "n_seeds": 3,
    "n_images": 40,
    "epochs": 4,
    "sparsities": [0.5, 0.9],
    "sparsity": 0.9,
    "tune_epochs": 1,
}
