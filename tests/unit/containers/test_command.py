"""Programs that are run to their end, or ended."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

from openenv.containers.command import CommandTimeoutError, Finished, run, tail


def test_a_program_gives_its_code_and_what_it_wrote(tmp_path: Path) -> None:
    """In the folder and with the variables that it was given."""
    done = run(
        ["/bin/sh", "-c", 'pwd; echo "$KEY" >&2; exit 3'], timeout_s=10, cwd=tmp_path, env={"KEY": "value"}
    )
    assert done == Finished(3, f"{tmp_path}\n", "value\n")


def test_what_is_no_text_is_read_nevertheless() -> None:
    """A container's log may hold anything."""
    done = run(["/bin/sh", "-c", r"printf 'a\377b'"], timeout_s=10)
    assert done.out == "a\N{REPLACEMENT CHARACTER}b"


def test_a_program_that_takes_too_long_is_ended() -> None:
    """The message names it, without its arguments: there may be secrets among them."""
    with pytest.raises(CommandTimeoutError, match=r"sleep 60 did not end within 0\.05 s") as caught:
        run(["sleep", "60", "70"], timeout_s=0.05)
    assert "70" not in str(caught.value)


def test_a_program_that_nobody_wants_any_longer_is_ended() -> None:
    """By a signal, which is its code."""
    stopped = threading.Event()
    stopped.set()
    assert run(["sleep", "60"], timeout_s=10, stopped=stopped).code == -9


def test_a_program_that_is_not_there_is_an_os_error() -> None:
    """Which its caller words better."""
    with pytest.raises(FileNotFoundError):
        run(["/nowhere/at/all"], timeout_s=10)


def test_a_program_reads_nothing_of_ours() -> None:
    """Its standard input is empty, not the trainer's terminal."""
    assert run([sys.executable, "-c", "input()"], timeout_s=10).code == 1


def test_a_tail_is_the_last_lines_that_say_something() -> None:
    """Blank ones are left out."""
    assert tail("a\n\nb  \n \nc\n", 2) == "b\nc"
    assert tail("") == ""
