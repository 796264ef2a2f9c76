"""Tools made of functions: their schema, and calling them with arguments that were checked.

In: functions with type hints, plain or ``async def``. Out: `ToolDefinition`, and named sets of them,
`ToolServer`, with a client like FastMCP's. The name, the description and the JSON Schema of a tool come from
its signature and docstring. This module knows nothing about environments' steps, servers or wires.

Limits: a tool's parameters have names (no ``*args``), and no tool is called reset, step, state or close.

Reference: https://modelcontextprotocol.io/specification/2025-06-18/server/tools.
"""

from __future__ import annotations

import inspect
import logging
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from dataclasses import field as plain_field
from enum import Enum
from functools import partial
from typing import Any, TypeVar, overload

from openenv.codec import encode
from openenv.environment import run_plain
from openenv.errors import SchemaError
from openenv.models import Model, field
from openenv.schema import Schema, dump, jsonable, schema_of

__all__ = [
    "MARK",
    "RESERVED_TOOL_NAMES",
    "TextContent",
    "ToolCallError",
    "ToolClient",
    "ToolDefinition",
    "ToolErrorType",
    "ToolResult",
    "ToolServer",
    "check_names",
    "tool",
]

logger = logging.getLogger("openenv.mcp")

RESERVED_TOOL_NAMES = frozenset({"reset", "step", "state", "close"})
"""Names of the trainer's side; an agent's tools cannot have them."""

Function = TypeVar("Function", bound=Callable[..., Any])


class ToolErrorType(str, Enum):  # noqa: UP042 - its text is that of existing clients' class
    """Why a call of a tool gave no result."""

    EXECUTION_ERROR = "execution_error"  # it raised
    INVALID_ARGS = "invalid_args"  # it did not run
    TRANSPORT_ERROR = "transport_error"  # it could not be reached
    TOOL_NOT_FOUND = "tool_not_found"
    TIMEOUT = "timeout"


@dataclass
class TextContent:
    """A piece of text in a result, in MCP's form."""

    type: str = "text"
    text: str = ""
    annotations: Any = None
    meta: Any = None


@dataclass
class ToolResult:
    """What a tool of ours gave, field by field as FastMCP's client shows one.

    Attributes:
        content: The value as text for a language model; empty for None.
        structured_content: The value as a JSON object: itself, or under ``result``.
        meta: Nothing, or that the value stands under ``result``.
        data: The value.
        is_error: False; a tool that raised has no result.
    """

    content: list[TextContent] = plain_field(default_factory=list)
    structured_content: dict[str, Any] | None = None
    meta: dict[str, Any] | None = None
    data: Any = None
    is_error: bool = False


class ToolCallError(Exception):
    """A call of a tool of ours that gave no result.

    Args:
        error_type: Why.
        message: In words.
    """

    def __init__(self, error_type: ToolErrorType, message: str) -> None:
        self.error_type = error_type
        super().__init__(message)


MARK = "__openenv_tool__"
"""Attribute of a function that `tool` marked: what it was told."""


@overload
def tool(function: Function, /) -> Function: ...
@overload
def tool(*, name: str | None = None, description: str | None = None) -> Callable[[Function], Function]: ...
def tool(function: Any = None, /, *, name: str | None = None, description: str | None = None) -> Any:
    """Make a method of an `MCPEnvironment` a tool: ``@tool``, or ``@tool(name=...)``.

    Plain methods run on the session's own thread, ``async def`` ones on the event loop.

    Args:
        function: The method.
        name: The tool's name; the method's by default.
        description: What it does; the docstring, up to its ``Args:``, by default.

    Raises:
        ValueError: The name is reserved, see `RESERVED_TOOL_NAMES`.
    """

    def mark(function: Function) -> Function:
        check_names([name or function.__name__])
        setattr(function, MARK, {"name": name, "description": description})
        return function

    return mark if function is None else mark(function)


