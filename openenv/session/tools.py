"""An environment's tools, as JSON-RPC asks for them: listed and called, in either of two dialects.

In: an environment, any that has an `mcp_client`, an `mcp_server` or tool actions. Out: JSON values. The
coroutines here run where `session/runner.py` runs author code. They know nothing about requests, sessions
or wires.

The plain dialect is what existing servers answer to a bare ``tools/call``: FastMCP's own object, field by
field. The MCP dialect is the protocol's: ``isError``, ``structuredContent``, nothing that is null.

Reference: wire.md section 5; https://modelcontextprotocol.io/specification/2025-06-18/server/tools.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from openenv.codec import encode
from openenv.environment import Environment, run_plain
from openenv.errors import OpenEnvError
from openenv.mcp import ToolCallError, ToolTypes, get_server_tools
from openenv.schema import dump, jsonable

__all__ = ["ToolsError", "call_tool", "call_tool_mcp", "list_tools", "list_tools_mcp"]


class ToolsError(OpenEnvError):
    """The tools could not be asked.

    Args:
        message: Why.
        is_about_name: Whether the name was the fault: there is no such tool.
    """

    def __init__(self, message: str, is_about_name: bool = False) -> None:
        self.is_about_name = is_about_name
        super().__init__(message)


async def list_tools(env: Any, family: ToolTypes | None) -> list[Any]:
    """The tools of an environment, in the plain dialect.

    Args:
        env: The environment.
        family: The tool actions that its `step` takes; None if it takes none.

    Raises:
        ToolsError: It has no tools.
    """
    client, server = _sources(env)
    if client is not None:
        async with _connected(env, client):
            return [dump(entry) for entry in await client.list_tools()]
    if server is not None:
        return [
            {
                "name": entry.name,
                "description": entry.description or "",
                "inputSchema": getattr(entry, "parameters", None) or {},
            }
            for entry in get_server_tools(server).values()
        ]
    observation = await _step(env, family, "ListToolsAction", "tools/list")
    return [dump(entry) for entry in observation.tools]


async def call_tool(env: Any, family: ToolTypes | None, name: str, arguments: dict[str, Any]) -> Any:
    """Call a tool, in the plain dialect. What the tool raised is raised here.

    Raises:
        ToolsError: It has no tools, or no such tool.
    """
    client, server = _sources(env)
    if client is not None:
        async with _connected(env, client):
            return _fields(await client.call_tool(name=name, arguments=arguments))
    if server is not None:
        entry = get_server_tools(server).get(name)
        if entry is None:
            raise ToolsError(f"Tool not found: {name}", is_about_name=True)
        call = partial(entry.fn, **arguments)
        return _fields(await (call() if inspect.iscoroutinefunction(entry.fn) else run_plain(call)))
    observation = await _step(
        env, family, "CallToolAction", "tools/call", tool_name=name, arguments=arguments
    )
    return dump(observation)


async def list_tools_mcp(env: Any, family: ToolTypes | None) -> list[Any]:
    """The tools of an environment, in MCP's dialect. Errors as of `list_tools`."""
    client, _ = _sources(env)
    if client is not None:
        async with _connected(env, client):
            return [_without_nulls(_by_alias(entry)) for entry in await client.list_tools()]
    listed = [_without_nulls(entry) for entry in await list_tools(env, family)]
    for entry in listed:
        if "input_schema" in entry:
            entry["inputSchema"] = entry.pop("input_schema")
    return listed


async def call_tool_mcp(
    env: Any, family: ToolTypes | None, name: str, arguments: dict[str, Any]
) -> dict[str, Any]:
    """Call a tool, in MCP's dialect: one that fails has a result too, with ``isError``.

    Raises:
        ToolsError: It has no tools.
    """
    client, server = _sources(env)
    if client is None and server is None and family is None:
        raise ToolsError("Environment does not support MCP")
    try:
        raw = getattr(client, "call_tool_mcp", None)
        if raw is not None:
            async with _connected(env, client):
                result: dict[str, Any] = _by_alias(await raw(name=name, arguments=arguments))
                return result
        return _mcp_result(await call_tool(env, family, name, arguments))
    except ToolsError as error:
        if not error.is_about_name:
            raise
        return _mcp_error(str(error))
    except ToolCallError as error:
        return _mcp_error(str(error))


def _sources(env: Any) -> tuple[Any, Any]:
    return getattr(env, "mcp_client", None), getattr(env, "mcp_server", None)


@asynccontextmanager
async def _connected(env: Any, client: Any) -> AsyncIterator[None]:
    """Within it the client is connected: it stays so in a session, whose runner holds `mcp_session()`."""
    connected = getattr(client, "is_connected", None)
    if connected is not None and connected():
        yield
        return
    enter = getattr(env, "mcp_session", None)
    session: Any = enter() if callable(enter) else client
    async with session:
        yield


async def _step(env: Any, family: ToolTypes | None, action: str, method: str, **fields: Any) -> Any:
    """Ask by a tool action, as `step` would be asked."""
    if family is None:
        raise ToolsError("Environment does not support MCP")
    asked = getattr(family, action)(**fields)
    step_async = getattr(type(env), "step_async", None)
    if step_async is not None and step_async is not Environment.step_async:
        observation = await env.step_async(asked)
    elif inspect.iscoroutinefunction(env.step):
        observation = await env.step(asked)
    else:
        observation = await run_plain(partial(env.step, asked))
    expected = action.replace("Action", "Observation")
    if not isinstance(observation, getattr(family, expected)):
        given = type(observation).__name__
        raise ToolsError(f"MCP-style {method} step returned {given}, expected {expected}")
    return observation


def _fields(result: Any) -> Any:
    """An object as its attributes, whatever it is; its values are dumped as they are sent."""
    if hasattr(type(result), "model_dump"):
        return result.model_dump()
    values = getattr(result, "__dict__", None)
    return dump(result) if values is None else {name: _fields_of(value) for name, value in values.items()}


def _fields_of(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_fields_of(item) for item in value]
    if isinstance(value, dict):
        return {key: _fields_of(item) for key, item in value.items()}
    return _fields(value) if hasattr(value, "__dict__") else value


def _by_alias(value: Any) -> Any:
    """A model of MCP's in the protocol's own names, which are its aliases."""
    if hasattr(type(value), "model_dump"):
        return value.model_dump(mode="json", by_alias=True, exclude_none=True)
    return dump(value)


def _without_nulls(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if value is not None}


def _mcp_result(result: Any) -> dict[str, Any]:
    """What a tool gave, in the plain dialect, as MCP says it."""
    if isinstance(result, dict) and "tool_name" in result:  # from `step`
        error = result.get("error")
        if error:
            return _mcp_error(str(error["message"]))
        result = result.get("result")
    if isinstance(result, dict) and "content" in result and "is_error" in result:
        content = [_without_nulls(entry) for entry in result["content"]]
        made: dict[str, Any] = {"content": content, "isError": bool(result["is_error"])}
        if isinstance(result.get("structured_content"), dict):
            made["structuredContent"] = result["structured_content"]
        if result.get("meta"):
            made["_meta"] = result["meta"]
        return made
    if result is None:
        return {"content": [], "isError": False}
    text = result if isinstance(result, str) else encode(result, jsonable).decode()
    made = {"content": [{"type": "text", "text": text}], "isError": False}
    if isinstance(result, dict):
        made["structuredContent"] = result
    return made


def _mcp_error(text: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text}], "isError": True}
