"""Speed of a finished site in Chromium, from disk: `python -m benchmarks.page _build/html`.

For each page the time to its first paint and to the first click that it answers, both to be below a second; and how
many epochs a second a network of width 24 trains on 2,000 digits in the page, to be at least 20.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from lowcap.book.pages.pdf import find_browser

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
READY = "performance.getEntriesByType('navigation')[0].domInteractive"  # from here on a click finds its listener
TRAIN = """({ width, n, features, epochs, rounds }) => {
    const math = globalThis.lowcap.math, next = math.random(5), pixels = new Uint8Array(n * features);
    for (let i = 0; i < pixels.length; i++) if (next() < 0.19) pixels[i] = 1 + Math.floor(3 * next());
    const labels = Uint8Array.from({ length: n }, () => (next() < 0.5 ? 0 : 1));
    const data = math.images(pixels, features, 3), batch = 128, rates = [];
    for (let round = 0; round < rounds; round++) {
      const net = math.start(features, width, round), steps = epochs * Math.ceil(n / batch), begin = performance.now();
      for (const done of math.training(net, data, labels, { rate: 0.1, batch, steps, seed: round })) void done;
      rates.push((1000 * epochs) / (performance.now() - begin));
    }
    return rates;
}"""


def opening(browser: Browser, address: str, rounds: int) -> dict[str, float]:
    """Milliseconds to the first paint and to readiness, medians."""
    seen = []
    for _ in range(rounds):
        with browser.new_context(viewport={"width": 1280, "height": 850}) as context:
            tab = context.new_page()
            tab.goto(address, wait_until="load")
            tab.wait_for_function(f"{PAINT} !== undefined")
            seen.append((tab.evaluate(PAINT), tab.evaluate(READY)))
    return dict(zip(("paint_ms", "ready_ms"), map(statistics.median, zip(*seen, strict=True)), strict=True))


def training(browser: Browser, address: str, rounds: int) -> list[float]:
    """Epochs a second with 2,000 images of 784 pixels, a fifth of them lit, as in MNIST; width 24, batches of 128."""
    with browser.new_context() as context:
        tab = context.new_page()
        tab.goto(address)
        tab.wait_for_function("globalThis.lowcap?.math")
        shape = {"width": 24, "n": 2000, "features": 784, "epochs": 10, "rounds": rounds}
        return tab.evaluate(TRAIN, shape)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page", description=__doc__)
    parser.add_argument("site", type=Path, help="folder of the finished pages, such as _build/html")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is timed (3)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="also write everything measured to this file")
    options = parser.parse_args(arguments)
    site = options.site.resolve()
    names = sorted(path.relative_to(site).as_posix() for path in site.glob("book/*.html"))
    if not names or options.rounds < 1:
        parser.error(f"{options.site} must hold book/*.html, and --rounds be at least 1; got {options.rounds}")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=find_browser(), args=FLAGS)
        rates = training(browser, f"file://{site}/{names[0]}", options.rounds)
        median = statistics.median(rates)
        print(f"training: {median:.0f} epochs a second ({min(rates):.0f} to {max(rates):.0f}), target 20")
        found = {name: opening(browser, f"file://{site}/{name}", options.rounds) for name in names}
        browser.close()
    for name, times in found.items():
        print(f"{name:30} first paint {times['paint_ms']:5.0f} ms, ready {times['ready_ms']:5.0f} ms, target 1000")
    if options.json:
        options.json.write_text(json.dumps({"epochs_a_second": rates, "pages": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
