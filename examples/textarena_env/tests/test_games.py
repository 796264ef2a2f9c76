"""Games of TextArena, played to their end through the environment, and what goes wrong with them."""

import os
import random
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import cycle, permutations
from pathlib import Path
from typing import Any

import pytest
from textarena_env import TextArenaAction, TextArenaObservation
from textarena_env.server.environment import TextArenaEnvironment
from textarena_env.server.games import GameError
from textarena_env.server.settings import Settings

Moves = Callable[[random.Random], Iterator[str]]
CATEGORIES = {
    "PROMPT",
    "PLAYER_ACTION",
    "GAME_ACTION_DESCRIPTION",
    "GAME_MESSAGE",
    "GAME_BOARD",
    "GAME_ADMIN",
}
MOST_STEPS = 300


def environment(
    env_id: str, num_players: int = 1, max_turns: int | None = None, **kwargs: Any
) -> TextArenaEnvironment:
    """One session's environment."""
    return TextArenaEnvironment(Settings(env_id, num_players, max_turns, kwargs))


def step(env: TextArenaEnvironment, message: str) -> TextArenaObservation:
    """One move."""
    return env.step(TextArenaAction(message=message))


def shuffled(numbers: range) -> Moves:
    """Each number once, in any order."""
    return lambda dice: iter([f"[{number}]" for number in dice.sample(numbers, len(numbers))])


def one_of(*words: str) -> Moves:
    """Any of the words, for ever."""

    def moves(dice: random.Random) -> Iterator[str]:
        while True:
            yield f"[{dice.choice(words)}]"

    return moves


def in_turn(*words: str) -> Moves:
    """The words in their order, again and again."""
    return lambda dice: cycle(f"[{word}]" for word in words)


def play(env: TextArenaEnvironment, moves: Moves, seed: int) -> list[TextArenaObservation]:
    """A whole episode, by moves that depend on nothing but the seed and what was shown."""
    dice = random.Random(seed)
    observations = [env.reset(seed=seed)]
    supply = moves(dice)
    while not observations[-1].done:
        assert len(observations) < MOST_STEPS, "the game does not end"
        # Where the game itself says what is allowed just now, one of that.
        newest = observations[-1].messages[-1].content if observations[-1].messages else ""
        offered = re.findall(r"\[[a-z]+\]", newest.partition("available actions")[2])
        observations.append(step(env, dice.choice(offered) if offered else next(supply)))
    return observations


GUESSES = ("stone", "crane", "house", "table", "light", "bread", "chair", "apple")


def guesses(dice: random.Random) -> Iterator[str]:
    """Words that the tests' NLTK_DATA knows, each once."""
    return iter(dice.sample(GUESSES, len(GUESSES)))


def codes(dice: random.Random) -> Iterator[str]:
    """Mastermind's guesses, each once."""
    every = [" ".join(map(str, code)) for code in permutations(range(1, 7), 4)]
    return (f"[{code}]" for code in dice.sample(every, len(every)))


HANOI = in_turn("A C", "A B", "C B", "A C", "B A", "B C", "A C")
GAMES: list[tuple[str, int, Moves]] = [
    ("Wordle-v0", 1, guesses),
    ("GuessTheNumber-v0", 1, shuffled(range(1, 21))),
    ("FrozenLake-v0", 1, in_turn("right", "down")),
    ("Mastermind-v0", 1, codes),
    ("TowerOfHanoi-v0", 1, HANOI),
    ("TicTacToe-v0", 2, shuffled(range(9))),
    ("ConnectFour-v0", 2, in_turn("0", "1", "2", "3", "4", "5", "6")),
    ("KuhnPoker-v0", 2, one_of("check")),
    ("PigDice-v0", 2, one_of("roll", "hold")),
    ("IteratedPrisonersDilemma-v0", 2, one_of("cooperate", "defect")),
    ("ThreePlayerTicTacToe-v0", 3, shuffled(range(25))),
]


@pytest.mark.parametrize(("env_id", "players", "moves"), GAMES, ids=[game[0] for game in GAMES])
def test_a_game_is_played_to_its_end(env_id: str, players: int, moves: Moves) -> None:
    """By moves that it takes; at the end every player has a reward and nobody may move."""
    env = environment(env_id, players)
    for seed in range(3):
        observations = play(env, moves, seed)
        assert observations[0].reward == 0.0
        for observation in observations[:-1]:
            assert observation.legal_players == [observation.current_player_id]
            assert observation.rewards == {}
            assert observation.prompt
            assert {message.category for message in observation.messages} <= CATEGORIES
        last = observations[-1]
        assert (last.done, last.truncated, last.legal_players) == (True, False, [])
        assert set(last.rewards) == set(range(players))
        assert last.reward == last.rewards[observations[-2].current_player_id]
        assert {observation.current_player_id for observation in observations} == set(range(players))
        said = last.info["players"].values()
        assert not any(player["invalid_move"] for player in said), said
        assert env.state.turn <= env.state.step_count == len(observations) - 1