class ToolDefinition:
    """A tool made of a function.

    Args:
        fn: The function, plain or ``async def``; bound, if it is a method.
        name: Its name; the function's by default.
        description: What it does; its docstring, up to its ``Args:``, by default.

    Attributes:
        parameters: JSON Schema of the arguments, an object.
        output_schema: JSON Schema of the result, an object; None where no annotation says it.
        wraps_result: Whether results stand under the key ``result``, since they are no objects.

    Raises:
        TypeError: A parameter has no name to be given by, or an annotation that cannot be understood.
    """

    def __init__(
        self, fn: Callable[..., Any], name: str | None = None, description: str | None = None
    ) -> None:
        self.fn = fn
        self.name = name or fn.__name__
        summary, said = _read_docstring(inspect.getdoc(fn) or "")
        self.description = summary if description is None else description
        self.is_async = inspect.iscoroutinefunction(fn)
        hints = typing.get_type_hints(fn, include_extras=True)
        self._schema = schema_of(_arguments_class(self.name, fn, hints, said))
        self.parameters = _argument_schema(self._schema)
        self.output_schema, self.wraps_result = _output_schema(hints)

    async def call(self, arguments: Mapping[str, Any]) -> ToolResult:
        """Check the arguments and call the function.

        Raises:
            ToolCallError: They do not fit, or it raised.
        """
        try:
            loaded = self._schema.load(dict(arguments))
        except SchemaError as error:
            raise ToolCallError(
                ToolErrorType.INVALID_ARGS, f"Invalid arguments for tool '{self.name}': {_faults(error)}"
            ) from error
        call = partial(self.fn, **{name: getattr(loaded, name) for name in arguments})
        try:
            value = await (call() if self.is_async else run_plain(call))
            if inspect.isawaitable(value):
                value = await value
            return self._result(value)
        except (Exception, SystemExit) as error:
            logger.warning("tool %s raised", self.name, exc_info=error)
            text = f"Error calling tool '{self.name}': {error}"
            raise ToolCallError(ToolErrorType.EXECUTION_ERROR, text) from error

    def _result(self, value: Any) -> ToolResult:
        if isinstance(value, ToolResult):
            return value
        if value is None:
            return ToolResult()
        plain = dump(value)
        text = plain if isinstance(plain, str) else encode(plain, jsonable).decode()
        if isinstance(plain, dict) and not self.wraps_result:
            return ToolResult([TextContent(text=text)], plain, None, plain)
        meta = {"fastmcp": {"wrap_result": True}} if self.wraps_result else None
        return ToolResult([TextContent(text=text)], {"result": plain}, meta, plain)

    def listed(self) -> dict[str, Any]:
        """The tool as ``tools/list`` shows it, every key of MCP's there."""
        return {
            "name": self.name,
            "title": None,
            "description": self.description or None,
            "inputSchema": self.parameters,
            "outputSchema": self.output_schema,
            "icons": None,
            "annotations": None,
            "meta": None,
            "execution": None,
        }


def _faults(error: SchemaError) -> str:
    said = (
        f"{fault['msg']} at {'.'.join(map(str, fault['loc'])) or '(top level)'}" for fault in error.errors
    )
    return "; ".join(said)


def _arguments_class(name: str, fn: Callable[..., Any], hints: dict[str, Any], said: dict[str, str]) -> type:
    """A model of a function's parameters: what loads them and what their schema is made of."""
    annotations: dict[str, Any] = {}
    values: dict[str, Any] = {}
    extra = "forbid"
    for parameter in inspect.signature(fn).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            extra = "allow"
            continue
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.POSITIONAL_ONLY):
            raise TypeError(
                f"tool {name!r}: arguments are given by name, and {parameter} has none to be given by"
            )
        if parameter.name.startswith("_"):
            raise TypeError(
                f"tool {name!r}: a parameter that begins with an underscore, {parameter.name}, is private"
            )
        annotations[parameter.name] = hints.get(parameter.name, Any)
        given: dict[str, Any] = {} if parameter.default is parameter.empty else {"default": parameter.default}
        if parameter.name in said:
            given["description"] = said[parameter.name]
        if given:
            values[parameter.name] = field(**given)
    body = {"__annotations__": annotations, "__module__": fn.__module__, **values}
    return types.new_class(f"{name}Arguments", (Model,), {"extra": extra}, lambda space: space.update(body))


def _argument_schema(schema: Schema) -> dict[str, Any]:
    """Without the titles that only repeat names: a language model reads every word of it."""
    made = {key: value for key, value in schema.json_schema.items() if key not in ("title", "description")}
    made["properties"] = {
        name: {key: item for key, item in value.items() if key != "title" or item != _title_of(name)}
        for name, value in made.get("properties", {}).items()
    }
    return made


def _title_of(name: str) -> str:
    return name.replace("_", " ").title()


def _output_schema(hints: dict[str, Any]) -> tuple[dict[str, Any] | None, bool]:
    hint = hints.get("return", Any)
    if hint is None or hint is types.NoneType or hint is Any:
        return None, False
    try:
        schema = schema_of(hint).json_schema
    except TypeError:
        return None, False  # what it gives is shown as text all the same
    if schema.get("type") == "object":
        return schema, False
    definitions = {"$defs": schema["$defs"]} if "$defs" in schema else {}
    inner = {key: value for key, value in schema.items() if key != "$defs"}
    return {
        **definitions,
        "type": "object",
        "properties": {"result": inner},
        "required": ["result"],
        "x-fastmcp-wrap-result": True,  # FastMCP's client unwraps it again
    }, True


