"""The variables of the TextArena environment."""

import pytest
from textarena_env.server.settings import Settings, parse


def test_without_variables_one_player_plays_wordle() -> None:
    """As in the guide; empty variables count as unset."""
    expected = Settings(env_id="Wordle-v0", num_players=1, max_turns=None, kwargs={})
    assert (
        Settings.read({}) == Settings.read({"TEXTARENA_MAX_TURNS": "", "TEXTARENA_ENV_ID": " "}) == expected
    )


def test_every_variable_is_read() -> None:
    """Keywords in lower case, with their types."""
    settings = Settings.read(
        {
            "TEXTARENA_ENV_ID": "Mastermind-v0",
            "TEXTARENA_NUM_PLAYERS": "2",
            "TEXTARENA_MAX_TURNS": "6",
            "TEXTARENA_KW_CODE_LENGTH": "3",
            "TEXTARENA_KW_duplicate_numbers": "true",
            "PATH": "/bin",
        }
    )
    assert settings == Settings("Mastermind-v0", 2, 6, {"code_length": 3, "duplicate_numbers": True})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7),
        ("-1", -1),
        ("0.5", 0.5),
        ("1e3", 1000.0),
        ("True", True),
        ("FALSE", False),
        ("none", None),
        ("[8, 8]", [8, 8]),
        ("[not json", "[not json"),
        ("SEND + MORE = MONEY", "SEND + MORE = MONEY"),
        ("", ""),
    ],
)
def test_a_keyword_is_what_it_looks_like(text: str, value: object) -> None:
    """Number, truth value, list or text."""
    parsed = parse(text)
    assert (parsed, type(parsed)) == (value, type(value))


@pytest.mark.parametrize("name", ["TEXTARENA_NUM_PLAYERS", "TEXTARENA_MAX_TURNS"])
@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5"])
def test_a_count_that_is_none_is_refused_by_name(name: str, text: str) -> None:
    """With what was said."""
    with pytest.raises(ValueError, match=rf"whole number >= 1, got '{text}' in {name}"):
        Settings.read({name: text})
