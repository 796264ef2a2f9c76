"""Environments in processes: what crosses the pair, and that nothing is left of a process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, NamedTuple

import pytest

from openenv.errors import AuthorError, EnvironmentFactoryError, SchemaError
from openenv.protocol.messages import serialize_observation, serialize_state
from openenv.schema import schema_of
from openenv.session import child
from openenv.session.calls import ProcessCalls
from openenv.session.misfits import faults_in
from openenv.session.nursery import Nursery, describe_end
from openenv.session.parcel import HEAD_BYTES, Packed, pack, pack_error, unpack, unpack_head
from openenv.session.process import ProcessRunner
from openenv.session.runner import PENDING, EnvironmentSpec
from openenv.session.session import Deadlines
from openenv.session.tools import ToolsError
from tests.support import envs


class Answer(NamedTuple):
    """What stands for an HTTP response."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


class Quitter(envs.ThreadEnv):
    """Leaves in the middle of a step."""

    def step(self, action: Any) -> Any:
        os._exit(7)


def sent(message: Packed) -> tuple[Any, BaseException | None]:
    """What arrives of a message."""
    length, kind = unpack_head(message)
    assert len(message) == HEAD_BYTES + length
    return unpack(kind, bytes(message[HEAD_BYTES:]), Answer)


@pytest.mark.parametrize(
    "result", [b"", b"bytes", None, {"a": [1, "x"]}, Answer(201, b"\x00body", (("content-type", "x/y"),))]
)
def test_a_result_arrives_as_it_was_sent(result: Any) -> None:
    """Finished bytes, a response, or what JSON can say."""
    assert sent(pack(result, Answer)) == (result, None)
    assert type(sent(pack(result, Answer))[0]) is type(result)


def test_errors_arrive_with_what_answers_depend_on() -> None:
    """Their class, extras and cause; the author's own exception stays where it is, as text."""
    error = AuthorError("'lost'", "step", "KeyError", "the traceback")
    error.__cause__ = KeyError("lost")
    arrived = sent(pack_error(error))[1]
    assert isinstance(arrived, AuthorError)
    assert (str(arrived), arrived.extras()) == (str(error), error.extras())
    assert "KeyError: 'lost'" in str(arrived.__cause__)
    assert "KeyError: 'lost'" in arrived.__cause__.__notes__[0]  # type: ignore[union-attr]
    for cause in (IndexError("no"), NotImplementedError("not"), ToolsError("none", is_about_name=True)):
        error.__cause__ = cause
        arrived = sent(pack_error(error))[1]
        assert type(arrived.__cause__) is type(cause)  # type: ignore[union-attr]
    assert arrived.__cause__.is_about_name  # type: ignore[union-attr]
    error.__cause__ = SchemaError([{"loc": ["b"], "msg": "m", "type": "t"}])
    arrived = sent(pack_error(error))[1]
    assert faults_in(arrived.__cause__) == [{"loc": ["b"], "msg": "m", "type": "t"}]  # type: ignore[union-attr]
    refused = sent(pack_error(SchemaError([{"loc": ["a"], "msg": "m", "type": "t"}])))[1]
    assert isinstance(refused, SchemaError)
    assert refused.errors == [{"loc": ["a"], "msg": "m", "type": "t"}]
    failed = sent(pack_error(EnvironmentFactoryError("make", exception="OSError")))[1]
    assert isinstance(failed, EnvironmentFactoryError)
    assert failed.extras() == {"factory_name": "make", "exception": "OSError"}


@pytest.mark.parametrize("kind", [0, 1, 2, 3, 4, 9])
def test_nonsense_is_refused_and_never_executed(kind: int) -> None:
    """Whoever writes to the pair in the environment's process gets a ValueError, not the worker."""
    pickled = b"cos\nsystem\n(S'true'\ntR."
    for payload in (pickled, b"\xff\xff\xff\xff", b"[]", b"{}", b"\x00\x00\x00\x02[]", b"null"):
        try:
            result, _ = unpack(kind, payload, Answer)
        except ValueError:
            continue
        assert kind in (1, 2)  # bytes are bytes, and JSON is JSON
        assert not isinstance(result, int)


def test_an_end_is_told_in_words() -> None:
    """An exit code, or the name of a signal."""
    assert describe_end(0) == "ended with exit code 0"
    assert describe_end(-11) == "was ended by SIGSEGV"


Test = Callable[[Callable[[Callable[[], None]], ProcessRunner], Nursery], Awaitable[None]]


