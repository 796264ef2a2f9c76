"""The echo environment: gives back each message that it is sent."""

from uuid import uuid4

from openenv import Environment, State

from ..models import EchoAction, EchoObservation


class EchoEnvironment(Environment[EchoAction, EchoObservation, State]):
    """Echoes messages; the longer one is, the higher its reward."""

    SUPPORTS_CONCURRENT_SESSIONS = True  # its objects share nothing
    NEVER_BLOCKS = True  # its methods are short and wait for nothing, so they may run on the event loop

    def __init__(self) -> None:
        super().__init__()
        self._state = State(episode_id=str(uuid4()))

    def reset(self, seed: int | None = None, episode_id: str | None = None) -> EchoObservation:
        """Begin an episode. There is nothing random, so the seed changes nothing."""
        self._state = State(episode_id=episode_id or str(uuid4()))
        return EchoObservation(echoed_message="Echo environment ready!", reward=0.0)

    def step(self, action: EchoAction) -> EchoObservation:
        """Echo one message; the reward is 0.1 per character."""
        self._state.step_count += 1
        message = action.message
        return EchoObservation(echoed_message=message, message_length=len(message), reward=0.1 * len(message))

    @property
    def state(self) -> State:
        """The episode's id and how many messages it has seen."""
        return self._state
