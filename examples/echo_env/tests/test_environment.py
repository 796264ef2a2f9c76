"""What the environment promises."""

from echo_env import EchoAction
from echo_env.server.environment import EchoEnvironment


def test_a_message_comes_back() -> None:
    """Whole, with its length and its reward."""
    env = EchoEnvironment()
    env.reset()
    observation = env.step(EchoAction(message="Hello"))
    assert observation.echoed_message == "Hello"
    assert observation.message_length == 5
    assert observation.reward == 0.5


def test_steps_are_counted_from_each_reset() -> None:
    """And the episode has the id that was asked for."""
    env = EchoEnvironment()
    env.reset()
    env.step(EchoAction(message="one"))
    env.reset(episode_id="second")
    env.step(EchoAction(message="two"))
    assert (env.state.episode_id, env.state.step_count) == ("second", 1)
