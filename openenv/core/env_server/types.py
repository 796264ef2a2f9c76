"""The classes that environments and clients are written with, as pydantic models where pydantic is installed.

In: nothing. Out: `Action`, `Observation`, `State` and the rest under the names, fields, defaults and bounds
that existing code expects. With pydantic they are models of it, because that code gives them `Field`,
validators, `model_config` and `Literal` unions; without it they are this package's own dataclasses, and an
environment that needs no more than fields runs all the same.

This is the only module that imports pydantic. Everything else recognises models by their shape.

Limits: without pydantic the messages' bounds are checked on JSON, not by constructors.

Reference: wire.md sections 2 to 5.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, Literal

from openenv import mcp, models
from openenv.tools import RESERVED_TOOL_NAMES, ToolErrorType

try:
    from pydantic import BaseModel, ConfigDict, Field, model_serializer, model_validator
except ImportError:  # not installed, or older than 2
    HAS_PYDANTIC = False
else:
    HAS_PYDANTIC = True

__all__ = [
    "HAS_PYDANTIC",
    "RESERVED_TOOL_NAMES",
    "TOOL_TYPES",
    "Action",
    "BaseMessage",
    "CallToolAction",
    "CallToolObservation",
    "CodeExecResult",
    "ConcurrencyConfig",
    "EnvironmentMetadata",
    "Field",
    "GetTaskRangeRequest",
    "GetTaskRequest",
    "HealthResponse",
    "HealthStatus",
    "JsonRpcError",
    "JsonRpcErrorCode",
    "JsonRpcRequest",
    "JsonRpcResponse",
    "ListTasksRequest",
    "ListToolsAction",
    "ListToolsObservation",
    "McpMethod",
    "NumTasksRequest",
    "Observation",
    "ResetRequest",
    "ResetResponse",
    "Scalar",
    "SchemaResponse",
    "ServerCapacityStatus",
    "ServerMode",
    "SessionInfo",
    "State",
    "StepRequest",
    "StepResponse",
    "Tool",
    "ToolError",
    "ToolErrorType",
    "WSCloseMessage",
    "WSErrorCode",
    "WSErrorResponse",
    "WSIncomingMessage",
    "WSMCPMessage",
    "WSMCPResponse",
    "WSObservationResponse",
    "WSResetMessage",
    "WSStateMessage",
    "WSStateResponse",
    "WSStepMessage",
]

Scalar = int | float | bool


class ServerMode(str, Enum):  # noqa: UP042 - its text is that of existing code's class
    """Whether a server lets clients steer the environment (simulation) or only use it (production)."""

    SIMULATION = "simulation"
    PRODUCTION = "production"


class HealthStatus(str, Enum):  # noqa: UP042 - its text is that of existing code's class
    """What ``/health`` says."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    DEGRADED = "degraded"


class WSErrorCode(str, Enum):  # noqa: UP042 - its text is that of existing code's class
    """``data.code`` of an error message."""

    INVALID_JSON = "INVALID_JSON"
    UNKNOWN_TYPE = "UNKNOWN_TYPE"
    VALIDATION_ERROR = "VALIDATION_ERROR"
    EXECUTION_ERROR = "EXECUTION_ERROR"
    CAPACITY_REACHED = "CAPACITY_REACHED"
    FACTORY_ERROR = "FACTORY_ERROR"
    SESSION_ERROR = "SESSION_ERROR"


class JsonRpcErrorCode(int, Enum):
    """``error.code`` of a JSON-RPC 2.0 response."""

    PARSE_ERROR = -32700
    INVALID_REQUEST = -32600
    METHOD_NOT_FOUND = -32601
    INVALID_PARAMS = -32602
    INTERNAL_ERROR = -32603
    SERVER_ERROR = -32000


class McpMethod(str, Enum):  # noqa: UP042 - its text is that of existing code's class
    """Methods of MCP that environments answer."""

    TOOLS_LIST = "tools/list"
    TOOLS_CALL = "tools/call"


# ---- what environments subclass ----------------------------------------------------------------

