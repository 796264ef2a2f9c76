"""Any provider is started until it is ready, and stopped whatever happens; none of ours is used here."""

from __future__ import annotations

import os
from typing import Any

import pytest

from openenv.containers import ContainerProvider, RuntimeProvider, running
from openenv.errors import StartError


class Recorder:
    """Writes down what is called, and fails where it is told to."""

    def __init__(self, fails: str = "") -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.fails = fails

    def note(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Write one call down."""
        self.calls.append((name, *args, *sorted(kwargs.items())))
        if name == self.fails:
            raise OSError(f"{name} failed")


class Cloud(Recorder, ContainerProvider):
    """A container provider as somebody else would write it."""

    def start_container(
        self, image: str, port: int | None = None, env_vars: dict[str, str] | None = None, **kwargs: Any
    ) -> str:
        self.note("start", image, port=port, env_vars=env_vars, **kwargs)
        return "http://cloud:1"

    def stop_container(self) -> None:
        self.note("stop")

    def wait_for_ready(self, base_url: str, timeout_s: float = 7.0) -> None:
        self.note("ready", base_url, timeout_s)


class Local(Recorder, RuntimeProvider):
    """A runtime provider as somebody else would write it."""

    def start(self, port: int | None = None, env_vars: dict[str, str] | None = None, **kwargs: Any) -> str:
        self.note("start", port=port, env_vars=env_vars, **kwargs)
        return "http://local:1"

    def stop(self) -> None:
        self.note("stop")

    def wait_for_ready(self, timeout_s: float = 8.0) -> None:
        self.note("ready", timeout_s)


def test_a_container_provider_is_started_and_waited_for() -> None:
    """With what was given and nothing else."""
    cloud = Cloud()
    assert running.start(cloud, "image", {"port": 5, "extra": 1}) == "http://cloud:1"
    running.stop(cloud)
    assert cloud.calls == [
        ("start", "image", ("env_vars", None), ("extra", 1), ("port", 5)),
        ("ready", "http://cloud:1", 7.0),
        ("stop",),
    ]


def test_a_runtime_provider_is_started_and_waited_for() -> None:
    """Its own limit is used where none is given."""
    local = Local()
    assert running.start(local, wait_timeout_s=3) == "http://local:1"
    running.stop(local)
    assert local.calls == [("start", ("env_vars", None), ("port", None)), ("ready", 3), ("stop",)]


@pytest.mark.parametrize("fails", ["start", "ready"])
def test_a_provider_that_fails_is_stopped(fails: str) -> None:
    """And what it raised comes through."""
    cloud = Cloud(fails)
    with pytest.raises(OSError, match=f"{fails} failed"):
        running.start(cloud, "image")
    assert cloud.calls[-1] == ("stop",)
    assert id(cloud) not in running._held


def test_an_interrupt_stops_the_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while it starts."""
    local = Local()

    def interrupted(**_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(local, "wait_for_ready", interrupted)
    with pytest.raises(KeyboardInterrupt):
        running.start(local)
    assert local.calls[-1] == ("stop",)


def test_a_provider_that_runs_cannot_be_started_again() -> None:
    """Nor is it stopped by the attempt."""
    local = Local()
    running.start(local)
    with pytest.raises(StartError, match="Local already runs"):
        running.start(local)
    assert ("stop",) not in local.calls
    running.stop(local)


def test_what_runs_is_stopped_at_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it, even if one cannot be stopped."""
    monkeypatch.setattr(running, "_held", {})
    first, second = Cloud("stop"), Local()
    running.start(first, "image")
    running.start(second)
    running._stop_all()
    assert first.calls[-1] == second.calls[-1] == ("stop",)


def test_a_fork_does_not_stop_what_its_parent_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its exit is not the trainer's."""
    monkeypatch.setattr(running, "_held", {})
    local = Local()
    running.start(local)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    running._stop_all()
    assert ("stop",) not in local.calls
