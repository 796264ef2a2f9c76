"""The servers that our client is tested against: ours, and two of the incumbent's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from openenv import Action, EnvClient, Observation, State
from tests.support import server

NAMES = ("ours", "openenv-0.10.0", "openenv-core-0.2.3")


class EchoAction(Action):
    """As in ``echo.py``: a client knows the models, not the environment."""

    message: str
    delay_s: float = 0.0
    fail: bool = False
    size: int = 0


class EchoObservation(Observation):
    """As in ``echo.py``."""

    echoed: str = ""
    length: int = 0
    blob: str = ""


class EchoState(State):
    """As in ``echo.py``."""

    last: str = ""


class EchoEnv(EnvClient[EchoAction, EchoObservation, EchoState]):
    """Types, and nothing else."""


@contextmanager
def serve(name: str, attribute: str = "app") -> Iterator[server.Server]:
    """One of `NAMES`, serving ``echo.py``."""
    target = f"tests.integration.client_peers.echo:{attribute}"
    if name == "ours":
        with server.serve(target) as running:
            yield running
    else:
        with server.serve_incumbent(target, name=name) as running:
            yield running
