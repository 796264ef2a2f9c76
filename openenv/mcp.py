"""Tools: functions of an environment that an agent lists and calls by name, as in the Model Context Protocol.

In: functions with type hints, or a FastMCP server. Out: an environment whose `step` takes two actions,
`ListToolsAction` and `CallToolAction`, and whose tools stock MCP clients find under ``/mcp``::

    class Shop(MCPEnvironment):
        @tool
        def price(self, item: str, pieces: int = 1) -> float:
            \"\"\"What something costs.

            Args:
                item: Its name.
            \"\"\"
            return self.prices[item] * pieces

The name, the description and the JSON Schema of a tool come from its signature and docstring; arguments are
checked before it runs. Tools of our own need no further package. A FastMCP server is recognised by its
methods, and ``fastmcp`` is imported only when one is given.

This module knows nothing about servers, sessions, JSON-RPC or wires. Limits: a tool's parameters have names
(no ``*args``), and no tool is called reset, step, state or close.

Reference: wire.md section 5; https://modelcontextprotocol.io/specification.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
import typing
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from contextvars import copy_context
from functools import partial
from importlib import import_module
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar

from openenv.environment import Environment, Transform, plain_place, run_plain
from openenv.models import Action, Model, Observation, field
from openenv.schema import Schema, schema_of
from openenv.tools import (
    MARK,
    RESERVED_TOOL_NAMES,
    TextContent,
    ToolCallError,
    ToolClient,
    ToolDefinition,
    ToolErrorType,
    ToolResult,
    ToolServer,
    check_names,
    tool,
)

__all__ = [
    "MCP_TOOL_CALL_TIMEOUT",
    "NATIVE_TYPES",
    "RESERVED_TOOL_NAMES",
    "CallToolAction",
    "CallToolObservation",
    "ListToolsAction",
    "ListToolsObservation",
    "MCPEnvironment",
    "TextContent",
    "Tool",
    "ToolCallError",
    "ToolClient",
    "ToolDefinition",
    "ToolError",
    "ToolErrorType",
    "ToolResult",
    "ToolServer",
    "ToolTypes",
    "action_schema_of",
    "get_server_tools",
    "register_tool_types",
    "tool",
    "tool_types_of",
]

logger = logging.getLogger("openenv.mcp")
MCP_TOOL_CALL_TIMEOUT = 30.0
"""Seconds that a tool gets where `step` was given no `timeout_s`."""

_MODES = frozenset({"production", "simulation"})

Function = TypeVar("Function", bound=Callable[..., Any])
T = TypeVar("T")


# ---- what travels ------------------------------------------------------------------------------


class Tool(Model, extra="forbid"):
    """One tool, as `ListToolsObservation` shows it.

    Attributes:
        name: What to call it by.
        description: What it does.
        input_schema: JSON Schema of its arguments, an object.
    """

    name: str = field(description="Unique identifier for the tool")
    description: str = field(description="Human-readable description of what the tool does")
    input_schema: dict[str, Any] = field(description="JSON Schema for the tool's input parameters")


class ToolError(Model, extra="forbid"):
    """What went wrong with a call.

    Attributes:
        error_type: Which kind of thing.
        message: In words.
    """

    error_type: ToolErrorType = field(description="Category of the error")
    message: str = field(description="Human-readable error message")


class ListToolsAction(Action):
    """Ask which tools there are. Works before a reset too."""

    type: Literal["list_tools"] = field(default="list_tools", description="Action type discriminator")


class CallToolAction(Action):
    """Call one tool.

    Attributes:
        tool_name: Which one.
        arguments: By the parameters' names.
    """

    type: Literal["call_tool"] = field(default="call_tool", description="Action type discriminator")
    tool_name: str = field(description="Name of the tool to call")
    arguments: dict[str, Any] = field(default_factory=dict, description="Arguments to pass to the tool")


class ListToolsObservation(Observation):
    """The tools there are.

    Attributes:
        tools: In order of declaration.
    """

    tools: list[Tool] = field(description="List of available tools with their schemas")


class CallToolObservation(Observation):
    """What a tool gave. A tool that failed is an observation too, not an error of the step.

    Attributes:
        tool_name: Which one was called.
        result: A `ToolResult`, or what FastMCP's client gives; None where there is an `error`.
        error: What went wrong, or None.
    """

    tool_name: str = field(description="Name of the tool that was called")
    result: Any = field(default=None, description="Tool-specific result (may include tool errors)")
    error: ToolError | None = field(default=None, description="Transport/framework error if call failed")


class ToolTypes(NamedTuple):
    """The classes that travel, as one family: ours, or another library's of the same fields."""

    Action: Any
    Observation: Any
    Tool: Any
    ToolError: Any
    ListToolsAction: Any
    CallToolAction: Any
    ListToolsObservation: Any
    CallToolObservation: Any


