"""The parameters of chapter 9: what may be changed, within which bounds, in which unit, and what it costs."""

from lowcap.notebook.parameter_types import (
    LINEAR,
    Dataset,
    Hidden,
    Init,
    Pair,
    Parameters,
    Share,
    Shares,
    Widths,
    parameter,
)

CHAPTER = "09-tickets"


class Tickets(Parameters):
    """Chapter 9: winning tickets."""

    dataset: Dataset = parameter("auto", "where the images come from; auto takes MNIST if it is there")
    pair: Pair = parameter([4, 9], "the pair of the small networks", unit="classes")
    widths: Widths = parameter([24, 64], "hidden widths on the pair", unit="units", cost=LINEAR)
    n_seeds: int = parameter(10, "networks per width on the pair", (2, 100), "networks", LINEAR)
    rounds: int = parameter(24, "rounds of pruning; each removes a fifth of what is left", (7, 40), "rounds", LINEAR)
    control_rounds: Widths = parameter(
        [7, 14, 19, 24], "rounds after which controls are trained, those up to `rounds`", unit="rounds", cost=LINEAR
    )
    close: int = parameter(14, "the round that is looked at closely; at most `rounds`", (1, 40), "round")
    mild: int = parameter(7, "a milder round, for the claims; at most `rounds`", (1, 40), "round")
    epochs: int = parameter(
        6, "passes over the training images of the pair (more where few)", (2, 200), "epochs", LINEAR
    )
    rewind_to: int = parameter(1, "the early epoch, before the last, to which tickets go back too", (1, 100), "epoch")
    lr: float = parameter(0.05, "learning rate of SGD on the pair", (1e-6, 100.0), "per step")
    init: Init = parameter("he", "first weights on the pair, and of all networks without attention")
    tolerance: float = parameter(0.005, "how far below its reference a network may stay", (0.0, 1.0), "accuracy")
    shares: Shares = parameter(
        [0.01, 0.05, 0.1, 0.5], "shares of a training after which a mask is taken", unit="fraction", cost=LINEAR
    )
    noise: Share = parameter(0.2, "share of wrong training labels")
    n_small: int = parameter(1000, "images of the small training set", (20, 10000), "images")
    n_draws: int = parameter(2, "draws of the images and of the wrong labels", (1, 20), "draws", LINEAR)
    large_hidden: Hidden = parameter([300, 100], "hidden widths of the large network", unit="units", cost=LINEAR)
    large_images: int = parameter(
        6000, "training images of the large networks, at most", (100, 60000), "images", LINEAR
    )
    large_epochs: int = parameter(4, "passes over them", (1, 200), "epochs", LINEAR)
    large_seeds: int = parameter(3, "large networks and transformers each", (2, 20), "networks", LINEAR)
    blocks: int = parameter(1, "blocks of the transformer", (1, 4), "blocks", LINEAR)
    transformer_images: int = parameter(2500, "training images of the transformer", (100, 60000), "images", LINEAR)
    transformer_epochs: int = parameter(10, "passes over them", (1, 200), "epochs", LINEAR)


SCHEMA = Tickets

# Small enough to try the whole chapter in seconds, on the bundled digits; the numbers it gives mean nothing.
FAST = {
    "widths": [6, 12],
    "n_seeds": 3,
    "rounds": 7,
    "control_rounds": [7],
    "close": 7,
    "mild": 4,
    "epochs": 2,
    "shares": [0.1],
    "n_small": 150,
    "n_draws": 1,
    "large_hidden": [20, 10],
    "large_epochs": 1,
    "large_seeds": 2,
    "transformer_epochs": 1,
    "transformer_images": 300,
    "large_images": 400,
}
