"""What tests with a real browser share: how to start it, a server that is as strict as the strictest, no way out."""

import functools
import http.server
import os
import shutil
import threading
from contextlib import contextmanager

import pytest

from lowcap.book.pages.policy import POLICY

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def or_fail(reason):
    if os.environ.get("LOWCAP_REQUIRE_BROWSER") == "1":
        pytest.fail(f"{reason} (LOWCAP_REQUIRE_BROWSER=1 forbids skipping)", pytrace=False)
    pytest.skip(reason)


def find_browser():
    """Where Chromium or Chrome is; the test is skipped, or failed, where there is none."""
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
    return path or or_fail("no Chromium or Chrome on this machine")


class Strict(Quiet):
    """Sends the policy as a header too, as strict servers do."""

    def end_headers(self):
        self.send_header("Content-Security-Policy", f"{POLICY}; frame-ancestors 'none'")
        super().end_headers()


@contextmanager
def serving(folder):
    """The address at which the folder can be visited."""
    handler = functools.partial(Strict, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def keep_home(home, foreign, route):
    if route.request.url.startswith((home, "data:", "blob:")):
        route.continue_()
    else:
        foreign.append(route.request.url)
        route.abort()