if TYPE_CHECKING or HAS_PYDANTIC:
    _STRICT = ConfigDict(extra="forbid", validate_assignment=True)
    _AUTHORED = ConfigDict(extra="forbid", validate_assignment=True, arbitrary_types_allowed=True)

    class Action(BaseModel):
        """What a client asks an environment to do; unknown fields are refused."""

        model_config = _AUTHORED

        metadata: dict[str, Any] = Field(
            default_factory=dict, description="Additional metadata for the action"
        )

    class Observation(BaseModel):
        """What an environment shows after a reset or a step; unknown fields are refused."""

        model_config = _AUTHORED

        done: bool = Field(default=False, description="Whether the episode has terminated")
        reward: bool | int | float | None = Field(
            default=None, description="Reward signal from the last action"
        )
        metadata: dict[str, Any] = Field(
            default_factory=dict, description="Additional metadata for the observation"
        )

    class State(BaseModel):
        __doc__ = models.State.__description__  # clients find it in /schema

        model_config = ConfigDict(extra="allow", validate_assignment=True, arbitrary_types_allowed=True)

        episode_id: str | None = Field(default=None, description="Unique identifier for the current episode")
        step_count: int = Field(default=0, ge=0, description="Number of steps taken in the current episode")

    class BaseMessage(BaseModel):
        """What all messages have in common: unknown fields are refused, assignments are checked."""

        model_config = _STRICT

    class _Open(BaseModel):
        """A request that may carry more fields than are declared."""

        model_config = ConfigDict(extra="allow")

    class _Closed(BaseModel):
        """A response with the declared fields and no other."""

        model_config = ConfigDict(extra="forbid")

    class EnvironmentMetadata(BaseMessage):
        """What an environment says about itself."""

        name: str = Field(description="Name of the environment")
        description: str = Field(description="Description of what the environment does")
        readme_content: str | None = Field(
            default=None, description="Content of the README file for the environment"
        )
        version: str | None = Field(default=None, description="Version of the environment")
        author: str | None = Field(default=None, description="Author of the environment")
        documentation_url: str | None = Field(
            default=None, description="URL to the environment's documentation"
        )

    class Tool(_Closed):
        """One tool, as a list of tools shows it."""

        name: str = Field(description="Unique identifier for the tool")
        description: str = Field(description="Human-readable description of what the tool does")
        input_schema: dict[str, Any] = Field(description="JSON Schema for the tool's input parameters")

    class ToolError(_Closed):
        """Why a tool gave no result."""

        error_type: ToolErrorType = Field(description="Category of the error")
        message: str = Field(description="Human-readable error message")

    class ListToolsAction(Action):
        """Ask which tools there are."""

        type: Literal["list_tools"] = Field(default="list_tools", description="Action type discriminator")

    class CallToolAction(Action):
        """Call one tool."""

        type: Literal["call_tool"] = Field(default="call_tool", description="Action type discriminator")
        tool_name: str = Field(description="Name of the tool to call")
        arguments: dict[str, Any] = Field(default_factory=dict, description="Arguments to pass to the tool")

    class ListToolsObservation(Observation):
        """The tools there are."""

        tools: list[Tool] = Field(description="List of available tools with their schemas")

    class CallToolObservation(Observation):
        """What a tool gave, or why it gave nothing."""

        tool_name: str = Field(description="Name of the tool that was called")
        result: Any = Field(default=None, description="Tool-specific result (may include tool errors)")
        error: ToolError | None = Field(default=None, description="Transport/framework error if call failed")

else:
    Field = models.field
    Action = models.Action
    Observation = models.Observation
    State = models.State
    EnvironmentMetadata = models.EnvironmentMetadata
    Tool = mcp.Tool
    ToolError = mcp.ToolError
    ListToolsAction = mcp.ListToolsAction
    CallToolAction = mcp.CallToolAction
    ListToolsObservation = mcp.ListToolsObservation
    CallToolObservation = mcp.CallToolObservation

    class BaseMessage(models.Model, extra="forbid"):
        """What all messages have in common."""

    class _Open(models.Model, extra="allow"):
        """A request that may carry more fields than are declared."""

    class _Closed(models.Model, extra="forbid"):
        """A response with the declared fields and no other."""


TOOL_TYPES = mcp.ToolTypes(
    Action,
    Observation,
    Tool,
    ToolError,
    ListToolsAction,
    CallToolAction,
    ListToolsObservation,
    CallToolObservation,
)
"""The family of the classes above, for `MCPEnvironment.tool_types`."""

mcp.register_tool_types(TOOL_TYPES)


# ---- what travels over HTTP --------------------------------------------------------------------


class CodeExecResult(BaseMessage):
    """What running a program gave."""

    stdout: str = Field(description="Standard output from code execution")
    stderr: str = Field(description="Standard error from code execution")
    exit_code: int = Field(description="Exit code from code execution")


class ResetRequest(_Open):
    """Body of ``POST /reset``."""

    seed: int | None = Field(default=None, ge=0, description="Random seed for reproducible episodes")
    episode_id: str | None = Field(default=None, max_length=255, description="Custom episode identifier")


class StepRequest(_Open):
    """Body of ``POST /step``."""

    action: dict[str, Any] = Field(
        description="Action to execute, must conform to environment's action schema"
    )
    timeout_s: float | None = Field(
        default=None, gt=0, description="Optional timeout in seconds for action execution"
    )
    request_id: str | None = Field(
        default=None, max_length=255, description="Optional request identifier for tracking"
    )


