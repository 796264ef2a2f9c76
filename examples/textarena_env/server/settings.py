"""Which game is played and how: the variables of this environment, read and checked.

In: environment variables. Out: `Settings`, or a ValueError that names the variable and what would do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PREFIX = "TEXTARENA_KW_"
_WORDS = {"true": True, "false": False, "none": None, "null": None}


@dataclass(frozen=True, slots=True)
class Settings:
    """One game.

    Attributes:
        env_id: Its name in TextArena's registry.
        num_players: Number of players, >= 1.
        max_turns: Moves after which an episode is cut off, >= 1; None never does that.
        kwargs: Keywords for `textarena.make`, in lower case.
    """

    env_id: str = "Wordle-v0"
    num_players: int = 1
    max_turns: int | None = None
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, variables: Mapping[str, str]) -> Settings:
        """The settings that the variables describe; an empty variable counts as unset.

        Raises:
            ValueError: A variable has a value that cannot be used.
        """
        said = {name: text.strip() for name, text in variables.items() if text.strip()}
        kwargs = {
            name.removeprefix(PREFIX).lower(): parse(text)
            for name, text in said.items()
            if name.startswith(PREFIX) and name != PREFIX
        }
        return cls(
            env_id=said.get("TEXTARENA_ENV_ID", cls().env_id),
            num_players=_count(said, "TEXTARENA_NUM_PLAYERS") or 1,
            max_turns=_count(said, "TEXTARENA_MAX_TURNS"),
            kwargs=kwargs,
        )


def parse(text: str) -> Any:
    """The value that somebody meant by a text: true, false, none, a number, JSON in brackets, or the text."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if text[:1] in ("[", "{"):
        try:
            return json.loads(text)
        except ValueError:
            return text
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text


def _count(said: Mapping[str, str], name: str) -> int | None:
    text = said.get(name)
    if text is None:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"expected a whole number >= 1, got {text!r} in {name}")
    return int(text)
