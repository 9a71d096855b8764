"""Explorables: what Python packs, and what the browser makes of it, by mouse, keyboard, touch and address.

The pages are made by the helper from a synthetic pair of classes with 28x28 pixels, so these tests need no data set.
"""

import base64
import functools
import json
import re
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from browsing import keep_home, serving
from nbformat.v4 import new_code_cell, new_notebook, new_output
from toybook import REAL

from lowcap import pruning
from lowcap.book.pages import assets
from lowcap.book.pages.ledger_page import ledger_table
from lowcap.chapters.geometry import tsne
from lowcap.chapters.geometry.measures import Images, procrustes
from lowcap.chapters.robustness.corruption import corrupt
from lowcap.chapters.robustness.experiments import occlusion_map
from lowcap.evaluation import evaluate, f1_score
from lowcap.explorables import blob as pagedata
from lowcap.explorables import elements, maps, noise
from lowcap.explorables.blob import Blob
from lowcap.population import Population
from lowcap.recipe import CONVERGED, PUBLISHED
from lowcap.tasks import Task, load_task
from lowcap.training import train

LEVELS, TUNED = (0.0, 0.3, 0.5, 0.8, 0.95, 0.99), (0.5, 0.95)
NAMES = ("train-yourself", "draw-digit", "prune-yourself", "corrupt-it", "morph-map")
WIDE, PHONE = 1280, 390


def synthetic(n_train=500, n_test=240, seed=3):
    """Two classes of blotted, noisy strokes on 28x28 pixels, in whole 255ths, with a border that is always black."""
    rng = np.random.default_rng(seed)
    strokes = rng.random((2, 28, 28)) * (rng.random((2, 28, 28)) < 0.3)
    strokes[:, :4], strokes[:, 24:], strokes[:, :, :4], strokes[:, :, 24:] = 0, 0, 0, 0

    def part(n):
        y = rng.permutation(np.arange(n) % 2)
        keep = rng.random((n, 784)) < 0.5
        noise = rng.normal(0, 0.5, (n, 784)) * (strokes.max(0).ravel() > 0)
        x = np.round(255 * np.clip(strokes[y].reshape(n, 784) * keep + noise, 0, 1)).astype(np.uint8)
        return torch.from_numpy(x).float().div_(255), torch.from_numpy(y.astype(np.float32))

    (x_train, y_train), (x_val, y_val), (x_test, y_test) = part(n_train), part(40), part(n_test)
    live = (x_train != 0).any(0)
    return Task("mnist", (4, 9), 0, x_train, y_train, x_val, y_val, x_test, y_test, live)


@dataclass
class Shown:
    """What the helper displayed: HTML by element, and the networks behind it."""

    html: dict
    about: dict
    task: Task
    nets: Population
    maps: pd.DataFrame


@pytest.fixture(scope="module")
def shown():
    html, about, task = {}, {}, synthetic()
    kept, elements.display = elements.display, lambda data, meta: keep(data, meta["lowcap"], html, about)
    try:
        recipe = CONVERGED.but(epochs=8)
        nets = train(Population.grid([1, 2, 4, 24], [0], n_features=784), task, recipe)
        elements.train_yourself(task, [1, 2, 4], starts=2)
        elements.draw_digit(nets, task, front=True)
        tune = CONVERGED.but(epochs=2)
        elements.prune_yourself(nets.select([3]), task, tune, levels=LEVELS, tuned=TUNED)
        noise.corrupt_it(nets, task, 0.3, 7)
        conditions = {"dense": nets, "half": pruning.prune(nets, 0.5), "most": pruning.prune(nets, 0.95), "other": nets}
        images = Images.of(task, 1, 60)
        found = tsne.maps(conditions, images, 3, perplexity=10, max_iter=250)
        paths = {"pruned": ["dense", "half", "most"], "another": ["dense", "other"]}
        maps.morph_map(found, images, task, paths, k=5)
    finally:
        elements.display = kept
    return Shown(html, about, task, nets, found)


def keep(data, meta, html, about):
    html[meta["explorable"]], about[meta["explorable"]] = data["text/html"], meta


def data_of(shown, name):
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', shown.html[name])[1])


# What Python packs


def unpacked(blob, name):
    raw, at = zlib.decompress(base64.b64decode(blob.text)), 0
    for part, (kind, count, _) in blob.parts.items():
        size = int(np.ceil(count * {"u1": 1, "u2": 0.25, "fixed16": 2, "float32": 4}[kind]))
        if part == name:
            return raw[at : at + size], count
        at += size
    raise KeyError(name)


def test_a_blob_holds_its_parts_one_after_another_in_their_own_kinds():
    values = np.array([0.1, -2, 3e-6])
    blob = Blob.of({"a": ("u1", [0, 255]), "b": ("float32", values), "c": ("fixed16", [0.5, -1.0, 0.0])})
    assert unpacked(blob, "a") == (b"\x00\xff", 2)
    assert np.array_equal(np.frombuffer(unpacked(blob, "b")[0], np.float32), values.astype(np.float32))
    low_and_high = [0xFF, 0x00, 0x00, 0xBF, 0x00, 0x80]  # 49151, 0, 32768
    assert list(unpacked(blob, "c")[0]) == low_and_high
    assert blob.parts["c"] == ("fixed16", 3, 1 / 32767.5)


def test_numbers_of_16_bits_are_off_by_half_a_step_at_most_and_never_zero(rng):
    values = rng.normal(0, 0.1, 5000)
    codes, scale = pagedata.fixed(values)
    back = (codes - pagedata.MIDDLE) * scale
    assert np.abs(back - values).max() <= scale / 2 * (1 + 1e-9)
    assert scale == np.abs(values).max() / 32767.5
    assert (back != 0).all()
    assert pagedata.fixed(np.zeros(2))[1] == 1.0


def test_four_shades_go_into_a_byte_the_first_in_its_highest_bits():
    assert unpacked(Blob.of({"a": ("u2", [3, 0, 1, 2, 1])}), "a") == (bytes([0b11000110, 0b01000000]), 5)


