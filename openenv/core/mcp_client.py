"""The clients of environments with tools, under the path that existing clients import them from."""

from openenv.client.mcp import GenericMCPObservation, MCPClientBase, MCPToolClient
from openenv.core.env_server.mcp_types import (
    CallToolAction,
    CallToolObservation,
    ListToolsAction,
    ListToolsObservation,
    Tool,
    ToolError,
)

__all__ = [
    "CallToolAction",
    "CallToolObservation",
    "GenericMCPObservation",
    "ListToolsAction",
    "ListToolsObservation",
    "MCPClientBase",
    "MCPToolClient",
    "Tool",
    "ToolError",
]
