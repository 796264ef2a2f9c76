"""What goes into the TextArena environment and what comes out."""

from dataclasses import dataclass
from typing import Any

from openenv import Action, Observation, State, field


class TextArenaAction(Action):
    """What the current player says."""

    message: str = field(description="The current player's move or words, for instance [crane]")


@dataclass(kw_only=True)
class TextArenaMessage:
    """One message that the current player has not seen before.

    Attributes:
        sender_id: A player, or -1 for the game.
        sender: The sender's name in this game.
        content: The text.
        category: PROMPT, PLAYER_ACTION, GAME_ACTION_DESCRIPTION, GAME_MESSAGE, GAME_BOARD or GAME_ADMIN.
    """

    sender_id: int
    sender: str
    content: str
    category: str


class TextArenaObservation(Observation):
    """What the current player sees; the reward is that of the player who has just moved."""

    prompt: str = field(default="", description="All that the current player is shown, as text for a model")
    messages: list[TextArenaMessage] = field(
        default_factory=list, description="What of it is new to the current player"
    )
    current_player_id: int = field(default=0, description="Whose turn it is, counted from 0")
    legal_players: list[int] = field(
        default_factory=list, description="Who may move; nobody once the episode is over"
    )
    rewards: dict[int, float] = field(
        default_factory=dict, description="Reward of each player; empty until the episode is over"
    )
    truncated: bool = field(default=False, description="Whether TEXTARENA_MAX_TURNS ended the episode")
    info: dict[str, Any] = field(
        default_factory=dict,
        description="What the game says of the step and, at the end, of each player",
    )


class TextArenaState(State):
    """Where the game stands. What it hides from the players is not in here."""

    env_id: str = field(default="", description="The game, as TextArena calls it")
    num_players: int = field(default=1, description="Number of players")
    max_turns: int | None = field(default=None, description="Moves after which the episode is cut off")
    turn: int = field(default=0, description="Moves so far, those that the game refused not counted")
    current_player_id: int = field(default=0, description="Whose turn it is, counted from 0")
    seed: int | str | float | None = field(
        default=None, description="Give it to reset to play this episode again"
    )
