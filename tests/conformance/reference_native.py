"""The reference environment as an author of this package writes it: the twin of ``reference_incumbent``.

What it does must stay equal to that one, operation for operation; what differs is how it is said:
dataclasses without decorators, ``field``, modern annotations, nested models and dataclasses.
"""
# ruff: noqa: UP042 - as many write it

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, IntEnum
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field, field_validator, model_validator

from openenv import Action, Environment, EnvironmentMetadata, Observation, State, create_app, field
from openenv.models import Model


class Color(str, Enum):
    """A colour."""

    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    """A level."""

    LOW = 1
    HIGH = 3


class Point(Model):
    """A labelled point."""

    x: int
    y: float = 0.0
    label: str | None = None


@dataclass
class Circle:
    """A circle."""

    kind: Literal["circle"]
    radius: float


@dataclass
class Square:
    """A square."""

    kind: Literal["square"]
    side: Annotated[int, field(ge=1)]


class ReferenceAction(Action):
    """What the reference environment is asked to do."""

    op: str = field(min_length=1, max_length=12, pattern=r"^[a-z_]+$", description="Name of the operation")
    look: str = field(default="", description="Field to report back")
    row: int = field(default=0, ge=0, le=99, description="A row")
    ratio: float = field(default=0.5, gt=0.0, lt=10.0, description="A ratio")
    flag: bool = False
    text: str = ""
    color: Color = Color.RED
    level: Level | None = None
    pace: Literal["fast", "slow"] = "fast"
    maybe: int | None = None
    tags: list[str] = field(default_factory=list, max_length=3)
    point: Point | None = None
    points: list[Point] = field(default_factory=list)
    pair: tuple[int, float] = (0, 0.0)
    many: tuple[int, ...] = ()
    scores: dict[str, int] = field(default_factory=dict)
    unique: set[int] = field(default_factory=set)
    either: int | str = 0
    shape: Circle | Square | None = None
    when: datetime | None = None
    uid: UUID | None = None
    anything: Any = None


class ReferenceObservation(Observation):
    """What the reference environment shows."""

    text: str = ""
    value: Any = None
    kind: str = ""
    color: Color = Color.RED
    level: Level | None = None
    point: Point | None = None
    points: list[Point] = field(default_factory=list)
    pair: tuple[int, float] = (0, 0.0)
    grid: list[list[float]] = field(default_factory=list)
    table: dict[str, float] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    when: datetime | None = None
    uid: UUID | None = None
    score: float | None = None


class ReferenceState(State):
    """Where the reference environment stands."""

    episodes: int = 0
    last_op: str | None = None
    path: list[str] = field(default_factory=list)
    point: Point | None = None
    best: float | None = None


class OddError(Exception):
    """An error of the author's own that says nothing."""


NAMED_VALUES: dict[str, Any] = {
    "nan": math.nan,
    "inf": math.inf,
    "minus_inf": -math.inf,
    "none": None,
    "big": 2**53 + 1,
    "tiny": 5e-324,
    "exact": 0.1 + 0.2,
}


def named(value: Any) -> Any:
    """A value that JSON cannot say, by its name; any other value as it is."""
    return NAMED_VALUES.get(value, value) if isinstance(value, str) else value


def failure(kind: str) -> BaseException:
    """The exception that an operation raises."""
    failures: dict[str, BaseException] = {
        "key": KeyError("lost"),
        "value": ValueError("bad value"),
        "empty": RuntimeError(),
        "odd": OddError(),
        "two": ValueError("one", 2),
        "unicode": RuntimeError("schr\u00e4g \u2603 \U0001f600"),
        "lines": RuntimeError('first\nsecond "quoted"'),
        "timeout": TimeoutError("too slow"),
        "assert": AssertionError("should hold"),
        "permission": PermissionError(13, "Permission denied"),
    }
    return failures[kind]


def show(action: ReferenceAction) -> ReferenceObservation:
    """The field that the action says to look at: its value after validation, and its type."""
    value = getattr(action, action.look)
    kind = type(value).__name__
    if isinstance(value, set):
        value = sorted(value)
    return ReferenceObservation(value=value, kind=kind)


