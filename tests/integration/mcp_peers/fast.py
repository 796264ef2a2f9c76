"""Environments with FastMCP tools, written as the incumbent's users write them; served by it and by us.

What is imported is the incumbent's package in its own interpreter, and ours anywhere else.
"""

import asyncio
import os
import threading
from typing import Any

from fastmcp import Context, FastMCP
from pydantic import BaseModel, Field

if os.environ.get("TEST_NATIVE"):
    from openenv import Action, Observation, State, create_app
    from openenv.mcp import CallToolAction, CallToolObservation, ListToolsAction, MCPEnvironment
else:
    from openenv.core.env_server.http_server import create_app
    from openenv.core.env_server.mcp_environment import MCPEnvironment
    from openenv.core.env_server.mcp_types import CallToolAction, CallToolObservation, ListToolsAction
    from openenv.core.env_server.types import Action, Observation, State


class Item(BaseModel):
    """Something to buy."""

    name: str = Field(min_length=2, description="What it is called")
    pieces: int = 1


class ShopEnvironment(MCPEnvironment):
    """A shop with every kind of tool, and a reward for buying."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self) -> None:
        server = FastMCP("shop")
        self.bought: list[Item] = []

        @server.tool
        def price(item: str, pieces: int = 1) -> float:
            """What something costs.

            Args:
                item: Its name.
                pieces: How many.
            """
            return 2.5 * pieces

        @server.tool()
        async def buy(item: Item) -> Item:
            """Buy something."""
            await asyncio.sleep(0)
            self.bought.append(item)
            return item

        @server.tool
        def basket() -> list[str]:
            return [item.name for item in self.bought]

        @server.tool
        def totals() -> dict[str, int]:
            """Pieces by name."""
            return {item.name: item.pieces for item in self.bought}

        @server.tool
        def nothing() -> None:
            """Gives nothing."""

        @server.tool
        def untyped(x):
            return {"x": x}

        @server.tool
        def fail(why: str = "because") -> str:
            raise ValueError(why)

        @server.tool
        async def sleep(seconds: float) -> str:
            await asyncio.sleep(seconds)
            return "awake"

        @server.tool
        async def remember(context: Context, word: str = "") -> list[str]:
            """Kept by FastMCP for as long as its session lives."""
            words = [*(await context.get_state("words") or []), *([word] if word else [])]
            await context.set_state("words", words)
            return words

        super().__init__(server)
        self._state = State(episode_id=None, step_count=0)

        @self.tool(mode="simulation")
        def secret(a: int, b: str = "x") -> str:
            """Only in simulation."""
            return f"{a}{b}"

        @self.tool()
        def anywhere(n: int) -> int:
            """In both modes."""
            return n + 1

        @self.tool()
        async def later(n: int) -> int:
            """In both modes, after a while."""
            return n + 2

    def reset(self, seed: Any = None, episode_id: Any = None, **kwargs: Any) -> Observation:
        self.bought.clear()
        self._state = State(episode_id=episode_id, step_count=0)
        return Observation(done=False, reward=0.0, metadata={"seed": seed})

    def _step_impl(self, action: Action, timeout_s: Any = None, **kwargs: Any) -> Observation:
        return Observation(done=False, reward=-1.0, metadata={"error": type(action).__name__})

    def step(self, action: Action, timeout_s: Any = None, **kwargs: Any) -> Observation:
        self._state.step_count += 1
        return super().step(action, timeout_s=timeout_s, **kwargs)

    async def step_async(self, action: Action, timeout_s: Any = None, **kwargs: Any) -> Observation:
        self._state.step_count += 1
        observation = await super().step_async(action, timeout_s=timeout_s, **kwargs)
        if isinstance(observation, CallToolObservation) and observation.tool_name == "buy":
            observation.reward = 1.0
            observation.done = len(self.bought) >= 3
        return observation

    @property
    def state(self) -> State:
        return self._state


class OnlySyncStep(ShopEnvironment):
    """Overrides `step` alone, which servers do not call where step_async is somebody's."""

    step_async = MCPEnvironment.step_async


class StyledEnvironment(ShopEnvironment):
    """No client and no server: its tools are reached by tool actions only."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden_client, self.mcp_client = self.mcp_client, None
        self.hidden_server, self.mcp_server = self.mcp_server, None

    def _require_mcp_client(self) -> Any:
        return self.hidden_client

    mcp_session = None  # type: ignore[assignment]

    async def step_async(self, action: Action, timeout_s: Any = None, **kwargs: Any) -> Observation:
        if isinstance(action, CallToolAction):
            thread = "a thread" if threading.current_thread() is not threading.main_thread() else "the loop"
            return CallToolObservation(
                tool_name=action.tool_name, result={"ran": action.arguments, "on": thread}
            )
        if isinstance(action, ListToolsAction):
            return Observation(metadata={"tools": "none"})
        return await super().step_async(action, timeout_s=timeout_s, **kwargs)


app = create_app(ShopEnvironment, CallToolAction, CallToolObservation, env_name="shop", max_concurrent_envs=4)
base = create_app(ShopEnvironment, Action, Observation, env_name="base", max_concurrent_envs=4)
only_sync = create_app(OnlySyncStep, CallToolAction, CallToolObservation, max_concurrent_envs=4)
styled = create_app(StyledEnvironment, CallToolAction, CallToolObservation, max_concurrent_envs=4)
narrow = create_app(ShopEnvironment, CallToolAction, CallToolObservation, max_concurrent_envs=1)
