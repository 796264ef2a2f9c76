"""A session's states, its deadlines, and that its slot always comes back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from openenv.errors import (
    AuthorError,
    EnvironmentFactoryError,
    SessionBrokenError,
    SessionCapacityError,
    SessionError,
    SessionNotFoundError,
    StepTimeoutError,
)
from openenv.schema import schema_of
from openenv.session.pool import LocalCapacity, SessionPool
from openenv.session.runner import PENDING, EnvironmentSpec, Mailbox
from openenv.session.session import TRANSITIONS, Session, SessionState
from tests.support import envs


def pool_of(cls: Any, maximum: int = 2) -> SessionPool:
    action = schema_of(envs.NoteAction)
    loop = asyncio.get_running_loop()
    spec = EnvironmentSpec(cls, action, cls.NEVER_BLOCKS, cls.REQUIRES_SINGLE_THREAD_EXECUTOR)
    return SessionPool(spec, LocalCapacity(maximum), loop, Mailbox(loop))


def fields(observation: Any) -> dict[str, Any]:
    return dict(vars(observation))


async def outcome(ask: Callable[[Any], Any]) -> Any:
    future = asyncio.get_running_loop().create_future()

    def done(result: Any, error: BaseException | None) -> None:
        future.set_result(result) if error is None else future.set_exception(error)

    result = ask(done)
    return await asyncio.wait_for(future, 10) if result is PENDING else result


async def open_session(pool: SessionPool) -> Session:
    opened: list[Session] = []

    def ask(done: Any) -> Any:
        session, result = pool.open(done)
        opened.append(session)
        return result

    await outcome(ask)
    return opened[0]


async def close_session(pool: SessionPool, session: Session) -> None:
    closed = asyncio.Event()
    pool.close(session, closed.set)
    await asyncio.wait_for(closed.wait(), 10)


async def step(session: Session, timeout_s: float | None = None, **action: Any) -> Any:
    data = {"message": "hi", **action}
    return await outcome(lambda done: session.step(data, fields, done, timeout_s))


ALL = [envs.LoopEnv, envs.ThreadEnv, envs.AsyncEnv]


def test_the_table_of_transitions_ends_in_closed_from_everywhere() -> None:
    """No state is a trap, and nothing comes back from the dead."""
    assert set(TRANSITIONS) == set(SessionState)
    assert not TRANSITIONS[SessionState.CLOSED]
    for state, followers in TRANSITIONS.items():
        assert state is SessionState.CLOSED or SessionState.CLOSED in followers


@pytest.mark.parametrize("cls", ALL)
def test_step_before_reset_reaches_the_environment(cls: Any) -> None:
    """As existing servers do: it is the environment's to refuse."""

    async def main() -> None:
        pool = pool_of(cls)
        session = await open_session(pool)
        assert (await step(session))["echoed"] == "hi"
        await close_session(pool, session)

    asyncio.run(main())


@pytest.mark.parametrize("cls", ALL)
def test_the_slot_is_free_when_close_has_returned(cls: Any) -> None:
    """Who reconnects right after a close is not refused."""

    async def main() -> None:
        pool = pool_of(cls, maximum=1)
        for _ in range(20):
            session = await open_session(pool)
            with pytest.raises(SessionCapacityError, match="1/1 sessions active"):
                pool.open(pytest.fail)
            await close_session(pool, session)
        assert len(pool) == 0

    asyncio.run(main())


@pytest.mark.parametrize("cls", [envs.NoFactoryEnv, envs.ThreadNoFactoryEnv])
def test_a_factory_that_raises_gives_its_slot_back(cls: Any) -> None:
    """Failing environments must not eat the capacity."""

    async def main() -> None:
        pool = pool_of(cls, maximum=1)
        for _ in range(3):
            with pytest.raises(EnvironmentFactoryError):
                await open_session(pool)
        assert len(pool) == 0

    asyncio.run(main())


