"""What the environment promises. How it holds against attacks is tested in the runtime's repository."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from coding_env import CodeAction, CodeObservation
from coding_env.server.environment import CodingEnvironment
from coding_env.server.interpreter import Interpreter
from coding_env.server.settings import Settings, read_settings

from openenv import Transform
from openenv.errors import ConfigurationError


@pytest.fixture
def env() -> Iterator[CodingEnvironment]:
    """An environment with short limits, closed afterwards. Skips where there is no sandbox."""
    try:
        made = CodingEnvironment(settings=replace(read_settings(), timeout_s=1.0, max_output=100))
    except ConfigurationError as error:
        pytest.skip(str(error))
    made.reset()
    yield made
    made.close()


def run(env: CodingEnvironment, code: str) -> CodeObservation:
    """One step."""
    return env.step(CodeAction(code=code))


def test_variables_are_remembered_until_a_reset(env: CodingEnvironment) -> None:
    """The last expression is the result."""
    assert run(env, "x = 20\nprint('hi')").stdout == "hi\n"
    assert run(env, "x + 1").result == "21"
    env.reset()
    assert "NameError" in run(env, "x").stderr


def test_an_exception_is_an_observation(env: CodingEnvironment) -> None:
    """With its traceback, and the session goes on."""
    seen = run(env, "1 / 0")
    assert (seen.exit_code, seen.restarted) == (1, False)
    assert seen.stderr.endswith("ZeroDivisionError: division by zero\n")
    assert run(env, "1").exit_code == 0


def test_a_step_has_a_time_limit(env: CodingEnvironment) -> None:
    """Past it the interpreter is a fresh one, and the session says so."""
    seen = run(env, "print('begun')\nwhile True: pass")
    assert (seen.timed_out, seen.restarted, seen.exit_code, seen.stdout) == (True, True, 124, "begun\n")
    assert "time limit" in seen.stderr
    assert run(env, "2").result == "2"
    assert env.state.restarts == 1


def test_output_is_cut(env: CodingEnvironment) -> None:
    """With a mark that says how much."""
    seen = run(env, "print('x' * 1000, end='')\n'y' * 998")
    assert seen.stdout == "x" * 100 + "... [900 characters cut]"
    assert seen.result is not None
    assert seen.result.endswith("... [900 characters cut]")
    assert seen.output_cut


def test_the_default_reward_is_for_code_that_runs(env: CodingEnvironment) -> None:
    """0.1, -0.1, or -1 where the interpreter was lost."""
    rewards = [run(env, code).reward for code in ("1", "1 +", "import os; os._exit(0)")]
    assert rewards == [0.1, -0.1, -1.0]


class Praise(Transform[CodeObservation]):
    """A reward for politeness."""

    def __call__(self, observation: CodeObservation) -> CodeObservation:
        observation.reward = float("please" in observation.stdout)
        return observation


def test_the_reward_can_be_replaced(env: CodingEnvironment) -> None:
    """By a transform, or by a rubric that also sees the code."""
    polite = CodingEnvironment(transform=Praise(), settings=env.settings)
    assert run(polite, "print('please')").reward == 1.0
    polite.close()
    short = CodingEnvironment(rubric=lambda action, seen: -len(action.code), settings=env.settings)
    assert run(short, "1 + 1").reward == -5
    short.close()


def test_the_web_page_shows_text_and_no_markup(env: CodingEnvironment) -> None:
    """What code prints is not the page's."""
    page = env.render_web({"stdout": "<script>", "stderr": "", "exit_code": 0, "result": "'<b>'"})
    assert page is not None
    assert "&lt;script&gt;" in page
    assert "<b>" not in page


def test_closing_twice_is_closing_once(env: CodingEnvironment) -> None:
    """And an environment can be used again after it."""
    env.close()
    env.close()
    assert run(env, "3").result == "3"


def test_an_interpreter_can_be_had_without_an_environment(env: CodingEnvironment) -> None:
    """For a grader that wants a process of its own."""
    interpreter = Interpreter(env.choice.sandbox, env.settings)
    try:
        assert interpreter.run("1 + 1").result == "2"
    finally:
        interpreter.close()
        interpreter.release()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("SANDBOX", "armour"),
        ("SANDBOX_TIMEOUT", "soon"),
        ("MAX_OUTPUT_LENGTH", "0"),
        ("SANDBOX_PYTHON", "/no"),
    ],
)
def test_a_variable_that_cannot_be_used_is_named(name: str, text: str) -> None:
    """With what was expected."""
    with pytest.raises(ConfigurationError, match=f"expected .* in {name}"):
        read_settings({name: text})


def test_empty_variables_count_as_unset() -> None:
    """As in compose files."""
    assert read_settings({"SANDBOX_TIMEOUT": "", "MAX_OUTPUT_LENGTH": " "}) == Settings()
    assert read_settings({"SANDBOX_TIMEOUT": "2.5"}).timeout_s == 2.5
