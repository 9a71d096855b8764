"""What the pages say of each chapter's run: repetitions, time, memory, machine."""

from collections import Counter

from lowcap import provenance
from lowcap.book.pages import status_page


def test_repetitions_time_memory_and_machine_of_each_chapter_are_told():
    machine = {"processor": "Abacus", "cores": 2, "memory_gib": 1, "system": "Wood"}
    entry = {"parameters": {"n_seeds": 3, "seeds": [0, 42], "lr": 0.1}, "seconds": 61.2, "peak_mib": 1536}
    chapters = {"01-a": entry | {"machine": machine}, "02-b": entry | {"parameters": {}}}
    lines = status_page.evidence(chapters, Counter({"01-a": 2})).splitlines()
    assert lines[2:4] == [
        "| [](01-a.ipynb) | 2 | `n_seeds` 3, `seeds` 2 | 61 s | 1.5 GiB |",
        "| [](02-b.ipynb) | 0 |  | 61 s | 1.5 GiB |",
    ]
    assert lines[5] == "Together the chapters ran for 2 minutes on 2 cores of Abacus with 1 GiB of memory under Wood."
    assert set(provenance.machine()) == set(machine)
    assert provenance.machine()["cores"] >= 1
