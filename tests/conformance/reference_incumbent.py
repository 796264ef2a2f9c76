"""The reference environment as an author of the incumbent writes it; the recordings are made of this one.

Every observable corner of the contract has an operation of its own here. ``reference_native`` is
its twin in the style of this package: the two must stay line for line equal in what they do. Nothing
in it is random, and nothing depends on which process serves it.
"""
# ruff: noqa: RUF012, UP006, UP007, UP017, UP035, UP042, UP045 - written as the incumbent's users write

import math
import threading
import time
from datetime import datetime, timezone
from enum import Enum, IntEnum
from typing import Annotated, Any, Dict, List, Literal, Optional, Set, Tuple, Union
from uuid import UUID

from pydantic import BaseModel, Field, field_validator, model_validator

from openenv.core.env_server import create_app
from openenv.core.env_server.interfaces import Environment
from openenv.core.env_server.types import Action, EnvironmentMetadata, Observation, State


class Color(str, Enum):
    """A colour."""

    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    """A level."""

    LOW = 1
    HIGH = 3


class Point(BaseModel):
    """A labelled point."""

    x: int
    y: float = 0.0
    label: Optional[str] = None


class Circle(BaseModel):
    """A circle."""

    kind: Literal["circle"]
    radius: float


class Square(BaseModel):
    """A square."""

    kind: Literal["square"]
    side: int = Field(ge=1)


class ReferenceAction(Action):
    """What the reference environment is asked to do."""

    op: str = Field(min_length=1, max_length=12, pattern=r"^[a-z_]+$", description="Name of the operation")
    look: str = Field(default="", description="Field to report back")
    row: int = Field(default=0, ge=0, le=99, description="A row")
    ratio: float = Field(default=0.5, gt=0.0, lt=10.0, description="A ratio")
    flag: bool = False
    text: str = ""
    color: Color = Color.RED
    level: Optional[Level] = None
    pace: Literal["fast", "slow"] = "fast"
    maybe: Optional[int] = None
    tags: List[str] = Field(default_factory=list, max_length=3)
    point: Optional[Point] = None
    points: List[Point] = Field(default_factory=list)
    pair: Tuple[int, float] = (0, 0.0)
    many: Tuple[int, ...] = ()
    scores: Dict[str, int] = Field(default_factory=dict)
    unique: Set[int] = Field(default_factory=set)
    either: Union[int, str] = 0
    shape: Optional[Annotated[Union[Circle, Square], Field(discriminator="kind")]] = None
    when: Optional[datetime] = None
    uid: Optional[UUID] = None
    anything: Any = None


class ReferenceObservation(Observation):
    """What the reference environment shows."""

    text: str = ""
    value: Any = None
    kind: str = ""
    color: Color = Color.RED
    level: Optional[Level] = None
    point: Optional[Point] = None
    points: List[Point] = Field(default_factory=list)
    pair: Tuple[int, float] = (0, 0.0)
    grid: List[List[float]] = Field(default_factory=list)
    table: Dict[str, float] = Field(default_factory=dict)
    names: Dict[int, str] = Field(default_factory=dict)
    when: Optional[datetime] = None
    uid: Optional[UUID] = None
    score: Optional[float] = None


class ReferenceState(State):
    """Where the reference environment stands."""

    episodes: int = 0
    last_op: Optional[str] = None
    path: List[str] = Field(default_factory=list)
    point: Optional[Point] = None
    best: Optional[float] = None


class OddError(Exception):
    """An error of the author's own that says nothing."""


NAMED_VALUES: Dict[str, Any] = {
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
    failures: Dict[str, BaseException] = {
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
        self, seed: Optional[int] = None, episode_id: Optional[str] = None, difficulty: Any = "easy"
    ) -> ReferenceObservation:
        if difficulty == "raise":
            raise ValueError("no such difficulty")
        if difficulty == "nothing":
            return None  # type: ignore[return-value]
        episodes = self._state.episodes + 1
        self._state = ReferenceState(episode_id=episode_id or f"episode-{episodes}", episodes=episodes)
        self._poisoned = False
        if difficulty == "meta":
            return ReferenceObservation(text="meta", metadata={"seed": seed, "nested": {"a": [1, None]}})
        return ReferenceObservation(text="ready", value=[seed, episode_id, difficulty])

    def step(
        self, action: ReferenceAction, timeout_s: Optional[float] = None, **kwargs: Any
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
            when=datetime(2026, 11, 22, 13, 45, 6, tzinfo=timezone.utc),
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
    path: List[str] = []


class NarrowEnvironment(ReferenceEnvironment):
    """One session at a time."""

    SUPPORTS_CONCURRENT_SESSIONS = False


class LooseAction(Action):
    """Takes any field."""

    model_config = {"extra": "allow"}

    n: int = 1


class LooseObservation(Observation):
    """Shows any field."""

    model_config = {"extra": "allow"}

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
        shown = action.model_dump()
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


class CheckedAction(Action):
    """Checks more than types."""

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


class CheckedObservation(Observation):
    """Shows what was checked."""

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
    reward: Optional[float] = None
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
