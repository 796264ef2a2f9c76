"""The programs of this folder, each for some seconds: what they promise holds at once or not at all."""

from __future__ import annotations

import sys

import pytest

from tests.reliability import chaos, drain, figures, malice, soak

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")


def test_chaos_leaves_nothing_and_disturbs_nobody(capfd: pytest.CaptureFixture[str]) -> None:
    """A hundred clients, workers killed, environments that raise, hang, leak and exit."""
    arguments = ["--seconds", "8", "--clients", "100", "--kill-every", "2", "--exit-every", "2.5"]
    assert chaos.main(arguments) == 0, capfd.readouterr()


def test_sigterm_and_sighup_cost_no_step(capfd: pytest.CaptureFixture[str]) -> None:
    """Every step that runs at SIGTERM is answered; SIGHUP under load fails none."""
    arguments = ["--sessions", "40", "--seconds", "6", "--every", "2.5", "--workers", "2"]
    assert drain.main(arguments) == 0, capfd.readouterr()


def test_malice_is_refused_and_changes_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """Every case of smuggling, conformance, bombs and injection, and some hundred fuzzed connections."""
    assert malice.main(["--n", "400", "--slow-seconds", "0", "--times", "1", "--health-ms", "20000"]) == 0, (
        capfd.readouterr()
    )


def test_balance_queue_lease_and_deadline_are_kept(capfd: pytest.CaptureFixture[str]) -> None:
    """The figures of our own server; the incumbent's take minutes."""
    assert figures.main(["--n", "64", "--only-ours"]) == 0, capfd.readouterr()


def test_some_seconds_of_ordinary_use_leave_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """Sessions and requests come and go; whether anything grows is a matter of half an hour."""
    arguments = ["--seconds", "4", "--every", "1", "--sessions", "20", "--rate", "100"]
    assert soak.main(arguments) == 0, capfd.readouterr()
