"""The TextArena environment as its users have it: installed alone, served, validated, in a container."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from openenv import GenericEnvClient
from tests.support.docker import containers
from tests.support.example import (
    EXAMPLES,
    build_image,
    clean_environ,
    install_alone,
    run_own_tests,
    stock_play,
)
from tests.support.server import Server, StartFailedError, serve

TARGET = "textarena_env.server.app:app"
WORDS = ("stone", "crane", "house", "table", "light", "bread", "chair", "apple")
CELLS = [{"message": f"[{cell}]"} for cell in (0, 3, 1, 4, 2)]
"""Five moves of tic-tac-toe that make player 0 win."""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter that has it, and of this repository nothing but the wheel."""
    return install_alone("textarena_env", tmp_path_factory.mktemp("textarena"))


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for NLTK_DATA with a few words, as the example's own tests make it."""
    path = EXAMPLES / "textarena_env" / "tests" / "small_corpus.py"
    spec = spec_from_file_location("small_corpus", path)
    assert spec is not None
    assert spec.loader is not None
    corpus = module_from_spec(spec)
    spec.loader.exec_module(corpus)
    folder = tmp_path_factory.mktemp("words") / "nltk_data"
    corpus.make_corpus(folder)
    return folder


@pytest.fixture(scope="module")
def wordle(python: Path, words: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Wordle, served by two workers."""
    env = clean_environ({"NLTK_DATA": str(words), "TEXTARENA_MAX_TURNS": "6"})
    with serve(TARGET, python=python, cwd=tmp_path_factory.mktemp("served"), env=env, workers=2) as running:
        yield running


@pytest.fixture(scope="module")
def board_game(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Tic-tac-toe for two players."""
    env = clean_environ({"TEXTARENA_ENV_ID": "TicTacToe-v0", "TEXTARENA_NUM_PLAYERS": "2"})
    with serve(TARGET, python=python, cwd=tmp_path_factory.mktemp("served"), env=env) as running:
        yield running


def test_its_own_tests_pass_where_it_is_installed_alone(python: Path, tmp_path: Path) -> None:
    """From a wheel of the runtime and its own folder; nothing is downloaded but packages."""
    assert "passed" in run_own_tests("textarena_env", python, tmp_path)


@pytest.mark.peer
def test_the_stock_client_plays_a_game_for_two(board_game: Server) -> None:
    """To its end: whose turn, who won, rewards by player."""
    results = stock_play(board_game.url, CELLS, seed=1)
    assert [result["observation"]["current_player_id"] for result in results[:5]] == [0, 1, 0, 1, 0]
    assert results[0]["observation"]["messages"][0]["category"] == "PROMPT"
    last, state = results[-2], results[-1]["state"]
    assert (last["done"], last["reward"]) == (True, 1.0)
    assert last["observation"]["rewards"] == {"0": 1.0, "1": -1.0}
    assert (state["env_id"], state["seed"], state["turn"]) == ("TicTacToe-v0", 1, 5)


@pytest.mark.peer
def test_the_stock_client_plays_wordle(wordle: Server) -> None:
    """From a small corpus; six guesses at the most."""
    results = stock_play(wordle.url, [{"message": f"[{word}]"} for word in WORDS], seed=3)
    assert results[-2]["done"] is True
    assert 2 <= len(results) - 1 <= 7


def test_seeds_repeat_in_every_session_of_every_worker(wordle: Server) -> None:
    """Twelve sessions at once, four with each seed."""

    def play(seed: int) -> tuple[int, list[Any]]:
        with GenericEnvClient(base_url=wordle.url).sync() as client:
            seen = [client.reset(seed=seed).observation]
            for word in WORDS:
                result = client.step({"message": f"[{word}]"})
                seen.append((result.observation, result.reward, result.done))
                if result.done:
                    break
            return seed, seen

    with ThreadPoolExecutor(12) as pool:
        episodes = list(pool.map(play, [number % 3 for number in range(12)]))
    for seed in range(3):
        first, *others = [episode for number, episode in episodes if number == seed]
        assert all(episode == first for episode in others)


def test_a_server_without_words_does_not_start_and_says_what_to_do(python: Path, tmp_path: Path) -> None:
    """In one line, without a traceback and without asking the network."""
    env = clean_environ({"NLTK_DATA": str(tmp_path), "HOME": str(tmp_path)})
    with pytest.raises(StartFailedError) as caught, serve(TARGET, python=python, cwd=tmp_path, env=env):
        pass
    text = str(caught.value)
    assert "Wordle-v0 needs word lists that are not on this machine" in text
    assert "python -m nltk.downloader -d FOLDER words averaged_perceptron_tagger_eng" in text
    assert "Traceback" not in text


def test_it_is_valid(python: Path, words: Path) -> None:
    """`openenv validate` has nothing to say against it."""
    command = [str(python), "-m", "openenv", "validate", str(EXAMPLES / "textarena_env")]
    env = clean_environ({"NLTK_DATA": str(words)})
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.docker
def test_a_container_of_it_serves(words: Path) -> None:
    """Built by its own Dockerfile with a small corpus beside it, and gone afterwards."""
    image = build_image("textarena_env", "openenv-test-textarena:latest", {"nltk_data": words})
    before = containers()
    with GenericEnvClient.from_docker_image(image, workers=1).sync() as client:
        client.reset(seed=3)
        assert client.step({"message": "[crane]"}).observation["messages"]
    assert containers() == before
