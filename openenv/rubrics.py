"""Rewards as a tree of small judges: each scores an action and what it led to, parents combine.

In: an action and an observation, of any classes. Out: a score, usually 0.0 to 1.0, or a coroutine of one
where anything in the tree is `async def`. A rubric that is assigned to an attribute of another is its
child and found by that name, so a trainer can list what every part of a reward said::

    class Tidy(Rubric):
        def forward(self, action, observation):
            return 1.0 if observation.text.isascii() else 0.0

    rubric = WeightedSum([Tidy(), LLMJudge("Rate: {action}", client)], weights=[0.3, 0.7])
    for name, part in rubric.named_rubrics():
        print(name, part.last_score)

This module knows nothing about environments, servers or models; an environment calls its rubric through
``Environment._apply_rubric``. Plain and asynchronous rubrics mix: a container gives a coroutine as soon
as one of its children does. Limits: a rubric belongs to one session and scores one step at a time.
"""

from __future__ import annotations

import asyncio
import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

__all__ = [
    "ExponentialDiscountingTrajectoryRubric",
    "Gate",
    "LLMJudge",
    "Rubric",
    "RubricDict",
    "RubricList",
    "Sequential",
    "TrajectoryRubric",
    "WeightedSum",
]

Score = Any
"""A number, or a coroutine that gives one."""

Step = tuple[Any, Any]
"""(action, observation)."""


