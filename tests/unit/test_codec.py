"""Bytes to JSON values and back, where the two decoders and the two encoders meet."""

from __future__ import annotations

import enum
import json
import math
from typing import Any

import pytest

from openenv.codec import decode, encode
from openenv.errors import InvalidJsonError


class Colour(enum.Enum):
    RED = "red"


def round_trip(value: Any, default: Any = None) -> Any:
    return json.loads(encode(value, default))


@pytest.mark.parametrize("text", ["NaN", "[Infinity, -Infinity]", '"\\ud800"', '{"a": NaN}'])
def test_what_the_standard_library_takes_is_taken(text: str) -> None:
    """Existing clients send it."""
    assert repr(decode(text.encode())) == repr(json.loads(text))


@pytest.mark.parametrize("data", [b"", b"nope", b"{", b'{"a":}', b"[1,]", b"1 2"])
def test_a_decoding_error_has_the_standard_librarys_text(data: bytes) -> None:
    """Existing servers send that text."""
    with pytest.raises(json.JSONDecodeError) as expected:
        json.loads(data)
    with pytest.raises(InvalidJsonError) as caught:
        decode(data)
    assert str(caught.value) == str(expected.value)
    assert isinstance(caught.value.__cause__, json.JSONDecodeError)


@pytest.mark.parametrize("data", [b"\xff", b'"\xc3"', b"[" * 100_000 + b"]" * 100_000])
def test_what_is_no_text_or_has_no_end_is_an_error_and_not_a_crash(data: bytes) -> None:
    """Not UTF-8, or nested beyond reason."""
    with pytest.raises(InvalidJsonError):
        decode(data)


def test_numbers_without_a_json_form_become_null() -> None:
    """Also where another part of the value needs the slow encoder."""
    assert round_trip([math.nan, math.inf, -math.inf, 1.5]) == [None, None, None, 1.5]
    assert round_trip([math.nan, 2**70]) == [None, 2**70]


KEYS = [(1, "1"), (True, "true"), (None, "null"), (1.5, "1.5"), (Colour.RED, "red"), ((1, "a"), "1,a")]


@pytest.mark.parametrize(("key", "text"), KEYS)
def test_keys_that_are_not_strings_become_strings(key: Any, text: str) -> None:
    """As JSON wants them."""
    assert round_trip({key: 1}) == {text: 1}
    assert round_trip({key: 2**70}) == {text: 2**70}


def test_long_integers_and_lone_surrogates_are_encoded() -> None:
    """orjson refuses both; an author's observation must not be lost for it."""
    assert round_trip({"n": 2**100, "t": (1, 2), "c": Colour.RED}) == {"n": 2**100, "t": [1, 2], "c": "red"}
    assert encode(["\ud800", 1]) == b'["?",1]'


def test_default_is_asked_for_what_has_no_form() -> None:
    """By the fast encoder and by the slow one."""
    assert round_trip({"s": {1}}, list) == {"s": [1]}
    assert round_trip({"s": {1}, "n": 2**70}, list) == {"s": [1], "n": 2**70}


@pytest.mark.parametrize("value", [object(), {"a": object()}, [2**70, object()]])
def test_what_nobody_can_encode_is_a_type_error(value: Any) -> None:
    """Not a wrong text."""
    with pytest.raises(TypeError):
        encode(value)


def test_a_value_that_holds_itself_is_a_type_error() -> None:
    """Not a crash."""
    value: list[Any] = []
    value.append(value)
    with pytest.raises(TypeError):
        encode(value)
