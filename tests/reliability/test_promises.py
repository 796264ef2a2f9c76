"""The programs of this folder, each for some seconds: what they promise holds at once or not at all."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.peers import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")


def kept(program: str, *arguments: str) -> None:
    """Run a program of this folder by itself; its clients drop connections in the middle of everything."""
    command = [sys.executable, "-m", f"tests.reliability.{program}", *arguments]
    done = subprocess.run(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-6000:]


def test_chaos_leaves_nothing_and_disturbs_nobody() -> None:
    """A hundred clients, workers killed, environments that raise, hang, leak and exit."""
    kept("chaos", "--seconds", "8", "--clients", "100", "--kill-every", "2", "--exit-every", "2.5")


def test_sigterm_and_sighup_cost_no_step() -> None:
    """Every step that runs at SIGTERM is answered; SIGHUP under load fails none."""
    kept("drain", "--sessions", "40", "--seconds", "6", "--every", "2.5", "--workers", "2")


def test_malice_is_refused_and_changes_nothing() -> None:
    """Every case of smuggling, conformance, bombs and injection, and some hundred fuzzed connections."""
    short = ("--n", "400", "--slow-seconds", "0", "--times", "1", "--atheris-seconds", "0", "--nice", "0")
    kept("malice", *short, "--health-ms", "20000")


def test_balance_queue_lease_and_deadline_are_kept() -> None:
    """The figures of our own server; the incumbent's take minutes."""
    kept("figures", "--n", "64", "--only-ours")


def test_some_seconds_of_ordinary_use_leave_nothing() -> None:
    """Sessions and requests come and go; whether anything grows is a matter of half an hour."""
    kept("soak", "--seconds", "4", "--every", "1", "--sessions", "20", "--rate", "100")
