"""What the workflows do: their steps are run here, with `make` and `gh` replaced where they would build or tell."""

import functools
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import nbformat
import pytest
import toybook
import yaml

from lowcap.book.publish import archive

ROOT = Path(__file__).parents[2]
WORKFLOWS = ROOT / ".github" / "workflows"
MAKE = f"""#!/bin/bash
echo "make $*" >> calls
if [ "$1" = "$FAILING" ]; then echo "$1 fails" >&2; exit 1; fi
if [ "$1" = dist ]; then mkdir dist; touch dist/lowcap-0-py3-none-any.whl; fi
if [ "$1" = book ] && [ -z "$FAILING" ]; then
    {sys.executable} -m lowcap.cli build --dataset digits && echo %PDF- > _build/html/lowcap.pdf
fi
"""
PYTHON = f"""#!/bin/bash
if [ "$2" = zipfile ]; then exec {sys.executable} "$@"; fi
echo "python $*" >> calls
if [ "$FAILING" = browser ]; then echo "browser fails" >&2; exit 1; fi
"""
LOWCAP = f"""#!/bin/bash
if [ "$1" = data ]; then
    echo "lowcap $*" >> calls
    if [ "$FAILING" = data ]; then echo "data fails" >&2; exit 1; fi
else
    exec {sys.executable} -m lowcap.cli "$@"
fi
"""
UPLOADS = ("actions/upload-pages-artifact", "actions/upload-artifact")


def script(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def checkout(tmp_path):
    """A small book with the real `.ci/run`; lint and tests pass without being run, the book is really built."""
    root = toybook.make(tmp_path / "checkout")
    shutil.copytree(ROOT / ".ci", root / ".ci")
    script(root / "bin" / "make", MAKE)
    script(root / ".venv" / "bin" / "python", PYTHON)
    script(root / ".venv" / "bin" / "lowcap", LOWCAP)
    for name in archive.BESIDE:
        shutil.copy(ROOT / name, root / name)
    return root


def uploaded(root, workflow, job, failing=""):
    """Run the steps of a job as the workflow does, up to the first that fails; the folder that it then uploads, or what
    the failing step said. `failing` names a part of the gate that is made to fail; with it no book is built."""
    found = yaml.safe_load((WORKFLOWS / workflow).read_text())["jobs"][job]
    own = {key: str(value) for key, value in found["env"].items() if "${{" not in str(value)}
    env = {key: value for key, value in os.environ.items() if key != "LOWCAP_DATA"} | own
    env |= {"PATH": f"{root / 'bin'}:{os.environ['PATH']}", "FAILING": failing}
    for step in found["steps"]:
        if "run" in step:
            done = subprocess.run(["bash", "-e", "-c", step["run"]], cwd=root, env=env, capture_output=True, text=True)
            if done.returncode:
                return done.stderr
        elif step["uses"].startswith(UPLOADS):
            return root / step["with"]["path"]
    raise AssertionError(f"{workflow} uploads nothing")


BUILDS = [("ci.yml", "gate"), ("publish.yml", "build"), ("release.yml", "build")]


def test_a_failing_chapter_blocks_publishing(checkout):
    nbformat.write(toybook.notebook("raise ValueError('staged')"), checkout / "book" / "01-replay.ipynb")
    said = uploaded(checkout, "publish.yml", "build")
    assert "01-replay.ipynb: cell 2 raised ValueError: staged" in said
    assert not (checkout / "_build" / "html").exists()


@pytest.mark.parametrize(("workflow", "job"), BUILDS)
@pytest.mark.parametrize("part", ["setup", "lint", "test", "book", "browser"])
def test_each_part_of_the_gate_blocks_publishing(checkout, workflow, job, part):
    assert f"{part} fails" in str(uploaded(checkout, workflow, job, part))


@pytest.mark.parametrize(("workflow", "job"), BUILDS[1:])
def test_without_mnist_nothing_is_tested_or_published_on_main(checkout, workflow, job):
    assert "data fails" in str(uploaded(checkout, workflow, job, "data"))
    assert "make test" not in (checkout / "calls").read_text()


def test_the_job_that_publishes_runs_only_after_one_that_succeeded():
    """Without `if`, a job is skipped when one that it needs has failed."""
    for workflow, job in (("publish.yml", "deploy"), ("release.yml", "publish")):
        found = yaml.safe_load((WORKFLOWS / workflow).read_text())["jobs"]
        assert found[job]["needs"] == "build"
        assert not {"if", "continue-on-error"} & {*found[job], *(key for step in found[job]["steps"] for key in step)}
        assert "continue-on-error" not in found["build"]


def test_a_sound_book_is_released_and_published_as_it_was_built_after_every_part_of_the_gate(checkout):
    made = uploaded(checkout, "release.yml", "build")
    calls = (checkout / "calls").read_text()
    assert [line.split()[1] for line in calls.splitlines()] == [
        "setup", "data", "lint", "test", "book", "-m", "dist",
    ]  # fmt: skip
    pages = uploaded(checkout, "publish.yml", "build", "nothing")
    assert (pages / "book" / "01-replay.html").is_file()
    assert {path.name for path in made.iterdir()} == {
        "SHA256SUMS", "low-capacity-networks.zip", "lowcap-0-py3-none-any.whl", "lowcap.pdf", "notebooks.zip",
        "requirements.lock", "requirements.txt", "results.json", "ro-crate-metadata.json", "site.zip",
    }  # fmt: skip
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=made, check=True)
    with zipfile.ZipFile(made / "site.zip") as site, zipfile.ZipFile(made / "notebooks.zip") as notebooks:
        assert {"site/index.html", "site/book/01-replay.html"} <= set(site.namelist())
        assert [name for name in notebooks.namelist() if not name.endswith("/")] == ["notebooks/01-replay.ipynb"]