def test_a_blobs_name_is_that_of_its_content():
    one, same, other = (Blob.of({"a": ("u1", values)}) for values in ([1, 2], [1, 2], [1, 3]))
    assert one.name == same.name != other.name


def test_weights_are_those_of_the_network_rounded_to_16_bits(shown):
    rounded, x = pagedata.rounded(shown.nets), shown.task.x_test
    flat = pagedata.weights(rounded, 2)
    module = rounded.to_module(2)
    assert np.array_equal(flat[: 784 * 4].reshape(784, 4), module[0].weight.detach().T.numpy())
    assert np.array_equal(flat[784 * 4 :], torch.cat([module[0].bias, module[2].weight[0], module[2].bias]).detach())
    assert np.abs(flat - pagedata.weights(shown.nets, 2)).max() <= np.abs(flat).max() / 65535 * 1.001
    assert not torch.equal(rounded(x), shown.nets(x))


def test_markup_in_the_data_cannot_end_the_script(monkeypatch):
    found = {}
    monkeypatch.setattr(elements, "display", lambda data, meta: found.update(data))
    table = pd.DataFrame({"<b>": ["</script>"]})
    elements.show("draw-digit", {"fallback": "</script><b>x"}, "", [], table)
    head = found["text/html"].split("<style")[0]
    assert head.count("</script>") == 1
    assert "<b>" not in head.replace('<b class="', "")
    assert "</script><b>x" in found["text/plain"]


def test_every_element_shows_a_table_of_the_run_to_readers_without_javascript(shown):
    for name in NAMES:
        assert "<table" in re.sub("(?s)<template>.*</template>", "", shown.html[name]).split("</div>")[0]
        assert data_of(shown, name)["fallback"] in shown.html[name]


def test_scattered_ranks_are_every_rank_once():
    ranks = elements._scattered((7, 3))
    assert ranks.shape == (7, 3)
    assert sorted(ranks.flatten().tolist()) == list(range(21))


def test_for_the_site_code_goes_and_data_become_files_that_are_shared(shown, tmp_path):
    (tmp_path / "book" / "_generated").mkdir(parents=True)
    plain = new_output("display_data", {"text/html": "<p>other</p>"})
    notebook = as_notebook(shown, ["draw-digit", "train-yourself"])
    notebook.cells[0].outputs.append(plain)
    assets.move(notebook, tmp_path)
    draw, other, learn = (out["data"]["text/html"] for cell in notebook.cells for out in cell.outputs)
    assert other == "<p>other</p>"
    for html, name in ((draw, "draw-digit"), (learn, "train-yourself")):
        assert "data-library" not in html
        assert "data-blob" not in html
        assert data_of(shown, name)["blobs"][0]["name"] in html
        text = (tmp_path / assets.STATIC / f"{data_of(shown, name)['blobs'][0]['name']}.js").read_text()
        assert text.startswith(f'lowcap.put("{data_of(shown, name)["blobs"][0]["name"]}", "')
    front = tmp_path / "book" / "_generated"
    assert [path.name for path in front.iterdir()] == ["draw-digit.md"]
    assert draw in (front / "draw-digit.md").read_text()


def as_notebook(shown, names):
    def cell(name):
        meta = {"lowcap": shown.about[name]}
        return new_code_cell("", outputs=[new_output("display_data", {"text/html": shown.html[name]}, metadata=meta)])

    return nbformat.from_dict(new_notebook(cells=[cell(name) for name in names]))


# What the browser makes of it


@pytest.fixture(scope="module")
def folder(shown, tmp_path_factory):
    """Pages as the site has them, all.html and one for each element, and notebook.html, where everything is inline."""
    root = tmp_path_factory.mktemp("explorables")
    (root / "book" / "_generated").mkdir(parents=True)
    notebook = as_notebook(shown, NAMES)
    assets.move(notebook, root)
    (root / "book" / "static").rename(root / "_static")
    for path in (REAL / "book" / "static").glob("**/*.*"):
        target = root / "_static" / path.relative_to(REAL / "book" / "static")
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(path.read_bytes())
    html = dict(zip(NAMES, (cell.outputs[0]["data"]["text/html"] for cell in notebook.cells), strict=True))
    head = "".join(f'<link rel="stylesheet" href="../_static/{name}">' for name in ("lowcap.css", "explorables.css"))
    head += "".join(f'<script defer src="../_static/explorables/{name}"></script>' for name in elements.FILES)
    far = f'<div style="height: 6000px"></div>{html["draw-digit"]}'
    for name, body in {"all": "".join(html.values()), "far": far, **html}.items():
        (root / "book" / f"{name}.html").write_text(page(head, body), encoding="utf-8")
    (root / "book" / "ledger.html").write_text(page(head, ledger_page()), encoding="utf-8")
    (root / "book" / "blank.html").write_text(page("", ""), encoding="utf-8")
    (root / "results.json").write_text("{}", encoding="utf-8")
    (root / "book" / "notebook.html").write_text(page("", "".join(shown.html.values())), encoding="utf-8")
    return root


def ledger_page():
    """The ledger as the site has it, with the table made from its lines."""

    def claim(sentence, source, verdict):
        about = {"id": "x", "sentence": sentence, "source": source, "verdict": verdict, "figure": "fig-x", "own": True}
        return {"claim": about | {"criterion": "It is < 1.", "numbers": {"n": "0.5"}, "chapter": "01-replay"}}

    found = [claim("Wide nets are best.", "Kumar (2025), Fig. 1", "does not hold"),
             claim("Small ones do.", "Kumar (2025), Fig. 2", "holds"),
             claim("Wide is good.", "This book", "does not hold")]  # fmt: skip
    start, table, end = re.fullmatch(
        r"```{raw} html\n(.*)\n```\n\n(.*)\n\n```{raw} html\n(.*)\n```", ledger_table(found), re.DOTALL
    ).groups()
    rows = ["".join(f"<td>{cell.strip()}</td>" for cell in line.strip("|").split("|")) for line in table.splitlines()]
    body = "".join(f"<tr>{row}</tr>" for row in rows[2:])
    return f"{start}<table><thead><tr>{rows[0].replace('td>', 'th>')}</tr></thead><tbody>{body}</tbody></table>{end}"


