"""Whose something is: a process that lives is never taken for gone."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from openenv.containers import owner
from openenv.containers.owner import is_gone, this_process
from tests.support.peers import ROOT


def test_this_process_is_not_gone() -> None:
    """Whatever else it is."""
    assert not is_gone(this_process())


def test_a_process_that_ended_is_gone() -> None:
    """Described by itself, judged by us."""
    program = (
        "from openenv.containers.owner import this_process; import sys; sys.stdout.write(this_process())"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout
    assert said.split("/")[-2] != str(os.getpid())
    assert is_gone(said)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells the dead from the living")
def test_a_process_that_is_not_yet_buried_is_gone() -> None:
    """A killed trainer may wait long for its parent to notice."""
    with subprocess.Popen(["true"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        host, namespace, boot, _, _ = this_process().split("/")
        assert is_gone(f"{host}/{namespace}/{boot}/{process.pid}/12345")
        assert owner._began(process.pid) is None


def test_where_there_is_no_proc_a_signal_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then a process id is all there is."""
    monkeypatch.setattr(owner, "_PROC", owner.Path("/nowhere"))
    text = this_process()
    assert text.endswith(f"//{os.getpid()}/")
    assert not is_gone(text)
    assert is_gone(f"{text.rsplit('/', 2)[0]}/999999999/")


@pytest.mark.parametrize("text", ["", "/", "////", "x/1/b/notanumber/2", "somebody"])
def test_what_cannot_be_read_is_left_alone(text: str) -> None:
    """A label that somebody else wrote proves nothing."""
    assert not is_gone(text)