class ResetResponse(_Closed):
    """Answer of ``POST /reset``."""

    observation: dict[str, Any] = Field(description="Initial observation from the environment")
    reward: float | None = Field(default=None, description="Initial reward (typically None at reset)")
    done: bool = Field(default=False, description="Whether episode is already done (typically False)")
    metadata: dict[str, Any] | None = Field(
        default=None, description="Additional metadata from the environment"
    )


class StepResponse(_Closed):
    """Answer of ``POST /step``."""

    observation: dict[str, Any] = Field(description="Observation resulting from the action")
    reward: float | None = Field(default=None, description="Reward signal from the action")
    done: bool = Field(default=False, description="Whether the episode has terminated")
    metadata: dict[str, Any] | None = Field(
        default=None, description="Additional metadata from the environment"
    )


class SchemaResponse(BaseMessage):
    """Answer of ``GET /schema``; ``reset_observation`` is left out where it is not set."""

    action: dict[str, Any] = Field(description="JSON schema for actions accepted by this environment")
    observation: dict[str, Any] = Field(
        description="JSON schema for observations returned by this environment"
    )
    state: dict[str, Any] = Field(description="JSON schema for environment state objects")
    reset_observation: dict[str, Any] | None = Field(
        default=None, description="JSON schema for observations returned by reset"
    )

    if TYPE_CHECKING or HAS_PYDANTIC:

        @model_serializer(mode="wrap")
        def _without_unset_reset(self, handler: Any) -> dict[str, Any]:
            dumped: dict[str, Any] = handler(self)
            if dumped.get("reset_observation", ...) is None:
                del dumped["reset_observation"]
            return dumped


class HealthResponse(BaseMessage):
    """Answer of ``GET /health``."""

    status: HealthStatus = Field(
        default=HealthStatus.HEALTHY, description="Health status of the environment server"
    )


class ListTasksRequest(BaseMessage):
    """Body of ``POST /{env}/tasks``."""

    split: str = Field(description="Task split name")


class NumTasksRequest(BaseMessage):
    """Body of ``POST /{env}/num_tasks``."""

    split: str = Field(description="Task split name")


class GetTaskRequest(BaseMessage):
    """Body of ``POST /{env}/task``."""

    split: str = Field(description="Task split name")
    index: int = Field(description="Task index within the split")


class GetTaskRangeRequest(BaseMessage):
    """Body of ``POST /{env}/task_range``."""

    split: str = Field(description="Task split name")
    start: int | None = Field(default=None, description="Inclusive start index")
    stop: int | None = Field(default=None, description="Exclusive stop index")


# ---- what travels on the WebSocket ---------------------------------------------------------------


class WSResetMessage(BaseMessage):
    """Asks for a reset."""

    type: Literal["reset"] = Field(default="reset", description="Message type")
    data: dict[str, Any] = Field(
        default_factory=dict, description="Optional reset parameters (seed, episode_id, etc.)"
    )


class WSStepMessage(BaseMessage):
    """Asks for a step."""

    type: Literal["step"] = Field(default="step", description="Message type")
    data: dict[str, Any] = Field(description="Action data conforming to environment's action schema")


class WSStateMessage(BaseMessage):
    """Asks for the state."""

    type: Literal["state"] = Field(default="state", description="Message type")


class WSCloseMessage(BaseMessage):
    """Ends the session."""

    type: Literal["close"] = Field(default="close", description="Message type")


class WSMCPMessage(BaseMessage):
    """Carries a JSON-RPC request."""

    type: Literal["mcp"] = Field(default="mcp", description="Message type")
    data: dict[str, Any] = Field(description="JSON-RPC payload (method, params, id)")


WSIncomingMessage = (
    Annotated[WSResetMessage | WSStepMessage | WSStateMessage | WSCloseMessage, Field(discriminator="type")]
    if HAS_PYDANTIC
    else WSResetMessage | WSStepMessage | WSStateMessage | WSCloseMessage
)


class WSObservationResponse(_Closed):
    """Answers a reset or a step."""

    type: Literal["observation"] = Field(default="observation", description="Response type")
    data: dict[str, Any] = Field(description="Observation data")


class WSStateResponse(_Closed):
    """Answers a question for the state."""

    type: Literal["state"] = Field(default="state", description="Response type")
    data: dict[str, Any] = Field(description="State data")


class WSErrorResponse(_Closed):
    """Says what went wrong."""

    type: Literal["error"] = Field(default="error", description="Response type")
    data: dict[str, Any] = Field(description="Error details including message and code")


