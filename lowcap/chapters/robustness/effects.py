"""What one width gains over another: paired by split and seed, in proportion, and at equal clean scores.

Clean accuracy and robustness are kept apart: a network is compared with itself before it is compared with others.
Intervals resample splits first and networks within them.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from lowcap import pruning
from lowcap.errors import UserError

RESAMPLES = 2000


def paired(rows: pd.DataFrame, kind: str, severity: float, small: int, large: int) -> pd.DataFrame:
    """Networks of two widths side by side: a row per `split` and `seed`, with the columns `clean_small, clean_large,
    hurt_small, hurt_large` (F1 at severity 0 and at this one).

    Raises:
        UserError: a kind, severity or width that the rows do not hold.
    """
    pruning.one_of("kind", kind, dict.fromkeys(rows["kind"]))
    mine = rows[rows["kind"] == kind]
    for name, column, wanted in (("severity", "severity", [0, severity]), ("width", "width", [small, large])):
        known = sorted(set(mine[column]))
        for value in wanted:
            if value not in known:
                raise UserError(f"`{name}` must be one of {', '.join(f'{v:g}' for v in known)}; got {value!r}")
    f1 = mine.pivot_table(index=["split", "seed"], columns=["severity", "width"], values="f1")
    columns = {}
    for name, at in (("clean", 0), ("hurt", severity)):
        for side, width in (("small", small), ("large", large)):
            columns[f"{name}_{side}"] = f1[at, width]
    return pd.DataFrame(columns)


def effects(table: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """What the larger width gains, from `paired` rows: a row per measure, with its 95 % bootstrap interval.

    Measures: `clean` F1; `hurt`, F1 under corruption; `drop`, by how much less the wider networks lose; `relative`, the
    same as a share of the clean F1; `matched`, F1 under corruption at equal clean F1 (analysis of covariance with one
    slope for both widths). Columns: `estimate, low, high`, Cohen's `d` over networks, and `wins`, the probability that
    one of the wider networks is the better of two (not for `matched`). All are positive where width helps.
    """
    ordered = table.sort_index()
    arrays = ordered.to_numpy().T  # four columns `(n,)`
    sides = _sides(*arrays)
    measures = {"matched": _matched(*arrays)}
    measures |= {name: np.mean(large - small) for name, (small, large) in sides.items()}
    # The same once more for every resample, `(RESAMPLES, n)`: the measures take the mean along the last axis.
    chosen = [values[_resamples(ordered, seed)] for values in arrays]
    spread = {"matched": _matched(*chosen)}
    spread |= {name: np.mean(large - small, -1) for name, (small, large) in _sides(*chosen).items()}
    rows = {}
    for name in (*sides, "matched"):
        low, high = np.quantile(spread[name], [0.025, 0.975])
        rows[name] = {"estimate": float(measures[name]), "low": low, "high": high, **_sizes(*sides.get(name, ()))}
    return pd.DataFrame(rows).T


def slope(table: pd.DataFrame) -> float:
    """How F1 under corruption goes with clean F1 among networks of one width, from `paired` rows: the one slope that
    both widths share in the measure `matched` of `effects`; 0 where no width's clean F1 varies."""
    return float(_slope(*table.to_numpy().T))


def neighbours(table: pd.DataFrame, within: float) -> tuple[float, int]:
    """Of `paired` rows: how much more F1 under corruption the wider networks have whose clean F1 differs by at most
    `within`, on average over the narrower networks that have such neighbours, and how many those are."""
    small, large = (table[[f"clean_{side}", f"hurt_{side}"]].to_numpy().T for side in ("small", "large"))
    apart, gain = large[:, None, :] - small[:, :, None]  # of clean and of corrupted F1, each (small, large)
    near = np.abs(apart) <= within
    has = near.any(1)  # narrower networks with neighbours
    means = (gain * near).sum(1)[has] / near.sum(1)[has]
    return float(means.mean()) if has.any() else float("nan"), int(has.sum())


def of_a_few(table: pd.DataFrame, n: int, *, draws: int = 2000, seed: int = 0) -> pd.DataFrame:
    """What an experiment with n networks per width would find: `hurt` and `drop` as in `effects`, a row per draw.

    The networks of each width are drawn from `paired` rows, with replacement and not in pairs.
    """
    rng, sides = np.random.default_rng(seed), _sides(*table.to_numpy().T)
    chosen_small, chosen_large = rng.integers(len(table), size=(2, draws, n))
    found = {}
    for measure in ("hurt", "drop"):
        small, large = sides[measure]
        found[measure] = (large[chosen_large] - small[chosen_small]).mean(-1)
    return pd.DataFrame(found)