def test_who_gets_three_in_a_row_wins() -> None:
    """The reward of the step is the winner's, and the loser has his own."""
    env = environment("TicTacToe-v0", 2)
    env.reset(seed=1)
    for cell in (0, 3, 1, 4):
        observation = step(env, f"[{cell}]")
        assert (observation.done, observation.reward) == (False, 0.0)
    observation = step(env, "[2]")
    assert (observation.done, observation.reward, observation.rewards) == (True, 1.0, {0: 1.0, 1: -1.0})


def test_each_player_is_told_what_he_has_not_seen() -> None:
    """The rules at first, then what happened since, with the names of those who said it."""
    env = environment("TicTacToe-v0", 2)
    first = env.reset(seed=1)
    rules = first.messages[0]
    assert (rules.sender_id, rules.sender, rules.category) == (-1, "GAME", "PROMPT")
    second = step(env, "[4]")
    assert second.current_player_id == 1
    assert any(message.sender_id == 0 and "[4]" in message.content for message in second.messages)
    third = step(env, "[0]")
    assert "PROMPT" not in {message.category for message in third.messages}
    assert "You are Player 0" in third.prompt, "the prompt is whole"


def test_brackets_are_added_where_they_are_forgotten() -> None:
    """By the game's own wrapper."""
    env = environment("Wordle-v0")
    env.reset(seed=1)
    assert any("crane" in message.content.lower() for message in step(env, "crane").messages)
    assert env.state.turn == 1


@pytest.mark.parametrize(
    "env_id", ["Wordle-v0", "Mastermind-v0", "Minesweeper-v0", "LogicPuzzle-v0", "Blackjack-v0"]
)
def test_a_seed_repeats_beside_other_sessions(env_id: str) -> None:
    """Eight threads at once, switched as often as Python can: the same as alone, to the letter."""
    moves = one_of("crane", "stone", "1 2 3 4", "4 3 2 1", "hit", "stand", "3 3")
    alone = {seed: play(environment(env_id), moves, seed) for seed in range(4)}
    assert len({repr(episode) for episode in alone.values()}) > 1
    together: list[tuple[int, list[TextArenaObservation]]] = []
    threads = [
        threading.Thread(
            target=lambda seed: together.append((seed, play(environment(env_id), moves, seed))), args=(n % 4,)
        )
        for n in range(8)
    ]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert len(together) == 8
    assert all(episode == alone[seed] for seed, episode in together)


def test_an_episode_does_not_depend_on_the_one_before() -> None:
    """The second of a session is the first of another, and shows nothing of its predecessor."""
    env = environment("Wordle-v0")
    play(env, guesses, 1)
    assert play(env, guesses, 2) == play(environment("Wordle-v0"), guesses, 2)


def test_an_episode_without_a_seed_can_be_played_again() -> None:
    """Its state says which was drawn."""
    env = environment("Minesweeper-v0")
    env.reset()
    shown = step(env, "[3 3]")
    seed = env.state.seed
    env.reset()
    assert env.state.seed != seed
    env.reset(seed=seed)
    assert step(env, "[3 3]") == shown


def test_the_random_numbers_of_the_process_are_left_alone() -> None:
    """Others in the process may have seeded them for themselves."""
    before = random.getstate()
    play(environment("KuhnPoker-v0", 2), one_of("check"), 1)
    assert random.getstate() == before


def test_an_episode_is_cut_off_after_so_many_moves() -> None:
    """Truncated, with a reward of nothing for everybody; a refused move is none."""
    env = environment("TicTacToe-v0", 2, max_turns=3)
    env.reset(seed=1)
    step(env, "[0]")
    step(env, "[99]")
    assert (env.state.turn, env.state.step_count) == (1, 2)
    step(env, "[1]")
    observation = step(env, "[2]")
    assert (observation.done, observation.truncated, observation.rewards) == (True, True, {0: 0.0, 1: 0.0})
    assert observation.info["reason"] == "cut off after 3 turns"
    assert observation.legal_players == []