def page(head, body):
    start = (
        "document.documentElement.dataset.theme = matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light'"
    )
    style = "body { background: var(--pst-color-background); margin: 0 } main { max-width: 688px; padding: 0 16px }"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<title>A page</title><link rel="icon" href="data:,"><script>{start}</script>{head}<style>{style}</style>'
        f'<main class="bd-article"><h1>A page</h1><p id="verdict">Text.</p>{body}</main></html>'
    )


@pytest.fixture(scope="module")
def home(folder):
    with serving(folder) as address:
        yield address


@pytest.fixture
def visit(browser, home):
    """Open a page of the folder; what it complained of and asked others for must stay empty."""
    contexts, troubles = [], []

    def go(name, width=WIDE, scheme="light", base=home, live=True, **looks):
        looks = {"reduced_motion": "reduce", "has_touch": width < 500, "is_mobile": width < 500} | looks
        looks["bypass_csp"] = True  # under the site's policy one cannot look into a page; test_browser keeps to it
        contexts.append(browser.new_context(viewport={"width": width, "height": 850}, color_scheme=scheme, **looks))
        tab = contexts[-1].new_page()
        tab.on("console", lambda message: troubles.append(message.text))
        tab.on("pageerror", lambda error: troubles.append(str(error)))
        tab.route("**/*", functools.partial(keep_home, base, troubles))
        tab.goto(base + "book/" + name)
        if live and looks.get("java_script_enabled", True):
            tab.wait_for_function("[...document.querySelectorAll('.explorable')].every(e => e.matches('.x-live'))")
        return tab

    yield go
    for context in contexts:
        context.close()
    assert troubles == []


@pytest.fixture(scope="module")
def bench(browser, home):
    """Computes in a page with all elements; arrays come back as numbers of single precision, nested lists as lists."""
    context = browser.new_context(reduced_motion="reduce", bypass_csp=True)
    tab = context.new_page()
    tab.goto(f"{home}book/all.html")
    tab.wait_for_function("[...document.querySelectorAll('.explorable')].every(e => e.matches('.x-live'))")
    tab.evaluate(
        """window.bytes = text => Uint8Array.from(atob(text), c => c.charCodeAt(0));
        window.letters = array => Array.from(array, b => String.fromCharCode(b)).join("");
        window.text = array => letters(new Uint8Array(Float32Array.from(array).buffer));
        window.find = name => document.querySelector(name); window.m = lowcap.math;"""
    )

    def compute(script, given=None):
        return decoded(
            tab.evaluate(
                f"given => JSON.stringify(({script})(given), (_, v) => v?.buffer ? {{f: btoa(text(v))}} : v)", given
            )
        )

    yield compute
    context.close()


def decoded(answer):
    return json.loads(
        answer, object_hook=lambda d: np.frombuffer(base64.b64decode(d["f"]), np.float32) if "f" in d else d
    )


def text_of(x):
    return base64.b64encode(pagedata.shades(x, 255).tobytes()).decode()


def test_live_logits_are_those_of_torch(bench, shown):
    x = shown.task.x_test
    assert len(x) >= 200
    script = "pixels => find('draw-digit').nets.map(net => m.logits(net, m.images(bytes(pixels), 784, 255)))"
    live = np.stack(bench(script, text_of(x)), 1)
    with torch.no_grad():
        assert np.abs(live - pagedata.rounded(shown.nets)(x).numpy()).max() < 1e-5


@pytest.mark.mnist
def test_rounding_moves_logits_by_less_than_a_thousandth_and_no_decision(mnist):
    task = load_task((4, 9), dataset=mnist)
    nets = train(Population.grid([1, 2, 4, 24, 64], [0], n_features=784), task, CONVERGED.but(epochs=5))
    with torch.no_grad():
        exact, page = nets(task.x_test), pagedata.rounded(nets)(task.x_test)
    assert float((exact - page).abs().max()) < 1e-3
    assert bool(((exact > 0) == (page > 0)).all())


def test_weights_in_single_precision_lose_nothing(bench, shown):
    flat = pagedata.weights(shown.nets, 3)
    blob = Blob.of({"net": ("float32", flat)})
    bench(
        "([r, t]) => { lowcap.put(r.name, t); lowcap.parts(r).then(p => (window.got = p.net)); return 0 }",
        [blob.reference, blob.text],
    )
    assert np.array_equal(bench("() => window.got"), flat)


def test_the_page_has_the_very_weights_that_python_rounded(bench, shown):
    live, rounded = bench("() => find('draw-digit').nets.map(net => net.all)"), pagedata.rounded(shown.nets)
    assert [np.array_equal(net, pagedata.weights(rounded, i)) for i, net in enumerate(live)] == [True] * 4


def test_shares_add_up_to_the_logit_and_the_map_is_the_gradient(bench, shown):
    x = shown.task.x_test[:1].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(pagedata.rounded(shown.nets)(x)[0, 3], x)
    live = bench(
        """pixels => { const net = find("draw-digit").nets[3];
        const { logit, hidden, shares } = m.explain(net, m.images(bytes(pixels), 784, 255));
        return { rest: logit - net.bOut[0] - shares.reduce((a, b) => a + b, 0), map: m.saliency(net, hidden) } }""",
        text_of(x.detach()),
    )
    assert abs(live["rest"]) < 1e-5
    assert np.abs(live["map"] - gradient.numpy()[0]).max() < 1e-6


