"""A game whose moves are tools, with a reward made of them; its action class is the base Action."""

from fastmcp import FastMCP
from openenv.core.env_server import MCPEnvironment, create_app
from openenv.core.env_server.mcp_types import CallToolAction, CallToolObservation, ListToolsAction
from openenv.core.env_server.types import Action, Observation, State


class GuessEnvironment(MCPEnvironment):
    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self):
        mcp = FastMCP("guess")
        self._target = 5

        @mcp.tool()
        def guess(number: int) -> str:
            """Guess the number."""
            if number == self._target:
                return "right"
            return "higher" if number < self._target else "lower"

        super().__init__(mcp)
        self._state = State()

    def reset(self, seed=None, episode_id=None, **kwargs):
        self._target = (seed or 5) % 10
        self._state = State(episode_id=episode_id, step_count=0)
        return Observation(metadata={"hint": "0 to 9"})

    async def step_async(self, action, timeout_s=None, **kwargs):
        observation = await super().step_async(action, timeout_s=timeout_s, **kwargs)
        if isinstance(observation, CallToolObservation) and observation.error is None:
            self._state.step_count += 1
            said = observation.result.data if hasattr(observation.result, "data") else observation.result
            observation.reward = 1.0 if said == "right" else -0.1
            observation.done = said == "right"
        return observation

    def _step_impl(self, action, timeout_s=None, **kwargs):
        return Observation(reward=-1, metadata={"got": type(action).__name__})

    @property
    def state(self):
        return self._state


app = create_app(GuessEnvironment, Action, Observation, env_name="tools_with_rewards", max_concurrent_envs=2)
