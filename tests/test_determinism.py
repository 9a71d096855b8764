"""The same settings give the same numbers: to the last digit on the same machine, within the stated tolerance on another
number of threads. No source of chance but seeds that are given."""

import ast
import os
import random
from pathlib import Path

import nbformat
import pytest
import toybook

from lowcap import ledger, parameters
from lowcap.book import drift
from lowcap.book.build import results
from lowcap.book.execute import execute
from lowcap.training import cores

QUICK = ("01-replay", "03-magnitude")
CHAPTERS = [
    pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow, pytest.mark.weekly])
    for name in parameters.FAST
]
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def run(chapter, folder, monkeypatch, threads):
    """All numbers and verdicts of a chapter at fast settings, in a fresh kernel with so many threads and cores."""
    for name in THREADS:
        monkeypatch.setenv(name, str(threads))
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(random.Random(0).sample(sorted(before), threads)))
    try:
        path = toybook.REAL / "book" / f"{chapter}.ipynb"
        done = execute(path, folder, parameters.FAST[chapter] | {"dataset": "digits"}, "digits")
    finally:
        os.sched_setaffinity(0, before)
    found = ledger.collect([done.notebook])
    return {"results": results(found), "claims": ledger.verdicts(found)}


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_the_same_numbers_again_and_on_another_number_of_threads(chapter, tmp_path, monkeypatch):
    first, again = (run(chapter, tmp_path, monkeypatch, 1) for _ in range(2))
    assert len(first["results"][chapter]) > 10
    assert first == again
    if cores() < 2:
        pytest.skip("this machine has one core")
    assert drift.compare(first, run(chapter, tmp_path, monkeypatch, 2)) == []
