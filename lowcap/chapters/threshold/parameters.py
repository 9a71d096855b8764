"""The parameters of chapter 4: what may be changed, within which bounds, in which unit, and what it costs."""

from lowcap.notebook.parameter_types import LINEAR, Dataset, Parameters, Rates, Share, Widths, parameter

CHAPTER = "04-threshold"


class Threshold(Parameters):
    """Chapter 4: weights under a threshold."""

    dataset: Dataset = parameter("auto", "where the images come from; auto takes MNIST if it is there")
    tau: float = parameter(0.4, "threshold after training, and of the steeper ramp", (0.0, 10.0), "size of a weight")
    loop_tau: float = parameter(0.001, "threshold inside the training loop", (0.0, 10.0), "size of a weight")
    ramp_tau: float = parameter(0.1, "threshold at which the gentler ramp ends", (0.0, 10.0), "size of a weight")
    over: Share = parameter(0.8, "share of the training over which a threshold ramps up")
    percentile: Share = parameter(0.2, "share of each layer that is removed in the loop")
    high_percentile: Share = parameter(0.9, "the same, a larger share")
    taus: Rates = parameter(
        [0.001, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6],
        "thresholds tried after training",
        unit="size of a weight",
    )
    n_train: int = parameter(8000, "training images, at most", (100, 60000), "images", LINEAR)
    epochs: int = parameter(3, "passes over the training images (more where they are few)", (1, 100), "epochs", LINEAR)
    tune_epochs: int = parameter(1, "passes of fine-tuning (more where images are few)", (1, 100), "epochs", LINEAR)
    batch_size: int = parameter(32, "images per step", (1, 4096), "images", "run time falls a little")
    lr: float = parameter(0.005, "learning rate of AdamW", (1e-6, 100.0), "per step")
    n_seeds: int = parameter(2, "convolutional networks per rule", (1, 50), "networks", LINEAR)
    widths: Widths = parameter(
        [24, 256], "hidden widths of the networks without convolutions", unit="units", cost=LINEAR
    )
    mlp_seeds: int = parameter(3, "networks per width and rule", (1, 100), "networks", LINEAR)


SCHEMA = Threshold

# Small enough to try the whole chapter in seconds, on the bundled digits; the numbers it gives mean nothing.
FAST = {
    "taus": [0.01, 0.1, 0.4],
    "n_train": 500,
    "epochs": 1,
    "n_seeds": 1,
    "widths": [8, 24],
    "mlp_seeds": 2,
    "high_percentile": 0.8,
    "batch_size": 256,
}
