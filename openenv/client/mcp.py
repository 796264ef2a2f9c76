"""A client that lists and calls an environment's tools, beside resetting and stepping it.

In: names and arguments of tools. Out: what they gave. Two ways to the tools, and one session behind both:

- production, the default: JSON-RPC over HTTP, in a session that is made there and that the WebSocket, over
  which resets go, is attached to;
- simulation: each call is a step on the WebSocket, so that it is counted and rewarded like one.

Works with our server and with the incumbent's. Reference: ``wire.md`` sections 2, 5 and 6.
"""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, cast

from openenv.client.client import EnvClient
from openenv.client.payloads import dump_action
from openenv.errors import OpenEnvError, RemoteError, SessionNotFoundError
from openenv.mcp import NATIVE_TYPES, Tool, ToolErrorType, ToolTypes
from openenv.models import Observation, State, StepResult
from openenv.protocol.jsonrpc import request_object

if TYPE_CHECKING:
    from typing import Self

    from openenv.client.sync import SyncEnvClient

__all__ = ["GenericMCPObservation", "MCPClientBase", "MCPToolClient"]

_APART = frozenset(("done", "reward", "metadata"))


class GenericMCPObservation(Observation, extra="allow"):
    """An observation that is about no tool: whatever fields the environment gave it."""