NATIVE_TYPES = ToolTypes(
    Action,
    Observation,
    Tool,
    ToolError,
    ListToolsAction,
    CallToolAction,
    ListToolsObservation,
    CallToolObservation,
)
"""The classes of this module."""

_families: list[ToolTypes] = [NATIVE_TYPES]


def register_tool_types(family: ToolTypes) -> None:
    """Make another family of classes known, so that apps choose actions and environments answer with it."""
    if family not in _families:
        _families.append(family)


def tool_types_of(cls: Any) -> ToolTypes | None:
    """The family in which a class is the list's or the call's action; None for any other class."""
    for family in _families:
        if cls is family.ListToolsAction or cls is family.CallToolAction:
            return family
    return None


def action_schema_of(cls: Any) -> Schema:
    """The schema of an app's action class.

    Where that is `Action` itself or one of the two tool actions, ``type`` in a value chooses: ``list_tools``
    and ``call_tool`` give those actions, whatever the class. Of any other class it is the plain schema.
    """
    family = next((f for f in _families if cls is f.Action), None) or tool_types_of(cls)
    if family is None:
        return schema_of(cls)
    chosen = {"list_tools": schema_of(family.ListToolsAction), "call_tool": schema_of(family.CallToolAction)}
    otherwise = schema_of(cls)

    def load(value: Any) -> Any:
        said = value.get("type") if type(value) is dict else None
        return (chosen.get(said, otherwise) if type(said) is str else otherwise).load(value)

    schema = Schema(cls)
    schema.load = load
    return schema


def get_server_tools(mcp_server: Any) -> dict[str, Any]:
    """The tools of a server by name: a `ToolServer`'s, or those of FastMCP 2 or 3."""
    if isinstance(mcp_server, ToolServer):
        return dict(mcp_server.tools)
    if hasattr(mcp_server, "get_tools"):
        found = run_to_end(mcp_server.get_tools())
        if isinstance(found, dict):
            return found
    if hasattr(mcp_server, "list_tools"):
        return {entry.name: entry for entry in run_to_end(mcp_server.list_tools())}
    return {}


