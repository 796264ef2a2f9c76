"""One environment for a page of an author's own, as existing applications build theirs on it.

In: an environment and its types. Out: an object whose methods such pages call from their routes: reset, step,
state, and a WebSocket that hears of every change. `web_interface` has it under the name and path that they
import it from.

The environment lives beside the server's sessions and belongs to whoever opens the page, as in the incumbent.
All its plain methods run on one thread of its own.
"""

import asyncio
import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any

from openenv.codec import encode
from openenv.core.env_server.serialization import deserialize_action_with_preprocessing, serialize_observation
from openenv.core.env_server.types import BaseMessage, EnvironmentMetadata, Field
from openenv.schema import dump_state, jsonable, schema_of
from openenv.session.runner import is_awaited, reset_function

__all__ = ["ActionLog", "EpisodeState", "PagePlay", "action_fields", "is_chat", "quick_start"]

_LONG_TEXT = 100


class ActionLog(BaseMessage):
    """One step of the episode that a page shows."""

    timestamp: str = Field(description="Timestamp when action was taken")
    action: dict[str, Any] = Field(description="Action that was taken")
    observation: dict[str, Any] = Field(description="Observation returned from action")
    reward: float | None = Field(default=None, description="Reward received from action")
    done: bool = Field(description="Whether the episode is done after this action")
    step_count: int = Field(description="Step count when this action was taken")


class EpisodeState(BaseMessage):
    """The episode that a page shows."""

    episode_id: str | None = Field(default=None, description="Current episode ID")
    step_count: int = Field(description="Current step count in episode")
    current_observation: dict[str, Any] | None = Field(default=None, description="Current observation")
    action_logs: list[ActionLog] = Field(default_factory=list, description="List of action logs")
    is_reset: bool = Field(default=True, description="Whether the episode has been reset")


class PagePlay:
    """An environment, its episode so far, and the WebSockets that watch it.

    Args:
        env: The environment, or its class or factory, which is called here.
        action_cls: Class of its actions.
        observation_cls: Class of its observations.
        metadata: What it says about itself; by default its class's name.

    Attributes:
        env: The environment.
        episode_state: Its episode.
        connected_clients: The WebSockets.
    """

    MAX_ACTION_LOGS = 1000

    def __init__(self, env: Any, action_cls: Any, observation_cls: Any, metadata: Any = None) -> None:
        is_factory = inspect.isroutine(env) or isinstance(env, type | partial)
        self.env: Any = env() if is_factory else env
        self.action_cls = action_cls
        self.observation_cls = observation_cls
        name = type(self.env).__name__
        self.metadata = metadata or EnvironmentMetadata(name=name, description=f"{name} environment")
        self.episode_state = EpisodeState(step_count=0)
        self.connected_clients: list[Any] = []
        self._executor = ThreadPoolExecutor(1, "openenv-page")

    async def connect_websocket(self, websocket: Any) -> None:
        """Accept a WebSocket of Starlette's, and send it the episode from now on."""
        await websocket.accept()
        self.connected_clients.append(websocket)
        await self._send_state_update()

    async def disconnect_websocket(self, websocket: Any) -> None:
        """Send it nothing more."""
        with suppress(ValueError):
            self.connected_clients.remove(websocket)

    async def reset_environment(self, reset_kwargs: dict[str, Any] | None = None) -> dict[str, Any]:
        """Begin an episode with those of the keywords that `reset` takes; gives what a client gets for it."""
        kwargs = self._get_valid_kwargs(
            inspect.signature(reset_function(type(self.env))), reset_kwargs or {}, {"self"}
        )
        serialized = serialize_observation(await self._call("reset", **kwargs))
        state = await self._state()
        await self._show(state, serialized, step_count=0, action_logs=[], is_reset=True)
        return serialized

    async def step_environment(self, action_data: dict[str, Any]) -> dict[str, Any]:
        """Take a step with the fields of an action, which may be a form's texts; gives what a client gets."""
        action = deserialize_action_with_preprocessing(action_data, self.action_cls)
        serialized = serialize_observation(await self._call("step", action))
        state = await self._state()
        step_count = int(state.get("step_count") or 0)
        log = ActionLog(
            timestamp=datetime.now().astimezone().isoformat(),
            action=action.model_dump(exclude={"metadata"}),
            observation=serialized["observation"],
            reward=serialized["reward"],
            done=serialized["done"],
            step_count=step_count,
        )
        logs = [*self.episode_state.action_logs, log][-self.MAX_ACTION_LOGS :]
        await self._show(state, serialized, step_count=step_count, action_logs=logs, is_reset=False)
        return serialized

    def get_state(self) -> dict[str, Any]:
        """The environment's state."""
        state = self.env.state
        return dump_state(state() if callable(state) else state)

    @staticmethod
    def _get_valid_kwargs(
        sig: inspect.Signature, kwargs: dict[str, Any], skip_params: set[str] | None = None
    ) -> dict[str, Any]:
        takes_all = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in sig.parameters.values())
        return {
            key: value
            for key, value in kwargs.items()
            if key not in (skip_params or ()) and (takes_all or key in sig.parameters)
        }

    async def _run_sync_in_thread_pool(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, partial(func, *args, **kwargs))

    async def _call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        cls = type(self.env)
        if not is_awaited(cls, name):
            return await self._run_sync_in_thread_pool(getattr(self.env, name), *args, **kwargs)
        method = getattr(self.env, name)
        if not inspect.iscoroutinefunction(method):
            method = getattr(self.env, f"{name}_async")
        return await method(*args, **kwargs)

    async def _state(self) -> dict[str, Any]:
        state: dict[str, Any] = await self._run_sync_in_thread_pool(self.get_state)
        return state

    async def _show(self, state: dict[str, Any], serialized: dict[str, Any], **fields: Any) -> None:
        self.episode_state.episode_id = state.get("episode_id")
        self.episode_state.current_observation = serialized["observation"]
        for name, value in fields.items():
            setattr(self.episode_state, name, value)
        await self._send_state_update()

    async def _send_state_update(self) -> None:
        if not self.connected_clients:
            return
        update = {"type": "state_update", "episode_state": self.episode_state.model_dump()}
        text = encode(update, jsonable).decode()
        # Starlette says in these ways that whoever watched is gone.
        for client in list(self.connected_clients):
            try:
                await client.send_text(text)
            except (RuntimeError, OSError):
                await self.disconnect_websocket(client)


