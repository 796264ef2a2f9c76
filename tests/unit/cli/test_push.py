"""Settings as they are typed, and the command lines of `push` and `fork` as they are understood."""

from __future__ import annotations

import argparse

import pytest

from openenv.cli import fork, push
from openenv.cli.main import Parser
from openenv.cli.settings import is_name, parse_settings
from openenv.errors import ConfigurationError


def parsed(*words: str) -> argparse.Namespace:
    """A command line of `push`."""
    parser = Parser()
    push.configure(parser)
    return parser.parse_args(words)


def test_settings_are_split_at_the_first_equals_sign() -> None:
    """Values may hold further ones, be empty, and are kept to the last space; later words win."""
    words = ["A=x=y", "B=", "C= z ", "A=2"]
    assert parse_settings(words, "-e") == {"A": "2", "B": "", "C": " z "}


@pytest.mark.parametrize("word", ["=x", "1A=x", "a-b=x", "a b=x", " =x", "ä=x"])
def test_settings_have_names_that_a_shell_takes(word: str) -> None:
    """And the message holds no value."""
    with pytest.raises(ConfigurationError, match="expected -e NAME=VALUE") as caught:
        parse_settings([word], "-e")
    assert "=x" not in str(caught.value)


def test_a_name_alone_takes_its_value_from_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `docker run -e` has it; an empty variable is none."""
    monkeypatch.setenv("A_KEY", "value")
    monkeypatch.setenv("EMPTY", "")
    assert parse_settings(["A_KEY"], "--secret") == {"A_KEY": "value"}
    for name in ("EMPTY", "NOT_SET_ANYWHERE"):
        with pytest.raises(ConfigurationError, match=f"no variable {name} here"):
            parse_settings([name], "--secret")


def test_a_word_that_is_no_name_is_not_repeated() -> None:
    """It may be a secret that lost its name."""
    with pytest.raises(ConfigurationError) as caught:
        parse_settings(["sk-123-abc"], "--secret")
    assert "sk-123" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "expected"), [("A_1", True), ("_a", True), ("", False), ("1", False), ("A\n", False)]
)
def test_names(name: str, expected: bool) -> None:
    """Letters, digits and '_', no digit first."""
    assert is_name(name) is expected


def test_flags_of_the_incumbent_are_understood() -> None:
    """Every spelling that its users have in their scripts."""
    words = "d -r a/b -b img --private --create-pr --exclude f --delete x --delete y -H t4 -n 2"
    options = parsed(*words.split(), "-e", "A=1", "-e", "B=2", "--secret", "C=3")
    assert (options.directory, options.repo_id, options.base_image) == ("d", "a/b", "img")
    assert (options.private, options.create_pr, options.exclude) == (True, True, "f")
    assert (options.delete, options.hardware, options.count) == (["x", "y"], "t4", 2)
    assert (options.env_var, options.secret, options.registry) == (["A=1", "B=2"], ["C=3"], None)
    long = parsed(
        "--repo-id", "a", "--base-image", "b", "--hardware", "c", "--count", "3", "--env-var", "D=1"
    )
    assert (long.repo_id, long.base_image, long.hardware, long.count, long.env_var) == (
        "a",
        "b",
        "c",
        3,
        ["D=1"],
    )


@pytest.mark.parametrize(
    ("words", "expected"), [((), None), (("--interface",), True), (("--no-interface",), False)]
)
def test_the_interface_has_three_states(words: tuple[str, ...], expected: bool | None) -> None:
    """On, off, and as the Dockerfile and the place have it."""
    assert parsed(*words).interface is expected


def test_what_is_given_twice_starts_empty_each_time() -> None:
    """Lists of one parsing do not show up in the next."""
    parsed("--secret", "A=1", "-e", "B=1", "--delete", "x")
    options = parsed()
    assert (options.secret, options.env_var, options.delete) == ([], [], [])


def test_fork_understands_the_same_settings() -> None:
    """`-e` and `--secret` are spelt alike, and in the incumbent's other ways as well."""
    parser = Parser()
    fork.configure(parser)
    options = parser.parse_args(["a/b", "-r", "c", "-e", "A=1", "--secret", "B=2", "-H", "t4", "--private"])
    assert (options.space, options.repo_id, options.env_var, options.secret) == ("a/b", "c", ["A=1"], ["B=2"])
    assert (options.hardware, options.private) == ("t4", True)
    other = parser.parse_args(["a/b", "--set-env", "A=1", "--set-secret", "B=2", "-s", "C=3"])
    assert (other.env_var, other.secret) == (["A=1"], ["B=2", "C=3"])
