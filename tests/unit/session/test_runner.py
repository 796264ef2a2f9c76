"""How author code runs: which thread, which keywords, what becomes of what it raises."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from openenv.errors import AuthorError, EnvironmentFactoryError, SchemaError
from openenv.schema import schema_of
from openenv.session.runner import PENDING, EnvironmentSpec, Mailbox, Runner, StatelessCalls, WorkThread
from tests.support import envs
from tests.support.eventually import eventually


def spec_of(cls: Any, debug: bool = False) -> EnvironmentSpec:
    action = schema_of(envs.NoteAction)
    return EnvironmentSpec(cls, action, cls.NEVER_BLOCKS, debug=debug)


def fields(observation: Any) -> dict[str, Any]:
    return dict(vars(observation))


async def outcome(ask: Callable[[Any], Any]) -> Any:
    """Await what is answered by callback."""
    future = asyncio.get_running_loop().create_future()

    def done(result: Any, error: BaseException | None) -> None:
        future.set_result(result) if error is None else future.set_exception(error)

    result = ask(done)
    return await future if result is PENDING else result


async def opened(cls: Any, **options: Any) -> Runner:
    loop = asyncio.get_running_loop()
    runner = Runner(spec_of(cls), Mailbox(loop), loop, "the-session", **options)
    await outcome(runner.open)
    return runner


async def play(runner: Runner, **action: Any) -> Any:
    load = schema_of(envs.NoteAction).load
    return await outcome(lambda done: runner.step(load, {"message": "hi", **action}, None, fields, done))


def test_every_plain_method_of_a_session_runs_on_its_own_thread() -> None:
    """The constructor, reset, step, state and close see one and the same thread, and not the loop's."""

    async def main() -> None:
        runner = await opened(envs.ThreadEnv)
        await outcome(lambda done: runner.reset({}, fields, done))
        await play(runner)
        state = await outcome(lambda done: runner.state(lambda value: value, done))
        env = runner.env
        await outcome(runner.close)
        assert set(env.threads) == {"the-session"}
        assert len(env.threads) == 5
        assert state["threads"] == ["the-session"] * 4

    asyncio.run(main())


def test_a_class_that_never_blocks_runs_on_the_loop_at_once() -> None:
    """Nothing is pending: the result is there when the call returns."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        runner = Runner(spec_of(envs.LoopEnv), Mailbox(loop), loop, "unused")
        assert runner.open(pytest.fail) is None
        load = schema_of(envs.NoteAction).load
        reply = runner.step(load, {"message": "hi"}, None, fields, pytest.fail)
        assert reply["thread"] == "MainThread"
        assert runner.close(pytest.fail) is None

    asyncio.run(main())


def test_async_methods_are_awaited_and_the_rest_keeps_its_thread() -> None:
    """`async def step` sees the loop's thread; the constructor and close do not."""

    async def main() -> None:
        runner = await opened(envs.AsyncEnv)
        assert (await play(runner))["thread"] == "MainThread"
        env = runner.env
        await outcome(runner.close)
        assert env.threads == ["the-session", "the-session"]

    asyncio.run(main())


def test_a_shared_thread_serves_several_environments_and_outlives_each() -> None:
    """REQUIRES_SINGLE_THREAD_EXECUTOR: the thread is not ended with one of its sessions."""

    async def main() -> None:
        shared = WorkThread(Mailbox(asyncio.get_running_loop()), "shared")
        first = await opened(envs.ThreadEnv, shared=shared)
        second = await opened(envs.ThreadEnv, shared=shared)
        await outcome(first.close)
        assert (await play(second))["thread"] == "shared"
        await outcome(second.close)
        shared.end()

    asyncio.run(main())


@pytest.mark.parametrize("cls", [envs.LoopEnv, envs.ThreadEnv, envs.AsyncEnv])
def test_keywords_that_reset_lacks_are_dropped(cls: Any) -> None:
    """A client may send `episode_id` to a reset that only knows `seed`."""

    async def main() -> None:
        runner = await opened(cls)
        kwargs = {"seed": "abc", "episode_id": "e", "other": 1}
        reply = await outcome(lambda done: runner.reset(kwargs, fields, done))
        assert reply["seed"] == "abc"
        await outcome(runner.close)

    asyncio.run(main())


def test_timeout_reaches_a_step_that_takes_it() -> None:
    """And only such a one."""

    async def main() -> None:
        load = schema_of(envs.NoteAction).load
        for cls, heard in ((envs.TimedEnv, 2.5), (envs.LoopEnv, None)):
            runner = await opened(cls)
            reply = runner.step(load, {"message": "hi"}, {"timeout_s": 2.5}, fields, pytest.fail)
            assert reply["seed"] == heard
            await outcome(runner.close)

    asyncio.run(main())


@pytest.mark.parametrize("cls", [envs.LoopEnv, envs.ThreadEnv, envs.AsyncEnv])
def test_what_the_author_raises_is_wrapped_and_the_environment_lives(cls: Any) -> None:
    """The message is str() of it, as existing clients expect, and the cause is kept."""

    async def main() -> None:
        runner = await opened(cls)
        with pytest.raises(AuthorError) as caught:
            await play(runner, fail=True)
        assert str(caught.value) == "'lost'"
        assert caught.value.extras() == {"exception": "KeyError"}
        assert isinstance(caught.value.__cause__, KeyError)
        assert (await play(runner))["echoed"] == "hi"
        await outcome(runner.close)

    asyncio.run(main())


