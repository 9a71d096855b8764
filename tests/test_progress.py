"""How far a task is: one line on a terminal, plain lines elsewhere, no escape code where none is understood."""

import os
import pty
import re
import subprocess
import sys
from functools import partial

import pytest

from lowcap.progress import Progress
from lowcap.sweep.engine import _rated

TASK = """
import sys
from lowcap.progress import Progress
progress = Progress("{} of {} done, {:.0f} s".format, every=30, transient=len(sys.argv) > 1)
progress.note("first [bold]a note[/bold]")
progress.show(0, 3)
for _ in range(3):
    progress.step()
    print("result")
progress.close()
progress.note("after it")
"""


def run(stderr, *arguments, **environment):
    """What the task writes on stdout, when it writes its progress on `stderr`."""
    environment = {**os.environ, "TERM": "xterm", **environment}
    command = [sys.executable, "-c", TASK, *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=stderr, env=environment, check=True)
    return done.stdout.decode()


def on_a_terminal(*arguments, **environment):
    """What the task writes on a terminal, and on stdout."""
    ours, its = pty.openpty()
    try:
        out = run(its, *arguments, **environment)
        return os.read(ours, 4096).decode(), out
    finally:
        os.close(its)
        os.close(ours)


def plain(text):
    return re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", text)


def test_on_a_terminal_one_line_is_written_anew():
    said, out = on_a_terminal()
    assert out == "result\n" * 3
    first, *lines, after, end = plain(said).split("\r\n")
    assert (first, after, end) == ("first [bold]a note[/bold]", "after it", "")
    assert len(lines) == 1
    assert re.findall(r"\d of 3 done, 0 s", lines[0])[-1] == "3 of 3 done, 0 s"
    assert said.count("\x1b[?25l") == said.count("\x1b[?25h") == 1  # the cursor that was hidden is shown again


def test_a_transient_line_is_wiped_at_the_end():
    said = on_a_terminal("transient")[0]
    assert "3 of 3 done" in said
    assert re.search(r"done, 0 s\r\n\x1b\[\?25h\r\x1b\[1A\x1b\[2Kafter it\r\n$", said)


@pytest.mark.parametrize("environment", [{}, {"FORCE_COLOR": "1"}, {"TTY_COMPATIBLE": "1"}], ids=str)
@pytest.mark.parametrize("arguments", [[], ["transient"]], ids=["", "transient"])
def test_in_a_pipe_there_are_plain_lines_and_no_escape_codes(arguments, environment, tmp_path):
    with (tmp_path / "stderr").open("w") as stderr:
        assert run(stderr, *arguments, **environment) == "result\n" * 3
    said = (tmp_path / "stderr").read_text()
    assert said == "first [bold]a note[/bold]\n0 of 3 done, 0 s\n3 of 3 done, 0 s\nafter it\n"


def test_a_terminal_that_understands_no_escape_codes_gets_plain_lines():
    said = on_a_terminal(TERM="dumb")[0]
    assert said == "first [bold]a note[/bold]\r\n0 of 3 done, 0 s\r\n3 of 3 done, 0 s\r\nafter it\r\n"


def test_there_is_a_plain_line_as_often_as_asked_for(capsys, monkeypatch):
    now = 0
    monkeypatch.setattr("lowcap.progress.time.monotonic", lambda: now)
    progress = Progress("{} of {}, {} s".format, every=25)
    for done in range(5):
        progress.show(done, 4)
        now += 10
    progress.close()
    progress.close()
    assert capsys.readouterr().err == "0 of 4, 0 s\n3 of 4, 30 s\n4 of 4, 50 s\n"


def test_what_never_began_says_nothing(capsys):
    Progress("{} of {}, {} s".format).close()
    assert capsys.readouterr().err == ""


def test_a_sweep_counts_only_its_own_shards_into_the_rate():
    said = partial(_rated, 4)
    assert said(4, 10, 5.0) == "4 of 10 shards"
    assert said(6, 10, 60.0) == "6 of 10 shards, 2.0 per minute, about 2.0 minutes to go"
    assert said(10, 10, 90.0) == "10 of 10 shards, 4.0 per minute, about 0.0 minutes to go"
