"""Our client against real servers: ours and the incumbent's say the same to it, either way of use."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from openenv.client import GenericEnvClient, SyncEnvClient
from openenv.client import blocking as blocking_module
from openenv.errors import (
    AuthorError,
    ConnectError,
    EnvironmentFactoryError,
    ReplyTimeoutError,
    SchemaError,
    SessionCapacityError,
    StepTimeoutError,
)
from openenv.models import StepResult
from tests.integration.client_peers.servers import (
    NAMES,
    EchoAction,
    EchoEnv,
    EchoObservation,
    EchoState,
    serve,
)
from tests.support.server import Server

THEIRS = [pytest.param(name, marks=pytest.mark.peer) for name in NAMES[1:]]


@pytest.fixture(scope="module", params=["ours", *THEIRS])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with serve(request.param) as running:
        yield running


@pytest.fixture(scope="module")
def own() -> Iterator[Server]:
    with serve("ours") as running:
        yield running


@pytest.fixture(params=["ours", *THEIRS])
def single(request: pytest.FixtureRequest) -> Iterator[Server]:
    with serve(request.param, "single") as running:
        yield running


def converse(client: SyncEnvClient[EchoAction, Any, Any]) -> list[Any]:
    """One conversation with everything in it, as a transcript."""
    said: list[Any] = [client.state().step_count, client.reset(seed=7, episode_id="one")]
    said += [client.step(EchoAction(message=word)) for word in ("hello", "tagged", "ünï ✓", "end")]
    said.append(client.state())
    for action in (EchoAction(message="no", fail=True), {"message": 1.5, "nope": 1}):
        with pytest.raises(RuntimeError) as caught:
            client.step(action)  # type: ignore[arg-type]
        said.append((type(caught.value).__name__, str(caught.value)))
    said.append(client.step({"message": "dict"}))  # type: ignore[arg-type]
    return said


EXPECTED = [
    0,
    StepResult(EchoObservation(echoed="seed 7")),
    StepResult(EchoObservation(echoed="hello", length=5, reward=1.5), 1.5),
    StepResult(
        EchoObservation(echoed="tagged", length=6, reward=1.5, metadata={"said": "tagged"}),
        1.5,
        metadata={"said": "tagged"},
    ),
    StepResult(EchoObservation(echoed="ünï ✓", length=5, reward=1.5), 1.5),
    StepResult(EchoObservation(echoed="end", length=3, reward=1.5, done=True), 1.5, True),
    EchoState(episode_id="one", step_count=4, last="end"),
    ("AuthorError", "Server error: asked to fail: no (code: EXECUTION_ERROR)"),
    (
        "SchemaError",
        "Server error: Invalid message (code: VALIDATION_ERROR): Input should be a valid string at message; "
        "Extra inputs are not permitted at nope",
    ),
    StepResult(EchoObservation(echoed="dict", length=4, reward=1.5), 1.5),
]


def without_metadata(transcript: list[Any]) -> list[Any]:
    """0.2 servers do not send any (wire.md section 7)."""
    for entry in transcript:
        if isinstance(entry, StepResult):
            entry.metadata = None
            entry.observation.metadata = {}
    return transcript


def test_a_conversation_is_the_same_with_every_server(server: Server) -> None:
    """The transcript does not show who the server was."""
    with EchoEnv(base_url=server.url).sync() as client:
        transcript = converse(client)
    assert without_metadata(transcript) == without_metadata(EXPECTED)


def test_the_asynchronous_client_says_what_the_synchronous_one_says(server: Server) -> None:
    """Both run the same coroutines."""

    async def main() -> list[Any]:
        async with EchoEnv(base_url=server.url) as client:
            said: list[Any] = [
                (await client.state()).step_count,
                await client.reset(seed=7, episode_id="one"),
            ]
            for word in ("hello", "tagged", "ünï ✓", "end"):
                said.append(await client.step(EchoAction(message=word)))
            said.append(await client.state())
            return said

    assert without_metadata(asyncio.run(main())) == without_metadata(EXPECTED[:7])


def test_a_client_without_types_speaks_dicts_with_every_server(server: Server) -> None:
    """GenericEnvClient needs nothing of the environment's package."""
    with SyncEnvClient(base_url=server.url + "/") as client:
        observation = client.reset(seed=1).observation
        assert (observation["echoed"], observation["length"]) == ("seed 1", 0)
        assert client.step({"message": "abc"}).observation["length"] == 3
        assert client.state()["step_count"] == 1
        assert {"action", "observation", "state"} <= client.schema().keys()
        assert client.metadata()["name"] == "Echo"