class Rubric(ABC):
    """One judge: define `forward`, plain or ``async def``, and call the object itself.

    An ``__init__`` of your own begins with ``super().__init__()``.

    Attributes:
        last_score: What the last call gave, None before the first.
    """

    last_score: float | None
    _rubric_children: dict[str, Rubric]
    _forward_hooks: list[Callable[..., Any]]
    _forward_pre_hooks: list[Callable[..., Any]]

    def __init__(self) -> None:
        # Before anything can be assigned: `__setattr__` looks for the children.
        object.__setattr__(self, "_rubric_children", {})
        self._forward_hooks = []
        self._forward_pre_hooks = []
        self.last_score = None

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Rubric):
            children = self.__dict__.get("_rubric_children")
            if children is None:
                raise AttributeError(
                    f"{type(self).__name__} takes children after super().__init__(); call that first"
                )
            children[name] = value
        object.__setattr__(self, name, value)

    @abstractmethod
    def forward(self, action: Any, observation: Any) -> Score:
        """Score one step.

        Args:
            action: What the agent did.
            observation: What it led to.

        Returns:
            The score, usually 0.0 to 1.0.
        """
        raise NotImplementedError

    def __call__(self, action: Any, observation: Any) -> Score:
        """Score one step: hooks before, `forward`, `last_score`, hooks after.

        Returns:
            The score; a coroutine of it where `forward` is ``async def`` or gave a coroutine.
        """
        if inspect.iscoroutinefunction(self.forward):
            return self._later(action, observation, 0, lambda: self.forward(action, observation))
        self._before(action, observation, 0)
        score = self.forward(action, observation)
        if inspect.iscoroutine(score):
            return self._later(action, observation, len(self._forward_pre_hooks), lambda: score)
        return self._settle(action, observation, score)

    # Hooks. An asynchronous one is awaited wherever the call itself is; a plain call only starts it.

    def _before(self, action: Any, observation: Any, start: int) -> None:
        for hook in self._forward_pre_hooks[start:]:
            hook(self, action, observation)

    def _before_plainly(self, action: Any, observation: Any) -> int:
        """Run the hooks up to the first asynchronous one, and say how many that were.

        Only by calling a child does a container learn whether it is to be awaited, and hooks come first.
        """
        n_run = 0
        for hook in self._forward_pre_hooks:
            if inspect.iscoroutinefunction(hook):
                break
            hook(self, action, observation)
            n_run += 1
        return n_run

    def _settle(self, action: Any, observation: Any, score: float) -> float:
        self.last_score = score
        for hook in self._forward_hooks:
            hook(self, action, observation, score)
        return score

    async def _later(
        self, action: Any, observation: Any, start: int, score: Callable[[], Coroutine[Any, Any, float]]
    ) -> float:
        """The rest of a call that is awaited: hooks from `start` on, the score, hooks after it."""
        for hook in self._forward_pre_hooks[start:]:
            await _awaited(hook, self, action, observation)
        self.last_score = result = await score()
        for hook in self._forward_hooks:
            await _awaited(hook, self, action, observation, result)
        return result

    def register_forward_hook(self, hook: Callable[[Rubric, Any, Any, float], Any]) -> None:
        """Have ``hook(rubric, action, observation, score)`` called after each score."""
        self._forward_hooks.append(hook)

    def register_forward_pre_hook(self, hook: Callable[[Rubric, Any, Any], Any]) -> None:
        """Have ``hook(rubric, action, observation)`` called before each score."""
        self._forward_pre_hooks.append(hook)

    # The tree

    def children(self) -> Iterator[Rubric]:
        """The rubrics assigned to attributes of this one, in order."""
        yield from self._rubric_children.values()

    def named_children(self) -> Iterator[tuple[str, Rubric]]:
        """The same with the attributes' names."""
        yield from self._rubric_children.items()

    def rubrics(self) -> Iterator[Rubric]:
        """All below this one, each before its own children."""
        for _, rubric in self.named_rubrics():
            yield rubric

    def named_rubrics(self, prefix: str = "") -> Iterator[tuple[str, Rubric]]:
        """The same with their paths, ``code.syntax``.

        Args:
            prefix: Put before every path, with a dot.
        """
        for name, child in self._rubric_children.items():
            path = f"{prefix}.{name}" if prefix else name
            yield path, child
            yield from child.named_rubrics(path)

    def get_rubric(self, path: str) -> Rubric:
        """The rubric at a path of `named_rubrics`.

        Raises:
            KeyError: There is none.
        """
        found: Rubric = self
        for name in path.split("."):
            if name not in found._rubric_children:
                raise KeyError(f"Rubric path not found: {path}")
            found = found._rubric_children[name]
        return found

    # What outlives a step

    def reset(self) -> None:  # noqa: B027 - nothing, unless a subclass remembers something
        """Forget the last episode. Nothing to forget here; `TrajectoryRubric` overrides it."""

    def state_dict(self) -> dict[str, Any]:
        """Settings to keep in a checkpoint: none here. Children are not included."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: B027 - as above
        """Take over what `state_dict` gave; keys that are missing change nothing."""


async def _awaited(hook: Callable[..., Any], *args: Any) -> None:
    given = hook(*args)
    if inspect.iscoroutinefunction(hook):
        await given


async def _value(score: Score) -> float:
    result: float = await score if inspect.iscoroutine(score) else score
    return result


def _loop_runs() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


# ---- containers --------------------------------------------------------------------------------


class Sequential(Rubric):
    """Asks its rubrics in order; the first 0 ends it, else the last score counts.

    On a running event loop a call gives a coroutine, unless a plain rubric said 0.

    Args:
        *rubrics: Asked in this order; children named ``rubric_0``, ``rubric_1`` and so on. None of them
            scores 1.0.
    """

    def __init__(self, *rubrics: Rubric) -> None:
        super().__init__()
        self._rubric_list = _adopt(self, rubrics)

    def forward(self, action: Any, observation: Any) -> float:
        """The score of plain children alone, without this rubric's hooks."""
        score = 1.0
        for rubric in self._rubric_list:
            score = rubric(action, observation)
            if score == 0.0:
                return 0.0
        return score

    def __call__(self, action: Any, observation: Any) -> Score:
        """Score one step; a coroutine where a child gives one."""
        n_run = 0 if not self._rubric_list else self._before_plainly(action, observation)
        score: Score = 1.0
        for index, rubric in enumerate(self._rubric_list):
            score = rubric(action, observation)
            if inspect.iscoroutine(score):
                go_on = partial(self._go_on, score, self._rubric_list[index + 1 :], action, observation)
                return self._later(action, observation, n_run, go_on)
            if score == 0.0:
                self._before(action, observation, n_run)
                return self._settle(action, observation, 0.0)
        if _loop_runs():
            return self._later(action, observation, n_run, lambda: _value(score))
        self._before(action, observation, n_run)
        return self._settle(action, observation, score)

    async def _go_on(self, score: Score, rest: Sequence[Rubric], action: Any, observation: Any) -> float:
        result = await _value(score)
        for rubric in rest:
            if result == 0.0:
                return 0.0
            result = await _value(rubric(action, observation))
        return 0.0 if result == 0.0 else result

    def __len__(self) -> int:
        return len(self._rubric_list)

    def __getitem__(self, index: int) -> Rubric:
        return self._rubric_list[index]


