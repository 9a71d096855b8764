"""The parameters of chapter 10: what may be changed, within which bounds, in which unit, and what it costs."""

from lowcap.notebook.parameter_types import LINEAR, Dataset, Pair, Parameters, Penalties, Shares, Widths, parameter

CHAPTER = "10-descent"


class Descent(Parameters):
    """Chapter 10: double descent."""

    dataset: Dataset = parameter("auto", "where the images come from; auto takes MNIST if it is there")
    pair: Pair = parameter([4, 9], "the pair that is looked at beside all ten classes", unit="classes")
    noises: Shares = parameter([0.1, 0.2], "shares of wrong training labels, beside none", unit="fraction", cost=LINEAR)
    n_closed: int = parameter(400, "training images of the random features", (20, 2000), "images", "its cube")
    reach: int = parameter(17, "widest random features, in multiples of the images", (2, 32), "times", LINEAR)
    n_seeds: int = parameter(10, "draws of images, wrong labels and random features", (1, 100), "draws", LINEAR)
    penalties: Penalties = parameter(
        [1.0, 10.0, 100.0, 1000.0], "penalties of ridge regression, beside none", unit="squared error"
    )
    widths: Widths = parameter(
        [2, 4, 6, 8, 12, 16, 24, 32, 64], "widths of trained networks", unit="units", cost=LINEAR
    )
    wide: Widths = parameter(
        [128, 512], "very wide ones, as far as it takes to reach 16 thresholds", unit="units", cost=LINEAR
    )
    n_train: int = parameter(
        4000, "training images of the trained networks, ten classes", (20, 60000), "images", LINEAR
    )
    n_pair: int = parameter(1200, "the same, for the pair", (20, 12000), "images", LINEAR)
    trained_seeds: int = parameter(2, "trained networks per width", (1, 50), "networks", LINEAR)
    wide_seeds: int = parameter(1, "very wide networks per width", (1, 50), "networks", LINEAR)
    epochs: int = parameter(200, "passes over the training images", (2, 2000), "epochs", LINEAR)
    lr: float = parameter(0.002, "learning rate of Adam", (1e-6, 1.0), "per step")
    weight_decay: float = parameter(1.0, "weight decay that is to tame the peak", (0.0, 100.0), "per step and rate")
    sizes: Widths = parameter(
        [250, 500, 1000, 2000, 4000], "training images where the width is fixed", unit="images", cost=LINEAR
    )
    sample_width: int = parameter(12, "the width of those trained networks", (1, 1024), "units", LINEAR)
    kernel_widths: Widths = parameter(
        [8, 32, 128, 512], "widths where the tangent kernel is computed", unit="units", cost=LINEAR
    )
    kernel_seeds: int = parameter(4, "networks per width there", (1, 50), "networks", LINEAR)
    n_kernel: int = parameter(400, "training images there", (20, 1000), "images", "its square")
    steps: int = parameter(300, "full-batch steps there", (1, 10000), "steps", LINEAR)
    patch_widths: Widths = parameter(
        [4, 8, 12, 24, 40], "widths of the transformers, even", unit="numbers", cost=LINEAR
    )
    n_patch: int = parameter(
        2000, "training images of the transformers and their rivals", (20, 60000), "images", LINEAR
    )
    patch_seeds: int = parameter(2, "transformers per width", (1, 20), "networks", LINEAR)
    patch_epochs: int = parameter(120, "passes over the training images there", (1, 2000), "epochs", LINEAR)
    patch_lr: float = parameter(0.007, "learning rate of Adam there", (1e-6, 1.0), "per step")


SCHEMA = Descent

# Small enough to try the whole chapter in seconds, on the bundled digits; the numbers it gives mean nothing.
FAST = {
    "n_closed": 60,
    "n_seeds": 3,
    "widths": [2, 4, 16],
    "wide": [32],
    "n_train": 200,
    "n_pair": 100,
    "trained_seeds": 1,
    "epochs": 20,
    "sizes": [50, 100],
    "sample_width": 4,
    "kernel_widths": [4, 16],
    "kernel_seeds": 2,
    "n_kernel": 60,
    "steps": 20,
    "patch_widths": [4, 8],
    "n_patch": 100,
    "patch_seeds": 1,
    "patch_epochs": 2,
}