def test_schema_and_metadata_come_over_either_kind_of_network(server: Server) -> None:
    """They are HTTP requests of their own."""

    async def main() -> tuple[dict[str, Any], dict[str, Any]]:
        async with GenericEnvClient(base_url=server.url) as client:
            return await client.schema(), await client.metadata()

    with GenericEnvClient(base_url=server.url) as client:
        assert asyncio.run(main()) == (client.schema(), client.metadata())


def test_a_client_in_a_with_statement_gives_results_without_await(server: Server) -> None:
    """`with EchoEnv(...)` is `with EchoEnv(...).sync()`."""
    with EchoEnv(base_url=server.url) as client:
        assert client.reset().observation.echoed == "seed None"
        assert client.step(EchoAction(message="hi")).as_gymnasium()[1:] == (1.5, False, False, {})


def test_a_synchronous_client_works_inside_a_running_loop(server: Server) -> None:
    """As in a notebook: with a block, without one, and looked into without await."""

    async def main() -> None:
        with EchoEnv(base_url=server.url).sync() as client:
            assert client.step(EchoAction(message="hi")).reward == 1.5
        with EchoEnv(base_url=server.url) as client:
            assert client.step(EchoAction(message="hi")).reward == 1.5
        casual: Any = EchoEnv(base_url=server.url)
        assert casual.reset().observation.echoed == "seed None"
        casual.close()

    asyncio.run(main())


def test_a_late_reply_is_dropped_and_the_session_goes_on(server: Server) -> None:
    """The reply that comes after a timeout is not taken for the next one's; the state is the old one's."""
    slow = EchoAction(message="slow", delay_s=1.0)
    with EchoEnv(base_url=server.url).sync() as client:
        client.reset(episode_id="kept")
        client.async_client._message_timeout = 0.1
        with pytest.raises(ReplyTimeoutError):
            client.step(slow)
        client.async_client._message_timeout = 60
        assert client.step(EchoAction(message="next")).observation.echoed == "next"
        assert (client.state().episode_id, client.state().step_count) == ("kept", 2)

    async def main() -> None:
        async with EchoEnv(base_url=server.url) as client:
            await client.reset(episode_id="kept")
            client._message_timeout = 0.1
            with pytest.raises(TimeoutError):
                await client.step(slow)
            client._message_timeout = 60
            assert (await client.step(EchoAction(message="next"))).observation.echoed == "next"
            assert (await client.state()).step_count == 2

    asyncio.run(main())


def test_a_cancelled_step_leaves_the_session_usable(server: Server) -> None:
    """Its reply is dropped when it comes."""

    async def main() -> None:
        async with EchoEnv(base_url=server.url) as client:
            await client.reset()
            for _ in range(3):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.05):
                        await client.step(EchoAction(message="slow", delay_s=0.15))
            assert (await client.step(EchoAction(message="next"))).observation.echoed == "next"
            assert (await client.state()).step_count == 4

    asyncio.run(main())


def test_a_step_with_a_timeout_of_its_own_ends_in_time(server: Server) -> None:
    """Servers that keep time say so themselves; with others the client does. Both are TimeoutError."""
    with EchoEnv(base_url=server.url).sync() as client:
        client.reset()
        assert client.step(EchoAction(message="in time"), timeout_s=5).observation.echoed == "in time"
        with pytest.raises((StepTimeoutError, ReplyTimeoutError)) as caught:
            client.step(EchoAction(message="slow", delay_s=1.0), timeout_s=0.1)
        assert isinstance(caught.value, TimeoutError)


def test_concurrent_steps_of_one_client_run_in_order(server: Server) -> None:
    """First come, first served, with a lock for threads and turns for tasks."""

    async def main() -> list[str]:
        async with EchoEnv(base_url=server.url) as client:
            await client.reset()
            steps = (client.step(EchoAction(message=str(index))) for index in range(20))
            return [result.observation.echoed for result in await asyncio.gather(*steps)]

    assert asyncio.run(main()) == [str(index) for index in range(20)]

    with EchoEnv(base_url=server.url).sync() as client, ThreadPoolExecutor(8) as pool:
        client.reset()
        words = [str(index) for index in range(100)]
        echoed = pool.map(lambda word: client.step(EchoAction(message=word)).observation.echoed, words)
        assert list(echoed) == words
        assert client.state().step_count == 100