_SECTION = re.compile(r"^(args|arguments|parameters|params)\s*:\s*$", re.IGNORECASE)
_HEADING = re.compile(r"^\w[\w ]*:\s*$")
_ENTRY = re.compile(r"^\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)$")


def _read_docstring(text: str) -> tuple[str, dict[str, str]]:
    """A docstring's text before its sections, and what it says of each parameter (Google style)."""
    lines = text.splitlines()
    start = next((i for i, line in enumerate(lines) if _SECTION.match(line)), len(lines))
    summary = "\n".join(lines[:start]).strip()
    said: dict[str, str] = {}
    current, indent = "", 0
    for line in lines[start + 1 :]:
        if not line.strip():
            continue
        depth = len(line) - len(line.lstrip())
        if depth == 0:
            if _HEADING.match(line):
                break
            continue
        entry = _ENTRY.match(line.strip())
        if entry and (not current or depth <= indent):
            current, indent = entry[1], depth
            said[current] = entry[2]
        elif current:
            said[current] = f"{said[current]} {line.strip()}".strip()
    return summary, said


def check_names(names: Iterable[str]) -> None:
    """Raise ValueError where a tool would have a reserved name."""
    taken = sorted(set(names) & RESERVED_TOOL_NAMES)
    if taken:
        raise ValueError(
            f"MCP tools cannot use reserved names: {taken}. Reserved names are: {sorted(RESERVED_TOOL_NAMES)}"
        )


class ToolServer:
    """A named set of tools, for functions that are no methods of an environment::

        tools = ToolServer("shop")

        @tools.tool
        def price(item: str) -> float: ...

        class Shop(MCPEnvironment):
            def __init__(self):
                super().__init__(tools)

    One set may serve many environments; nothing of it changes with a call.

    Args:
        name: What clients are told it is called.
        instructions: How an agent should use the tools, or None.

    Attributes:
        tools: By name, in order of declaration.
    """

    def __init__(self, name: str = "tools", instructions: str | None = None) -> None:
        self.name = name
        self.instructions = instructions
        self.tools: dict[str, ToolDefinition] = {}

    def tool(
        self, function: Any = None, /, *, name: str | None = None, description: str | None = None
    ) -> Any:
        """Make a function a tool: ``@tools.tool``, ``@tools.tool()`` or ``@tools.tool(name=...)``.

        Gives the function back. Arguments and errors as of the decorator `openenv.mcp.tool`.
        """

        def add(function: Function) -> Function:
            self.add_tool(function, name, description)
            return function

        return add if function is None else add(function)

    def add_tool(
        self, function: Callable[..., Any], name: str | None = None, description: str | None = None
    ) -> ToolDefinition:
        """The same as a plain call.

        Raises:
            ValueError: The name is reserved or taken.
            TypeError: The function's parameters cannot be given by name.
        """
        made = ToolDefinition(function, name, description)
        check_names([made.name])
        if made.name in self.tools:
            raise ValueError(f"there is a tool {made.name!r} already")
        self.tools[made.name] = made
        return made


class ToolClient:
    """Lists and calls the tools of a `ToolServer`, with the methods of FastMCP's client.

    Args:
        server: Whose.
    """

    def __init__(self, server: ToolServer) -> None:
        self._server = server

    async def __aenter__(self) -> ToolClient:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """There is nothing to let go of."""

    def is_connected(self) -> bool:
        """Always: the tools are in this process."""
        return True

    async def list_tools(self) -> list[_Listed]:
        """The tools, in order of declaration."""
        return [_Listed(**made.listed()) for made in self._server.tools.values()]

    async def call_tool(self, name: str, arguments: Mapping[str, Any] | None = None) -> ToolResult:
        """Call one.

        Raises:
            ToolCallError: There is none of that name, the arguments do not fit, or it raised.
        """
        made = self._server.tools.get(name)
        if made is None:
            raise ToolCallError(ToolErrorType.TOOL_NOT_FOUND, f"Unknown tool: '{name}'")
        return await made.call(arguments or {})


@dataclass
class _Listed:
    """A tool with the attributes that MCP's own class has."""

    name: str
    title: str | None
    description: str | None
    inputSchema: dict[str, Any]  # noqa: N815 - MCP's names
    outputSchema: dict[str, Any] | None  # noqa: N815
    icons: Any
    annotations: Any
    meta: Any
    execution: Any