@pytest.mark.parametrize("batch", [0, 128])
def test_training_takes_the_same_steps_as_torch(bench, batch):
    live = bench(
        """batch => { const { pixels, labels, features, top, n } = find("train-yourself").digits;
        const x = pixels.subarray(0, n * features), y = labels.subarray(0, n), data = m.images(x, features, top);
        const net = m.start(features, 4, 5), first = net.all.slice(), orders = [], losses = [];
        const rows = new Uint32Array(n), next = m.random(6);
        for (let i = 0; i < 50; i++) { m.shuffle(rows, next); orders.push(rows.slice()); }
        for (const _ of m.training(net, data, y, { rate: 0.3, batch, steps: 50, seed: 5 }))
          losses.push(m.loss(m.logits(net, data), y));
        return { first, orders, losses, last: net.all, x, y } }""",
        batch,
    )
    x, y = torch.tensor(live["x"]).view(-1, 784) / elements.SHADES, torch.tensor(live["y"])
    start = torch.tensor(live["first"])
    weights = [start[:3136].view(784, 4), start[3136:3140], start[3140:3144], start[3144:]]
    weights = [w.clone().requires_grad_() for w in weights]
    optimizer, losses = torch.optim.SGD(weights, lr=0.3), []

    def loss(rows):
        w, b, v, c = weights
        logits = (x[rows] @ w + b).relu() @ v + c
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, y[rows])

    batches = [rows for order in live["orders"] for rows in torch.tensor(order).long().split(batch or len(x))][:50]
    for rows in batches:
        optimizer.zero_grad()
        loss(rows).backward()
        optimizer.step()
        losses.append(float(loss(torch.arange(len(x))).detach()))
    assert losses[-1] < losses[0] - 0.1
    assert np.abs(np.array(live["losses"]) - losses).max() < 1e-4
    assert np.abs(live["last"] - torch.cat([w.detach().flatten() for w in weights]).numpy()).max() < 1e-4


def test_the_page_prunes_the_very_weights_that_python_prunes(bench, shown):
    dense = pagedata.rounded(shown.nets.select([3]))
    rankings = {name: pruning.rank(dense, scope=name) for name in ("first", "layer", "network")}
    first = rankings["first"]
    rankings["random"] = replace(first, ranks=(elements._scattered((784, 24)), first.ranks[1]))
    live = bench(
        "([names, levels]) => names.map(n => levels.map(s => find('prune-yourself').prune(n, s).net.all))",
        [list(rankings), LEVELS],
    )
    for name, nets in zip(rankings, live, strict=True):
        for level, net in zip(LEVELS, nets, strict=True):
            assert np.array_equal(net, pagedata.weights(rankings[name].prune(level), 0)), (name, level)


def test_live_f1_is_the_runs_own_for_every_method_and_level(bench, shown):
    curves = data_of(shown, "prune-yourself")["curves"]
    assert set(curves) == {"first", "network", "layer", "random", "tuned"}
    assert len({f1 for points in curves.values() for _, f1 in points}) > 5
    live = bench(
        """curves => { const e = find("prune-yourself"), each = ([name, points]) =>
          [name, points.map(([level]) => [level, e.f1(e.prune(name, level).net)])];
        return Object.fromEntries(Object.entries(curves).map(each)) }""",
        curves,
    )
    assert {n: [[s, pytest.approx(f1, abs=1e-12)] for s, f1 in points] for n, points in curves.items()} == live


CORRUPT = "document.querySelector('corrupt-it')"


def corrupted(bench, **state):
    """What the page makes of the test digits: images and logits, whole, and the F1 that it shows."""
    return bench(
        """state => { const e = find("corrupt-it"), n = e.labels.length; e.state = { ...e.state, ...state };
        const logits = e.logits(0, n), f1 = logits.map(l => m.f1(l, e.labels));
        return { images: e.corrupted(0, n), logits, f1 } }""",
        {"noise": 0, "patch": 0, "row": 8, "column": 9, "clip": True, "seed": 1} | state,
    )


@pytest.mark.parametrize("patch", [0, 7])
def test_logits_under_a_patch_are_those_of_torch_and_f1_is_the_runs_own(bench, shown, patch):
    live, nets, task = corrupted(bench, patch=patch), pagedata.rounded(shown.nets), shown.task
    x = task.x_test.view(-1, 28, 28).clone()
    x[:, 8 : 8 + patch, 9 : 9 + patch] = 0
    assert len(x) >= 200
    with torch.no_grad():
        assert np.abs(np.stack(live["logits"], 1) - nets(x.flatten(1)).numpy()).max() < 1e-3
    run = occlusion_map(nets, task.x_test, task.y_test, patch).query("top == 8 and left == 9")["f1"].to_numpy()
    assert live["f1"] == pytest.approx(run, abs=1e-12)


def test_the_clean_ends_of_the_runs_curves_are_the_live_f1(bench, shown):
    curves, live = data_of(shown, "corrupt-it")["curves"], corrupted(bench)["f1"]
    for kind in ("clipped", "unclipped", "patch"):
        assert [curve[0] for curve in curves[kind]] == [[0, pytest.approx(f1, abs=1e-12)] for f1 in live]
    nets, task = pagedata.rounded(shown.nets), shown.task
    noisy = evaluate(nets, corrupt(task.x_test, "gaussian", 0.3), task.y_test)["f1"]
    assert [dict(curve)[0.3] for curve in curves["clipped"]] == pytest.approx(noisy.tolist(), abs=1e-12)


def test_noise_is_normal_independent_repeatable_and_only_clipped_when_asked(bench, shown):
    free = corrupted(bench, noise=0.3, clip=False)["images"] - shown.task.x_test.numpy().ravel()
    assert abs(free.mean()) < 4 * 0.3 / len(free) ** 0.5
    assert free.std() == pytest.approx(0.3, rel=0.01)
    assert (np.abs(free) < 0.3).mean() == pytest.approx(0.6827, abs=0.005)
    rows = free.reshape(-1, 784)
    assert abs(np.corrcoef(rows[0], rows[1])[0, 1]) < 0.15
    assert abs(np.corrcoef(free[:-1], free[1:])[0, 1]) < 0.01
    twice = corrupted(bench, noise=0.6, clip=False)["images"] - shown.task.x_test.numpy().ravel()
    assert np.abs(twice - 2 * free).max() < 1e-5
    other = corrupted(bench, noise=0.3, clip=False, seed=2)["images"] - shown.task.x_test.numpy().ravel()
    assert abs(np.corrcoef(free, other)[0, 1]) < 0.01
    clipped = corrupted(bench, noise=0.3)["images"]
    assert np.abs(clipped - np.clip(free + shown.task.x_test.numpy().ravel(), 0, 1)).max() < 1e-6


