"""Rubrics: what a tree of judges says, in which order its hooks run, and that the incumbent says the same."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from openenv.environment import Environment
from openenv.rubrics import (
    ExponentialDiscountingTrajectoryRubric,
    Gate,
    LLMJudge,
    Rubric,
    RubricDict,
    RubricList,
    Sequential,
    TrajectoryRubric,
    WeightedSum,
)
from tests.support import rubric_scenarios
from tests.support.peers import peer

SCENARIOS = Path(__file__).parents[1] / "support" / "rubric_scenarios.py"


class Fixed(Rubric):
    """Always says the same."""

    def __init__(self, score: float) -> None:
        super().__init__()
        self.score = score

    def forward(self, action: Any, observation: Any) -> float:
        return self.score


class FixedLater(Fixed):
    """Says the same, after a turn of the loop."""

    async def forward(self, action: Any, observation: Any) -> float:  # type: ignore[override]
        await asyncio.sleep(0)
        return self.score


class Won(TrajectoryRubric):
    """Equal credit to every step."""

    def score_trajectory(self, trajectory: list[tuple[Any, Any]]) -> float:
        return float(trajectory[-1][1].won)

    def compute_step_rewards(self) -> list[float]:
        return [self.score_trajectory(self._trajectory)] * len(self._trajectory)


class Discounted(ExponentialDiscountingTrajectoryRubric):
    """The final observation's score, discounted."""

    def score_trajectory(self, trajectory: list[tuple[Any, Any]]) -> float:
        return float(trajectory[-1][1].won)


def step(done: bool, won: float = 0.0) -> SimpleNamespace:
    return SimpleNamespace(done=done, won=won)


def test_a_rubric_needs_a_forward() -> None:
    """The base class judges nothing."""
    with pytest.raises(TypeError, match="abstract"):
        Rubric()  # type: ignore[abstract]


def test_children_are_found_by_the_attributes_they_were_assigned_to() -> None:
    """Depth first, with paths; a container numbers its own."""
    outer = Sequential(Gate(Fixed(1.0)), WeightedSum([Fixed(0.2), Fixed(0.4)], [0.5, 0.5]))
    assert outer(None, None) == pytest.approx(0.3)
    names = ["rubric_0", "rubric_0.rubric", "rubric_1", "rubric_1.rubric_0", "rubric_1.rubric_1"]
    assert [name for name, _ in outer.named_rubrics()] == names
    assert [rubric for _, rubric in outer.named_rubrics()] == list(outer.rubrics())
    assert [name for name, _ in outer.named_rubrics("r")] == [f"r.{name}" for name in names]
    assert [rubric.last_score for rubric in outer.children()] == [1.0, pytest.approx(0.3)]
    assert outer.get_rubric("rubric_1.rubric_0").last_score == 0.2
    with pytest.raises(KeyError, match=r"rubric_1\.nothing"):
        outer.get_rubric("rubric_1.nothing")


def test_a_child_before_super_init_is_told_what_to_do() -> None:
    """The commonest mistake has its own words."""

    class Hasty(Fixed):
        def __init__(self) -> None:
            self.child = Fixed(1.0)

    with pytest.raises(AttributeError, match=r"super\(\).__init__\(\)"):
        Hasty()


def test_a_zero_ends_a_sequence() -> None:
    """What comes after it is not asked."""
    last = Fixed(1.0)
    assert Sequential(Fixed(0.5), Fixed(0.0), last)(None, None) == 0.0
    assert last.last_score is None


def test_asynchronous_children_make_a_call_a_coroutine() -> None:
    """Wherever in the tree they are; plain and asynchronous ones mix."""
    late = FixedLater(0.5)
    trees = [
        (Sequential(Fixed(1.0), late), 0.5),
        (Sequential(late, Fixed(0.0), Fixed(1.0)), 0.0),
        (Sequential(FixedLater(0.0), Fixed(1.0)), 0.0),
        (Gate(late, 0.6), 0.0),
        (Gate(late, 0.5), 0.5),
        (WeightedSum([late, Fixed(1.0), FixedLater(0.0)], [0.5, 0.25, 0.25]), 0.5),
    ]
    for tree, score in trees:
        assert asyncio.run(tree(None, None)) == score
        assert tree.last_score == score


def test_asynchronous_children_of_a_sum_are_awaited_side_by_side() -> None:
    """Two judges take as long as one."""
    both = asyncio.Barrier(2)

    class Meets(Rubric):
        async def forward(self, action: Any, observation: Any) -> float:
            await asyncio.wait_for(both.wait(), 5)
            return 1.0

    assert asyncio.run(WeightedSum([Meets(), Meets()], [0.5, 0.5])(None, None)) == 1.0


def test_hooks_run_before_and_after_in_order() -> None:
    """Asynchronous hooks are awaited where the call is."""
    heard: list[Any] = []

    def before(rubric: Rubric, action: Any, observation: Any) -> None:
        heard.append(("before", action, observation))

    async def after(rubric: Rubric, action: Any, observation: Any, score: float) -> None:
        heard.append(("after", score, rubric.last_score))

    rubric = FixedLater(0.5)
    rubric.register_forward_pre_hook(before)
    rubric.register_forward_hook(after)
    assert asyncio.run(rubric("a", "o")) == 0.5
    assert heard == [("before", "a", "o"), ("after", 0.5, 0.5)]


