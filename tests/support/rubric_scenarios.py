"""What rubrics do, as JSON: the same scenarios with the incumbent's classes, in its own interpreter, and with
ours. Every call is made plainly and on a running loop, with hooks of both kinds at every node."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import itertools
import json
import warnings
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any


def seen(module: str) -> dict[str, Any]:
    """Run every scenario with the classes of `module`."""
    rubrics = importlib.import_module(module)
    found: dict[str, Any] = {}
    # A plain call of an asynchronous hook only starts it, there and here.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, make in trees(rubrics):
            for hooks in ("", "plain", "async", "mixed"):
                for way in (plainly, on_a_loop):
                    found[f"{name} {hooks} {way.__name__}"] = way(make, hooks)
        found["episodes"] = episodes(rubrics)
    decoded: dict[str, Any] = json.loads(json.dumps(found))
    return decoded


def trees(rubrics: Any) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Named factories of trees: every container over every mix of leaves."""

    class Leaf(rubrics.Rubric):  # type: ignore[misc, name-defined]
        def __init__(self, score: float) -> None:
            super().__init__()
            self.score = score

        def forward(self, action: Any, observation: Any) -> Any:
            action.append(f"leaf {self.score}")
            return self.score

    class Late(Leaf):
        async def forward(self, action: Any, observation: Any) -> Any:
            action.append(f"late starts {self.score}")
            await asyncio.sleep(0)
            action.append(f"late {self.score}")
            return self.score

    class Hands(rubrics.Rubric):  # type: ignore[misc, name-defined]
        """A plain forward that gives an unawaited child."""

        def __init__(self, child: Any) -> None:
            super().__init__()
            self.table = rubrics.RubricDict({"one": child})

        def forward(self, action: Any, observation: Any) -> Any:
            return self.table["one"](action, observation)

    kinds = {"p1": (Leaf, 1.0), "p0": (Leaf, 0.0), "p5": (Leaf, 0.5), "a5": (Late, 0.5), "a0": (Late, 0.0)}

    def leaf(name: str) -> Any:
        cls, score = kinds[name]
        return cls(score)

    yield "empty", lambda: rubrics.Sequential()
    for name in kinds:
        yield name, lambda name=name: leaf(name)
        yield f"hands {name}", lambda name=name: Hands(leaf(name))
        yield f"gate {name}", lambda name=name: rubrics.Gate(leaf(name), threshold=0.5)
        yield f"strict gate {name}", lambda name=name: rubrics.Gate(leaf(name))
    for names in (*itertools.product(kinds, repeat=2), ("p1", "a5", "p0"), ("a5", "p1", "p5")):
        label = " ".join(names)
        yield f"sequence {label}", lambda names=names: rubrics.Sequential(*map(leaf, names))
        weights = [0.5, 0.5] if len(names) == 2 else [0.5, 0.25, 0.25]
        yield (
            f"sum {label}",
            lambda names=names, weights=weights: rubrics.WeightedSum(list(map(leaf, names)), weights),
        )
    yield (
        "nested",
        lambda: rubrics.Sequential(
            rubrics.Gate(leaf("p5"), 0.5),
            rubrics.WeightedSum([rubrics.Gate(leaf("a5")), Hands(leaf("p1"))], [0.25, 0.75]),
        ),
    )


def hooked(rubric: Any, name: str, hooks: str) -> None:
    def before(_: Any, action: list[str], observation: Any) -> None:
        action.append(f"before {name}")

    async def before_later(_: Any, action: list[str], observation: Any) -> None:
        await asyncio.sleep(0)
        action.append(f"before later {name}")

    def after(_: Any, action: list[str], observation: Any, score: float) -> None:
        action.append(f"after {name} {score}")

    async def after_later(_: Any, action: list[str], observation: Any, score: float) -> None:
        await asyncio.sleep(0)
        action.append(f"after later {name} {score}")

    if hooks in ("plain", "mixed"):
        rubric.register_forward_pre_hook(before)
        rubric.register_forward_hook(after)
    if hooks in ("async", "mixed"):
        rubric.register_forward_pre_hook(before_later)
        rubric.register_forward_hook(after_later)
    if hooks == "mixed":
        rubric.register_forward_pre_hook(before)


def prepared(make: Callable[[], Any], hooks: str) -> tuple[Any, list[str]]:
    root = make()
    for name, rubric in [("root", root), *root.named_rubrics()]:
        if not type(rubric).__name__.startswith("RubricD"):
            hooked(rubric, name, hooks)
    return root, []


def outcome(root: Any, score: Any, heard: list[str], awaited: bool) -> list[Any]:
    scores = {name: rubric.last_score for name, rubric in root.named_rubrics()}
    return [score, awaited, sorted(heard) if "late starts" in str(heard) else heard, scores, root.last_score]


def plainly(make: Callable[[], Any], hooks: str) -> list[Any]:
    root, heard = prepared(make, hooks)
    given = root(heard, None)
    awaited = inspect.iscoroutine(given)
    if awaited:
        given = asyncio.run(given)
    return outcome(root, given, heard, awaited)


def on_a_loop(make: Callable[[], Any], hooks: str) -> list[Any]:
    async def main() -> list[Any]:
        root, heard = prepared(make, hooks)
        given = root(heard, None)
        awaited = inspect.iscoroutine(given)
        if awaited:
            given = await given
        return outcome(root, given, heard, awaited)

    return asyncio.run(main())


def episodes(rubrics: Any) -> list[Any]:
    class Won(rubrics.ExponentialDiscountingTrajectoryRubric):  # type: ignore[misc, name-defined]
        def score_trajectory(self, trajectory: list[Any]) -> float:
            return float(len(trajectory))

    found: list[Any] = []
    for gamma in (0.0, 0.5, 0.99, 1.0):
        won = Won(gamma=gamma, intermediate_reward=-1.0)
        for number in range(4):
            found.append(won(number, SimpleNamespace(done=number == 3)))
        found += [won.compute_step_rewards(), won.state_dict(), len(won.trajectory), won.last_score]
        won.reset()
        found += [won.compute_step_rewards(), won.last_score]
    return found


if __name__ == "__main__":
    print(json.dumps(seen("openenv.core.rubrics")))
