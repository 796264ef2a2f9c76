from typing import Any, Dict, List, Literal, Optional, Union

from openenv.core.env_server import Action, Environment, Observation, State, create_app
from pydantic import BaseModel, ConfigDict, Field

from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from uuid import UUID


class KindAction(Action):
    kind: str = "plain"
    when: Optional[datetime] = None
    amount: Optional[Decimal] = None
    data: Optional[bytes] = None
    span: Optional[timedelta] = None
    anything: Any = None


class KindObservation(Observation):
    when: Optional[datetime] = None
    day: date = date(2026, 1, 2)
    amount: Decimal = Decimal("1.50")
    data: bytes = b"bytes"
    span: timedelta = timedelta(hours=25, milliseconds=5)
    id: UUID = UUID(int=5)
    path: Path = Path("a/b")
    anything: Any = None
    ratio: float = 1
    table: Dict[int, str] = Field(default_factory=lambda: {1: "one"})
    words: frozenset = frozenset({"w"})


REWARDS = {"nan": float("nan"), "inf": float("inf"), "true": True, "int": 3, "float": 2.0, "none": None}


class KindEnvironment(Environment):
    def __init__(self):
        super().__init__()
        self._state = State()

    def reset(self, seed=None, episode_id=None, **kwargs):
        return KindObservation(anything={"seed": seed, "t": (1, 2)})

    def step(self, action, timeout_s=None, **kwargs):
        fields = {"when": action.when, "anything": action.anything}
        for name in ("amount", "data", "span"):
            if getattr(action, name) is not None:
                fields[name] = getattr(action, name)
        return KindObservation(
            reward=REWARDS.get(action.kind, 0.25), ratio=float("nan") if action.kind == "nan" else 2, **fields
        )

    @property
    def state(self):
        return self._state


app = create_app(KindEnvironment, KindAction, KindObservation, env_name="kinds")
