"""Where numbers come from: the commit, local changes, the repository's address."""

import subprocess

import toybook

from lowcap import provenance


def git(folder, *arguments):
    names = ["-c", "user.name=Ann", "-c", "user.email=ann@example.org"]
    subprocess.run(["git", *names, *arguments], cwd=folder, check=True, capture_output=True)


def test_the_commit_and_local_changes_are_told(tmp_path):
    root = toybook.make(tmp_path / "root")
    assert provenance.commit_of(root) == (None, False)
    git(root, "init")
    git(root, "add", ".")
    git(root, "commit", "-m", "first")
    commit, dirty = provenance.commit_of(root)
    assert len(commit) == 40
    assert not dirty
    (root / "book" / "01-replay.ipynb").write_text("{}")
    assert provenance.commit_of(root) == (commit, True)
    assert provenance.remote_of(root) is None
    git(root, "remote", "add", "origin", "git@github.com:ann/book.git")
    assert provenance.remote_of(root) == "git@github.com:ann/book.git"
