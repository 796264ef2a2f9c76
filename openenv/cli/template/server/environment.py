"""The environment's logic. What is here gives back each message; put your own in its place."""

from uuid import uuid4

from openenv import Environment, State

from ..models import MyAction, MyObservation


class MyEnvironment(Environment[MyAction, MyObservation, State]):
    """Echoes messages; the longer one is, the higher its reward."""

    # Each session has an object of its own. Say False if they share something that only one may use.
    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self) -> None:
        super().__init__()
        self._state = State(episode_id=str(uuid4()))

    def reset(
        self, seed: int | None = None, episode_id: str | None = None
    ) -> MyObservation:
        """Begin an episode. There is nothing random here, so the seed changes nothing."""
        self._state = State(episode_id=episode_id or str(uuid4()))
        return MyObservation(echoed_message="Ready!", reward=0.0)

    def step(self, action: MyAction) -> MyObservation:
        """Apply one action. `done=True` in what is given back ends the episode."""
        self._state.step_count += 1
        message = action.message
        return MyObservation(
            echoed_message=message,
            message_length=len(message),
            reward=0.1 * len(message),
        )

    @property
    def state(self) -> State:
        """The episode's id and how many steps it has seen."""
        return self._state