def test_a_large_observation_arrives_whole(server: Server) -> None:
    """Many reads, one message."""
    size = 5_000_000
    with EchoEnv(base_url=server.url).sync() as client:
        assert len(client.step(EchoAction(message="big", size=size)).observation.blob) == size

    async def main() -> int:
        async with EchoEnv(base_url=server.url) as client:
            return len((await client.step(EchoAction(message="big", size=size))).observation.blob)

    assert asyncio.run(main()) == size


def test_a_reply_larger_than_allowed_ends_the_session(server: Server) -> None:
    """The limit is the client's; the error says what happened."""
    with (
        EchoEnv(base_url=server.url, max_message_size_mb=0.5).sync() as client,
        pytest.raises(ConnectError, match="1009"),
    ):
        client.step(EchoAction(message="big", size=1_000_000))


def test_a_refused_session_says_that_the_server_is_full(single: Server) -> None:
    """The reason is read even though the server has closed; the slot is free once close() is over."""
    with EchoEnv(base_url=single.url).sync() as first:
        first.reset()
        with EchoEnv(base_url=single.url).sync() as second:
            with pytest.raises(SessionCapacityError) as caught:
                second.reset()
            assert (caught.value.active_sessions, caught.value.max_sessions) == (1, 1)
            assert "Server error: Server at capacity" in str(caught.value)

        async def main() -> None:
            async with EchoEnv(base_url=single.url) as third:
                with pytest.raises(SessionCapacityError):
                    await third.reset()

        asyncio.run(main())
    for _ in range(5):
        with EchoEnv(base_url=single.url).sync() as client:
            client.reset()


@pytest.mark.parametrize("name", ["ours", *THEIRS])
def test_an_environment_that_cannot_be_made_is_an_error_of_its_own(name: str) -> None:
    """FACTORY_ERROR names the class."""
    with serve(name, "broken") as running, EchoEnv(base_url=running.url).sync() as client:
        with pytest.raises(EnvironmentFactoryError) as caught:
            client.reset()
        assert caught.value.factory_name == "Broken"


def test_errors_carry_what_the_server_said(own: Server) -> None:
    """Code, data, the list of faults and the remote exception's name."""
    with EchoEnv(base_url=own.url).sync() as client:
        client.reset()
        with pytest.raises(SchemaError) as schema:
            client.step({"nope": 1})  # type: ignore[arg-type]
        assert [fault["loc"] for fault in schema.value.errors] == [["message"], ["nope"]]
        with pytest.raises(AuthorError) as author:
            client.step(EchoAction(message="x", fail=True))
        assert (author.value.exception, author.value.code) == ("ValueError", "EXECUTION_ERROR")
        assert vars(author.value)["data"]["message"] == "asked to fail: x"


def test_a_lost_session_is_not_replaced_in_silence() -> None:
    """step() on it keeps raising; reset() starts an episode in a new one."""
    with serve("ours") as first:
        port = first.port
        client = EchoEnv(base_url=first.url, connect_timeout_s=2).sync()
        client.reset()
    for _ in range(2):
        with pytest.raises(ConnectError, match="episode is gone"):
            client.step(EchoAction(message="hi"))
    with pytest.raises(ConnectError, match=f"localhost|127.0.0.1:{port}.*refused"):
        client.reset()
    client.close()


def test_reset_replaces_a_session_that_the_server_ended(own: Server) -> None:
    """A connection that broke while nobody looked is no reason for reset() to fail."""
    with EchoEnv(base_url=own.url).sync() as client:
        client.reset()
        channel: Any = client.async_client._channel
        channel._socket.shutdown(2)
        assert client.reset(seed=3).observation.echoed == "seed 3"

    async def main() -> None:
        async with EchoEnv(base_url=own.url) as client:
            await client.reset()
            channel: Any = client._channel
            channel._transport.abort()
            assert (await client.reset(seed=3)).observation.echoed == "seed 3"

    asyncio.run(main())


