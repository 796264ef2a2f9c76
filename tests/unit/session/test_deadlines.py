"""What overruns the server's own limits is answered, and holds no place."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from tests.support import envs
from tests.support.worker import Transport, Worker
from tests.unit.server.test_connection import frame, replies, upgraded


class Slow(envs.ThreadEnv):
    """Waits where it is told to, until the test is over."""

    at = ""
    over = threading.Event()

    def __init__(self) -> None:
        super().__init__()
        self.wait("factory")

    @classmethod
    def wait(cls, where: str) -> None:
        if cls.at == where:
            cls.over.wait(30)

    def reset(self, seed: Any = None) -> envs.NoteObservation:
        self.wait("reset")
        return super().reset(seed)

    def step(self, action: envs.NoteAction) -> envs.NoteObservation:
        self.wait("step")
        return super().step(action)

    def close(self) -> None:
        self.wait("close")
        super().close()


@pytest.fixture(autouse=True)
def over() -> Iterator[None]:
    """Lets go of every thread at the end."""
    Slow.over = threading.Event()
    yield
    Slow.over.set()
    Slow.at = ""


async def say(transport: Transport, kind: str, data: Any = None) -> Any:
    transport.protocol.data_received(frame({"type": kind, **({} if data is None else {"data": data})}))
    return replies(await transport.until(b"}"))[-1]


def play(test: Callable[[Worker], Awaitable[None]], **options: Any) -> None:
    async def main() -> None:
        async with Worker(Slow, **options) as worker:
            await test(worker)
            Slow.over.set()

    asyncio.run(main())


@pytest.mark.parametrize("method", ["step", "reset"])
def test_a_call_past_its_deadline_is_answered_and_the_session_goes_on_with_a_reset(method: str) -> None:
    """It is BROKEN in between; other sessions notice nothing."""

    async def test(worker: Worker) -> None:
        transport = await upgraded(worker)
        await say(transport, "reset")
        Slow.at = method
        late = await say(transport, method, {"message": "x"} if method == "step" else None)
        assert late["data"]["code"] == "EXECUTION_ERROR"
        assert "within 0.1 s" in late["data"]["message"]
        Slow.at = ""
        refused = await say(transport, "step", {"message": "x"})
        assert refused["data"]["code"] == "SESSION_ERROR"
        assert (await say(transport, "reset"))["type"] == "observation"
        assert (await say(transport, "step", {"message": "x"}))["data"]["observation"]["echoed"] == "x"
        assert worker.capacity.active == 1

    play(test, step_deadline_s=0.1, reset_deadline_s=0.1)


def test_an_environment_that_is_not_made_in_time_holds_no_place() -> None:
    """Its client is told, and the next one gets the place."""

    async def test(worker: Worker) -> None:
        Slow.at = "factory"
        transport = await upgraded(worker)
        written = await transport.until(b"\x88\x02")
        refusal = replies(written[: written.index(b"\x88\x02")])[-1]
        assert refusal["data"]["code"] == "FACTORY_ERROR"
        assert "within 0.1 s" in refusal["data"]["message"]
        assert worker.capacity.active == 0
        Slow.at = ""
        assert (await say(await upgraded(worker), "reset"))["type"] == "observation"

    play(test, capacity=1, factory_deadline_s=0.1)


def test_a_close_that_hangs_holds_no_place_for_ever() -> None:
    """Nor is the place given back twice when it returns at last."""

    async def test(worker: Worker) -> None:
        transport = await upgraded(worker)
        await say(transport, "reset")
        Slow.at = "close"
        transport.protocol.data_received(frame({"type": "close"}))
        await worker.until_empty()
        other = await upgraded(worker)
        assert (await say(other, "reset"))["type"] == "observation"
        Slow.over.set()
        assert (await say(other, "state"))["type"] == "state"
        assert worker.capacity.active == 1

    play(test, capacity=1, close_deadline_s=0.1)


def test_the_sooner_of_two_limits_counts() -> None:
    """The client's, where it is the shorter one."""

    async def test(worker: Worker) -> None:
        transport = await upgraded(worker)
        Slow.at = "step"
        message = {"type": "step", "data": {"message": "x"}, "timeout_s": 0.1}
        transport.protocol.data_received(frame(message))
        late = json.loads(json.dumps(replies(await transport.until(b"}"))[-1]))
        assert "within 0.1 s" in late["data"]["message"]

    play(test, step_deadline_s=20.0)
