"""How tools are reached: what a session holds open for them, where their code runs, and the two dialects."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from openenv.environment import run_plain
from openenv.errors import AuthorError, EnvironmentFactoryError
from openenv.mcp import CallToolAction as Call
from openenv.mcp import CallToolObservation, ToolError, ToolErrorType, tool_types_of
from openenv.schema import schema_of
from openenv.session import tools
from openenv.session.runner import PENDING, EnvironmentSpec, Mailbox, Runner, StatelessCalls
from tests.support import envs


class HoldsEnv(envs.ThreadEnv):
    """Has something to be entered for as long as it lives."""

    heard: list[str]

    @asynccontextmanager
    async def mcp_session(self) -> AsyncIterator[None]:
        type(self).heard.append(f"in on {threading.current_thread().name}")
        yield
        type(self).heard.append(f"out on {threading.current_thread().name}")

    def close(self) -> None:
        type(self).heard.append(f"closed on {threading.current_thread().name}")


class LoopHoldsEnv(HoldsEnv):
    """The same on the loop."""

    NEVER_BLOCKS = True


class CannotHoldEnv(HoldsEnv):
    """What is to be entered cannot be."""

    @asynccontextmanager
    async def mcp_session(self) -> AsyncIterator[None]:
        raise OSError("no transport")
        yield


class LeavesBadlyEnv(HoldsEnv):
    """What was entered cannot be left."""

    @asynccontextmanager
    async def mcp_session(self) -> AsyncIterator[None]:
        yield
        raise OSError("the transport broke")


def spec_of(cls: Any) -> EnvironmentSpec:
    return EnvironmentSpec(cls, schema_of(envs.NoteAction), cls.NEVER_BLOCKS)


async def outcome(ask: Callable[[Any], Any]) -> Any:
    """Await what is answered by callback."""
    future = asyncio.get_running_loop().create_future()

    def done(result: Any, error: BaseException | None) -> None:
        future.set_result(result) if error is None else future.set_exception(error)

    result = ask(done)
    return await future if result is PENDING else result


def runner_of(cls: Any) -> Runner:
    cls.heard = []
    loop = asyncio.get_running_loop()
    return Runner(spec_of(cls), Mailbox(loop), loop, "the-session")


@pytest.mark.parametrize(("cls", "place"), [(HoldsEnv, "the-session"), (LoopHoldsEnv, "MainThread")])
def test_a_session_holds_what_tools_need(cls: Any, place: str) -> None:
    """Entered and left on the loop, around everything else; `close` stays in its own place."""

    async def main() -> None:
        runner = runner_of(cls)
        await outcome(runner.open)
        assert cls.heard == ["in on MainThread"]
        await outcome(runner.close)
        assert cls.heard == ["in on MainThread", "out on MainThread", f"closed on {place}"]

    asyncio.run(main())


def test_what_cannot_be_entered_is_the_factorys_failure() -> None:
    """And the environment is closed."""

    async def main() -> None:
        runner = runner_of(CannotHoldEnv)
        with pytest.raises(EnvironmentFactoryError) as caught:
            await outcome(runner.open)
        assert isinstance(caught.value.__cause__, OSError)
        await outcome(runner.close)
        assert CannotHoldEnv.heard == ["closed on the-session"]

    asyncio.run(main())


def test_what_cannot_be_left_does_not_keep_the_environment_open() -> None:
    """Its `close` is called all the same."""

    async def main() -> None:
        runner = runner_of(LeavesBadlyEnv)
        await outcome(runner.open)
        await outcome(runner.close)
        assert LeavesBadlyEnv.heard == ["closed on the-session"]

    asyncio.run(main())


@pytest.mark.parametrize(("cls", "place"), [(HoldsEnv, "the-session"), (LoopHoldsEnv, "MainThread")])
def test_plain_code_of_a_coroutine_runs_in_the_sessions_place(cls: Any, place: str) -> None:
    """On its thread, or on the loop where the class never blocks; what it raises comes back."""

    async def name(env: Any) -> str:
        return await run_plain(lambda: threading.current_thread().name)

    async def fail(env: Any) -> Any:
        return await run_plain(lambda: 1 // 0)

    async def main() -> None:
        runner = runner_of(cls)
        await outcome(runner.open)
        assert await outcome(lambda done: runner.apply(name, str.upper, done)) == place.upper()
        with pytest.raises(AuthorError) as caught:
            await outcome(lambda done: runner.apply(fail, str, done))
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
        await outcome(runner.close)

    asyncio.run(main())


def test_a_stateless_call_has_what_it_needs_as_well() -> None:
    """Entered for the one call."""

    async def main() -> None:
        HoldsEnv.heard = []
        loop = asyncio.get_running_loop()
        calls = StatelessCalls(spec_of(HoldsEnv), Mailbox(loop), loop)

        async def ask(env: Any) -> list[str]:
            return list(env.heard)

        assert await outcome(lambda done: calls.apply(ask, list, done)) == ["in on MainThread"]
        while len(HoldsEnv.heard) < 3:
            await asyncio.wait_for(asyncio.sleep(0.001), 1)
        calls.close()

    asyncio.run(main())


@dataclass
class Entry:
    """A tool of a server without a client."""

    name: str
    fn: Any
    description: str | None = None
    parameters: dict[str, Any] | None = None


class Server:
    """What has `list_tools` and nothing else."""

    async def list_tools(self) -> list[Entry]:
        async def later(a: int) -> dict[str, int]:
            return {"a": a}

        return [
            Entry("now", lambda: SimpleNamespace(a=[SimpleNamespace(b=1)])),
            Entry("later", later, "Later."),
        ]


def test_a_server_without_a_client_is_asked_itself() -> None:
    """Its functions are called, plain ones where plain code runs."""

    async def main() -> None:
        env = SimpleNamespace(mcp_server=Server())
        assert await tools.list_tools(env, None) == [
            {"name": "now", "description": "", "inputSchema": {}},
            {"name": "later", "description": "Later.", "inputSchema": {}},
        ]
        assert await tools.call_tool(env, None, "now", {}) == {"a": [{"b": 1}]}
        assert await tools.call_tool(env, None, "later", {"a": 2}) == {"a": 2}
        with pytest.raises(tools.ToolsError, match="Tool not found: zz"):
            await tools.call_tool(env, None, "zz", {})
        found = await tools.call_tool_mcp(env, None, "later", {"a": 2})
        assert found == {
            "content": [{"type": "text", "text": '{"a":2}'}],
            "isError": False,
            "structuredContent": {"a": 2},
        }
        missing = await tools.call_tool_mcp(env, None, "zz", {})
        assert missing == {"content": [{"type": "text", "text": "Tool not found: zz"}], "isError": True}

    asyncio.run(main())


@pytest.mark.parametrize(
    ("result", "error", "wanted"),
    [
        (None, None, {"content": [], "isError": False}),
        ("text", None, {"content": [{"type": "text", "text": "text"}], "isError": False}),
        ([1, 2], None, {"content": [{"type": "text", "text": "[1,2]"}], "isError": False}),
        (
            None,
            ToolError(error_type=ToolErrorType.TIMEOUT, message="too late"),
            {"content": [{"type": "text", "text": "too late"}], "isError": True},
        ),
    ],
)
def test_a_step_that_calls_a_tool_is_a_result_of_mcp(result: Any, error: Any, wanted: Any) -> None:
    """Values as text, failures marked."""

    class Env:
        async def step_async(self, action: Call) -> CallToolObservation:
            return CallToolObservation(tool_name=action.tool_name, result=result, error=error)

    family = tool_types_of(Call)
    assert asyncio.run(tools.call_tool_mcp(Env(), family, "a", {})) == wanted


def test_a_step_that_gives_something_else_is_refused() -> None:
    """In the words of existing servers."""

    class Env:
        def step(self, action: Any) -> str:
            return "nothing"

    family = tool_types_of(Call)
    with pytest.raises(tools.ToolsError) as caught:
        asyncio.run(tools.list_tools(Env(), family))
    assert str(caught.value) == "MCP-style tools/list step returned str, expected ListToolsObservation"
