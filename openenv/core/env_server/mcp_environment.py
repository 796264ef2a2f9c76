"""Environments with tools, under the path that existing ones import it from."""

from typing import ClassVar

from openenv import mcp
from openenv.core.env_server.types import (
    RESERVED_TOOL_NAMES,
    TOOL_TYPES,
    Action,
    CallToolAction,
    CallToolObservation,
    ListToolsAction,
    ListToolsObservation,
    Observation,
    Tool,
    ToolError,
    ToolErrorType,
)
from openenv.environment import Environment
from openenv.mcp import MCP_TOOL_CALL_TIMEOUT, get_server_tools

__all__ = [
    "MCP_TOOL_CALL_TIMEOUT",
    "RESERVED_TOOL_NAMES",
    "Action",
    "CallToolAction",
    "CallToolObservation",
    "Environment",
    "ListToolsAction",
    "ListToolsObservation",
    "MCPEnvironment",
    "Observation",
    "Tool",
    "ToolError",
    "ToolErrorType",
    "get_server_tools",
]


class MCPEnvironment(mcp.MCPEnvironment):
    """`openenv.MCPEnvironment`, answering with the classes of `openenv.core`."""

    tool_types: ClassVar[mcp.ToolTypes] = TOOL_TYPES