class MCPClientBase(EnvClient[Any, Any, State]):
    """Finds out which tools there are; `MCPToolClient` calls them too.

    Args:
        base_url: As of `EnvClient`, like everything here but ``mode``.
        mode: ``production`` (default) or ``simulation``: see the module.
        **settings: Those of `EnvClient`.

    Attributes:
        tool_types: The classes of what is sent and given back.
        generic_observation: The class of an observation that is about no tool.
        state_class: The class of states.
    """

    tool_types: ClassVar[ToolTypes] = NATIVE_TYPES
    generic_observation: ClassVar[Any] = GenericMCPObservation
    state_class: ClassVar[Any] = State

    _channel_only: ClassVar[frozenset[str]] = EnvClient._channel_only | {
        "_call_tool_async",
        "_get_tool_async",
        "_has_tool_async",
        "_list_tools_async",
    }

    def __init__(
        self,
        base_url: str | None = None,
        connect_timeout_s: float = 10.0,
        message_timeout_s: float | None = 60.0,
        *,
        mode: str | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(
            base_url, connect_timeout_s, message_timeout_s, mode=mode or "production", **settings
        )

    def _begin(self) -> None:
        super()._begin()
        self._tools_cache: list[Tool] | None = None
        self._session_id: str | None = None
        self._last_request_id = 0
        self._query = ""

    def sync(self) -> SyncEnvClient[Any, Any, State]:
        """The same client for code without ``await``."""
        client = super().sync()
        if self._execution is None:
            self._claim("sync")
        return client

    def list_tools(self, use_cache: bool = True) -> Coroutine[Any, Any, list[Tool]]:
        """The tools that there are; an empty list where the environment has none.

        Args:
            use_cache: Whether what was listed before will do.

        Raises:
            ConnectError: The server cannot be reached.
        """
        return cast(Coroutine[Any, Any, list[Tool]], self._dispatch("_list_tools_async", use_cache))

    # The session that is made over HTTP

    async def _rpc(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self._last_request_id += 1
        request = request_object(method, params, self._last_request_id)
        response = await self._request_async("POST", "/mcp", request)
        return response if isinstance(response, dict) else {}

    async def _the_session(self) -> str:
        """The id of the session, made now if there is none."""
        network = self._the_network()
        async with network.turn():
            if self._address is None:
                await network.call(self._start_provider)
            if self._session_id is None:
                response = await self._rpc("openenv/session/create", {})
                if "error" in response:
                    raise _remote_error("Failed to create MCP session", response["error"])
                self._session_id = str(response["result"]["session_id"])
                self._query = f"session_id={self._session_id}"
            return self._session_id

    async def _end_session(self) -> None:
        session_id, self._session_id, self._query = self._session_id, None, ""
        if session_id is not None:
            # It may be gone already, and the server with it.
            with suppress(OpenEnvError, OSError):
                await self._rpc("openenv/session/close", {"session_id": session_id})

    async def _connect_async(self) -> Self:
        if self._mode != "production":
            return await super()._connect_async()
        try:
            await self._the_session()
            return await super()._connect_async()
        except (Exception, CancelledError):
            await self._end_session()
            if self._starts_provider:
                await self._the_network().call(self._stop_provider)
            raise

    async def _disconnect_async(self) -> None:
        # First the WebSocket: while one is attached, a session is not closed.
        await super()._disconnect_async()
        await self._end_session()

    async def _reset_async(self, *, timeout_s: float | None = None, **kwargs: Any) -> StepResult[Any]:
        try:
            return await super()._reset_async(timeout_s=timeout_s, **kwargs)
        except SessionNotFoundError:
            # The server has forgotten the session; a new episode needs nothing of it.
            await self._disconnect_async()
            return await super()._reset_async(timeout_s=timeout_s, **kwargs)

    # Tools

    async def _list_tools_async(self, use_cache: bool = True) -> list[Tool]:
        if self._tools_cache is not None and use_cache:
            return self._tools_cache
        if self._mode == "production":
            response = await self._rpc("tools/list", {"session_id": await self._the_session()})
            if "error" in response:
                return []
            tools = [self._load_tool(entry) for entry in response.get("result", {}).get("tools", [])]
        else:
            family = self.tool_types
            observation = (await self._step_async(family.ListToolsAction())).observation
            is_list = isinstance(observation, family.ListToolsObservation)
            tools = observation.tools if is_list else []
        self._tools_cache = tools
        return tools

    # What travels on the WebSocket

    def _step_payload(self, action: Any) -> dict[str, Any]:
        kind = getattr(action, "type", None)
        if kind == "list_tools":
            return {"type": "list_tools"}
        if kind == "call_tool":
            return {"type": "call_tool", "tool_name": action.tool_name, "arguments": action.arguments}
        payload: dict[str, Any] = dump_action(action)
        return payload

    def _parse_result(self, payload: dict[str, Any]) -> StepResult[Any]:
        shown = payload.get("observation") or {}
        done, reward = payload.get("done", False), payload.get("reward")
        metadata = payload.get("metadata", shown.get("metadata")) or {}
        given = {"done": done, "reward": reward, "metadata": metadata}
        family = self.tool_types
        if "tools" in shown:
            listed = [self._load_tool(entry) for entry in shown["tools"] or ()]
            observation = family.ListToolsObservation(tools=listed, **given)
        elif "tool_name" in shown:
            observation = family.CallToolObservation(
                tool_name=shown["tool_name"],
                result=shown.get("result"),
                error=self._load_error(shown.get("error")),
                **given,
            )
        else:
            fields = {key: value for key, value in shown.items() if key not in _APART}
            observation = self.generic_observation(**given, **fields)
        return StepResult(observation, reward, done, metadata or None, payload.get("truncated", False))

    def _parse_state(self, payload: dict[str, Any]) -> State:
        state: State = self.state_class(
            episode_id=payload.get("episode_id"), step_count=payload.get("step_count", 0)
        )
        return state

    def _load_tool(self, entry: dict[str, Any]) -> Any:
        schema = entry.get("input_schema", entry.get("inputSchema"))
        return self.tool_types.Tool(
            name=entry.get("name", ""), description=entry.get("description") or "", input_schema=schema or {}
        )

    def _load_error(self, error: dict[str, Any] | None) -> Any:
        if not error:
            return None
        kind = ToolErrorType(error["error_type"])
        return self.tool_types.ToolError(error_type=kind, message=error["message"])


class MCPToolClient(MCPClientBase):
    """A session with an environment that has tools::

        async with MCPToolClient(base_url="http://localhost:8000") as client:
            await client.reset()
            print([tool.name for tool in await client.list_tools()])
            print(await client.call_tool("price", item="egg"))

        with MCPToolClient(base_url="http://localhost:8000").sync() as client:
            print(client.call_tool("price", item="egg"))

    Arguments as of `MCPClientBase`. ``step`` takes `ListToolsAction`, `CallToolAction` and actions of the
    environment's own, in either mode.
    """

    def call_tool(self, name: str, **kwargs: Any) -> Coroutine[Any, Any, Any]:
        """Call a tool.

        Args:
            name: Which one.
            **kwargs: Its arguments.

        Returns:
            The value that it gave, as JSON values.

        Raises:
            RemoteError: It raised, does not exist or was given arguments that do not fit; also a
                RuntimeError.
            ConnectError: The server cannot be reached.
        """
        return cast(Coroutine[Any, Any, Any], self._dispatch("_call_tool_async", name, kwargs))

    def get_tool(self, name: str) -> Coroutine[Any, Any, Tool | None]:
        """The tool of that name, or None."""
        return cast(Coroutine[Any, Any, "Tool | None"], self._dispatch("_get_tool_async", name))

    def has_tool(self, name: str) -> Coroutine[Any, Any, bool]:
        """Whether there is a tool of that name."""
        return cast(Coroutine[Any, Any, bool], self._dispatch("_has_tool_async", name))

    async def _get_tool_async(self, name: str) -> Tool | None:
        return next((tool for tool in await self._list_tools_async() if tool.name == name), None)

    async def _has_tool_async(self, name: str) -> bool:
        return await self._get_tool_async(name) is not None

    async def _call_tool_async(self, name: str, arguments: dict[str, Any]) -> Any:
        if self._mode == "production":
            params = {"name": name, "arguments": arguments, "session_id": await self._the_session()}
            response = await self._rpc("tools/call", params)
            if "error" in response:
                raise _remote_error(f"Tool '{name}' failed", response["error"])
            return _data_of(response.get("result"))
        family = self.tool_types
        action = family.CallToolAction(tool_name=name, arguments=arguments)
        observation = (await self._step_async(action)).observation
        if not isinstance(observation, family.CallToolObservation):
            return observation
        error = observation.error
        if error is not None:
            kind = str(error.error_type.value)
            text = f"Tool '{name}' failed: {error.message} (type: {kind})"
            raise RemoteError(text, kind, {"message": error.message})
        return _data_of(observation.result)


def _remote_error(what: str, error: dict[str, Any]) -> RemoteError:
    return RemoteError(f"{what}: {error.get('message', 'unknown error')}", str(error.get("code")), error)


def _data_of(result: Any) -> Any:
    return result["data"] if isinstance(result, dict) and "data" in result else result
