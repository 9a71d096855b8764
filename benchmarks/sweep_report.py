"""What `benchmarks.sweep` has measured, as text and as a figure; and, on paper, what a large sweep would cost."""

from __future__ import annotations

import math
from pathlib import Path

START, END = "<!-- sweeps:start -->", "<!-- sweeps:end -->"
LARGE = {"datasets": 10, "pairs": 45, "seeds": 1000}
CORES = (1, 16, 256)


def reckoned(found: dict, recipe: str) -> dict:
    """The large sweep from a full shard, the measured overhead and what one process needs to keep a shard.

    With more cores than it can keep shards for, the one process that writes sets the pace.
    """
    full, shard = found["full_shard"], found["full_shard"]["recipes"][recipe]
    shards = LARGE["datasets"] * LARGE["pairs"] * math.ceil(LARGE["seeds"] / full["seeds"])
    lost = 1 + max(0.0, found["scaling"]["overhead"]["loky"]["median"])
    keeping = found["memory"][-1]["keeping_seconds"]
    hours = {n: max(math.ceil(shards / n) * shard["cpu_seconds"] * lost, shards * keeping) / 3600 for n in CORES}
    return {
        "shards": shards,
        "networks": LARGE["datasets"] * LARGE["pairs"] * LARGE["seeds"] * len(full["widths"]),
        "hours": hours,
        "gigabytes": shards * shard["bytes"] / 1e9,
        "most_cores": shard["cpu_seconds"] / keeping if keeping else math.inf,
    }


def as_markdown(found: dict) -> str:
    """The section on sweeps, in Markdown."""
    return "\n\n".join([_about(found), _workers(found), _memory(found), _costs(found), _large(found)])


def _about(found: dict) -> str:
    facts = found["machine"]
    rounds = "one round" if found["rounds"] == 1 else f"{found['rounds']} interleaved rounds"
    where = f"{facts['cores']} cores ({facts['cpu']})"
    text = f"Measured on {where}, {found['dataset']}, in {rounds}"
    load = max(facts["load_at_start"] or 0, facts.get("load_at_end") or 0)
    busy = f" The machine was busy with other work (load {load:.0f}), so these numbers are provisional."
    return f"{text}.{busy if load > facts['cores'] else ''}"


def _workers(found: dict) -> str:
    s = found["scaling"]
    lines = [
        "| | shards per minute | times one process | lost between shards |",
        "|---|--:|--:|--:|",
    ]
    for name, title in (("one", "one process"), ("loky", "two, loky"), ("dask", "two, Dask on loopback")):
        times = "" if name == "one" else _range(s["speedup"][name], "{:.2f}")
        rate, lost = _range(s["per_minute"][name], "{:.1f}"), _range(s["overhead"][name], "{:.1%}")
        lines.append(f"| {title} | {rate} | {times} | {lost} |")
    reached = s["speedup"]["loky"]["median"] >= s["targets"]["speedup"]
    little = max(s["overhead"][name]["median"] for name in ("loky", "dask")) <= s["targets"]["overhead"]
    against = _range(s["dask_against_loky"], "{:+.1%}")
    aims = (
        f"Aimed at: {s['targets']['speedup']} times with two processes ({_word(reached)}), and at most "
        f"{s['targets']['overhead']:.0%} lost ({_word(little)}). Dask's wall-clock time against loky's: {against}. "
        f"Starting the workers, once, took {s['start']['loky']:.0f} s with loky; a shard takes "
        f"{s['seconds_per_shard']:.1f} s here."
    )
    return "\n".join(lines) + f"\n\n{aims}"


def _word(reached: bool) -> str:
    return "reached" if reached else "not reached"


def _memory(found: dict) -> str:
    few, many = found["memory"]
    return (
        f"The most memory that a process held: {few['peak_mib']:.0f} MiB over {few['shards']:,} tiny shards, "
        f"{many['peak_mib']:.0f} MiB over {many['shards']:,}. To keep a finished shard takes "
        f"{1000 * many['keeping_seconds']:.1f} ms."
    )


