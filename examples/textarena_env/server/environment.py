"""The TextArena environment: one session plays all the players of one text game."""

import html
import os
import secrets
from typing import Any, ClassVar
from uuid import uuid4

from openenv import Environment, EnvironmentMetadata

from ..models import TextArenaAction, TextArenaMessage, TextArenaObservation, TextArenaState
from .games import Game
from .settings import Settings


class TextArenaEnvironment(Environment[TextArenaAction, TextArenaObservation, TextArenaState]):
    """A game of TextArena, chosen by `TEXTARENA_ENV_ID` and its fellows."""

    SUPPORTS_CONCURRENT_SESSIONS = True  # see games.py: what the games share, it takes apart
    # Games search words and ask language models: each session has a thread of its own.
    NEVER_BLOCKS = False

    # Boards come last in a prompt, and say most on a web page.
    _SHOWN_ON_WEB: ClassVar[tuple[str, ...]] = ("GAME_BOARD", "GAME_MESSAGE", "PROMPT")

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__()
        self._settings = settings or Settings.read(os.environ)
        # Made here, so that a game that cannot be made costs no session.
        self._unused: Game | None = Game(self._settings)
        self._game: Game | None = None
        self._done = False
        self._state = self._new_state(None, None)

    @classmethod
    def check(cls) -> None:
        """Play the first move's preparations once.

        Raises:
            GameError: The game cannot be played here; the text says what to do.
            ValueError: A variable has a value that cannot be used.
        """
        env = cls()
        env.reset(seed=0)
        env.close()

    def reset(
        self, seed: int | float | str | None = None, episode_id: str | None = None
    ) -> TextArenaObservation:
        """Begin a game. Without a seed one is drawn; `state` says which."""
        if seed is None:
            seed = secrets.randbits(31)
        game = self._unused or Game(self._settings)
        self._unused = self._game = None
        game.start(seed)
        self._game = game
        self._done = False
        self._state = self._new_state(seed, episode_id)
        observation = self._look(game)
        observation.reward = 0.0
        return observation

    def step(self, action: TextArenaAction) -> TextArenaObservation:
        """Let the current player act. The reward is his, 0.0 until the game is over."""
        game = self._game
        if game is None:
            raise RuntimeError("no game is being played; call reset first")
        if self._done:
            raise RuntimeError("the game is over; call reset to play another")
        player = game.current_player
        done, taken, info = game.move(action.message)
        state = self._state
        state.step_count += 1
        state.turn += taken
        truncated = not done and state.max_turns is not None and state.turn >= state.max_turns
        self._done = done or truncated
        observation = self._look(game)
        observation.done = self._done
        observation.truncated = truncated
        observation.info = _plain(info)
        if truncated:
            observation.rewards = dict.fromkeys(range(state.num_players), 0.0)
            observation.info["reason"] = f"cut off after {state.max_turns} turns"
        elif done:
            observation.rewards, players = game.outcome()
            observation.info["players"] = _plain(players)
        if self._done:
            observation.legal_players = []
        observation.reward = observation.rewards.get(player, 0.0)
        return observation

    @property
    def state(self) -> TextArenaState:
        """Where the game stands."""
        return self._state

    def get_metadata(self) -> EnvironmentMetadata:
        """Name, and which game it is."""
        settings = self._settings
        return EnvironmentMetadata(
            name="textarena_env",
            description=f"TextArena's {settings.env_id}, players: {settings.num_players}",
            version="0.1.0",
        )

    def render_web(self, observation: dict[str, Any]) -> str | None:
        """The newest board, or else message, in monospace, and whose turn it is."""
        if observation.get("done"):
            head = f"Game over. Rewards: {observation.get('rewards')}"
        else:
            head = f"Player {observation.get('current_player_id')} is next."
        picture = html.escape(self._picture(observation))
        return f'<p>{html.escape(head)}</p><pre style="white-space:pre-wrap">{picture}</pre>'

    def _picture(self, observation: dict[str, Any]) -> str:
        messages = observation.get("messages") or []
        for category in self._SHOWN_ON_WEB:
            for message in reversed(messages):
                if message["category"] == category:
                    return str(message["content"])
        return str(observation.get("prompt", ""))

    def _look(self, game: Game) -> TextArenaObservation:
        player, prompt, new = game.look()
        self._state.current_player_id = player
        return TextArenaObservation(
            prompt=prompt,
            messages=[
                TextArenaMessage(sender_id=sender_id, sender=sender, content=content, category=category)
                for sender_id, sender, content, category in new
            ],
            current_player_id=player,
            legal_players=[player],
        )

    def _new_state(self, seed: int | float | str | None, episode_id: str | None) -> TextArenaState:
        settings = self._settings
        return TextArenaState(
            episode_id=episode_id or str(uuid4()),
            env_id=settings.env_id,
            num_players=settings.num_players,
            max_turns=settings.max_turns,
            seed=seed,
        )


def _plain(value: Any) -> Any:
    """What a game says, as values that JSON knows."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(str(item) for item in value)
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
