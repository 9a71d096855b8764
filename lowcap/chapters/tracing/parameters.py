"""The parameters of chapter 5: what may be changed, within which bounds, in which unit, and what it costs."""

from lowcap.notebook.parameter_types import LINEAR, Dataset, Parameters, Shares, Widths, parameter

CHAPTER = "05-tracing"
ALONE = True  # it measures how long a network takes to answer


class Tracing(Parameters):
    """Chapter 5: tracing activations."""

    dataset: Dataset = parameter("auto", "where the images come from; auto takes MNIST if it is there")
    width: int = parameter(256, "the width that is looked at closely", (4, 1024), "units", LINEAR)
    widths: Widths = parameter([32, 64, 128, 256, 512], "hidden widths", unit="units", cost=LINEAR)
    n_seeds: int = parameter(3, "networks per width", (1, 50), "networks", LINEAR)
    epochs: int = parameter(6, "passes over the training images (more where they are few)", (1, 500), "epochs", LINEAR)
    lr: float = parameter(0.002, "learning rate of Adam at the start", (1e-6, 1.0), "per step")
    tune_epochs: int = parameter(2, "passes of retraining after removal", (1, 500), "epochs", LINEAR)
    target: float = parameter(0.95, "accuracy that the smallest subnetwork has to reach", (0.0, 1.0), "accuracy")
    loss: float = parameter(0.005, "accuracy that may be lost against the whole network", (0.0, 1.0), "accuracy")
    least: float = parameter(0.6, "share of the neurons that can go, as claimed", (0.05, 0.95), "fraction")
    shares: Shares = parameter(
        [0.4, 0.6, 0.8], "shares of the neurons removed before retraining", unit="fraction", cost=LINEAR
    )
    digit: int = parameter(3, "the class whose specialist is looked at closely", (0, 9), "class")
    specialist_loss: float = parameter(0.02, "balanced accuracy that a specialist may lose", (0.0, 0.5), "accuracy")
    rounds: int = parameter(20, "times that each way of computing is timed", (2, 1000), "rounds", "a few seconds")


SCHEMA = Tracing

# Small enough to try the whole chapter in seconds, on the bundled digits; the numbers it gives mean nothing.
FAST = {
    "width": 24,
    "widths": [8, 24],
    "n_seeds": 2,
    "epochs": 2,
    "tune_epochs": 1,
    "target": 0.8,
    "shares": [0.5],
    "rounds": 2,
}
