"""The README's table of speeds, written from what `python -m benchmarks` has measured and never by hand."""

from __future__ import annotations

from lowcap.recipe import CONVERGED

START, END = "<!-- bench:start -->", "<!-- bench:end -->"
RIVALS = {
    "(a)": "PyTorch with a DataLoader, one network at a time",
    "(b)": "PyTorch, tight loop over tensors in memory",
    "(c)": "`torch.func`, stacked and vmapped",
    "(d)": "scikit-learn's MLPClassifier",
    "(e)": "ParallelMLPs",
}
HEAD = """| against | ms, theirs | ms, ours | ours is faster (lowest to highest round) | aimed at |
|---|---|---|---|---|"""


def as_markdown(found: dict) -> str:
    """What was measured of the training, in Markdown: one row per case and rival, and the share of the products."""
    facts, rounds = found["machine"], found["rounds"]
    about = f"Per network and epoch, batch {CONVERGED.batch_size}, {found['dataset']}, {facts['cores']} cores"
    about += f" ({facts['cpu']}), {'one round' if rounds == 1 else f'{rounds} rounds'}:"
    rows = [_row(case, rival) for case in found["cases"] for rival in case["rivals"]]
    shares = [_share(case["product"]) for case in found["cases"] if case["product"]]
    return "\n\n".join([about, "\n".join([HEAD, *rows]), *shares])


def into(page: str, text: str, first: str = START, last: str = END) -> str:
    """The page with the text between its marks. Raises ValueError where they are missing."""
    before, start, rest = page.partition(first)
    _, end, after = rest.partition(last)
    if not start or not end:
        raise ValueError(f"the page must hold the lines {first} and {last}")
    return f"{before}{first}\n{text}\n{last}{after}"


def _row(case: dict, rival: dict) -> str:
    ratio = "{median:.2f} x ({min:.2f} to {max:.2f})".format(**rival["ratio"])
    name = f"{RIVALS[rival['name'][:3]]}; {case['case']}"
    return f"| {name} | {rival['ms']:.2f} | {case['ours_ms']:.2f} | {ratio} | {rival['target']:g} |"


def _share(product: dict) -> str:
    share = "{median:.2f} ({min:.2f} to {max:.2f})".format(**product["share"])
    verdict = "which reaches" if product["reached"] else "short of"
    return (
        f"Its two large matrix products alone run at {product['product_gflops']:.0f} GFLOP/s on these cores,\n"
        f"the whole of ours at {product['ours_gflops']:.0f}: a share of {share}, {verdict} the {product['target']:g}\n"
        "aimed at."
    )