def action_fields(action_cls: Any) -> list[dict[str, Any]]:
    """The fields of an action as a form needs them: name, kind of input, bounds, choices and texts."""
    described = getattr(action_cls, "model_json_schema", None)
    schema = schema_of(action_cls).json_schema if described is None else described()
    required = schema.get("required", ())
    fields = []
    for name, about in schema.get("properties", {}).items():
        if name == "metadata":
            continue
        words = name.replace("_", " ")
        fields.append(
            {
                "name": name,
                "type": _input_of(name, about),
                "required": name in required,
                "description": about.get("description", ""),
                "default_value": about.get("default"),
                "choices": about.get("enum"),
                "min_value": about.get("minimum"),
                "max_value": about.get("maximum"),
                "min_length": about.get("minLength"),
                "max_length": about.get("maxLength"),
                "pattern": about.get("pattern"),
                "placeholder": f"Enter {words}...",
                "help_text": about.get("description", ""),
            }
        )
    return fields


def _input_of(name: str, about: dict[str, Any]) -> str:
    """Kind of input for one field, in the words that existing forms know."""
    if "tokens" in name.lower():
        return "tensor"
    if "enum" in about:
        return "select"
    kind = about.get("type")
    if kind == "string":
        is_long = about.get("maxLength", 0) > _LONG_TEXT
        return "textarea" if is_long or "message" in name.lower() or "code" in name.lower() else "text"
    return {"boolean": "checkbox", "integer": "number", "number": "number"}.get(str(kind), "text")


def is_chat(action_cls: Any) -> bool:
    """Whether actions are tokens of a conversation."""
    field = getattr(action_cls, "model_fields", {}).get("tokens")
    return "Tensor" in str(getattr(field, "annotation", ""))


def quick_start(metadata: Any, action_cls: Any, observation_cls: Any = None) -> str:
    """Markdown that shows how to connect to this environment from Python."""
    required = [each["name"] for each in action_fields(action_cls) if each["required"]]
    action = "{" + ", ".join(f'"{name}": ...' for name in required) + "}"
    return "\n".join(
        [
            "### Connect to this environment",
            "",
            f"`{getattr(metadata, 'name', 'env')}`, from Python:",
            "",
            "```python",
            "from openenv import GenericEnvClient",
            "",
            'with GenericEnvClient(base_url="http://localhost:8000").sync() as env:',
            "    result = env.reset()",
            f"    result = env.step({action})",
            "    print(result.observation, result.reward)",
            "```",
        ]
    )