class Gate(Rubric):
    """Lets a score through from a threshold on; below it the score is 0.

    Args:
        rubric: What is asked; the child ``rubric``.
        threshold: Lowest score that counts.
    """

    rubric: Rubric

    def __init__(self, rubric: Rubric, threshold: float = 1.0) -> None:
        super().__init__()
        self.rubric = rubric
        self.threshold = threshold

    def forward(self, action: Any, observation: Any) -> float:
        """The score of a plain child, without this rubric's hooks."""
        return self._gated(self.rubric(action, observation))

    def __call__(self, action: Any, observation: Any) -> Score:
        """Score one step; a coroutine where the child gives one."""
        n_run = self._before_plainly(action, observation)
        score = self.rubric(action, observation)
        if inspect.iscoroutine(score):
            return self._later(action, observation, n_run, lambda: self._gate_later(score))
        self._before(action, observation, n_run)
        return self._settle(action, observation, self._gated(score))

    async def _gate_later(self, score: Score) -> float:
        return self._gated(await score)

    def _gated(self, score: float) -> float:
        return 0.0 if score < self.threshold else score


class WeightedSum(Rubric):
    """The weighted sum of its rubrics' scores. Asynchronous ones are awaited side by side.

    Args:
        rubrics: Children named ``rubric_0``, ``rubric_1`` and so on.
        weights: One for each; they sum to 1.0.

    Raises:
        ValueError: Another number of weights than of rubrics, or another sum.
    """

    def __init__(self, rubrics: Sequence[Rubric], weights: Sequence[float]) -> None:
        super().__init__()
        if len(rubrics) != len(weights):
            raise ValueError(
                f"Number of rubrics ({len(rubrics)}) must match number of weights ({len(weights)})"
            )
        if abs(sum(weights) - 1.0) > 1e-6:
            raise ValueError(f"Weights must sum to 1.0, got {sum(weights)}")
        self._rubric_list = _adopt(self, rubrics)
        self._weights = list(weights)

    @property
    def weights(self) -> list[float]:
        """The weights; a copy."""
        return list(self._weights)

    def forward(self, action: Any, observation: Any) -> float:
        """The sum over plain children, without this rubric's hooks."""
        return self._sum([rubric(action, observation) for rubric in self._rubric_list])

    def __call__(self, action: Any, observation: Any) -> Score:
        """Score one step; a coroutine where a child gives one."""
        n_run = self._before_plainly(action, observation)
        scores = [rubric(action, observation) for rubric in self._rubric_list]
        if any(map(inspect.iscoroutine, scores)):
            return self._later(action, observation, n_run, lambda: self._sum_later(scores))
        self._before(action, observation, n_run)
        return self._settle(action, observation, self._sum(scores))

    async def _sum_later(self, scores: list[Score]) -> float:
        return self._sum(await asyncio.gather(*map(_value, scores)))

    def _sum(self, scores: Sequence[float]) -> float:
        total = 0.0
        for score, weight in zip(scores, self._weights, strict=True):
            total += score * weight
        return total


def _adopt(parent: Rubric, rubrics: Iterable[Rubric]) -> list[Rubric]:
    adopted = list(rubrics)
    for index, rubric in enumerate(adopted):
        setattr(parent, f"rubric_{index}", rubric)
    return adopted


