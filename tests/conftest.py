"""What all tests share: a generator, no figure left open, and real MNIST where it can be had."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

mpl.use("Agg")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in the background of a shell; Ctrl-C is tested all the same
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The files that take longest, which processes that share the tests take first, so that they come to an end together.
# The first of them makes the book that `test_browser` and `test_browser_reading` look at: they come so late that none
# waits for it.
LONGEST = (
    "test_real_chapters",
    "test_explorables",
    "test_determinism",
    "test_build",
    "test_faults",
    "test_rerun",
    "test_publishing",
    "test_side_by_side",
    "test_run",
    "test_sweep_engine",
    "test_contributing",
    "test_browser",
    "test_browser_reading",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):  # set by pytest-xdist
        items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture(autouse=True)
def _close_figures() -> Iterator[None]:
    yield
    if pyplot := sys.modules.get("matplotlib.pyplot"):  # only if the test has drawn
        pyplot.close("all")


@pytest.fixture
def mnist() -> str:
    """The name of the dataset, for tests that need the real files: skipped, or failed, where they are not on disk."""
    _need_mnist()
    return "mnist"


@pytest.fixture
def lowcap(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command line in this process; its exit code, standard output and standard error."""
    from lowcap import cli

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["lowcap", *map(str, arguments)])
        monkeypatch.setattr(cli.signal, "signal", lambda *_: None)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0), *capsys.readouterr()

    return run


@pytest.fixture(scope="module")
def browser():
    """Chromium or Chrome, without a window."""
    import browsing

    path = browsing.find_browser()
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        browsing.or_fail("the package playwright is not installed")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=browsing.FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site(browser, tmp_path_factory):
    """The folder of the finished pages."""
    if os.environ.get("LOWCAP_SITE"):
        return Path(os.environ["LOWCAP_SITE"]).resolve()
    from toybook import fast_book

    return fast_book(tmp_path_factory)


@pytest.fixture(scope="module")
def home(site):
    """The address at which they can be visited."""
    from browsing import serving

    with serving(site) as address:
        yield address


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("mnist"):
        _need_mnist()
    if item.get_closest_marker("weekly") and os.environ.get("LOWCAP_WEEKLY") != "1":
        pytest.skip("minutes long; LOWCAP_WEEKLY=1 runs it")


def _need_mnist() -> None:
    """Tests download nothing. LOWCAP_REQUIRE_MNIST=1 turns the skip into a failure."""
    from lowcap.data import mnist_files

    roots = [Path(os.environ["LOWCAP_DATA"])] if os.environ.get("LOWCAP_DATA") else []
    if any((root / "MNIST" / "raw").is_dir() for root in [*roots, mnist_files.cache_dir()]):
        return
    reason = "MNIST is neither in the folder that LOWCAP_DATA names nor in the cache; `lowcap data` fetches it"
    if os.environ.get("LOWCAP_REQUIRE_MNIST") == "1":
        pytest.fail(f"{reason} (LOWCAP_REQUIRE_MNIST=1 forbids skipping)", pytrace=False)
    pytest.skip(reason)
