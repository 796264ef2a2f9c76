"""A step that sleeps in one session costs the others nothing that can be measured.

The undisturbed and the disturbed latencies are measured in turns in one run, on one worker, so that
what the machine does meanwhile falls on both alike; only their ratio is judged. A measurement that
fails is repeated twice: noise passes, a loop that waits for the sleeper does not.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

from tests.support.server import Server, serve

pytestmark = pytest.mark.alone

SLEEP_S = 30
N_ROUNDS = 8
N_SAMPLES = 250
"""Per round and condition: 2,000 each, so that p99 stands on 20 samples."""

ALLOWED_RATIO = 2.0
N_ATTEMPTS = 3
STEP = json.dumps({"type": "step", "data": {"op": "echo", "text": "quick"}})
SLEEP = json.dumps({"type": "step", "data": {"op": "sleep", "anything": SLEEP_S}})


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    # Sessions that still sleep are not waited for when the test is over.
    with serve("tests.conformance.reference_native:app", "--drain-s", "0.1") as running:
        yield running


@contextmanager
def sleeper(server: Server) -> Iterator[None]:
    """One session whose environment sleeps for longer than the measurement; abandoned afterwards."""
    with connect(server.ws_url, ping_interval=None, close_timeout=5) as session:
        session.send('{"type":"state"}')
        session.recv(timeout=10)
        session.send(SLEEP)
        yield
        with pytest.raises(TimeoutError):
            # It was asleep all the time.
            session.recv(timeout=0)


def p99_ratio(server: Server, once: Callable[[], None]) -> tuple[float, str]:
    """How much longer the 99th percentile takes beside a sleeping session, and a line that says so."""
    quiet: list[float] = []
    disturbed: list[float] = []
    for _ in range(50):
        once()
    for _ in range(N_ROUNDS):
        quiet += _sample(once)
        with sleeper(server):
            disturbed += _sample(once)
    before, after = _p99(quiet), _p99(disturbed)
    return after / before, f"p99 {before * 1e3:.3f} ms alone, {after * 1e3:.3f} ms beside a sleeper"


def _sample(once: Callable[[], None]) -> list[float]:
    samples = []
    for _ in range(N_SAMPLES):
        start = time.perf_counter()
        once()
        samples.append(time.perf_counter() - start)
    return samples


def _p99(samples: list[float]) -> float:
    return statistics.quantiles(samples, n=100)[98]


def assert_undisturbed(server: Server, once: Callable[[], None]) -> None:
    lines = []
    for _ in range(N_ATTEMPTS):
        ratio, line = p99_ratio(server, once)
        if ratio <= ALLOWED_RATIO:
            return
        lines.append(line)
    pytest.fail("; ".join(lines))


def _ask(session: ClientConnection) -> None:
    session.send(STEP)
    reply = json.loads(session.recv(timeout=10))
    assert reply["data"]["observation"]["text"] == "quick"


def test_a_sleeping_step_does_not_delay_another_sessions_step(server: Server) -> None:
    """p99 within 2x of the undisturbed run."""
    with connect(server.ws_url) as session:
        assert_undisturbed(server, lambda: _ask(session))


def test_a_sleeping_step_does_not_delay_health(server: Server) -> None:
    """The same for ``/health``, which the orchestrator asks."""
    with httpx.Client(base_url=server.url, timeout=10) as client:

        def once() -> None:
            assert client.get("/health").status_code == 200

        assert_undisturbed(server, once)


def test_a_sleeping_stateless_step_does_not_delay_health(server: Server) -> None:
    """Over HTTP, too, the environment sleeps on a thread of its own."""
    with httpx.Client(base_url=server.url, timeout=10) as client:
        with pytest.raises(httpx.ReadTimeout):
            client.post("/step", json={"action": {"op": "sleep", "anything": SLEEP_S}}, timeout=0.2)
        start = time.perf_counter()
        assert client.get("/health").status_code == 200
        assert time.perf_counter() - start < SLEEP_S / 3