def test_lists_and_dicts_are_looked_into_and_not_asked() -> None:
    """They combine nothing by themselves."""
    listed = RubricList([Fixed(0.1)])
    listed.append(Fixed(0.2))
    assert [len(listed), listed[1](None, None), [item.last_score for item in listed]] == [2, 0.2, [None, 0.2]]
    named = RubricDict({"pong": Fixed(0.3)})
    named.update({"chess": Fixed(0.4)})
    assert (list(named), len(named), "chess" in named) == (["pong", "chess"], 2, True)
    assert named["chess"](None, None) == 0.4
    assert [name for name, _ in named.named_children()] == list(named.keys()) == [k for k, _ in named.items()]
    for container in (listed, named):
        with pytest.raises(NotImplementedError, match="parent"):
            container(None, None)


def test_weights_are_checked() -> None:
    """One for each rubric, 1.0 in all."""
    with pytest.raises(ValueError, match=r"sum to 1\.0"):
        WeightedSum([Fixed(1)], [0.5])
    with pytest.raises(ValueError, match="must match"):
        WeightedSum([Fixed(1)], [0.5, 0.5])


def test_a_trajectory_is_scored_at_its_end() -> None:
    """Until then a step gives the intermediate reward; reset forgets."""
    won = Won(intermediate_reward=-0.1)
    assert [won("a", step(False)), won("b", step(True, 1.0))] == [-0.1, 1.0]
    assert won.compute_step_rewards() == [1.0, 1.0]
    assert [action for action, _ in won.trajectory] == ["a", "b"]
    won.reset()
    assert won.trajectory == []


def test_discounting_gives_the_last_step_all() -> None:
    """And those before it a share less each."""
    rubric = Discounted(gamma=0.5)
    assert rubric.compute_step_rewards() == []
    for done in (False, False, True):
        rubric("a", step(done, 1.0))
    assert rubric.compute_step_rewards() == [0.25, 0.5, 1.0]
    fresh = Discounted()
    fresh.load_state_dict(rubric.state_dict())
    assert (fresh.gamma, fresh.intermediate_reward) == (0.5, 0.0)
    with pytest.raises(ValueError, match="gamma"):
        Discounted(gamma=1.5)


class Says:
    """A language model of one answer."""

    def __init__(self, answer: str) -> None:
        self.answer = answer
        self.prompts: list[str] = []

    async def complete(self, prompt: str) -> str:
        self.prompts.append(prompt)
        return self.answer


@pytest.mark.parametrize(
    ("answer", "settings", "score"),
    [
        ("Score: 0.7 of 1", {}, 0.7),
        ("7", {}, 1.0),
        ("7", {"normalize": False}, 7.0),
        ("none", {"default_score": 0.25}, 0.25),
        ("a=3 b=0.5", {"score_pattern": r"b=([\d.]+)"}, 0.5),
        ("x", {"score_pattern": "x"}, 0.0),
        ("y", {"score_pattern": "(x)?y", "default_score": 0.5}, 0.5),
    ],
)
def test_a_judge_reads_a_number(answer: str, settings: dict[str, Any], score: float) -> None:
    """The first one, or what the pattern finds."""
    client = Says(answer)
    judge = LLMJudge("{action} led to {observation}", client, **settings)
    assert asyncio.run(judge("push", "fall")) == score
    assert client.prompts == ["push led to fall"]
    other = LLMJudge("", client)
    other.load_state_dict(judge.state_dict())
    assert other.state_dict() == judge.state_dict()


def test_an_environment_applies_its_rubric() -> None:
    """Plain or awaited, and 0.0 without one."""

    class Env(Environment[Any, Any, Any]):
        pass

    won = Won()
    won("a", step(False))
    env = Env(rubric=won)
    assert env._apply_rubric("b", step(True, 1.0)) == 1.0
    env._reset_rubric()
    assert won.trajectory == []
    assert Env()._apply_rubric(None, None) == 0.0
    assert asyncio.run(Env(rubric=FixedLater(0.5))._apply_rubric_async(None, None)) == 0.5
    assert asyncio.run(Env(rubric=Fixed(0.5))._apply_rubric_async(None, None)) == 0.5
    assert asyncio.run(Env()._apply_rubric_async(None, None)) == 0.0
    won("a", step(False))
    asyncio.run(env._reset_rubric_async())
    assert won.trajectory == []


@pytest.mark.peer
def test_rubrics_say_what_the_incumbents_say() -> None:
    """One file of trees, hooks and episodes, run with its classes and with ours."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with tempfile.TemporaryDirectory() as elsewhere:
        done = subprocess.run(
            [str(peer("openenv-0.10.0")), str(SCENARIOS)],
            cwd=elsewhere,
            env=env,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    assert done.returncode == 0, done.stderr
    assert rubric_scenarios.seen("openenv.rubrics") == json.loads(done.stdout)