class ReferenceEnvironment(Environment):
    """Does what it is told."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self):
        super().__init__()
        self._thread = threading.get_ident()
        self._state: Any = ReferenceState(episode_id="none-yet")
        self._poisoned = False

    def reset(
        self, seed: int | None = None, episode_id: str | None = None, difficulty: Any = "easy"
    ) -> ReferenceObservation:
        if difficulty == "raise":
            raise ValueError("no such difficulty")
        if difficulty == "nothing":
            return None
        episodes = self._state.episodes + 1
        self._state = ReferenceState(episode_id=episode_id or f"episode-{episodes}", episodes=episodes)
        self._poisoned = False
        if difficulty == "meta":
            return ReferenceObservation(text="meta", metadata={"seed": seed, "nested": {"a": [1, None]}})
        return ReferenceObservation(text="ready", value=[seed, episode_id, difficulty])

    def step(
        self, action: ReferenceAction, timeout_s: float | None = None, **kwargs: Any
    ) -> ReferenceObservation:
        self._state.step_count += 1
        self._state.last_op = action.op
        self._state.path = [*self._state.path, action.op]
        operation = getattr(self, "_do_" + action.op, None)
        if operation is None:
            return ReferenceObservation(text=f"unknown operation {action.op}", reward=0.0)
        return operation(action, {"timeout_s": timeout_s, **kwargs})

    @property
    def state(self) -> ReferenceState:
        if self._poisoned:
            raise RuntimeError("the state is poisoned")
        return self._state

    def _do_show(self, action, extras):
        return show(action)

    def _do_echo(self, action, extras):
        return ReferenceObservation(text=action.text, value=action.anything, reward=1.0)

    def _do_reward(self, action, extras):
        return ReferenceObservation(text="paid", reward=named(action.anything))

    def _do_finish(self, action, extras):
        return ReferenceObservation(text="over", reward=1, done=True, metadata={"why": "goal"})

    def _do_meta(self, action, extras):
        return ReferenceObservation(text="meta", metadata=action.metadata or {"n": named(action.anything)})

    def _do_numbers(self, action, extras):
        value = named(action.anything)
        return ReferenceObservation(
            value=[value, {"deep": value}], score=value, grid=[[1.0, value], []], table={"v": value}
        )

    def _do_rich(self, action, extras):
        return ReferenceObservation(
            color=Color.BLUE,
            level=Level.HIGH,
            point=Point(x=1, y=2.5, label="p"),
            points=[Point(x=2), Point(x=3, label="q")],
            pair=(7, 0.25),
            grid=[[1.0, 2.0], [3.5]],
            table={"a": 1.0},
            names={1: "one", 2: "two"},
            when=datetime(2026, 11, 22, 13, 45, 6, tzinfo=UTC),
            uid=UUID("12345678-1234-5678-1234-567812345678"),
            value={"color": Color.RED, "tuple": (1, "x"), "point": Point(x=9), "nothing": None},
            kind="caf\u00e9 \u2603 \U0001f600",
        )

    def _do_raise(self, action, extras):
        raise failure(action.text)

    def _do_divide(self, action, extras):
        return ReferenceObservation(score=1 / action.row)

    def _do_nothing(self, action, extras):
        return None

    def _do_wrong(self, action, extras):
        return "just text"

    def _do_keywords(self, action, extras):
        return ReferenceObservation(value=extras)

    def _do_thread(self, action, extras):
        return ReferenceObservation(value=threading.get_ident() == self._thread)

    def _do_sleep(self, action, extras):
        time.sleep(float(action.anything or 0.2))
        return ReferenceObservation(text="slept")

    def _do_large(self, action, extras):
        return ReferenceObservation(text="x" * int(action.anything))

    def _do_poison(self, action, extras):
        self._poisoned = True
        return ReferenceObservation(text="poisoned")

    def _do_note(self, action, extras):
        self._state.note = "an extra"
        self._state.point = Point(x=4)
        self._state.best = named(action.anything)
        return ReferenceObservation(text="noted")

    def _do_dictstate(self, action, extras):
        self._state = _DictState(episodes=5, free=[1, 2])
        return ReferenceObservation(text="dict")

    def _do_nostate(self, action, extras):
        self._state = None
        return ReferenceObservation(text="none")


class _DictState(dict):
    """A state that is a dict, with attributes for the counting in ``step``."""

    step_count = 0
    episodes = 5
    last_op = None
    path: list[str] = []  # noqa: RUF012


class NarrowEnvironment(ReferenceEnvironment):
    """One session at a time."""

    SUPPORTS_CONCURRENT_SESSIONS = False


class LooseAction(Action, extra="allow"):
    """Takes any field."""

    n: int = 1


class LooseObservation(Observation, extra="allow"):
    """Shows any field."""

    value: Any = None


class LooseEnvironment(Environment):
    """Asynchronous, takes any keyword, and describes itself."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self):
        super().__init__()
        self._steps = 0

    def reset(self, seed=None, episode_id=None, **kwargs):
        raise AssertionError("reset_async is overridden")

    def step(self, action, timeout_s=None, **kwargs):
        raise AssertionError("step_async is overridden")

    async def reset_async(self, seed=None, episode_id=None, **kwargs):
        self._steps = 0
        return LooseObservation(value={"seed": seed, "episode_id": episode_id, "rest": kwargs})

    async def step_async(self, action, **kwargs):
        self._steps += 1
        if action.n == 13:
            raise ValueError("thirteen")
        shown = dict(vars(action))
        return LooseObservation(value={"action": shown, "rest": kwargs}, reward=action.n, extra_field="here")

    @property
    def state(self):
        return State(episode_id="loose", step_count=self._steps, mood="fine")

    def get_metadata(self):
        return EnvironmentMetadata(
            name="Loose one",
            description="Takes anything",
            version="2.3.4",
            author="An Author",
            readme_content="# Read me",
            documentation_url="https://docs.test/loose",
        )


