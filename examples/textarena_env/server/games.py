"""TextArena's games, made fit for a server that plays many at once.

In: settings. Out: `Game`, one game with one session's own random numbers. Left to itself the package

- downloads word lists when games are imported or made, and hangs or warns where there is no network:
  `nltk.download` does nothing here, and what is missing is said in one error;
- seeds and draws from the generators of the modules `random` and `numpy.random`, which all sessions of a
  process would share: in its modules these names stand for the session whose call is running;
- loads the tagger once for each word, and dictionaries once for each game: here once for each process;
- prints: that goes to the log;
- keeps the last episode's messages in its wrappers: each episode has a new game object.

Limits: what a game draws from anywhere else is its own; games that ask a language model never repeat.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import inspect
import logging
import random
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import nltk
import nltk.tag

from .settings import PREFIX, Settings

logger = logging.getLogger("textarena_env")

Seed = int | float | str | None


class GameError(Exception):
    """The game that the settings name cannot be played here; the text says why and what to do."""


# Before textarena is imported: it asks for downloads while it is.
def _no_download(*args: Any, **kwargs: Any) -> bool:
    logger.debug("nltk.download%r: left out, a server does not download", args)
    return True


nltk.download = _no_download


@functools.cache
def _tagger(lang: str | None = None) -> Any:
    """One tagger for all, which remembers the words that it has seen."""
    tagger = _load_tagger(lang)
    tag = functools.lru_cache(maxsize=1 << 19)(lambda tokens: tagger.tag(list(tokens)))
    return SimpleNamespace(tag=lambda tokens: tag(tuple(tokens)))


_load_tagger = nltk.tag._get_tagger
nltk.tag._get_tagger = _tagger

import textarena  # noqa: E402
from textarena.envs.registration import ENV_REGISTRY  # noqa: E402
from textarena.envs.utils import word_lists  # noqa: E402

word_lists.EnglishDictionary = functools.cache(word_lists.EnglishDictionary)

# Games are made and reset one at a time: NLTK's lazy loaders are not safe to be raced, and some games
# keep what they are generating in globals.
_one_at_a_time = threading.Lock()
_playing = threading.local()


class _Draws(random.Random):
    """One session's random numbers; numpy's, if a game wants those, are made of them."""

    numpy: Any = None

    def seed(self, *args: Any, **kwargs: Any) -> None:
        super().seed(*args, **kwargs)
        self.numpy = None


class _PerSession:
    """A module of random numbers, whose functions are those of the session that is playing on this thread."""

    def __init__(self, module: Any, source: Callable[[], Any]) -> None:
        self._module = module
        self._source = source

    def __getattr__(self, name: str) -> Any:
        source = self._source()
        return getattr(source if hasattr(source, name) else self._module, name)


_random = _PerSession(random, lambda: getattr(_playing, "random", None))


@functools.cache
def _numpy_module() -> Any:
    numpy = sys.modules["numpy"]
    draws = _PerSession(numpy.random, _numpy_generator)
    return _PerSession(numpy, lambda: SimpleNamespace(random=draws))


def _numpy_generator() -> Any:
    """Made of the session's own generator, the first time that a game of it asks for one."""
    draws: _Draws | None = getattr(_playing, "random", None)
    if draws is None:
        return None
    if draws.numpy is None:
        draws.numpy = sys.modules["numpy"].random.RandomState(draws.getrandbits(32))
    return draws.numpy


def _log_print(*values: Any, sep: str | None = None, **kwargs: Any) -> None:
    logger.debug("%s", (" " if sep is None else sep).join(map(str, values)))


_adopted: set[str] = set()


def _adopt_modules() -> None:
    """Put the session's random numbers and the log in the place of the process's, in TextArena's modules."""
    for name, module in list(sys.modules.items()):
        if not name.startswith("textarena.") or name in _adopted or module is None:
            continue
        _adopted.add(name)
        names = vars(module)
        names.setdefault("print", _log_print)
        if names.get("random") is random:
            names["random"] = _random
        for alias in ("numpy", "np"):
            if names.get(alias) is sys.modules.get("numpy", module):
                names[alias] = _numpy_module()


def _class_of(settings: Settings) -> type:
    """The game's class, imported."""
    spec = ENV_REGISTRY.get(settings.env_id)
    if spec is None:
        known = [name for name in ENV_REGISTRY if not name.endswith(("-raw", "-train"))]
        near = difflib.get_close_matches(settings.env_id, known, n=3, cutoff=0.3)
        raise GameError(
            f"TextArena has no game {settings.env_id!r}; set TEXTARENA_ENV_ID to one of its {len(known)}, "
            f"for instance {', '.join(near or known[:3])}"
        )
    entry = spec.entry_point
    if isinstance(entry, str):
        module, _, name = entry.partition(":")
        entry = getattr(importlib.import_module(module), name)
    made: type = entry
    return made