def play(test: Test, cls: Any) -> None:
    """Run a test on a loop, with a way to make runners; nothing may be left of the nursery."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        spec = EnvironmentSpec(cls, schema_of(envs.NoteAction), cls.NEVER_BLOCKS)
        nursery = Nursery(partial(child.run, spec, Answer), loop)
        try:
            await test(partial(ProcessRunner, nursery, spec, loop, Answer), nursery)
        finally:
            nursery.close()

    asyncio.run(main())
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


async def outcome(ask: Callable[[Any], Any]) -> Any:
    """Await what is answered by callback."""
    future = asyncio.get_running_loop().create_future()

    def done(result: Any, error: BaseException | None) -> None:
        future.set_result(result) if error is None else future.set_exception(error)

    result = ask(done)
    return await asyncio.wait_for(future, 10) if result is PENDING else result


def step(runner: ProcessRunner, **action: Any) -> Any:
    load = runner._spec.action.load
    data = {"message": "hi", **action}
    return outcome(lambda done: runner.step(load, data, None, serialize_observation, done))


def nobody() -> None:
    """Who is told of a lost process."""


@pytest.mark.parametrize("cls", [envs.LoopEnv, envs.ThreadEnv, envs.AsyncEnv])
def test_a_runner_answers_as_one_on_a_thread_does(cls: Any) -> None:
    """The same calls, the same errors, and the environment lives on after them."""

    async def test(make: Any, nursery: Nursery) -> None:
        runner = make(nobody)
        await outcome(runner.open)
        reply = await outcome(lambda done: runner.reset({"seed": 3, "more": 1}, serialize_observation, done))
        assert b'"seed":3' in reply
        assert b'"echoed":"hi"' in await step(runner)
        with pytest.raises(SchemaError):
            await step(runner, wait_s=-1)
        with pytest.raises(AuthorError) as caught:
            await step(runner, fail=True)
        assert caught.value.extras() == {"exception": "KeyError"}
        assert b'"type":"state"' in await outcome(lambda done: runner.state(serialize_state, done))
        with pytest.raises(AuthorError, match="cannot be sent"):
            runner.state(lambda state: state, pytest.fail)
        await outcome(runner.close)
        assert len(nursery) == 0

    play(test, cls)


def test_a_factory_that_raises_is_refused_and_its_process_ends() -> None:
    """With the name that it has in the other place."""

    async def test(make: Any, nursery: Nursery) -> None:
        runner = make(nobody)
        with pytest.raises(EnvironmentFactoryError, match="'NoFactoryEnv' failed to create instance"):
            await outcome(runner.open)
        await outcome(runner.close)
        assert len(nursery) == 0

    play(test, envs.NoFactoryEnv)


def test_an_end_in_a_call_is_its_error_and_one_between_calls_is_told() -> None:
    """After either the runner says so and takes no call."""

    async def test(make: Any, nursery: Nursery) -> None:
        lost = asyncio.Event()
        runner = make(lost.set)
        await outcome(runner.open)
        with pytest.raises(AuthorError, match="ended with exit code 7") as caught:
            await step(runner)
        assert caught.value.extras() == {"exception": "EnvironmentEnded"}
        assert not lost.is_set()
        with pytest.raises(AuthorError, match="ended with exit code 7"):
            runner.state(serialize_state, pytest.fail)
        assert runner.close(pytest.fail) is None
        other = make(lost.set)
        await outcome(other.open)
        nursery.kill(other._key)
        await asyncio.wait_for(lost.wait(), 10)
        assert other.ended == "was ended by SIGKILL"

    play(test, Quitter)


def test_a_stateless_call_has_a_process_of_its_own_and_more_than_a_few_wait() -> None:
    """All are answered, and none is left."""

    async def test(make: Any, nursery: Nursery) -> None:
        calls = ProcessCalls(make, asyncio.get_running_loop(), Deadlines())
        action = envs.NoteAction(message="hi")
        ask = lambda done: calls.step(action, {}, serialize_observation, done)  # noqa: E731
        replies = await asyncio.gather(*(outcome(ask) for _ in range(5)))
        assert all(b'"echoed":"hi"' in reply for reply in replies)
        with pytest.raises(AuthorError, match="'lost'"):
            await outcome(
                lambda done: calls.step(
                    envs.NoteAction(message="x", fail=True), {}, serialize_observation, done
                )
            )
        for _ in range(500):
            if not len(nursery):
                break
            await asyncio.sleep(0.01)
        assert len(nursery) == 0
        calls.close()

    play(test, envs.ThreadEnv)
