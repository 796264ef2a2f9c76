"""What travels."""

from openenv.core.env_server.types import Action, Observation
from pydantic import Field


class CounterAction(Action):
    """Add to the counter."""

    amount: int = Field(..., description="How much to add")


class CounterObservation(Observation):
    """The counter."""

    value: int = Field(default=0, description="Its value")
    label: str = Field(default="", description="Its value in words")