def _keywords(settings: Settings, cls: type) -> dict[str, Any]:
    """The keywords of the settings by the names that the game's class has for them, whatever their case."""
    parameters = [name for name in inspect.signature(cls).parameters if name != "self"]
    names = {name.lower(): name for name in parameters}
    unknown = sorted(set(settings.kwargs) - set(names))
    if unknown:
        raise GameError(
            f"{settings.env_id} takes no {PREFIX}{unknown[0].upper()}; it takes "
            f"{', '.join(PREFIX + name.upper() for name in names) or 'none'}"
        )
    return {names[name]: value for name, value in settings.kwargs.items()}


@contextmanager
def _explained(settings: Settings) -> Iterator[None]:
    """Whatever goes wrong while a game is made, as one `GameError`."""
    try:
        yield
    except GameError:
        raise
    except LookupError as error:
        if "nltk" not in str(error).lower():
            raise
        raise GameError(
            f"{settings.env_id} needs word lists that are not on this machine. Where there is a network, run "
            "`python -m nltk.downloader -d FOLDER words averaged_perceptron_tagger_eng`, bring FOLDER here "
            f"and set NLTK_DATA=FOLDER. Looked for in {', '.join(nltk.data.path)}"
        ) from error
    except Exception as error:
        first_line = (str(error).strip() or "no reason given").splitlines()[0]
        if isinstance(error, SyntaxError) and sys.version_info < (3, 12):
            first_line += ", which Python 3.12 may understand"
        raise GameError(
            f"{settings.env_id} cannot be made for {settings.num_players} player(s): {type(error).__name__}: "
            f"{first_line}; see TEXTARENA_ENV_ID, TEXTARENA_NUM_PLAYERS and {PREFIX}..."
        ) from error


class Game:
    """One game of one episode, for as many players as the settings say.

    Args:
        settings: Which game.

    Raises:
        GameError: It cannot be made here.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._random = _Draws()
        self._seen: list[Any] = []
        with _one_at_a_time, _explained(settings), self._turn():
            keywords = _keywords(settings, _class_of(settings))
            _adopt_modules()
            self._env = textarena.make(settings.env_id, **keywords)
            _adopt_modules()
        self._base = _innermost(self._env)
        self._look = self._base.get_observation
        # What the wrappers make into one text is tapped where it is still a list.
        self._base.get_observation = self._tapped_look

    def start(self, seed: Seed) -> None:
        """Deal the cards, draw the word, set up the board. Same seed, same game.

        Raises:
            GameError: The game cannot be played like this, by so many players for instance.
        """
        self._random.seed(seed)
        with _one_at_a_time, _explained(self._settings), self._turn():
            self._env.reset(num_players=self._settings.num_players, seed=seed)
            # Some import more when they are reset.
            _adopt_modules()

    def move(self, message: str) -> tuple[bool, bool, Mapping[str, Any]]:
        """Let the current player act.

        Returns:
            Whether the game is over, whether it took the move, and what it says about it.
        """
        with self._turn():
            done, info = self._env.step(message)
        # A refused move is an error that the next good one clears; where a game does not count them, none is.
        return bool(done), not getattr(self._base.state, "error_count", 0), info or {}

    def look(self) -> tuple[int, str, list[tuple[int, str, str, str]]]:
        """Who is next and what he is shown.

        Returns:
            The player; all his text; what is new of it, as (sender, sender's name, text, category).
        """
        self._seen = []
        with self._turn():
            player, shown = self._env.get_observation()
        roles = getattr(self._base.state, "role_mapping", None) or {}
        new = [
            (sender, str(roles.get(sender, f"Player {sender}")), str(text), _category(category))
            for sender, text, category in self._seen
        ]
        if not isinstance(shown, str):  # a game without wrappers
            shown = "\n".join(f"[{name}] {text}" for _, name, text, _ in new)
        return int(player), shown, new

    def outcome(self) -> tuple[dict[int, float], dict[int, Any]]:
        """Rewards and what the game has to say, by player. Asked for once, when the game is over."""
        rewards, info = self._env.close()
        return {
            int(player): _reward(reward) for player, reward in sorted((rewards or {}).items())
        }, info or {}

    @property
    def current_player(self) -> int:
        """Whose turn it is."""
        return int(self._base.state.current_player_id)

    def _tapped_look(self) -> Any:
        player, self._seen = self._look()
        return player, self._seen

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """A block in which this thread's random numbers are this game's."""
        before = getattr(_playing, "random", None)
        _playing.random = self._random
        try:
            yield
        finally:
            _playing.random = before


def _category(category: Any) -> str:
    # A few games say it in words of their own.
    return str(getattr(category, "name", category))


def _reward(reward: Any) -> float:
    # A few games mix up their arguments, and a text arrives here.
    return float(reward) if isinstance(reward, (int, float)) else 0.0


def _innermost(env: Any) -> Any:
    while isinstance(env, textarena.Wrapper):
        env = env.env
    return env