def test_a_game_that_ends_with_its_last_move_is_not_cut_off() -> None:
    """The guide's Wordle: six guesses, at most six turns."""
    env = environment("Wordle-v0", max_turns=6)
    env.reset(seed=1)
    wrong = [word for word in GUESSES if word != _secret(env)][:6]
    observations = [step(env, word) for word in wrong]
    assert (observations[-1].done, observations[-1].truncated) == (True, False)


def _secret(env: TextArenaEnvironment) -> str:
    assert env._game is not None
    word: str = env._game._base.state.game_state["secret_word"]
    return word


def test_nothing_can_be_played_before_and_after_a_game() -> None:
    """Both say what to do."""
    env = environment("TowerOfHanoi-v0")
    with pytest.raises(RuntimeError, match="call reset first"):
        step(env, "[A C]")
    play(env, HANOI, 1)
    with pytest.raises(RuntimeError, match="call reset to play another"):
        step(env, "[A C]")


@pytest.mark.parametrize(
    ("env_id", "players", "kwargs", "text"),
    [
        ("TicTacTo-v0", 2, {}, r"no game 'TicTacTo-v0'; set TEXTARENA_ENV_ID .*TicTacToe-v0"),
        ("TicTacToe-v0", 1, {}, r"for 1 player\(s\): .*has to be 2, received 1; see .*TEXTARENA_NUM_PLAYERS"),
        ("Wordle-v0", 1, {"speed": 3}, r"takes no TEXTARENA_KW_SPEED; it takes TEXTARENA_KW_WORD_LENGTH"),
        ("GuessWho-v0", 1, {}, r"OPENROUTER_API_KEY"),
    ],
)
def test_a_game_that_cannot_be_played_says_why(
    env_id: str, players: int, kwargs: dict[str, Any], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the name of the variable to change."""
    monkeypatch.delenv("OPENROUTER_API_KEY", raising=False)
    with pytest.raises(GameError, match=text):
        environment(env_id, players, **kwargs).reset(seed=1)


def test_keywords_reach_the_game_whatever_their_case() -> None:
    """`TEXTARENA_KW_N` is Secretary's `N`."""
    assert "3" in environment("Secretary-v0", n=3).reset(seed=1).prompt
    assert "between 1 and 5" in environment("GuessTheNumber-v0", max_number=5).reset(seed=1).prompt


def test_what_games_print_does_not_reach_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    """This one prints while it sets up its board."""
    environment("SettlersOfCatan-v0", 4).reset(seed=1)
    assert capfd.readouterr().out == ""


def test_a_web_page_shows_the_board_and_no_markup_of_the_games() -> None:
    """In monospace, with whose turn it is."""
    env = environment("TicTacToe-v0", 2)
    drawn = env.render_web(
        {
            "current_player_id": 1,
            "messages": [
                {"category": "GAME_BOARD", "content": "old"},
                {"category": "GAME_BOARD", "content": "<b> X | O"},
                {"category": "PLAYER_ACTION", "content": "[4]"},
            ],
        }
    )
    assert drawn is not None
    assert drawn.startswith("<p>Player 1 is next.</p><pre")
    assert drawn.endswith(">&lt;b&gt; X | O</pre>")
    over = env.render_web({"done": True, "prompt": "over", "rewards": {"0": 1.0}})
    assert over is not None
    assert over.startswith("<p>Game over. Rewards: {&#x27;0&#x27;: 1.0}</p>")
    assert over.endswith(">over</pre>")


WITHOUT_WORDS = """
import socket, sys

def no_network(*args, **kwargs):
    sys.exit(f"asked the network for {args[:2]}")

socket.getaddrinfo = socket.socket.connect = no_network
from textarena_env.server.environment import TextArenaEnvironment
from textarena_env.server.games import GameError

try:
    TextArenaEnvironment.check()
except GameError as error:
    print(error)
"""


def test_missing_words_are_one_error_and_no_download(tmp_path: Path) -> None:
    """It says what is missing, how to get it and where it was looked for; the network is not touched."""
    here = Path(__file__).resolve().parents[2]
    env = {**os.environ, "NLTK_DATA": str(tmp_path), "HOME": str(tmp_path), "TEXTARENA_ENV_ID": "Wordle-v0"}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, (str(here), env.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_WORDS],
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Wordle-v0 needs word lists that are not on this machine.")
    assert "nltk.downloader -d FOLDER words averaged_perceptron_tagger_eng" in done.stdout
    assert str(tmp_path) in done.stdout