def test_scores_under_the_pages_noise_are_near_those_under_the_runs(bench, shown):
    live = corrupted(bench, noise=0.3)["f1"]
    run = [dict(curve)[0.3] for curve in data_of(shown, "corrupt-it")["curves"]["clipped"]]
    assert np.abs(np.array(live) - run)[2:].max() < 0.02  # another draw; the two narrowest hardly work on these digits
    assert live != run


def test_maps_and_neighbours_on_the_page_are_those_of_the_run(bench, shown):
    data, found = data_of(shown, "morph-map"), shown.maps
    live = bench("() => find('morph-map').maps")
    for name, map_ in zip(data["conditions"], live, strict=True):
        places = map_.reshape(-1, 2)
        own = found[found["condition"] == name][["x", "y"]].to_numpy() * [1, -1]
        assert procrustes(places.astype(float), own) < 1e-6
        assert np.corrcoef(places[:, 0], own[:, 0])[0, 1] > 0.99999
        assert places.min() >= 0
        assert places[:, 0].max() <= 100
    kept = bench(
        """() => { const e = find("morph-map"), n = e.labels.length;
        const near = map => Array.from({ length: n }, (_, i) => e.neighbours(i, map)), first = near(e.maps[0]);
        const kept = map => near(map).flatMap((all, i) => all.filter(j => first[i].includes(j))).length;
        return e.maps.map(map => kept(map) / n / e.data.k) }"""
    )
    assert kept == pytest.approx(data["kept"], abs=0.01)  # places are rounded to 16 bits
    assert kept[0] == data["kept"][0] == 1


def test_fine_tuned_networks_arrive_whole(bench, shown):
    dense, task = pagedata.rounded(shown.nets.select([3])), shown.task
    small = pruning.prune(dense, 0.95, scope="first")
    tuned = pagedata.rounded(train(small, task, CONVERGED.but(epochs=2), order_seed=1))
    live = bench("() => find('prune-yourself').prune('tuned', 0.95).net.all")
    assert np.array_equal(live, pagedata.weights(tuned, 0))


def test_the_published_curve_is_the_published_protocol_on_the_digits_of_the_page(shown):
    published = data_of(shown, "train-yourself")["published"]
    small = elements._sample(shown.task, 2000, 500)
    nets = train(Population.grid([2], range(2), n_features=784), small, PUBLISHED)
    scores = evaluate(nets, small.x_test, small.y_test)["f1"]
    assert published["curves"]["2"]["f1"][-1] == pytest.approx(scores.median(), abs=1e-4)
    assert (published["at"][0], published["at"][-1], published["rate"]) == (0, 100, 0.03)


# How a reader gets on with it

STATE = "name => document.querySelector(name).state"


def settle(tab):
    tab.wait_for_timeout(650)


def test_train_by_keyboard_alone(visit):
    tab = visit("train-yourself.html")
    tab.locator("input[type=radio]:checked").first.focus()
    tab.keyboard.press("ArrowRight")
    tab.get_by_label("steps", exact=True).focus()
    tab.keyboard.press("Home")
    tab.keyboard.press("ArrowRight")
    tab.get_by_role("button", name="Train", exact=True).focus()
    tab.keyboard.press("Enter")
    tab.wait_for_function("document.querySelector('.x-status').textContent.includes('after 200 steps')")
    assert tab.evaluate(STATE, "train-yourself") == {"width": 4, "rate": 0.1, "batch": 128, "steps": 200, "seed": 1}
    said = tab.get_by_role("status").inner_text()
    shown_f1, f1 = tab.locator(".x-numbers dd").nth(1).inner_text(), re.search(r"F1 ([\d.]+)", said)[1]
    assert shown_f1 == f1
    assert float(f1) > 0.8


def test_the_papers_steps_end_where_the_run_ends_or_near(visit, shown):
    tab = visit("train-yourself.html")
    tab.get_by_role("button", name="The paper’s 100 steps").click()
    tab.wait_for_function("document.querySelector('.x-status').textContent.includes('after 100 steps')")
    end = tab.evaluate("document.querySelector('train-yourself').runs.at(-1).points.at(-1)")
    loss = data_of(shown, "train-yourself")["published"]["curves"]["2"]["loss"]
    assert end["step"] == 100
    assert end["loss"] == pytest.approx(loss[-1], abs=0.15)  # another start
    assert tab.get_by_role("button", name="Train", exact=True).is_visible()


def test_training_can_be_stopped_and_an_old_answer_is_not_taken_for_a_new_one(visit):
    tab = visit("train-yourself.html", reduced_motion="no-preference")
    tab.evaluate("document.querySelector('train-yourself').change({ steps: 5000, width: 4 })")
    tab.get_by_role("button", name="Train", exact=True).click()
    tab.wait_for_function("document.querySelector('train-yourself').runs[0]?.points.length > 3")
    tab.get_by_role("button", name="Stop").click()
    count = "document.querySelector('train-yourself').runs[0].points.length"
    before = tab.evaluate(count)
    tab.wait_for_timeout(300)
    assert tab.evaluate(count) == before


def test_with_reduced_motion_only_the_end_of_the_training_is_drawn(visit):
    def drawings(motion):
        tab = visit("train-yourself.html", reduced_motion=motion)
        tab.evaluate(
            """const e = document.querySelector("train-yourself"), draw = e.draw.bind(e);
            e.drawn = 0; e.draw = () => (e.drawn++, draw()); e.change({ steps: 1000, batch: 0 })"""
        )
        settle(tab)
        tab.get_by_role("button", name="Train", exact=True).click()
        tab.wait_for_function("document.querySelector('.x-status').textContent.includes('after')", timeout=20000)
        return tab.evaluate("document.querySelector('train-yourself').drawn")

    assert drawings("reduce") <= 4 < 10 < drawings("no-preference")


