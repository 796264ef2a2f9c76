"""`/metrics` says what happened, in a form that Prometheus reads."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from openenv.app.routes.metrics import render
from openenv.server.scoreboard import Scoreboard
from openenv.session.meter import BOUNDS_S, Meter
from tests.support import envs
from tests.support.worker import Transport, Worker
from tests.unit.server.test_connection import frame, upgraded

LINE = re.compile(r'(openenv_\w+(?:\{\w+="[^"]*"\})?) ([0-9.e+-]+|NaN)')


def numbers(text: str) -> dict[str, float]:
    """Each sample of an exposition; fails where a line is none, or is not announced by its type."""
    found = {}
    kinds = {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ", 3)
            assert name not in kinds
            kinds[name] = kind
        elif not line.startswith("# HELP "):
            match = LINE.fullmatch(line)
            assert match is not None, line
            name = match[1].partition("{")[0]
            assert name in kinds or re.sub("_(bucket|sum|count)$", "", name) in kinds
            found[match[1]] = float(match[2])
    return found


async def scrape(worker: Worker) -> dict[str, float]:
    transport = worker.connect()
    transport.protocol.data_received(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    head, _, body = (await transport.until(b"\r\n\r\n")).partition(b"\r\n\r\n")
    assert b"text/plain; version=0.0.4" in head
    return numbers(body.decode())


def play(test: Callable[[Worker], Awaitable[None]], env: Any, **options: Any) -> None:
    async def main() -> None:
        async with Worker(env, **options) as worker:
            await test(worker)

    asyncio.run(main())


async def say(transport: Transport, text: str) -> bytes:
    transport.protocol.data_received(frame(text.encode()))
    return await transport.until(b"}")


@pytest.mark.parametrize("env", [envs.LoopEnv, envs.ThreadEnv])
def test_what_a_session_does_is_counted(env: Any) -> None:
    """Its calls and their times, its errors, its bytes; and that it is there."""

    async def test(worker: Worker) -> None:
        transport = await upgraded(worker)
        await say(transport, '{"type":"reset"}')
        for _ in range(130):
            await say(transport, '{"type":"step","data":{"message":"x"}}')
        await say(transport, '{"type":"step","data":{"wrong":"x"}}')
        await say(transport, "nonsense")
        seen = await scrape(worker)
        assert seen["openenv_sessions_opened_total"] == 1
        assert seen['openenv_sessions{state="ready"}'] == 1
        assert seen["openenv_resets_total"] == seen["openenv_reset_seconds_count"] == 1
        assert seen["openenv_steps_total"] == 131
        # On the loop every 64th step is timed and stands for all of them.
        assert seen["openenv_step_seconds_count"] == (128 if env is envs.LoopEnv else 131)
        assert seen['openenv_errors_total{code="VALIDATION_ERROR"}'] == 1
        assert seen['openenv_errors_total{code="INVALID_JSON"}'] == 1
        assert seen["openenv_capacity"] == 8
        transport.close()
        await worker.until_empty()
        await asyncio.sleep(0)
        seen = await scrape(worker)
        assert seen["openenv_sessions_closed_total"] == 1
        assert seen['openenv_sessions{state="ready"}'] == 0
        assert seen["openenv_received_bytes_total"] > 131 * 40
        assert seen["openenv_sent_bytes_total"] > 131 * 40
        assert seen['openenv_http_responses_total{class="2xx"}'] == 1

    play(test, env)


def test_a_histogram_counts_up_to_each_bound() -> None:
    """A value on a bound belongs to it; the last bucket has all."""
    meter = Meter()
    for seconds in (0.0, 1e-4, 2e-4, 0.3, 1000.0):
        meter.observe("step", seconds)
    seen = numbers(render([meter.cells], []))
    assert seen['openenv_step_seconds_bucket{le="0.0001"}'] == 2
    assert seen['openenv_step_seconds_bucket{le="0.00025"}'] == 3
    assert seen['openenv_step_seconds_bucket{le="0.5"}'] == 4
    assert seen[f'openenv_step_seconds_bucket{{le="{BOUNDS_S[-1]!r}"}}'] == 4
    assert seen['openenv_step_seconds_bucket{le="+Inf"}'] == seen["openenv_step_seconds_count"] == 5
    assert seen["openenv_step_seconds_sum"] == pytest.approx(1000.3003)


def test_the_counts_of_a_worker_that_is_gone_are_kept_and_its_gauges_are_not() -> None:
    """A counter must never fall."""
    scoreboard = Scoreboard(2)
    first, second = Meter(scoreboard.row(0)), Meter(scoreboard.row(1))
    for meter in (first, second):
        meter.count("sessions_opened", 3)
        meter.show("connections", 5)
        meter.observe("reset", 0.1)
    scoreboard.keep(0)
    seen = numbers(render(scoreboard.rows(), []))
    assert seen["openenv_sessions_opened_total"] == 6
    assert seen["openenv_connections"] == 5
    assert seen["openenv_reset_seconds_count"] == 2
    assert scoreboard.n_gone == 1
    Meter(scoreboard.row(0)).count("sessions_opened")
    assert numbers(render(scoreboard.rows(), []))["openenv_sessions_opened_total"] == 7


def test_a_blocked_loop_is_told_by_health() -> None:
    """And forgotten once it runs in time again."""

    async def test(worker: Worker) -> None:
        worker.connections._health._due_at -= 3.0
        worker.connections._health.look(0)
        transport = worker.connect()
        ask = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
        transport.protocol.data_received(ask)
        assert b'"degraded","reason":"an event loop ran 2.' in await transport.until(b"}")
        worker.connections._health._due_at = worker.context.loop.time()
        worker.connections._health.look(0)
        transport.protocol.data_received(ask)
        assert b'{"status":"healthy"}' in await transport.until(b"}")

    play(test, envs.LoopEnv)


def test_a_state_read_first_is_no_second_factory() -> None:
    """The time that an environment took to be made is observed once, whatever is asked after it."""

    async def test(worker: Worker) -> None:
        transport = await upgraded(worker)
        await say(transport, '{"type":"state"}')
        assert (await scrape(worker))["openenv_factory_seconds_count"] == 1

    play(test, envs.ThreadEnv)