def run_to_end(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine from plain code, on a loop of its own; in another thread if one runs in this one."""

    def run() -> T:
        # Plain tools run right there: the caller is where the environment's plain methods run.
        context = copy_context()
        context.run(plain_place.set, _at_once)
        return context.run(asyncio.run, coroutine)

    if not _loop_runs():
        return run()
    results: list[T] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(run())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work, name="openenv-mcp-call")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def _loop_runs() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def _at_once(function: Callable[[], Any]) -> Any:
    return function()


def _client_of(mcp_server: Any) -> Any:
    if isinstance(mcp_server, ToolServer):
        return ToolClient(mcp_server)
    try:
        fastmcp = import_module("fastmcp")
    except ImportError as error:
        raise ImportError(
            f"a {type(mcp_server).__name__} as mcp_server needs fastmcp: install it, or declare the tools "
            "with openenv.mcp.tool, which needs nothing"
        ) from error
    return fastmcp.Client(mcp_server)


# ---- environments ------------------------------------------------------------------------------


class MCPEnvironment(Environment[Any, Any, Any]):
    """An environment with tools.

    `step` answers `ListToolsAction` and `CallToolAction` itself; define `reset`, `state` and, for actions of
    your own, `_step_impl`. To add a reward to what a tool gave, override `step_async` (servers await that
    one, whatever `step` is) and begin with ``await super().step_async(...)``.

    Args:
        mcp_server: A `ToolServer` or a FastMCP server. None: the methods marked with `tool` are the tools.
        transform: As of `Environment`.
        rubric: As of `Environment`.

    Attributes:
        mcp_server: What was given, or made of the methods; None after `close`.
        mcp_client: Lists and calls its tools; None after `close`.
        tool_types: The classes of observations and of the actions that are answered.

    Raises:
        ValueError: A tool has a reserved name.
        TypeError: A server was given and methods are marked as well.
        ImportError: The server is FastMCP's and ``fastmcp`` is not installed.
    """

    tool_types: ClassVar[ToolTypes] = NATIVE_TYPES
    _mode: str | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "step" in vars(cls) and "step_async" not in vars(cls):
            logger.warning(
                "%s overrides step and not step_async: servers await MCPEnvironment's step_async, so this "
                "step is not called by them; override step_async too",
                cls.__name__,
            )

    def __init__(
        self, mcp_server: Any = None, transform: Transform[Any] | None = None, rubric: Any = None
    ) -> None:
        super().__init__(transform=transform, rubric=rubric)
        marked = _marked_methods(type(self))
        if mcp_server is None:
            mcp_server = ToolServer(type(self).__name__)
            for name, said in marked.items():
                mcp_server.add_tool(getattr(self, name), said["name"], said["description"])
        elif marked:
            raise TypeError(
                f"{type(self).__name__} has methods marked as tools ({', '.join(marked)}) and was given an "
                "mcp_server: give that the tools, or give none"
            )
        self._validate_tool_names(mcp_server)
        self.mcp_server = mcp_server
        self.mcp_client = _client_of(mcp_server)
        # name -> mode (None: any) -> function, and what it is listed as.
        self._mode_tools: defaultdict[str, dict[str | None, Callable[..., Any]]] = defaultdict(dict)
        self._mode_tool_schemas: defaultdict[str, dict[str | None, dict[str, Any]]] = defaultdict(dict)

    def _require_mcp_client(self) -> Any:
        if self.mcp_client is None:
            raise RuntimeError("MCP client is not available; environment is closed")
        return self.mcp_client

    def _require_mcp_server(self) -> Any:
        if self.mcp_server is None:
            raise RuntimeError("MCP server is not available; environment is closed")
        return self.mcp_server

    @asynccontextmanager
    async def mcp_session(self) -> AsyncIterator[Any]:
        """The connected client. May be entered within itself; a server holds it for the whole session.

        Raises:
            RuntimeError: The environment is closed.
        """
        client = self._require_mcp_client()
        async with client:
            yield client

    def _get_server_tools(self, mcp_server: Any) -> dict[str, Any]:
        return get_server_tools(mcp_server)

    def _validate_tool_names(self, mcp_server: Any) -> None:
        check_names(self._get_server_tools(mcp_server))

    def tool(self, mode: str | None = None) -> Callable[[Function], Function]:
        """Declare a function as a tool of this object, in one mode or in both: ``@self.tool(mode=...)``.

        Args:
            mode: ``production``, ``simulation`` or None.

        Raises:
            ValueError: Another mode, or a reserved name.
        """
        if mode is not None and mode not in _MODES:
            raise ValueError(f"Invalid mode '{mode}'. Mode must be 'production', 'simulation', or None.")

        def declare(function: Function) -> Function:
            name = function.__name__
            if name in RESERVED_TOOL_NAMES:
                raise ValueError(
                    f"Tool name '{name}' is reserved and cannot be used. "
                    f"Reserved names are: {sorted(RESERVED_TOOL_NAMES)}"
                )
            if mode is None:
                decorated: Function = self._require_mcp_server().tool()(function)
                self._mode_tools[name][None] = function
                return decorated
            self._mode_tools[name][mode] = function
            self._mode_tool_schemas[name][mode] = _simple_tool(function)
            return function

        return declare

    # Code that calls tools as functions

    @property
    def supports_code_mode(self) -> bool:
        """Whether `execute_code` works: it does."""
        return True

    def get_callables(self) -> dict[str, Callable[..., Any]]:
        """The tools as plain functions, those of other modes than this one left out."""
        found = self._get_server_tools(self.mcp_server)
        callables = {name: entry.fn for name, entry in found.items() if callable(getattr(entry, "fn", None))}
        for name, functions in self._mode_tools.items():
            if None in functions:
                callables.setdefault(name, functions[None])
            elif self._mode in functions:
                callables[name] = functions[self._mode]
        return callables

    def execute_code(self, code: str) -> Any:
        """Run Python code in which the tools are functions.

        The code runs in this process, with everything that this process may do.

        Args:
            code: Its variable ``result`` is the result.

        Returns:
            An observation with ``metadata["result"]``, or ``metadata["error"]`` where it raised.
        """
        local: dict[str, Any] = {}
        try:
            exec(code, dict(self.get_callables()), local)
            metadata = {"result": local.get("result")}
        except SyntaxError as error:
            metadata = {"error": f"Syntax error: {error}"}
        except Exception as error:
            metadata = {"error": str(error)}
        return self.tool_types.Observation(done=False, reward=0.0, metadata=metadata)

    # Steps

    def step(
        self, action: CallToolAction, timeout_s: float | None = None, **kwargs: Any
    ) -> CallToolObservation:
        """List tools, call one, or do what `_step_impl` does with any other action.

        Args:
            action: `ListToolsAction`, `CallToolAction`, or an action of your own.
            timeout_s: Seconds that a tool gets, > 0; `MCP_TOOL_CALL_TIMEOUT` by default.

        Returns:
            A `ListToolsObservation`, a `CallToolObservation`, or what `_step_impl` gives.
        """
        made: Any
        if self._lists(action):
            made = run_to_end(self._async_handle_list_tools())
        elif self._calls(action):
            made = run_to_end(self._async_handle_call_tool(action, timeout_s))
        else:
            made = self._step_impl(action, timeout_s=timeout_s, **kwargs)
        return typing.cast("CallToolObservation", made)

    async def step_async(self, action: Any, timeout_s: float | None = None, **kwargs: Any) -> Any:
        """`step` on an event loop: what servers call."""
        if self._lists(action):
            return await self._async_handle_list_tools()
        if self._calls(action):
            return await self._async_handle_call_tool(action, timeout_s)
        made = await run_plain(partial(self._step_impl, action, timeout_s=timeout_s, **kwargs))
        return await made if inspect.isawaitable(made) else made

    def _lists(self, action: Any) -> bool:
        return isinstance(action, (self.tool_types.ListToolsAction, ListToolsAction))

    def _calls(self, action: Any) -> bool:
        return isinstance(action, (self.tool_types.CallToolAction, CallToolAction))

    def _step_impl(self, action: Any, timeout_s: float | None = None, **kwargs: Any) -> Any:
        """What `step` does with an action that is about no tool; override it if there are such."""
        raise NotImplementedError(
            f"{type(self).__name__} takes list_tools and call_tool actions only, got "
            f"{type(action).__name__}; define _step_impl(action, timeout_s=None, **kwargs) for others"
        )

    async def _async_list_tools(self) -> list[Any]:
        async with self.mcp_session() as client:
            found: list[Any] = await client.list_tools()
            return found

    async def _async_call_tool(self, tool_name: str, arguments: dict[str, Any]) -> Any:
        async with self.mcp_session() as client:
            return await client.call_tool(tool_name, arguments)

    async def _async_handle_list_tools(self) -> Any:
        family = self.tool_types
        try:
            listed = [
                family.Tool(
                    name=entry.name,
                    description=entry.description or "",
                    input_schema=getattr(entry, "inputSchema", {}),
                )
                for entry in await self._async_list_tools()
                if entry.name not in self._mode_tool_schemas
            ]
            for schemas in self._mode_tool_schemas.values():
                schema = schemas.get(None) or schemas.get(self._mode)
                if schema is not None:
                    listed.append(family.Tool(**schema))
            return family.ListToolsObservation(tools=listed)
        except Exception as error:
            metadata = {"error": str(error), "error_type": "list_tools_failed"}
            return family.ListToolsObservation(tools=[], metadata=metadata)

    async def _async_handle_call_tool(self, action: Any, timeout_s: float | None = None) -> Any:
        name, arguments = action.tool_name, action.arguments
        timeout_s = MCP_TOOL_CALL_TIMEOUT if timeout_s is None else timeout_s
        call: Coroutine[Any, Any, Any]
        try:
            if name in self._mode_tools:
                result = await self._call_mode_tool(name, arguments)
            else:
                call = self._async_call_tool(name, arguments)
                result = await asyncio.wait_for(call, timeout_s)
        except ToolCallError as error:
            return self._failed(name, error.error_type, str(error))
        except TimeoutError:
            text = f"Tool '{name}' timed out after {timeout_s} seconds"
            return self._failed(name, ToolErrorType.TIMEOUT, text)
        except Exception as error:
            return self._failed(name, _kind_of(str(error)), str(error))
        return self.tool_types.CallToolObservation(tool_name=name, result=result)

    async def _call_mode_tool(self, name: str, arguments: dict[str, Any]) -> ToolResult:
        functions = self._mode_tools[name]
        function = functions.get(None) or functions.get(self._mode)
        if function is None:
            text = f"Tool '{name}' not available in {self._mode} mode"
            raise ToolCallError(ToolErrorType.TOOL_NOT_FOUND, text)
        call = partial(function, **arguments)
        try:
            value = await (call() if inspect.iscoroutinefunction(function) else run_plain(call))
        except Exception as error:
            raise ToolCallError(ToolErrorType.EXECUTION_ERROR, str(error)) from error
        return ToolResult([TextContent(text=str(value))], {"result": value}, None, value)

    def _failed(self, name: str, kind: ToolErrorType, text: str) -> Any:
        error = self.tool_types.ToolError(error_type=kind, message=text)
        return self.tool_types.CallToolObservation(tool_name=name, result=None, error=error)

    def close(self) -> None:
        """Let go of the tools. An override calls this too."""
        self.mcp_client = None
        self.mcp_server = None


def _marked_methods(cls: type) -> dict[str, dict[str, Any]]:
    """Attribute name -> what `tool` was told, base classes first."""
    found: dict[str, dict[str, Any]] = {}
    for base in reversed(cls.__mro__):
        for name, value in vars(base).items():
            said = getattr(getattr(value, "__func__", value), MARK, None)
            if said is not None:
                found[name] = said
            else:
                found.pop(name, None)  # an override that is no tool
    return found


_SIMPLE: dict[Any, str] = {
    hint: kind
    for names, kind in (((int, "int"), "integer"), ((float, "float"), "number"), ((bool, "bool"), "boolean"))
    for hint in names
}


def _simple_tool(function: Callable[..., Any]) -> dict[str, Any]:
    """What a tool of one mode is listed as: simple types, as clients of existing servers see it."""
    properties: dict[str, Any] = {}
    required = []
    for name, parameter in inspect.signature(function).parameters.items():
        hint = parameter.annotation
        properties[name] = {"type": _SIMPLE.get(hint, "string") if hint.__hash__ else "string"}
        if parameter.default is parameter.empty:
            required.append(name)
    schema = {"type": "object", "properties": properties, "required": required}
    return {"name": function.__name__, "description": function.__doc__ or "", "input_schema": schema}


def _kind_of(text: str) -> ToolErrorType:
    """What kind of error FastMCP's words are about: it raises one class for all."""
    said = text.lower()
    if "not found" in said or "unknown tool" in said:
        return ToolErrorType.TOOL_NOT_FOUND
    if "invalid" in said or "argument" in said:
        return ToolErrorType.INVALID_ARGS
    return ToolErrorType.EXECUTION_ERROR