class BrokenEnvironment(ReferenceEnvironment):
    """Cannot be made."""

    def __init__(self):
        raise RuntimeError("no display")


class CheckedAction(BaseModel):
    """Checks more than types."""

    model_config = {"extra": "forbid"}

    metadata: dict[str, Any] = Field(default_factory=dict, description="Additional metadata for the action")
    even: int
    odd: int = 1

    @field_validator("even")
    @classmethod
    def is_even(cls, value: int) -> int:
        if value % 2:
            raise ValueError("must be even")
        return value

    @model_validator(mode="after")
    def is_ordered(self):
        if self.odd % 2 == 0:
            raise ValueError("odd must be odd")
        return self


class CheckedObservation(BaseModel):
    """Shows what was checked."""

    model_config = {"extra": "forbid"}

    done: bool = Field(default=False, description="Whether the episode has terminated")
    reward: bool | int | float | None = Field(default=None, description="Reward signal from the last action")
    metadata: dict[str, Any] = Field(
        default_factory=dict, description="Additional metadata for the observation"
    )
    seen: int = 0


class CheckedEnvironment(Environment):
    """Has pydantic models with validators."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def reset(self, seed=None, episode_id=None, **kwargs):
        return CheckedObservation()

    def step(self, action, timeout_s=None, **kwargs):
        return CheckedObservation(seen=action.even, reward=1)

    @property
    def state(self):
        return State(episode_id="checked")


class PlainAction(BaseModel):
    """No base class of anybody's; other fields are ignored."""

    n: int = 1


class PlainObservation(BaseModel):
    """No base class of anybody's: no metadata."""

    n: int
    reward: float | None = None
    done: bool = False


class PlainEnvironment(Environment):
    """Knows nothing of the base models."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def reset(self, seed=None, episode_id=None, **kwargs):
        return PlainObservation(n=0)

    def step(self, action, timeout_s=None, **kwargs):
        return PlainObservation(n=action.n, reward=0.5)

    @property
    def state(self):
        return State(episode_id="plain")


class MethodicalEnvironment(CheckedEnvironment):
    """Forgot that the state is a property."""

    def state(self):
        return State(episode_id="methodical")


def make_reference() -> ReferenceEnvironment:
    """A factory that is a function."""
    return ReferenceEnvironment()


MAIN = (ReferenceEnvironment, ReferenceAction, ReferenceObservation)

app = create_app(*MAIN, env_name="reference", max_concurrent_envs=64)
narrow = create_app(NarrowEnvironment, ReferenceAction, ReferenceObservation, env_name="narrow")
pair = create_app(*MAIN, env_name="pair", max_concurrent_envs=2)
broken = create_app(BrokenEnvironment, ReferenceAction, ReferenceObservation, env_name="broken")
loose = create_app(LooseEnvironment, LooseAction, LooseObservation, env_name="loose", max_concurrent_envs=64)
stated = create_app(*MAIN, env_name="stated", max_concurrent_envs=64, state_cls=ReferenceState)
called = create_app(
    make_reference, ReferenceAction, ReferenceObservation, env_name="called", max_concurrent_envs=64
)
checked = create_app(
    CheckedEnvironment, CheckedAction, CheckedObservation, env_name="checked", max_concurrent_envs=64
)
plain = create_app(PlainEnvironment, PlainAction, PlainObservation, env_name="plain", max_concurrent_envs=64)
methodical = create_app(
    MethodicalEnvironment, CheckedAction, CheckedObservation, env_name="methodical", max_concurrent_envs=64
)
production = create_app(*MAIN, env_name="production", max_concurrent_envs=64, mode="production")