def _costs(found: dict) -> str:
    cost = found["costs"]
    width = {p["x"]: p["per_network"] for p in cost["width"]["points"]}
    first, last = min(width), max(width)
    powers = {name: f"{one['exponent']:.2f}" for name, one in cost.items()}
    return (
        f"A network trained to convergence on 4-9 costs {1000 * width[first]:.0f} ms of one core at width {first} and "
        f"{1000 * width[last]:.0f} ms at width {last}: as width to the power of {powers['width']} over all widths, "
        f"{cost['width']['exponent_from_16']:.2f} from 16 on. Cost grows as the number of seeds to the power of "
        f"{powers['seeds']} (networks side by side share the images) and as that of pairs to the power of "
        f"{powers['pairs']}."
    )


def _large(found: dict) -> str:
    full = found["full_shard"]
    widths = ", ".join(map(str, full["widths"]))
    lines = [
        "| recipe | networks | shards | " + " | ".join(f"{n} core{'s' * (n > 1)}" for n in CORES) + " | rows on disk |"
    ]
    lines.append("|---|--:|--:|" + "--:|" * len(CORES) + "--:|")
    sums = {recipe: reckoned(found, recipe) for recipe in full["recipes"]}
    for recipe, one in sums.items():
        hours = " | ".join(_duration(one["hours"][n]) for n in CORES)
        lines.append(f"| {recipe} | {one['networks']:,} | {one['shards']:,} | {hours} | {one['gigabytes']:.2f} GB |")
    most = min(one["most_cores"] for one in sums.values())
    limit = (
        f"One process takes in and writes all shards, and it could do so for about {most:,.0f} cores. Below that, "
        "cores are the limit, and memory: each worker holds a data set and its networks, "
        f"{found['memory'][-1]['peak_mib'] / 1024:.1f} GiB here for the smallest."
    )
    head = (
        f"On paper, {LARGE['datasets']} data sets × {LARGE['pairs']} pairs × {LARGE['seeds']:,} seeds at widths "
        f"{widths} (data sets of MNIST's size, cores like these, nothing lost but what was measured with two of them):"
    )
    return f"{head}\n\n" + "\n".join(lines) + f"\n\n{limit}"


def _range(values: dict, form: str) -> str:
    return f"{form.format(values['median'])} ({form.format(values['min'])} to {form.format(values['max'])})"


def _duration(hours: float) -> str:
    if hours >= 72:
        return f"{hours / 24:.0f} days"
    return f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.0f} min"


def plot(found: dict, path: Path) -> None:
    """CPU seconds against width, seeds and pairs, with the fitted powers."""
    import matplotlib.pyplot as plt
    from matplotlib.ticker import NullLocator, StrMethodFormatter

    axes: list[plt.Axes]
    figure, axes = plt.subplots(1, 3, figsize=(8, 3), layout="constrained", sharey=True)
    for ax, (name, cost) in zip(axes, found["costs"].items(), strict=True):
        x, y = ([point[key] for point in cost["points"]] for key in ("x", "seconds"))
        ax.loglog(x, y, "o", color="#0072B2")
        middle = math.exp(sum(math.log(s) - cost["exponent"] * math.log(n) for n, s in zip(x, y, strict=True)) / len(x))
        ax.loglog(x, [middle * n ** cost["exponent"] for n in x], color="#D55E00")
        ax.set_xticks(x, map(str, x))
        ax.set_yticks([0.2, 0.5, 1, 2, 5])
        ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_minor_locator(NullLocator())
        ax.set(xlabel=name, title=f"{name} to the power of {cost['exponent']:.2f}")
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("seconds of one core")
    with plt.rc_context({"svg.fonttype": "none", "svg.hashsalt": "lowcap"}):
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)
