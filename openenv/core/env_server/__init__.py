"""The server's side, under the path that existing environments import it from.

A name is loaded with its module when it is first used.
"""

from importlib import import_module
from typing import Any

from openenv.core.paths import refusal

_HOMES = {
    "base_transforms": ("CompositeTransform", "NullTransform"),
    "exceptions": (
        "ConcurrencyConfigurationError",
        "EnvironmentFactoryError",
        "OpenEnvError",
        "SessionCapacityError",
        "SessionCreationError",
        "SessionNotFoundError",
    ),
    "http_server": ("HTTPEnvServer", "create_app", "create_fastapi_app"),
    "interfaces": ("Environment", "Message", "ModelTokenizer", "TaskProvider", "Transform"),
    "mcp_environment": ("MCPEnvironment",),
    "mcp_types": (
        "RESERVED_TOOL_NAMES",
        "CallToolAction",
        "CallToolObservation",
        "JsonRpcError",
        "JsonRpcErrorCode",
        "JsonRpcRequest",
        "JsonRpcResponse",
        "ListToolsAction",
        "ListToolsObservation",
        "McpMethod",
        "Tool",
        "ToolError",
        "ToolErrorType",
        "WSMCPMessage",
        "WSMCPResponse",
    ),
    "route_config": ("GetEndpointConfig",),
    "serialization": (
        "deserialize_action",
        "deserialize_action_with_preprocessing",
        "serialize_observation",
    ),
    "types": (
        "Action",
        "BaseMessage",
        "ConcurrencyConfig",
        "GetTaskRangeRequest",
        "GetTaskRequest",
        "HealthResponse",
        "HealthStatus",
        "ListTasksRequest",
        "NumTasksRequest",
        "Observation",
        "SchemaResponse",
        "ServerCapacityStatus",
        "ServerMode",
        "SessionInfo",
        "State",
        "WSCloseMessage",
        "WSErrorCode",
        "WSErrorResponse",
        "WSIncomingMessage",
        "WSObservationResponse",
        "WSResetMessage",
        "WSStateMessage",
        "WSStateResponse",
        "WSStepMessage",
    ),
    "web_interface": ("WebInterfaceManager", "create_web_interface_app"),
}
_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
        return value
    if name in _HOMES:
        return import_module(f"{__name__}.{name}")
    raise refusal(__name__, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