class WSMCPResponse(_Closed):
    """Carries a JSON-RPC response."""

    type: str = Field(default="mcp", description="Response type")
    data: dict[str, Any] = Field(description="JSON-RPC response payload")


# ---- sessions and their number -------------------------------------------------------------------


class ConcurrencyConfig(BaseMessage):
    """How many sessions a server holds, and for how long.

    ``session_timeout`` is taken for compatibility; the server's own lease (``OPENENV_LEASE_S``) ends idle
    sessions here.
    """

    max_concurrent_envs: int = Field(
        default=1, ge=1, description="Maximum number of concurrent WebSocket sessions allowed"
    )
    session_timeout: float | None = Field(
        default=None, gt=0, description="Timeout in seconds for inactive sessions. None means no timeout."
    )


class ServerCapacityStatus(BaseMessage):
    """How many sessions there are and may be."""

    active_sessions: int = Field(ge=0, description="Number of currently active sessions")
    max_sessions: int = Field(ge=1, description="Maximum number of allowed sessions")

    if TYPE_CHECKING or HAS_PYDANTIC:

        @model_validator(mode="after")
        def check_capacity_bounds(self) -> ServerCapacityStatus:
            """There are no more sessions than may be."""
            if self.active_sessions > self.max_sessions:
                raise ValueError(
                    f"active_sessions ({self.active_sessions}) cannot exceed max_sessions "
                    f"({self.max_sessions})"
                )
            return self

    @property
    def available_slots(self) -> int:
        """How many more sessions there may be."""
        return self.max_sessions - self.active_sessions

    @property
    def is_at_capacity(self) -> bool:
        """Whether there may be no more."""
        return self.available_slots == 0

    @classmethod
    def from_counts(cls, active: int, max_sessions: int) -> ServerCapacityStatus:
        """The same from two numbers."""
        return cls(active_sessions=active, max_sessions=max_sessions)


class SessionInfo(BaseMessage):
    """One session; times are Unix time in seconds."""

    session_id: str = Field(description="Unique identifier for the session")
    created_at: float = Field(description="Unix timestamp when the session was created")
    last_activity_at: float = Field(description="Unix timestamp of the last activity in the session")
    step_count: int = Field(default=0, ge=0, description="Number of steps executed in this session")
    environment_type: str = Field(description="Environment type for this session (e.g. `CodingEnv`)")


# ---- JSON-RPC ------------------------------------------------------------------------------------


class JsonRpcError(_Closed):
    """What a JSON-RPC response says went wrong."""

    code: int = Field(description="Error code indicating the error type")
    message: str = Field(description="Short description of the error")
    data: Any = Field(default=None, description="Additional error information")

    @classmethod
    def from_code(cls, code: JsonRpcErrorCode, message: str | None = None, data: Any = None) -> JsonRpcError:
        """The error of a code, in the standard's words where none are given."""
        words = "Invalid Request" if code is JsonRpcErrorCode.INVALID_REQUEST else None
        words = words or code.name.replace("_", " ").capitalize()
        return cls(code=code.value, message=message or words, data=data)


class JsonRpcRequest(_Closed):
    """A JSON-RPC 2.0 request."""

    jsonrpc: Literal["2.0"] = Field(description="JSON-RPC version, must be '2.0'")
    method: str = Field(description="Name of the method to be invoked")
    params: dict[str, Any] = Field(default_factory=dict, description="Parameter values for the method")
    id: str | int | None = Field(default=None, description="Request identifier established by the client")


class JsonRpcResponse(_Closed):
    """A JSON-RPC 2.0 response; dumped, it has either ``result`` or ``error``."""

    jsonrpc: Literal["2.0"] = Field(default="2.0", description="JSON-RPC version")
    result: Any = Field(default=None, description="Result of the method invocation")
    error: JsonRpcError | None = Field(default=None, description="Error object if method invocation failed")
    id: str | int | None = Field(default=None, description="Request identifier from the request")

    def model_dump(self, **options: Any) -> dict[str, Any]:
        """As it travels."""
        dumped: dict[str, Any] = {"jsonrpc": self.jsonrpc, "id": self.id}
        if self.error is not None:
            return {**dumped, "error": self.error.model_dump()}
        return {**dumped, "result": self.result}

    @classmethod
    def success(cls, result: Any, request_id: str | int | None = None) -> JsonRpcResponse:
        """A response with a result."""
        return cls(result=result, id=request_id)

    @classmethod
    def error_response(
        cls,
        code: JsonRpcErrorCode,
        message: str | None = None,
        data: Any = None,
        request_id: str | int | None = None,
    ) -> JsonRpcResponse:
        """A response with an error."""
        return cls(error=JsonRpcError.from_code(code, message, data), id=request_id)