def test_a_fork_does_not_speak_on_its_parents_session(own: Server) -> None:
    """In the child step() says whose session it is and reset() opens one; the parent's goes on."""
    with EchoEnv(base_url=own.url).sync() as client:
        client.reset(episode_id="parent")
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            outcome = "nothing"
            try:
                try:
                    client.step(EchoAction(message="child"))
                except ConnectError as error:
                    outcome = "forked" if "forked" in str(error) else str(error)
                outcome += " " + client.reset(episode_id="child").observation.echoed
                outcome += f" {client.state().episode_id}"
                client.close()
            finally:
                os.write(writer, outcome.encode())
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as pipe:
            assert pipe.read() == "forked seed None child"
        os.waitpid(child, 0)
        client.step(EchoAction(message="still here"))
        assert (client.state().episode_id, client.state().step_count) == ("parent", 1)


def test_many_clients_in_many_threads_do_not_disturb_each_other(own: Server) -> None:
    """Each has its own session."""

    def work(name: str) -> tuple[str | None, int]:
        with EchoEnv(base_url=own.url).sync() as client:
            client.reset(episode_id=name)
            for _ in range(20):
                client.step(EchoAction(message="hi"))
            state = client.state()
            return state.episode_id, state.step_count

    names = [str(index) for index in range(16)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, names)) == [(name, 20) for name in names]


def test_a_client_connected_on_a_loop_that_ended_goes_on_without_one(own: Server) -> None:
    """`client = asyncio.run(connect())`, then plain calls: nothing was asked yet, nothing is lost."""

    async def connect() -> EchoEnv:
        return await EchoEnv(base_url=own.url).connect()

    client: Any = asyncio.run(connect())
    assert client.reset().observation.echoed == "seed None"
    client.close()
    del client
    gc.collect()  # whatever was left open would complain now, which fails the test


def test_a_new_session_is_closed_with_the_client_that_made_it(own: Server) -> None:
    """It is a client of the same class, with an episode of its own."""
    with EchoEnv(base_url=own.url).sync() as client:
        client.reset(episode_id="one")
        other = client.new_session()
        other.reset(episode_id="two")
        assert (client.state().episode_id, other.state().episode_id) == ("one", "two")
    assert other.async_client._channel is None


def test_the_keeper_answers_for_an_idle_client(own: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody calls the client, yet its pings go out and pongs are read."""
    monkeypatch.setattr(blocking_module, "_KEEPER_PERIOD_S", 0.02)
    with EchoEnv(
        base_url=own.url, websocket_ping_interval_s=0.05, websocket_ping_timeout_s=30
    ).sync() as client:
        client.reset(episode_id="idle")
        channel: Any = client.async_client._channel
        seen = wait_for(lambda: channel._heard_at if channel._pinged_at is None else None, 30)
        assert wait_for(lambda: channel._heard_at > seen, 30)
        assert client.state().episode_id == "idle"


def wait_for(condition: Callable[[], Any], timeout_s: float) -> Any:
    end = time.monotonic() + timeout_s
    never = threading.Event()
    while not (value := condition()):
        assert time.monotonic() < end, "it did not happen in time"
        never.wait(0.01)
    return value


def test_a_thousand_sessions_leave_nothing_behind(own: Server) -> None:
    """File descriptors and threads are where they were, sync and async."""

    def cycle(n_cycles: int) -> None:
        for _ in range(n_cycles):
            with EchoEnv(base_url=own.url).sync() as client:
                client.reset()
                client.step(EchoAction(message="hi"))

    async def cycle_async(n_cycles: int) -> None:
        for _ in range(n_cycles):
            async with EchoEnv(base_url=own.url) as client:
                await client.reset()
                await client.step(EchoAction(message="hi"))
        assert len(asyncio.all_tasks()) == 1

    cycle(2)
    asyncio.run(cycle_async(2))
    before = len(os.listdir("/proc/self/fd")), threading.active_count()
    cycle(500)
    asyncio.run(cycle_async(500))
    assert len(os.listdir("/proc/self/fd")) == before[0]
    # The keeper may have begun after the count; it ends by itself when it finds no session.
    assert wait_for(lambda: threading.active_count() <= before[1], 3 * blocking_module._KEEPER_PERIOD_S)


def test_a_thousand_sessions_open_in_one_gather(own: Server) -> None:
    """No refusal, no timeout; bounded by what the server holds."""

    async def main() -> int:
        clients = [EchoEnv(base_url=own.url, message_timeout_s=120) for _ in range(900)]
        results = await asyncio.gather(*(client.reset() for client in clients))
        await asyncio.gather(*(client.close() for client in clients))
        return len(results)

    assert asyncio.run(main()) == 900
