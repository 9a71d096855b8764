"""What tests share is made once per session, whichever of its processes asks first."""

from types import SimpleNamespace

import pytest
import toybook


def test_processes_that_share_the_tests_make_a_thing_once_and_one_that_failed_again(tmp_path, monkeypatch):
    asked = []

    def make(folder):
        asked.append(folder)
        if len(asked) == 1:
            raise OSError("the first time")
        folder.mkdir()

    def once(worker):
        return toybook.once(SimpleNamespace(getbasetemp=lambda: tmp_path / worker), "thing", make)

    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")
    with pytest.raises(OSError, match="the first time"):
        once("gw0")
    assert once("gw1") == once("gw0") == tmp_path / "thing"
    assert len(asked) == 2


def test_a_process_alone_makes_things_in_its_own_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    place = toybook.once(SimpleNamespace(getbasetemp=lambda: tmp_path), "thing", lambda folder: folder.mkdir())
    assert place == tmp_path / "thing"