def regained(clean: pd.Series, corrupted: pd.Series, changed: pd.Series, *, seed: int = 0) -> pd.Series:
    """Which share of the loss, clean - corrupted, a change of the same networks wins back: `estimate, low, high`.

    The series are F1 by `split` and `seed`. Sums are divided, not networks one by one; NaN where nothing was lost.
    """
    table = pd.DataFrame({"lost": clean - corrupted, "won": changed - corrupted}).sort_index()
    lost, won = table.to_numpy().T
    if lost.mean() <= 0:
        return pd.Series({"estimate": np.nan, "low": np.nan, "high": np.nan})
    chosen = _resamples(table, seed)
    totals = lost[chosen].sum(-1)  # (RESAMPLES,); where nothing is lost there is no share
    shares = won[chosen].sum(-1)[totals > 0] / totals[totals > 0]
    low, high = np.quantile(shares, [0.025, 0.975])
    return pd.Series({"estimate": won.sum() / lost.sum(), "low": low, "high": high})


def signed(value: float, *, beside: tuple[float, ...] = (0,)) -> str:
    """`value` with its sign, to three decimals, or four where three would hide on which side of `beside` it lies; "0"
    has no sign."""
    digits = 4 if any(round(abs(value), 3) == round(abs(level), 3) for level in beside) else 3
    text = f"{value:+.{digits}f}"
    return text.replace("-", "−") if float(text) else "0.000"


def span(row: pd.Series | dict, *, beside: tuple[float, ...] = (0,)) -> str:
    """The interval `low` to `high` of a row of `effects`, in the numbers of `signed`."""
    return f"{signed(row['low'], beside=beside)} to {signed(row['high'], beside=beside)}"


def _sides(clean_s: np.ndarray, clean_l: np.ndarray, hurt_s: np.ndarray, hurt_l: np.ndarray) -> dict[str, tuple]:
    """For each measure what the smaller and the larger width have, the larger the better."""
    share_s, share_l = hurt_s / np.maximum(clean_s, 1e-9), hurt_l / np.maximum(clean_l, 1e-9)
    return {"clean": (clean_s, clean_l), "hurt": (hurt_s, hurt_l), "drop": (hurt_s - clean_s, hurt_l - clean_l),
            "relative": (share_s, share_l)}  # fmt: skip


def _matched(clean_s: np.ndarray, clean_l: np.ndarray, hurt_s: np.ndarray, hurt_l: np.ndarray) -> np.ndarray:
    """The difference of `hurt` that is left when its common slope against `clean` is taken out, along the last axis."""
    slope = _slope(clean_s, clean_l, hurt_s, hurt_l)
    return (hurt_l - hurt_s).mean(-1) - slope * (clean_l - clean_s).mean(-1)


def _slope(clean_s: np.ndarray, clean_l: np.ndarray, hurt_s: np.ndarray, hurt_l: np.ndarray) -> np.ndarray:
    """The least-squares slope of `hurt` against `clean` within the widths, one for both, along the last axis."""
    together, varies = 0, 0
    for clean, corrupted in ((clean_s, hurt_s), (clean_l, hurt_l)):
        away = clean - clean.mean(-1, keepdims=True)  # from the mean of its own width: the widths may differ in level
        together, varies = together + (away * corrupted).sum(-1), varies + (away * away).sum(-1)
    return np.divide(together, varies, out=np.zeros_like(varies), where=varies > 0)


def _resamples(table: pd.DataFrame, seed: int) -> np.ndarray:
    """Positions `(RESAMPLES, n)` in the sorted table: splits drawn with replacement, then networks within each."""
    n_splits = table.index.get_level_values("split").nunique()
    n_seeds, rng = len(table) // n_splits, np.random.default_rng(seed)
    split = rng.integers(n_splits, size=(RESAMPLES, n_splits, 1))
    own = rng.integers(n_seeds, size=(RESAMPLES, n_splits, n_seeds))  # networks within each of the splits drawn
    return (split * n_seeds + own).reshape(RESAMPLES, -1)


def _sizes(small: np.ndarray | None = None, large: np.ndarray | None = None) -> dict[str, float]:
    """Cohen's `d`, and in which share of all pairs the larger network `wins`, ties a half; NaN without networks."""
    if small is None or large is None:
        return {"d": np.nan, "wins": np.nan}
    pooled = np.sqrt((small.var(ddof=1) + large.var(ddof=1)) / 2) if len(small) > 1 else 0
    difference = large - small[:, None]
    wins = (difference > 0).mean() + (difference == 0).mean() / 2
    return {"d": (large.mean() - small.mean()) / pooled if pooled > 0 else np.nan, "wins": wins}