def test_prune_by_keyboard_alone(visit):
    tab = visit("prune-yourself.html")
    assert tab.evaluate(STATE, "prune-yourself") == {"sparsity": 0.0095, "method": "layer"}
    tab.get_by_role("slider").focus()
    tab.keyboard.press("ArrowRight")
    assert tab.get_by_role("slider").get_attribute("aria-valuetext") == "1 %"
    tab.keyboard.press("End")
    tab.keyboard.press("ArrowLeft")
    assert tab.get_by_role("slider").get_attribute("aria-valuetext") == "99.8 %"
    tab.locator("input[type=radio]:checked").focus()
    tab.keyboard.press("ArrowDown")
    settle(tab)
    assert "99.8 % of the weights are zero, first layer, at random" in tab.get_by_role("status").inner_text()


def test_the_status_waits_until_the_reader_has_come_to_rest(visit):
    tab = visit("prune-yourself.html")
    said = tab.evaluate(
        """() => { const e = document.querySelector("prune-yourself");
        for (const sparsity of [0.01, 0.02, 0.03]) e.change({ sparsity });
        e.draw();
        return [e.form.querySelector('.x-status').textContent, e.part('left').textContent] }"""
    )
    assert said[0] == ""
    assert said[1].startswith("18,275 of")
    settle(tab)
    assert "3 % of the weights are zero" in tab.get_by_role("status").inner_text()


def test_the_numbers_shown_are_counted(visit, shown):
    tab = visit("prune-yourself.html#prune.sparsity=0.95&prune.method=first")
    left, f1, joined = tab.locator(".x-numbers dd").all_inner_texts()
    small = pruning.prune(pagedata.rounded(shown.nets.select([3])), 0.95, scope="first")
    seen = pruning.measure(small).iloc[0]
    assert left == f"{int(seen['kept']):,} of {784 * 24 + 24:,}"
    assert joined == f"{int(seen['connected'])} of 24"
    with torch.no_grad():
        own = float(f1_score(small(shown.task.x_test) > 0, shown.task.y_test)[0])
    assert f1 == f"{own:.4f}"


ANSWERS = "document.querySelector('draw-digit').answers.map(a => a.logit)"
INK = "document.querySelector('draw-digit').image().drawn.filter(v => v > 0).length"


def test_draw_by_keyboard_alone(visit):
    tab = visit("draw-digit.html")
    before = tab.evaluate(ANSWERS)
    tab.locator(".x-pad").focus()
    for key in ("Space", *["ArrowDown"] * 12, "Space", *["ArrowRight"] * 3):
        tab.keyboard.press(key)
    settle(tab)
    ink = tab.evaluate(INK)
    assert 12 <= ink <= 60
    assert tab.evaluate(ANSWERS) != before
    assert "Your drawing" in tab.get_by_role("status").inner_text()
    tab.keyboard.press("Delete")
    settle(tab)
    assert tab.evaluate(INK) == 0
    assert "empty" in tab.get_by_role("status").inner_text()