def test_debug_puts_the_traceback_into_the_reply() -> None:
    """Only where the operator asked for it."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        runner = Runner(spec_of(envs.LoopEnv, debug=True), Mailbox(loop), loop, "s")
        runner.open(pytest.fail)
        with pytest.raises(AuthorError) as caught:
            await play(runner, fail=True)
        assert 'raise KeyError("lost")' in caught.value.extras()["traceback"]

    asyncio.run(main())


@pytest.mark.parametrize("cls", [envs.LoopEnv, envs.ThreadEnv, envs.AsyncEnv])
def test_a_bad_action_is_refused_before_step_runs(cls: Any) -> None:
    """A SchemaError stays what it is: the episode stands."""

    async def main() -> None:
        runner = await opened(cls)
        with pytest.raises(SchemaError):
            await play(runner, wait_s=-1)
        assert runner.env.step_count == 0
        await outcome(runner.close)

    asyncio.run(main())


@pytest.mark.parametrize("raised", [SystemExit(3), GeneratorExit(), asyncio.CancelledError()])
def test_an_author_cannot_end_the_worker(raised: BaseException) -> None:
    """sys.exit() in a step is an author's mistake like any other."""

    class Quitter(envs.LoopEnv):
        def step(self, action: Any) -> Any:
            raise raised

    async def main() -> None:
        runner = await opened(Quitter)
        with pytest.raises(AuthorError) as caught:
            await play(runner)
        assert caught.value.exception == type(raised).__name__

    asyncio.run(main())


@pytest.mark.parametrize("cls", [envs.NoFactoryEnv, envs.ThreadNoFactoryEnv])
def test_a_factory_that_raises_names_itself_and_not_the_cause(cls: Any) -> None:
    """The message is the wire's; the cause is for the log."""

    async def main() -> None:
        with pytest.raises(EnvironmentFactoryError) as caught:
            await opened(cls)
        assert str(caught.value) == f"Environment factory '{cls.__name__}' failed to create instance."
        assert isinstance(caught.value.__cause__, RuntimeError)

    asyncio.run(main())


def test_close_waits_until_what_is_awaited_has_left_the_environment() -> None:
    """A step cut short by a disconnect runs its `finally` before close() comes in."""
    order: list[str] = []

    class Careful(envs.AsyncEnv):
        async def step(self, action: Any) -> Any:
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                order.append("step left")

        def close(self) -> None:
            order.append("closed")

    async def main() -> None:
        runner = await opened(Careful)
        load = schema_of(envs.NoteAction).load
        answered: list[Any] = []
        runner.step(load, {"message": "hi"}, None, fields, lambda *result: answered.append(result))
        await asyncio.sleep(0)
        await outcome(runner.close)
        assert order == ["step left", "closed"]

    asyncio.run(main())


@pytest.mark.parametrize("cls", [envs.LoopEnv, envs.ThreadEnv, envs.AsyncEnv])
def test_a_stateless_call_makes_and_closes_an_environment_of_its_own(cls: Any) -> None:
    """Two calls, two environments, both closed."""

    class Counted(cls):  # type: ignore[misc]
        closed = 0

    async def main() -> None:
        loop = asyncio.get_running_loop()
        calls = StatelessCalls(spec_of(Counted), Mailbox(loop), loop)
        action = envs.NoteAction(message="hi")
        for _ in range(2):
            reply = await outcome(lambda done: calls.step(action, {}, fields, done))
            assert reply["echoed"] == "hi"
            state = await outcome(lambda done: calls.state(lambda value: value, done))
            assert state["step_count"] == 0
        # A call is answered before its environment is closed.
        await asyncio.to_thread(eventually, lambda: Counted.closed == 4, "the last close")
        calls.close()

    asyncio.run(main())


def test_a_stateless_call_keeps_its_answer_when_close_raises(caplog: pytest.LogCaptureFixture) -> None:
    """The reward is not lost to a noisy close(); the log has the noise."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        calls = StatelessCalls(spec_of(envs.BadCloseEnv), Mailbox(loop), loop)
        reply = calls.step(envs.NoteAction(message="hi"), {}, fields, pytest.fail)
        assert reply["echoed"] == "hi"
        assert "disk is gone" in caplog.text

    asyncio.run(main())


def test_stateless_calls_share_a_bounded_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """More calls than threads are all answered."""
    monkeypatch.setattr("openenv.session.runner.MAX_STATELESS_THREADS", 2)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        calls = StatelessCalls(spec_of(envs.ThreadEnv), Mailbox(loop), loop)
        action = envs.NoteAction(message="hi")
        replies = await asyncio.gather(
            *(outcome(lambda done: calls.step(action, {}, fields, done)) for _ in range(20))
        )
        names = {reply["thread"] for reply in replies}
        assert names <= {"openenv-stateless-1", "openenv-stateless-2"}
        calls.close()

    asyncio.run(main())
