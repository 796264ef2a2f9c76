"""Every knob is settled by the first that said something, and a refusal says what would do."""

from __future__ import annotations

import pytest

from openenv.config import KNOBS, Config, effective_capacity, resolve
from openenv.errors import ConcurrencyConfigurationError, ConfigurationError


def test_defaults_are_those_of_the_guide() -> None:
    """Nobody said anything: port 8000 on every address, one process, the web page on."""
    config = resolve({}, {}, {})
    assert (config.host, config.port, config.workers) == ("0.0.0.0", 8000, 1)
    assert config.max_concurrent_envs is None
    assert config.web_interface is True
    assert config == Config()


@pytest.mark.parametrize(
    ("flag", "variable", "code", "settled"),
    [
        ("1", "2", 3, 1),
        (1, "2", 3, 1),
        (None, "2", 3, 2),
        (None, "", 3, 3),
        (None, "  ", 3, 3),
        (None, None, 3, 3),
        (None, None, None, 8000),
    ],
)
def test_flag_comes_before_variable_before_code_before_default(
    flag: object, variable: str | None, code: int | None, settled: int
) -> None:
    """The first that said something decides; an empty variable says nothing."""
    variables = {} if variable is None else {"PORT": variable}
    assert resolve({"port": flag}, variables, {"port": code}).port == settled


@pytest.mark.parametrize("name", sorted(KNOBS))
def test_every_variable_and_flag_reaches_its_knob(name: str) -> None:
    """The default, written as text, is accepted everywhere and gives the default."""
    knob = KNOBS[name]
    if knob.default is None:
        return
    text = str(knob.default)
    assert getattr(resolve({name: text}, {}, {}), name) == knob.default
    if knob.variable is not None:
        assert getattr(resolve({}, {knob.variable: text}, {}), name) == knob.default


@pytest.mark.parametrize("text", ["abc", "0", "-1", "1025", "1.5", "1_0", "", "4 5", "0x4", "nan"])
def test_workers_that_are_no_number_are_refused_in_one_line(text: str) -> None:
    """The message says what was expected, what was given, where, and what to do."""
    if text == "":
        assert resolve({}, {"WORKERS": text}).workers == 1
        return
    with pytest.raises(ConfigurationError) as caught:
        resolve({}, {"WORKERS": text})
    message = str(caught.value)
    assert message.startswith("expected a whole number from 1 to 1024, got ")
    assert " in WORKERS; " in message
    assert "\n" not in message
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("text", [" 4 ", "4", "+4", "04"])
def test_numbers_may_be_written_as_people_write_them(text: str) -> None:
    """Blanks, a sign and leading zeros are no mistake."""
    assert resolve({}, {"WORKERS": text}).workers == 4


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "1e9", "soon"])
def test_seconds_are_bounded_numbers(text: str) -> None:
    """A time must be one that can be waited for."""
    with pytest.raises(ConfigurationError, match=r"a number of seconds from 0 to 86400, got .* in --drain-s"):
        resolve({"drain_s": text}, {})


@pytest.mark.parametrize("value", [True, "4", 4.0, [4]])
def test_code_must_give_a_knob_its_own_type(value: object) -> None:
    """A bool is no number, and code does not pass text for one."""
    with pytest.raises(ConfigurationError, match="in workers="):
        resolve({}, {}, {"workers": value})


def test_a_whole_number_is_a_time_too() -> None:
    """`drain_s=5` in code means 5.0."""
    assert resolve({}, {}, {"drain_s": 5}).drain_s == 5.0


@pytest.mark.parametrize(
    ("text", "on"),
    [
        ("false", False),
        ("0", False),
        ("No", False),
        ("OFF", False),
        ("true", True),
        ("1", True),
        ("Auto", True),
    ],
)
def test_web_interface_is_on_unless_plainly_switched_off(text: str, on: bool) -> None:
    """Auto is the guide's default for it."""
    assert resolve({}, {"ENABLE_WEB_INTERFACE": text}).web_interface is on


def test_debug_must_be_said_in_a_known_word() -> None:
    """What is off by default is not switched on by a typing mistake."""
    assert resolve({}, {"OPENENV_DEBUG": "yes"}).debug is True
    with pytest.raises(ConfigurationError, match="OPENENV_DEBUG"):
        resolve({}, {"OPENENV_DEBUG": "maybe"})


def test_words_are_matched_without_regard_to_case() -> None:
    """`LOG_LEVEL=INFO` is how many write it."""
    assert resolve({}, {"LOG_LEVEL": "WARNING"}).log_level == "warning"
    with pytest.raises(ConfigurationError, match="one of critical, error, warning, info, debug, got 'loud'"):
        resolve({}, {"LOG_LEVEL": "loud"})


def test_a_key_without_a_certificate_is_refused() -> None:
    """A server that was to be secure does not silently serve in the clear."""
    with pytest.raises(ConfigurationError, match="--ssl-keyfile without --ssl-certfile"):
        resolve({"ssl_keyfile": "key.pem"}, {})


def test_unknown_settings_are_refused() -> None:
    """`app.run(prot=...)` is a mistake, not a wish."""
    with pytest.raises(ConfigurationError, match="got 'prot' as the name of a setting"):
        resolve({"prot": 1}, {})


@pytest.mark.parametrize(
    ("asked", "concurrent", "capacity"), [(None, True, 100), (None, False, 1), (1, False, 1), (7, True, 7)]
)
def test_capacity_follows_the_class_where_nobody_asked(
    asked: int | None, concurrent: bool, capacity: int
) -> None:
    """100 for a class that is concurrent, 1 for one that does not say so."""
    assert effective_capacity(asked, concurrent, "Echo") == capacity


def test_asking_too_much_of_a_class_that_is_not_concurrent_is_refused() -> None:
    """The message names the class, the number and the attribute to set."""
    with pytest.raises(ConcurrencyConfigurationError, match=r"'Echo'.*SUPPORTS_CONCURRENT_SESSIONS.*=2"):
        effective_capacity(2, False, "Echo")


def test_every_knob_has_help_and_no_two_share_a_variable_or_flag() -> None:
    """The table is the documentation."""
    rows = list(KNOBS.values())
    assert all(row.help for row in rows)
    for column in ("variable", "flag"):
        said = [getattr(row, column) for row in rows if getattr(row, column) is not None]
        assert len(said) == len(set(said))
