"""An environment whose tools are methods, and which needs nothing but this package."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from openenv import CallToolAction, MCPEnvironment, Observation, State, create_app, tool


@dataclass
class Place:
    """Where something is."""

    x: int
    y: int = 0


class Shop(MCPEnvironment):
    """A shop that remembers words."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.n_calls = 0

    @tool
    def price(self, item: str, pieces: int = 1) -> float:
        """What something costs.

        Args:
            item: Its name.
        """
        if item == "gold":
            raise ValueError("not for sale")
        return 2.5 * pieces

    @tool
    async def where(self, item: str) -> Place:
        """Where it is."""
        return Place(len(item))

    @tool
    def remember(self, word: str) -> list[str]:
        """Every word so far."""
        self.words.append(word)
        return self.words

    def reset(self, seed: int | None = None) -> Observation:
        self.words.clear()
        self.n_calls = 0
        return Observation(metadata={"seed": seed})

    async def step_async(self, action: Any, timeout_s: float | None = None, **kwargs: Any) -> Any:
        observation = await super().step_async(action, timeout_s, **kwargs)
        if isinstance(action, CallToolAction):
            self.n_calls += 1
            observation.reward = 1.0
            observation.done = len(self.words) >= 3
        return observation

    @property
    def state(self) -> State:
        return State(episode_id="shop", step_count=self.n_calls)


app = create_app(Shop)