class RubricList(Rubric):
    """Children by number, for a parent that decides itself whom to ask.

    Args:
        rubrics: The first ones; named ``rubric_0``, ``rubric_1`` and so on.
    """

    def __init__(self, rubrics: Iterable[Rubric] | None = None) -> None:
        super().__init__()
        self._rubrics: list[Rubric] = []
        self.extend(rubrics or ())

    def forward(self, action: Any, observation: Any) -> float:
        """Not defined: a list says nothing about how its scores combine.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError(
            "RubricList.forward() is not implemented: ask its rubrics from a parent's forward()"
        )

    def append(self, rubric: Rubric) -> None:
        """Add one at the end."""
        setattr(self, f"rubric_{len(self._rubrics)}", rubric)
        self._rubrics.append(rubric)

    def extend(self, rubrics: Iterable[Rubric]) -> None:
        """Add several at the end."""
        for rubric in rubrics:
            self.append(rubric)

    def __len__(self) -> int:
        return len(self._rubrics)

    def __getitem__(self, index: int) -> Rubric:
        return self._rubrics[index]

    def __iter__(self) -> Iterator[Rubric]:
        return iter(self._rubrics)


class RubricDict(Rubric):
    """Children by name, for a parent that decides itself whom to ask: one for each task, say.

    Args:
        rubrics: The first ones.
    """

    def __init__(self, rubrics: Mapping[str, Rubric] | None = None) -> None:
        super().__init__()
        self._rubric_dict: dict[str, Rubric] = {}
        self.update(rubrics or {})

    def forward(self, action: Any, observation: Any) -> float:
        """Not defined: a dict says nothing about how its scores combine.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError(
            "RubricDict.forward() is not implemented: ask its rubrics from a parent's forward()"
        )

    def __setitem__(self, key: str, rubric: Rubric) -> None:
        setattr(self, key, rubric)
        self._rubric_dict[key] = rubric

    def __getitem__(self, key: str) -> Rubric:
        return self._rubric_dict[key]

    def __contains__(self, key: object) -> bool:
        return key in self._rubric_dict

    def __len__(self) -> int:
        return len(self._rubric_dict)

    def __iter__(self) -> Iterator[str]:
        return iter(self._rubric_dict)

    def keys(self) -> Iterator[str]:
        """The names."""
        return iter(self._rubric_dict.keys())

    def values(self) -> Iterator[Rubric]:
        """The rubrics."""
        return iter(self._rubric_dict.values())

    def items(self) -> Iterator[tuple[str, Rubric]]:
        """Names and rubrics."""
        return iter(self._rubric_dict.items())

    def update(self, rubrics: Mapping[str, Rubric]) -> None:
        """Add several, in place of those of the same name."""
        for key, rubric in rubrics.items():
            self[key] = rubric


# ---- whole episodes ----------------------------------------------------------------------------


class TrajectoryRubric(Rubric):
    """Scores an episode at its end: define `score_trajectory` and `compute_step_rewards`.

    Every step is kept until `reset`, so observations should hold no tensors of a device, and an
    environment calls `Environment._reset_rubric` in its ``reset``.

    Args:
        intermediate_reward: The score of every step before the last.
    """

    def __init__(self, intermediate_reward: float = 0.0) -> None:
        super().__init__()
        self.intermediate_reward = intermediate_reward
        self._trajectory: list[Step] = []

    def forward(self, action: Any, observation: Any) -> Score:
        """Keep the step; score the trajectory where the observation is ``done``."""
        self._trajectory.append((action, observation))
        if getattr(observation, "done", False):
            return self.score_trajectory(self._trajectory)
        return self.intermediate_reward

    @abstractmethod
    def score_trajectory(self, trajectory: list[Step]) -> float:
        """The score of a whole episode, usually 0.0 to 1.0.

        Args:
            trajectory: Every (action, observation), first to last.
        """
        raise NotImplementedError

    @abstractmethod
    def compute_step_rewards(self) -> list[float]:
        """How the episode's score is shared out: one reward for each step, first to last."""
        raise NotImplementedError

    def reset(self) -> None:
        """Forget the episode's steps."""
        self._trajectory = []

    @property
    def trajectory(self) -> list[Step]:
        """The steps so far; a copy."""
        return list(self._trajectory)

    def state_dict(self) -> dict[str, Any]:
        """``intermediate_reward``; steps are not settings."""
        return {"intermediate_reward": self.intermediate_reward}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self.intermediate_reward = state.get("intermediate_reward", self.intermediate_reward)


