"""Speed of lowcap against others, in one run on one machine: `python -m benchmarks --help`."""

from __future__ import annotations

import argparse
import json
import os
import platform
from importlib.metadata import version
from pathlib import Path

from benchmarks import readme
from benchmarks.inside import measure_inside
from benchmarks.measure import CASES, CORES, FEW, N_SEEDS, measure
from benchmarks.prune import measure_pruning
from lowcap.recipe import CONVERGED
from lowcap.tasks import load_task, resolve


def machine() -> dict:
    """The facts without which a time means nothing."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    versions = {name: version(name) for name in ("torch", "numpy", "scikit-learn")}
    load = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
    return {"cpu": cpu, "cores": CORES, "load_at_start": load, "python": platform.python_version(), **versions}


def report(results: dict) -> str:
    """The results as a table for people."""
    facts = results["machine"]
    about = f"{facts['cpu']}, {facts['cores']} cores, load {facts['load_at_start']}, torch {facts['torch']}"
    lines = [f"{about}; {results['dataset']}, batch {CONVERGED.batch_size}, rounds: {results['rounds']}"]
    for case in results["cases"]:
        lines += ["", f"{case['case']}: {case['networks']} networks, one epoch"]
        lines += [f"  {'':25}{'ms each':>8}{'times ours (min to max)':>28}{'target':>8}  reached  threads  F1 (ours)"]
        lines += [f"  {'lowcap':25}{case['ours_ms']:8.2f}", *(f"  {line(rival)}" for rival in case["rivals"])]
        if product := case["product"]:
            rates = f"{product['ours_gflops']:.0f} of {product['product_gflops']:.0f} GFLOP/s"
            lines += [f"  {'share of matrix products':25}{'':8}{span(product)}  {rates}"]
    return "\n".join([*lines, *pruning(results["pruning"]), *inside(results["inside"])])


def pruning(found: dict) -> list[str]:
    """The lines on pruning."""
    seconds, ratio = ("{median:.2f} ({min:.2f} to {max:.2f})".format(**found[name]) for name in ("seconds", "ratio"))
    reached = "yes" if found["reached"] else "no"
    return [
        "",
        f"pruning {found['networks']} networks to {found['levels']} levels and scoring them on the test images",
        f"  {'lowcap':25}{seconds} s; target {found['target']} s, reached: {reached}",
        f"  {'PyTorch, one by one':25}{ratio} times ours, per network",
    ]


def inside(jobs: list[dict]) -> list[str]:
    """The lines on looking inside networks."""
    lines = ["", "looking inside networks of width 24, in seconds (min to max)"]
    for job in jobs:
        seconds = "{median:.1f} ({min:.1f} to {max:.1f})".format(**job["seconds"])
        ratio = "; one at a time {median:.1f} times as long".format(**job["ratio"]) if job["ratio"] else ""
        reached = "yes" if job["reached"] else "no"
        lines.append(
            f"  {job['name']:15}{seconds:>22}; target {job['target']}, reached: {reached}{ratio}; {job['what']}"
        )
    return lines


def line(rival: dict) -> str:
    f1 = f"{rival['f1']:.3f} ({rival['f1_ours']:.3f})"
    return f"{rival['name']:25}{rival['ms']:8.2f}{span(rival)}{rival['threads']:9}  {f1}"


def span(result: dict) -> str:
    """Ratio or share with its range, target, and whether it is reached."""
    values = "{median:.2f} ({min:.2f} to {max:.2f})".format(**result.get("ratio", result.get("share")))
    return f"{values:>28}{result['target']:8}  {'yes' if result['reached'] else 'no':>7}"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="PATH", help="also write everything measured to this file")
    parser.add_argument("--readme", type=Path, metavar="PATH", help="put the table of speeds between this file's marks")
    parser.add_argument(
        "--fast", action="store_true", help="few networks, the bundled digits, one round: no speed test"
    )
    parser.add_argument("--rounds", type=int, default=5, help="how often each is timed (5)")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error(f"--rounds must be at least 1; got {options.rounds}")
    dataset, rounds, n_seeds = ("digits", 1, FEW) if options.fast else (resolve("auto"), options.rounds, N_SEEDS)
    results: dict = {"machine": machine(), "dataset": dataset, "rounds": rounds}
    tasks = {case.classes: load_task(case.classes, dataset=dataset) for case in CASES}
    results["cases"] = [measure(case, tasks[case.classes], rounds, n_seeds) for case in CASES]
    results["pruning"] = measure_pruning(tasks[(4, 9)], rounds, n_seeds)
    results["inside"] = measure_inside(tasks[(4, 9)], rounds, fast=options.fast)
    print(report(results))
    if dataset != "mnist":
        print(f"\nThe targets are for MNIST; this was {dataset}.")
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")
    if options.readme:
        options.readme.write_text(readme.into(options.readme.read_text(), readme.as_markdown(results)))


if __name__ == "__main__":
    main()