def test_draw_by_mouse_and_by_touch(visit):
    for width in (WIDE, PHONE):
        tab = visit("draw-digit.html", width)
        box = tab.locator(".x-pad").bounding_box()
        x, y, down = box["x"] + box["width"] / 2, box["y"] + box["height"] / 4, box["height"] / 2
        if width == WIDE:
            tab.mouse.move(x, y)
            tab.mouse.down()
            tab.mouse.move(x, y + down)
            tab.mouse.up()
        else:
            touch = functools.partial(tab.context.new_cdp_session(tab).send, "Input.dispatchTouchEvent")
            touch({"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
            touch({"type": "touchMove", "touchPoints": [{"x": x, "y": y + down}]})
            touch({"type": "touchEnd", "touchPoints": []})
        settle(tab)
        assert 20 <= tab.evaluate(INK) <= 90
        assert tab.evaluate("scrollY") == 0
        assert tab.evaluate(STATE, "draw-digit")["ink"]


def test_a_centred_drawing_has_the_box_and_the_centre_of_mass_of_mnist(visit):
    tab = visit("draw-digit.html")
    tab.evaluate("document.querySelector('draw-digit').stroke([3, 2], [5, 12])")
    seen = np.array(tab.evaluate("[...document.querySelector('draw-digit').image().seen]")).reshape(28, 28)
    rows, columns = np.where(seen.sum(1) > 0)[0], np.where(seen.sum(0) > 0)[0]
    assert rows[-1] - rows[0] + 1 == 20
    assert (seen.sum(1) @ np.arange(28)) / seen.sum() == pytest.approx(13.5, abs=0.51)
    assert (seen.sum(0) @ np.arange(28)) / seen.sum() == pytest.approx(13.5, abs=0.51)
    assert 4 <= columns[0] <= columns[-1] <= 23
    tab.get_by_label("centre it as MNIST does").uncheck()
    settle(tab)
    assert tab.evaluate("(e => e.image().seen.join() === e.image().drawn.join())(document.querySelector('draw-digit'))")


def test_a_patch_is_dragged_by_mouse_by_touch_and_by_keys(visit):
    for width in (WIDE, PHONE):
        tab = visit("corrupt-it.html", width)
        pad = tab.locator(".x-pad")
        pad.scroll_into_view_if_needed()
        box = pad.bounding_box()
        x, y, pixel = box["x"], box["y"], box["width"] / 28
        if width == WIDE:
            tab.mouse.move(x + 10.5 * pixel, y + 12.5 * pixel)
            tab.mouse.down()
            tab.mouse.move(x + 20.5 * pixel, y + 8.5 * pixel)
            tab.mouse.up()
        else:
            touch = functools.partial(tab.context.new_cdp_session(tab).send, "Input.dispatchTouchEvent")
            touch({"type": "touchStart", "touchPoints": [{"x": x + 10.5 * pixel, "y": y + 12.5 * pixel}]})
            touch({"type": "touchMove", "touchPoints": [{"x": x + 20.5 * pixel, "y": y + 8.5 * pixel}]})
            touch({"type": "touchEnd", "touchPoints": []})
        assert tab.evaluate(STATE, "corrupt-it") | {"digit": 0} == {
            "digit": 0, "noise": 0.3, "clip": True, "patch": 7, "row": 5, "column": 17, "seed": 1,
        }  # fmt: skip
        pad.focus()
        for key in ("ArrowUp", "ArrowLeft", "ArrowLeft", *["ArrowUp"] * 9):
            tab.keyboard.press(key)
        assert tab.evaluate(f"[{CORRUPT}.state.row, {CORRUPT}.state.column]") == [0, 15]


def test_corrupt_by_keyboard_alone_and_hear_of_it_once_all_is_computed(visit):
    tab = visit("corrupt-it.html")
    tab.get_by_label("side of the patch").focus()
    tab.keyboard.press("ArrowRight")
    tab.get_by_label("noise, its standard deviation σ").focus()
    tab.keyboard.press("Home")
    tab.get_by_label("keep pixels between 0 and 1").press("Space")
    tab.wait_for_function("document.querySelector('.x-status').textContent.startsWith('Noise 0, ')")
    settle(tab)
    said, live = tab.get_by_role("status").inner_text(), tab.evaluate(f"{CORRUPT}.f1.map(f1 => f1.toFixed(3))")
    assert said.startswith("Noise 0, a patch of 1 by 1 pixels at row 10, column 10. 1 neuron: ")
    assert re.findall(r"F1 ([\d.]+\d)", said) == live == tab.locator(".x-answers b").all_inner_texts()
    assert tab.evaluate(STATE, "corrupt-it")["clip"] is False
    tab.get_by_role("button", name="Another noise").press("Enter")
    tab.get_by_role("button", name="Another digit").press("Enter")
    settle(tab)
    assert tab.url.endswith("#corrupt.digit=1&corrupt.noise=0&corrupt.clip=0&corrupt.patch=1&corrupt.seed=2")


def test_walk_through_the_maps_by_keyboard_and_touch(visit):
    tab = visit("morph-map.html", PHONE)
    point = "document.querySelector('morph-map').state.point"
    assert not tab.get_by_role("button", name="Play").is_visible()  # reduced motion
    tab.get_by_role("button", name="Next").press("Enter")
    settle(tab)
    assert tab.get_by_role("slider").get_attribute("aria-valuetext") == "half"
    tab.get_by_role("slider").press("ArrowRight")
    settle(tab)
    assert tab.get_by_role("slider").get_attribute("aria-valuetext") == "half → most"
    tab.locator(".x-map").focus()
    before = tab.evaluate(point)
    for key in ("ArrowUp", "ArrowLeft", "ArrowDown", "ArrowRight"):
        tab.keyboard.press(key)
    walked = tab.evaluate(point)
    box = "(box => [box.x + box.width / 2, box.y + box.height / 2])"
    tab.locator(".x-map").scroll_into_view_if_needed()
    tab.touchscreen.tap(
        *tab.evaluate(f"{box}(document.querySelector('morph-map').points[{before}].getBoundingClientRect())")
    )
    settle(tab)
    assert tab.evaluate(point) == before != walked
    told = tab.get_by_role("status").inner_text()
    kept = tab.locator(".x-numbers dd").first.inner_text()
    assert told.startswith(f"half → most. Point {before + 1} of 60, a ")
    assert f": {kept.split()[0]} of its 5 nearest" in told
    assert tab.locator(".x-near .x-kept").count() == int(kept.split()[0])


def test_play_goes_to_the_end_and_can_be_stopped(visit):
    tab = visit("morph-map.html#morph.at=0.95", reduced_motion="no-preference")
    tab.get_by_role("button", name="Play").click()
    tab.wait_for_function("document.querySelector('morph-map').state.at === 1")
    settle(tab)
    assert (
        tab.locator(".x-numbers dd").nth(1).inner_text()
        == f"{tab.evaluate('document.querySelector(`morph-map`).data.kept[2]'):.2f}"
    )
    tab.get_by_role("button", name="Play").click()
    tab.get_by_role("button", name="Pause").click()
    at = tab.evaluate("document.querySelector('morph-map').state.at")
    tab.wait_for_timeout(200)
    assert tab.evaluate("document.querySelector('morph-map').state.at") == at < 0.2


ROWS = "tbody tr:visible"


def test_the_ledger_is_a_table_that_can_be_searched_and_filtered(visit):
    tab = visit("ledger.html")
    assert tab.locator(ROWS).count() == 3
    assert "3 of 3 claims. does not hold: 2, holds: 1" in tab.locator("[data-part=count]").inner_text()
    tab.get_by_label("verdict").select_option("does not hold")
    tab.get_by_label("source").select_option("Kumar (2025)")
    settle(tab)
    assert tab.locator(ROWS).count() == 1
    assert tab.url.endswith("#ledger.source=Kumar+(2025)&ledger.verdict=does+not+hold") or "does" in tab.url
    again = visit(tab.url.split("/book/")[1])
    assert again.locator(ROWS).count() == 1
    assert violations(again, "claim-ledger") == []
    again.get_by_label("source").select_option("")
    again.get_by_label("Criteria and numbers of all").check()
    settle(again)
    assert again.locator("tbody details[open]").count() == again.locator("tbody details").count() == 3
    again.locator("tbody summary:visible").first.click()  # one may be closed again
    again.get_by_label("search").fill("Wide nets")
    again.wait_for_timeout(100)
    assert again.locator(ROWS).all_inner_texts()[0].startswith("Wide nets are best.")
    settle(again)
    assert again.locator("tbody details[open]").count() == 2
    assert again.get_by_role("status").inner_text().startswith("1 of 3 claims")
    plain = visit("ledger.html", java_script_enabled=False)
    assert plain.locator(ROWS).count() == 3
    assert plain.locator("input, select").count() == 0


def test_the_address_holds_what_a_reader_found(visit, home):
    tab = visit("all.html")
    tab.evaluate("document.querySelector('draw-digit').stroke([10, 4], [18, 24])")
    tab.get_by_role("radio", name="24 neurons").check()
    settle(tab)
    tab.get_by_role("button", name="95 %", exact=True).click()
    settle(tab)
    tab.evaluate("document.querySelector('train-yourself').change({ rate: 0.3, batch: 0 })")
    settle(tab)
    address = tab.url.split("/book/")[1]
    assert address.startswith("all.html#train.")
    again = visit(address)
    for name in NAMES:
        assert again.evaluate(STATE, name) == tab.evaluate(STATE, name)
    assert again.evaluate(ANSWERS) == tab.evaluate(ANSWERS)
    assert again.evaluate(STATE, "prune-yourself")["sparsity"] == 0.95
    assert again.evaluate("scrollY") == tab.evaluate(
        "document.querySelector('train-yourself').scrollIntoView(), scrollY"
    )


def test_an_address_of_an_anchor_is_left_alone_and_nonsense_does_no_harm(visit):
    tab = visit("all.html#verdict")
    settle(tab)
    assert tab.url.endswith("#verdict")
    bad = visit(
        "all.html#prune.sparsity=7&prune.method=none&draw.ink=../%00&draw.width=99&train.width=-3&train.steps=1e99&x=1"
    )
    assert bad.evaluate(STATE, "prune-yourself") == {"sparsity": 0.999, "method": "layer"}
    assert bad.evaluate(STATE, "draw-digit") | {"digit": 1} == {"digit": 1, "width": 4, "centre": True, "ink": ""}
    assert bad.evaluate(STATE, "train-yourself")["width"] == 2


def test_going_back_to_the_start_clears_the_address(visit):
    tab = visit("prune-yourself.html")
    tab.get_by_role("button", name="50 %", exact=True).click()
    settle(tab)
    assert tab.url.endswith("#prune.sparsity=0.5")
    tab.get_by_role("button", name="0.95 %").click()
    settle(tab)
    assert tab.url.endswith("prune-yourself.html")


def test_without_javascript_the_tables_are_there(visit):
    tab = visit("all.html", java_script_enabled=False)
    for name in NAMES:
        assert tab.locator(f"{name} table").is_visible()
    assert tab.locator("button, canvas").count() == 0


def test_with_javascript_the_tables_give_way_and_come_back_in_print(visit):
    tab = visit("all.html")
    assert tab.locator(".x-fallback:visible").count() == 0
    tab.emulate_media(media="print")
    assert tab.locator(".x-fallback:visible").count() == len(NAMES)
    assert tab.locator(".x-body:visible").count() == 0


@pytest.mark.parametrize("name", ["all.html", "notebook.html"])
def test_pages_work_from_the_file_system_and_as_notebooks_show_them(visit, folder, name):
    tab = visit(name, base=f"file://{folder}/")
    tab.evaluate("document.querySelector('train-yourself').change({ steps: 100 })")
    tab.get_by_role("button", name="Train", exact=True).click()
    tab.wait_for_function("document.querySelector('.x-status').textContent.includes('after 100 steps')")
    assert tab.evaluate("Boolean(document.querySelector('train-yourself').worker instanceof Worker)")


def test_an_output_works_when_a_notebook_puts_it_in_takes_it_out_and_puts_it_back(visit, shown):
    tab = visit("blank.html")
    tab.set_content('<!doctype html><title>Lab</title><body data-jp-theme-name="Light"><div id="out"></div>')
    insert = """html => { const out = document.getElementById("out"); out.innerHTML = html;
        for (const old of out.querySelectorAll("script")) { const s = document.createElement("script");
          for (const a of old.attributes) s.setAttribute(a.name, a.value);
          s.textContent = old.textContent; old.replaceWith(s); } }"""
    for name in ("draw-digit", "prune-yourself"):
        tab.evaluate(insert, shown.html[name])
        tab.wait_for_selector(f"{name}.x-live")
    tab.get_by_role("button", name="50 %", exact=True).click()
    tab.evaluate("(out => { const e = out.firstChild; e.remove(); out.prepend(e) })(document.getElementById('out'))")
    settle(tab)
    assert tab.locator(".x-body").count() == 1
    assert tab.evaluate(STATE, "prune-yourself")["sparsity"] == 0.5
    assert "prune." not in tab.url


def violations(tab, context):
    """All that axe finds, of whatever weight."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(tab, context=context, options={"preload": False}).response["violations"]
    return [f"{v['id']}: {v['nodes'][0]['html'][:200]} {v['nodes'][0]['failureSummary']}" for v in found]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [WIDE, PHONE])
def test_axe_finds_nothing_and_nothing_scrolls_sideways(visit, width, scheme):
    tab = visit("all.html", width, scheme)
    tab.get_by_role("button", name="95 %", exact=True).click()
    settle(tab)
    assert violations(tab, ".explorable") == []
    assert tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0


def test_data_are_fetched_when_the_reader_comes_near_or_asks_for_them_by_address(visit, shown):
    tab = visit("far.html", live=False)
    got = "document.querySelectorAll('head script[src]').length"
    settle(tab)
    before = tab.evaluate(got)
    assert tab.locator(".x-live").count() == 0
    tab.evaluate("scrollTo(0, 5000)")
    tab.wait_for_selector(".x-live")
    assert tab.evaluate(got) == before + 2
    again = visit("far.html#draw.width=24")
    assert again.evaluate("scrollY") > 5000


def test_the_theme_can_change_while_the_page_is_open(visit):
    tab = visit("prune-yourself.html")
    corner = "document.querySelector('.x-fields canvas').toDataURL()"
    tab.evaluate("document.querySelector('prune-yourself').change({ sparsity: 0.999 })")
    settle(tab)
    light = tab.evaluate(corner)
    tab.evaluate("document.documentElement.dataset.theme = 'dark'")
    settle(tab)
    assert tab.evaluate(corner) != light


def test_a_download_is_the_network_that_is_seen(visit):
    tab = visit("prune-yourself.html#prune.sparsity=0.99&prune.method=first")
    with tab.expect_download() as download:
        tab.get_by_role("button", name="Download the pruned network").click()
    net = json.loads(Path(download.value.path()).read_text())
    assert (net["width"], net["classes"], len(net["w_in"])) == (24, [4, 9], 784 * 24)
    assert sum(w != 0 for w in net["w_in"]) == 784 * 24 - round(0.99 * 784 * 24)
