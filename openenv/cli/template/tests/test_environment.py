"""What the environment promises."""

from my_env import MyAction
from my_env.server.environment import MyEnvironment


def test_a_message_comes_back() -> None:
    """Whole, with its length and its reward."""
    env = MyEnvironment()
    env.reset()
    observation = env.step(MyAction(message="Hello"))
    assert observation.echoed_message == "Hello"
    assert observation.message_length == 5
    assert observation.reward == 0.5


def test_steps_are_counted_from_each_reset() -> None:
    """And the episode has the id that was asked for."""
    env = MyEnvironment()
    env.reset()
    env.step(MyAction(message="one"))
    env.reset(episode_id="second")
    env.step(MyAction(message="two"))
    assert (env.state.episode_id, env.state.step_count) == ("second", 1)