class ExponentialDiscountingTrajectoryRubric(TrajectoryRubric):
    """Shares an episode's score out by ``gamma ** (steps still to come)``: the last step gets all of it.

    Args:
        gamma: In [0, 1]; 1 gives every step the whole score, 0 only the last.
        intermediate_reward: The score of every step before the last.

    Raises:
        ValueError: `gamma` is not in [0, 1].
    """

    def __init__(self, gamma: float = 0.99, intermediate_reward: float = 0.0) -> None:
        super().__init__(intermediate_reward)
        if not 0.0 <= gamma <= 1.0:
            raise ValueError(f"gamma must be in [0, 1], got {gamma}")
        self.gamma = gamma

    def compute_step_rewards(self) -> list[float]:
        """The discounted rewards, first step to last; empty before the first step."""
        n_steps = len(self._trajectory)
        if not n_steps:
            return []
        final = self.score_trajectory(self._trajectory)
        return [final * self.gamma**left for left in range(n_steps - 1, -1, -1)]

    def state_dict(self) -> dict[str, Any]:
        """``intermediate_reward`` and ``gamma``."""
        return {**super().state_dict(), "gamma": self.gamma}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        super().load_state_dict(state)
        self.gamma = state.get("gamma", self.gamma)


# ---- a language model --------------------------------------------------------------------------


class Completes(Protocol):
    """What `LLMJudge` asks: anything with this one coroutine method."""

    async def complete(self, prompt: str) -> str:
        """The model's answer to a prompt."""
        ...


_FIRST_NUMBER = r"(\d+\.?\d*)"


class LLMJudge(Rubric):
    """Asks a language model for a number.

    Override `_render_prompt` or `_parse_score` for prompts and answers of another kind.

    Args:
        prompt_template: Text with ``{action}`` and ``{observation}``, as of ``str.format``.
        client: What is asked; its ``complete(prompt)`` is awaited.
        score_pattern: Regular expression that finds the score, as its first group or as a whole; the
            first number of the answer by default.
        default_score: The score where the answer has none.
        normalize: Whether scores are brought into [0, 1].
    """

    def __init__(
        self,
        prompt_template: str,
        client: Completes,
        *,
        score_pattern: str | None = None,
        default_score: float = 0.0,
        normalize: bool = True,
    ) -> None:
        super().__init__()
        self.prompt_template = prompt_template
        self.default_score = default_score
        self.normalize = normalize
        self._client = client
        self._score_pattern = re.compile(score_pattern or _FIRST_NUMBER)

    async def forward(self, action: Any, observation: Any) -> float:
        """Ask, and read the score out of the answer."""
        return self._parse_score(await self._client.complete(self._render_prompt(action, observation)))

    def _render_prompt(self, action: Any, observation: Any) -> str:
        return self.prompt_template.format(action=action, observation=observation)

    def _parse_score(self, response: str) -> float:
        found = self._score_pattern.search(response)
        if found is None:
            return self.default_score
        try:
            score = float(found[1] if found.lastindex else found[0])
        except (TypeError, ValueError):
            return self.default_score
        return max(0.0, min(1.0, score)) if self.normalize else score

    def state_dict(self) -> dict[str, Any]:
        """Everything but the client."""
        return {
            "prompt_template": self.prompt_template,
            "score_pattern": self._score_pattern.pattern,
            "default_score": self.default_score,
            "normalize": self.normalize,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self.prompt_template = state.get("prompt_template", self.prompt_template)
        if "score_pattern" in state:
            self._score_pattern = re.compile(state["score_pattern"])
        self.default_score = state.get("default_score", self.default_score)
        self.normalize = state.get("normalize", self.normalize)