def test_a_close_that_raises_gives_its_slot_back(caplog: pytest.LogCaptureFixture) -> None:
    """The log has the exception, with the session's id."""

    async def main() -> None:
        pool = pool_of(envs.BadCloseEnv, maximum=1)
        session = await open_session(pool)
        await close_session(pool, session)
        assert session.id in caplog.text
        assert "disk is gone" in caplog.text
        await close_session(pool, await open_session(pool))

    asyncio.run(main())


def test_closing_a_session_that_is_starting_closes_its_environment() -> None:
    """The client may go while the factory still runs."""
    entered, release = threading.Event(), threading.Event()

    class SlowFactory(envs.ThreadEnv):
        closed = 0

        def __init__(self) -> None:
            super().__init__()
            entered.set()
            release.wait(10)

    async def main() -> None:
        pool = pool_of(SlowFactory, maximum=1)
        answered: list[Any] = []
        session, result = pool.open(lambda *args: answered.append(args))
        assert result is PENDING
        await asyncio.to_thread(entered.wait, 10)
        closed = asyncio.Event()
        pool.close(session, closed.set)
        assert len(pool) == 1
        release.set()
        await asyncio.wait_for(closed.wait(), 10)
        assert SlowFactory.closed == 1
        assert answered == []
        assert len(pool) == 0

    asyncio.run(main())


def test_a_second_call_before_the_first_is_answered_is_refused() -> None:
    """Calls are serialised by whoever holds the session."""

    async def main() -> None:
        pool = pool_of(envs.AsyncEnv)
        session = await open_session(pool)
        first = asyncio.ensure_future(step(session, wait_s=0.01))
        await asyncio.sleep(0)
        with pytest.raises(SessionError, match="is running"):
            session.step({"message": "hi"}, fields, pytest.fail)
        assert (await first)["echoed"] == "hi"
        await close_session(pool, session)

    asyncio.run(main())


def test_a_step_past_its_time_breaks_the_session_until_it_is_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that hangs is left behind with its environment; a reset makes new ones."""
    release = threading.Event()
    monkeypatch.setattr(envs.ThreadEnv, "release", release)

    async def main() -> None:
        pool = pool_of(envs.ThreadEnv, maximum=1)
        session = await open_session(pool)
        with pytest.raises(StepTimeoutError) as caught:
            await step(session, timeout_s=0.02, wait_s=10)
        assert caught.value.extras() == {"exception": "StepTimeoutError"}
        assert session.state is SessionState.BROKEN
        with pytest.raises(SessionBrokenError):
            await step(session)
        reply = await outcome(lambda done: session.reset({"seed": 7}, fields, done))
        assert reply["seed"] == 7
        assert session.state is SessionState.READY
        assert (await step(session))["echoed"] == "hi"
        release.set()
        await close_session(pool, session)
        assert len(pool) == 0

    asyncio.run(main())


def test_a_broken_session_gives_its_slot_back_though_its_thread_hangs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Capacity must not leak to a call that never returns."""
    release = threading.Event()
    monkeypatch.setattr(envs.ThreadEnv, "release", release)

    async def main() -> None:
        pool = pool_of(envs.ThreadEnv, maximum=1)
        session = await open_session(pool)
        with pytest.raises(StepTimeoutError):
            await step(session, timeout_s=0.02, wait_s=10)
        await close_session(pool, session)
        assert len(pool) == 0
        release.set()

    asyncio.run(main())


def test_an_awaited_step_past_its_time_is_cancelled_by_the_reset() -> None:
    """Async code can be stopped, and is."""

    async def main() -> None:
        pool = pool_of(envs.AsyncEnv)
        session = await open_session(pool)
        with pytest.raises(StepTimeoutError):
            await step(session, timeout_s=0.02, wait_s=60)
        await outcome(lambda done: session.reset({}, fields, done))
        assert (await step(session, timeout_s=5))["echoed"] == "hi"
        await close_session(pool, session)

    asyncio.run(main())