@pytest.mark.parametrize(("workflow", "job"), BUILDS)
def test_nothing_is_uploaded_before_the_gate_has_passed(workflow, job):
    steps = yaml.safe_load((WORKFLOWS / workflow).read_text())["jobs"][job]["steps"]
    first = next(i for i, step in enumerate(steps) if step.get("run") == ".ci/run")
    uploads = [i for i, step in enumerate(steps) if step.get("uses", "").startswith(UPLOADS)]
    assert uploads
    assert min(uploads) > first
    assert not any({"if", "continue-on-error"} & set(step) for step in steps)


def test_the_release_is_made_by_a_job_that_waits_for_the_gate():
    jobs = yaml.safe_load((WORKFLOWS / "release.yml").read_text())["jobs"]
    runs = [step["run"] for step in jobs["build"]["steps"] if "run" in step]
    assert runs == [".ci/run", ".ci/release"]
    assert "permissions" not in jobs["build"]


@pytest.mark.parametrize("path", sorted(WORKFLOWS.glob("*.yml")), ids=lambda path: path.name)
def test_workflows_take_nothing_from_strangers(path):
    text, found = path.read_text(), yaml.safe_load(path.read_text())
    assert "pull_request_target" not in text
    assert "workflow_run" not in text
    assert "secrets." not in text
    steps = [step for job in found["jobs"].values() for step in job["steps"]]
    assert not [step["run"] for step in steps if "${{" in step.get("run", "")]
    checkouts = [step for step in steps if step.get("uses", "").startswith("actions/checkout")]
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)
    wide = {name: job.get("permissions", {}) for name, job in found["jobs"].items()}
    if "pull_request" in found[True]:
        assert not any(wide.values())
    assert {key for rights in wide.values() for key, value in rights.items() if value == "write"} <= {
        "publish.yml": {"pages", "id-token"},
        "weekly.yml": {"issues"},
        "release.yml": {"contents"},
    }.get(path.name, set())


def test_each_part_of_the_weekly_run_exists():
    parts = yaml.safe_load((WORKFLOWS / "weekly.yml").read_text())["jobs"]["check"]["strategy"]["matrix"]["part"]
    known = re.findall(r"(?m)^(\w+)\)$", (ROOT / ".ci" / "weekly").read_text())
    assert parts == known
    done = subprocess.run([ROOT / ".ci" / "weekly", "monthly"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "usage" in done.stderr


GH = """#!/bin/bash
echo "$@" >> "$CALLS"
if [ "$2" = list ]; then echo "$OPEN"; fi
"""


@pytest.mark.parametrize(
    ("outcome", "open_issue", "told"),
    [
        ("failure", "", "issue create --title The weekly run fails --body The weekly run failed: https://run."),
        ("failure", "7", "issue comment 7 --body The weekly run failed: https://run."),
        ("success", "7", "issue close 7"),
        ("success", "", None),
    ],
)
def test_there_is_one_issue_about_weekly_failures(tmp_path, outcome, open_issue, told):
    script(tmp_path / "gh", GH)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "CALLS": str(tmp_path / "calls"), "OPEN": open_issue}
    subprocess.run([ROOT / ".ci" / "rolling-issue", outcome, "https://run"], env=env, check=True)
    first, *others = (tmp_path / "calls").read_text().splitlines()
    assert first.startswith("issue list --state open")
    assert len(others) == (told is not None)
    assert not others or others[0].startswith(told)


def test_the_weekly_issue_refuses_what_it_does_not_know(tmp_path):
    script(tmp_path / "gh", GH)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "CALLS": str(tmp_path / "calls"), "OPEN": ""}
    assert subprocess.run([ROOT / ".ci" / "rolling-issue", "skipped"], env=env, capture_output=True).returncode == 2


class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(int(self.path.strip("/")))
        self.end_headers()

    def log_message(self, *_):
        pass


def test_dead_links_are_told_and_refusals_are_not_failures(tmp_path):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        home = f"http://127.0.0.1:{server.server_port}"
        follow = functools.partial(subprocess.run, capture_output=True, text=True)
        page = tmp_path / "page.html"
        page.write_text(f'<a href="{home}/200">a</a><a class="x" href="{home}/403">b</a>')
        done = follow([ROOT / ".ci" / "links", tmp_path])
        assert (done.returncode, done.stdout) == (0, f"refused (403): {home}/403 (in page.html)\n")
        page.write_text(f'<a href="{home}/404#part">c</a><a href="https://mybinder.org/v2/gh/a/b">d</a>')
        done = follow([ROOT / ".ci" / "links", tmp_path])
        assert (done.returncode, done.stdout) == (1, f"dead (404): {home}/404 (in page.html)\n")
        server.shutdown()
