"""The contract in an author's own tests: classes, factories, apps and objects."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import pytest

from openenv import Action, Environment, Observation, State, create_app
from openenv.conformance import ConformanceTests, assert_conformant, check_environment, check_folder
from openenv.errors import ConfigurationError
from tests.support.envs import AsyncEnv, LoopEnv, ThreadEnv


class Roll(Action):
    """Nothing to decide."""


class Rolled(Observation):
    """What the dice shows."""

    eyes: int = 0


class Dice(Environment[Roll, Rolled, State]):
    """Rolls until a six."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self) -> None:
        super().__init__()
        self._state = State(episode_id="none")
        self._random = random.Random(0)

    def reset(self, seed: int | None = None, episode_id: str | None = None) -> Rolled:
        self._random = random.Random(seed)
        self._state = State(episode_id=episode_id or "one")
        return Rolled()

    def step(self, action: Roll) -> Rolled:
        self._state.step_count += 1
        eyes = self._random.randint(1, 6)
        return Rolled(eyes=eyes, reward=float(eyes), done=eyes == 6)

    @property
    def state(self) -> State:
        return self._state


class LoadedDice(Dice):
    """Knows no seed."""

    def step(self, action: Roll) -> Rolled:
        self._random = random.Random()
        observation = super().step(action)
        observation.metadata["clock"] = time.time()
        return observation


class TestDice(ConformanceTests):
    """What an author writes: each check is a test of its own."""

    environment = Dice
    strict = True


class TestAsyncEnvironment(ConformanceTests):
    """Options go along; what a test environment of ours does not keep is no error."""

    environment = create_app(AsyncEnv)
    options = {"actions": [{"message": "hello"}], "n_steps": 2}  # noqa: RUF012

    def test_state_gives_step_count_counts(self) -> None:
        """Not counted here; an author may leave out a check by writing his own in its place."""

    test_step_count_counts = test_state_gives_step_count_counts


def test_every_check_is_a_test_with_a_sentence_as_its_name() -> None:
    """Found by pytest, by the prefix."""
    names = [name for name in dir(ConformanceTests) if name.startswith("test_")]
    assert "test_the_same_seed_gives_the_same_episode" in names
    assert len(names) > 25


@pytest.mark.parametrize("environment", [Dice, create_app(Dice), Dice(), lambda: Dice()])
def test_whatever_makes_an_environment_can_be_checked(environment: Any) -> None:
    """A class, an app, an object and a function, which needs its types."""
    types = {} if not callable(environment) or isinstance(environment, type) else {"action_cls": Roll}
    types = {**types, **({"observation_cls": Rolled} if types else {})}
    if hasattr(environment, "definition"):
        types = {}
    report = check_environment(environment, **types)
    assert (report.findings, report.could_not_run) == ([], None)
    skipped = {check for check, _ in report.skipped}
    objects = {"sessions-independent", "close-twice"}
    assert skipped == {"never-blocks"} | (objects if isinstance(environment, Dice) else set())


def test_what_is_wrong_is_listed() -> None:
    """An AssertionError with a line for each finding."""
    with pytest.raises(AssertionError, match=r"\[seeds-reproduce\]"):
        assert_conformant(LoadedDice)
    assert_conformant(Dice, strict=True)


def test_a_field_that_may_differ_is_left_out() -> None:
    """A clock is no randomness."""

    class Clock(Dice):
        def step(self, action: Roll) -> Rolled:
            observation = super().step(action)
            observation.eyes = time.monotonic_ns()
            return observation

    found = {finding.check for finding in check_environment(Clock).findings}
    assert found == {"seeds-reproduce"}
    assert check_environment(Clock, volatile=["eyes"]).findings == []


def test_it_may_be_called_on_a_running_loop() -> None:
    """As in a notebook, or in an asynchronous test."""

    async def check() -> int:
        return len(check_environment(Dice).findings)

    assert asyncio.run(check()) == 0


def test_a_loop_that_is_held_up_is_told() -> None:
    """An `async def` method that blocks hangs the loop it is on, and not the check."""

    class Blocks(Dice):
        async def step(self, action: Roll) -> Rolled:  # type: ignore[override]
            time.sleep(0.5)  # noqa: ASYNC251 - the fault
            return Rolled()

    report = check_environment(Blocks, timeout_s=0.2, n_steps=1)
    assert {"steps-answer"} <= {finding.check for finding in report.errors}


def test_an_environment_without_types_is_refused() -> None:
    """As `create_app` refuses it."""

    class Untyped:
        def reset(self): ...  # type: ignore[no-untyped-def]

        def step(self, action): ...  # type: ignore[no-untyped-def]

    report = check_environment(Untyped)
    assert [finding.check for finding in report.errors] == ["app"]
    assert "action_cls" in str(report.errors[0])


def test_a_factory_that_fails_is_a_finding() -> None:
    """Its class is not known then, and the other checks are not made."""

    def make() -> Dice:
        raise OSError("no display")

    report = check_environment(make, action_cls=Roll, observation_cls=Rolled)
    assert [(finding.check, finding.got) for finding in report.errors][:1] == [
        ("opens", "OSError: no display")
    ]
    assert len(report.skipped) > 15

    def nothing() -> object:
        return object()

    report = check_environment(nothing, action_cls=Roll, observation_cls=Rolled)
    assert "reset-answers" in {finding.check for finding in report.errors}


@pytest.mark.parametrize("cls", [LoopEnv, ThreadEnv, AsyncEnv])
def test_all_ways_to_run_are_played(cls: type) -> None:
    """On the loop, on a thread, awaited: none hangs, and each gives observations."""
    report = check_environment(cls, actions=[{"message": "hello"}])
    assert not {"reset-answers", "steps-answer", "observation-schema", "opens"} & {
        finding.check for finding in report.errors
    }


def test_a_folder_that_is_none_is_refused() -> None:
    """A mistake of the caller's, not a finding."""
    with pytest.raises(ConfigurationError, match="there is no folder"):
        check_folder("/no/such/folder")