def test_a_call_in_time_leaves_no_timer_behind() -> None:
    """The deadline of an earlier step does not break a later one."""

    async def main() -> None:
        pool = pool_of(envs.ThreadEnv)
        session = await open_session(pool)
        await step(session, timeout_s=0.2)
        await asyncio.sleep(0.25)
        assert session.state is SessionState.READY
        await close_session(pool, session)

    asyncio.run(main())


def test_a_late_call_on_the_loop_says_so_and_stays_usable() -> None:
    """It could not be interrupted, but nothing of it is left running either."""

    class Sluggish(envs.LoopEnv):
        def step(self, action: Any) -> Any:
            threading.Event().wait(action.wait_s)
            return super().step(envs.NoteAction(message="hi"))

    async def main() -> None:
        pool = pool_of(Sluggish)
        session = await open_session(pool)
        with pytest.raises(StepTimeoutError):
            await step(session, timeout_s=0.01, wait_s=0.05)
        assert session.state is SessionState.READY
        assert (await step(session, timeout_s=5))["echoed"] == "hi"

    asyncio.run(main())


def test_reset_of_a_broken_session_can_fail_for_good() -> None:
    """A factory that fails now leaves no session, and no slot taken."""
    fail = False

    class Moody(envs.AsyncEnv):
        def __init__(self) -> None:
            if fail:
                raise RuntimeError("no more licences")
            super().__init__()

    async def main() -> None:
        nonlocal fail
        pool = pool_of(Moody, maximum=1)
        session = await open_session(pool)
        with pytest.raises(StepTimeoutError):
            await step(session, timeout_s=0.02, wait_s=60)
        fail = True
        with pytest.raises(AuthorError):
            await outcome(lambda done: session.reset({}, fields, done))
        assert len(pool) == 0

    asyncio.run(main())


def test_close_all_waits_for_running_calls() -> None:
    """The end of a server frees what its environments hold."""

    async def main() -> None:
        pool = pool_of(envs.ThreadEnv, maximum=5)
        for _ in range(5):
            await open_session(pool)
        before = envs.ThreadEnv.closed
        empty = asyncio.Event()
        pool.close_all(empty.set)
        await asyncio.wait_for(empty.wait(), 10)
        assert envs.ThreadEnv.closed - before == 5

    asyncio.run(main())


def test_attaching_takes_a_session_that_nobody_holds() -> None:
    """One WebSocket at a time, and it outlives the WebSocket."""

    async def main() -> None:
        pool = pool_of(envs.LoopEnv)
        session = await open_session(pool)
        with pytest.raises(SessionNotFoundError):
            pool.attach(session.id)  # nobody was told its id
        pool.share(session)
        assert pool.attach(session.id) is session
        with pytest.raises(SessionError, match="already has an attached WebSocket"):
            pool.attach(session.id)
        assert pool.close_detached(session) is False
        pool.detach(session)
        with pytest.raises(SessionNotFoundError, match=f"Unknown session_id: {session.id}"):
            pool.get(session.id)

    asyncio.run(main())


def test_a_machine_without_threads_refuses_the_session_and_keeps_the_slot_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`can't start new thread` is a matter of capacity, not a crash."""

    async def main() -> None:
        pool = pool_of(envs.ThreadEnv, maximum=1)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", _no_thread)
            with pytest.raises(SessionCapacityError, match="can't start new thread"):
                pool.open(pytest.fail)
        await close_session(pool, await open_session(pool))

    asyncio.run(main())


def _no_thread(self: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_a_step_that_ended_in_time_is_not_late_because_the_loop_was() -> None:
    """uvloop runs its timers before it hears what threads have to say."""

    async def main() -> None:
        pool = pool_of(envs.ThreadEnv)
        session = await open_session(pool)

        def ask_and_block_the_loop(done: Any) -> Any:
            result = session.step({"message": "hi"}, fields, done, 0.05)
            threading.Event().wait(0.2)
            return result

        assert (await outcome(ask_and_block_the_loop))["echoed"] == "hi"
        await close_session(pool, session)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
