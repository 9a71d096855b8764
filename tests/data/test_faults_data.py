"""Data that cannot be written, or that arrive broken: one line says so, and the next run succeeds."""

import gc
import gzip
import hashlib
import http.server
import re
import threading

import pytest
import toydata
from toydisk import read_only

from lowcap.data import mnist_files


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Small files stand for MNIST; they lie in `whole`. No network, and no other data."""
    downloads = toydata.offline(monkeypatch, tmp_path)
    downloads.fail = OSError("no route to host")
    return tmp_path


def test_data_in_a_folder_that_cannot_be_written(small, lowcap, monkeypatch):
    (small / "empty").mkdir()
    (small / "cache").mkdir()
    monkeypatch.setenv("LOWCAP_DATA", str(small / "whole"))
    with read_only(small / "whole"), read_only(small / "cache"), read_only(small / "empty"):
        assert lowcap("data", "--dataset", "mnist")[::2] == (0, "")
        monkeypatch.setenv("LOWCAP_DATA", str(small / "empty"))
        code, _, said = lowcap("data", "--dataset", "mnist")
        assert code == 1
        assert said.startswith(f"lowcap: mnist is not in {small / 'empty' / 'MNIST' / 'raw'} or {small / 'cache'}")
        assert re.search(
            r"\((\[Errno \d+\] )?(Read-only file system|Permission denied).*set LOWCAP_DATA to a folder", said
        )


class Mirror(http.server.BaseHTTPRequestHandler):
    """Serves packed files, and harms one of them on the way."""

    def do_GET(self):
        name, harm = self.path.strip("/"), self.server.harm
        body = gzip.compress((self.server.folder / name.removesuffix(".gz")).read_bytes(), mtime=0)
        size = len(body)
        if "t10k-images" in name:
            body = {"cut off": body[: size // 2], "altered": bytes([*body[:-9], body[-9] ^ 1, *body[-8:]]),
                    "a page": b"<html>Please log in</html>"}.get(harm, body)  # fmt: skip
        self.send_response(503 if harm == "an error" else 200)
        self.send_header("Content-Length", str(len(body) if harm == "a page" else size))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_):
        pass

    do_HEAD = do_GET


@pytest.fixture
def mirror(small, monkeypatch):
    """A server that torchvision takes for MNIST's."""
    from torchvision.datasets import mnist as theirs

    raw = small / "whole" / "MNIST" / "raw"
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    server.folder, server.harm = raw, None
    packed = {
        name: hashlib.md5(gzip.compress((raw / name).read_bytes(), mtime=0)).hexdigest() for name in mnist_files.SIZES
    }
    monkeypatch.setattr(theirs.MNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
    monkeypatch.setattr(theirs.MNIST, "resources", [(f"{name}.gz", md5) for name, md5 in packed.items()])
    monkeypatch.setattr(mnist_files.torchvision.datasets, "MNIST", theirs.MNIST)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()
    gc.collect()  # torchvision leaves answers to the garbage collector that say that there was an error


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize(
    ("harm", "told"), [("cut off", "corrupted"), ("altered", "corrupted"), ("a page", "corrupted"), ("an error", "503")]
)
def test_a_download_that_is_cut_off_or_altered(small, lowcap, mirror, harm, told):
    left = small / "cache" / ".MNIST-killed" / "MNIST"  # by a process that was killed on the way
    left.mkdir(parents=True)
    mirror.harm = harm
    code, _, said = lowcap("data", "--dataset", "mnist")
    assert code == 1
    assert re.search(
        rf"(?m)^lowcap: mnist is not in .* could not be downloaded \(.*{told}.*\); connect to the network", said
    )
    assert [path.name for path in (small / "cache").iterdir()] == [".MNIST.lock"]
    mirror.harm = None
    assert lowcap("data", "--dataset", "mnist")[0] == 0
    assert {path.name for path in (small / "cache").iterdir()} == {".MNIST.lock", "MNIST"}
    assert mnist_files.verify(small / "cache" / "MNIST" / "raw", "mnist") == mnist_files.MNIST_MD5
