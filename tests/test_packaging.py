"""Packaging: what is installed, what is checked before a commit and what runs in CI are the same pinned things."""

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from setuptools import find_packages

ROOT = Path(__file__).parents[1]
REQUIREMENTS = [
    line.split("#")[0].strip()
    for line in (ROOT / "requirements.txt").read_text().splitlines()
    if line.split("#")[0].strip()
]
PINS = dict(requirement.lower().split("==") for requirement in REQUIREMENTS if "==" in requirement)


def test_every_requirement_is_pinned_exactly_and_once() -> None:
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", requirement) for requirement in REQUIREMENTS)
    assert len(PINS) == len(REQUIREMENTS)


def test_everything_that_the_package_needs_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["sweep"]]
    assert {re.split(r"[=<>]", name)[0].lower() for name in needed} <= set(PINS)


def test_the_wheel_finds_every_folder_with_code() -> None:
    found = find_packages(str(ROOT), include=["lowcap", "lowcap.*"])  # as setup.py does
    folders = {path.parent for path in (ROOT / "lowcap").rglob("*.py")}
    assert {".".join(folder.relative_to(ROOT).parts) for folder in folders} == set(found)


def test_every_pin_but_those_of_torch_has_its_check_sums_in_the_lock_which_names_no_registry() -> None:
    text = (ROOT / ".ci" / "requirements.lock").read_text()
    blocks = [block.split() for block in re.sub(r"(?m)^#.*\n", "", text).replace("\\\n", "").splitlines()]
    locked = {pin.lower().replace("_", "-"): sums for pin, *sums in blocks}
    wanted = {f"{name}=={version}".replace("_", "-") for name, version in PINS.items() if not name.startswith("torch")}
    assert set(locked) == wanted
    assert len(PINS) - len(wanted) == 2
    assert all(sums and all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", s) for s in sums) for sums in locked.values())


@pytest.mark.parametrize("path", sorted((ROOT / ".github" / "workflows").glob("*.yml")), ids=lambda path: path.name)
def test_workflows_install_by_check_sum(path: Path) -> None:
    jobs = yaml.safe_load(path.read_text())["jobs"].values()
    assert all(job["env"]["LOCKED"] == "1" for job in jobs if any("PIP_EXTRA" in key for key in job.get("env", {})))
    assert "$(PIP) --require-hashes --no-deps -r .ci/requirements.lock || exit 1" in (ROOT / "Makefile").read_text()


@pytest.mark.parametrize(("repository", "package"), [("nbstripout", "nbstripout"), ("ruff-pre-commit", "ruff")])
def test_checks_before_a_commit_have_the_pinned_versions(repository: str, package: str) -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    (revision,) = [hook["rev"] for hook in hooks if hook["repo"].endswith(f"/{repository}")]
    assert revision.removeprefix("v") == PINS[package]


def test_tools_for_the_javascript_are_pinned_and_name_no_registry() -> None:
    wanted, locked = (json.loads((ROOT / name).read_text()) for name in ("package.json", "package-lock.json"))
    assert "dependencies" not in wanted
    for name, version in wanted["devDependencies"].items():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version)
        assert locked["packages"][f"node_modules/{name}"]["version"] == version
    assert all("integrity" in entry for name, entry in locked["packages"].items() if name)
    assert not [name for name, entry in locked["packages"].items() if "resolved" in entry]


def test_the_gate_requires_browser_and_node() -> None:
    gate = (ROOT / ".ci" / "run").read_text()
    assert "export LOWCAP_REQUIRE_BROWSER=1 LOWCAP_REQUIRE_NODE=1" in gate
    assert gate.index("LOWCAP_REQUIRE_NODE") < gate.index("make lint") < gate.index("--durations=40 make test")


@pytest.mark.parametrize("path", sorted((ROOT / ".github" / "workflows").glob("*.yml")), ids=lambda path: path.name)
def test_workflows_use_actions_by_commit_and_may_only_read(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text())
    steps = [step for job in workflow["jobs"].values() for step in job["steps"] if "uses" in step]
    assert steps
    assert all(re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", step["uses"]) for step in steps)
    assert workflow["permissions"] == {"contents": "read"}
    assert all(job["timeout-minutes"] <= 90 for job in workflow["jobs"].values())


def test_only_a_job_that_waits_for_the_gate_may_publish() -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "publish.yml").read_text())["jobs"]
    publishing = {name for name, job in jobs.items() if "pages" in job.get("permissions", {})}
    assert publishing == {"deploy"}
    assert jobs["deploy"]["needs"] == "build"
    assert next(step["run"] for step in jobs["build"]["steps"] if "run" in step) == ".ci/run"
