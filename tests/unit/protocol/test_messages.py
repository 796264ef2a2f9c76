"""The messages of `/ws`: what is taken, what is refused and how, and replies byte for byte."""

from __future__ import annotations

import json
from typing import Any

import pytest

from openenv.errors import (
    AuthorError,
    EnvironmentFactoryError,
    InvalidJsonError,
    OpenEnvError,
    SchemaError,
    SessionCapacityError,
    SessionError,
    SessionNotFoundError,
    UnknownTypeError,
)
from openenv.models import Observation
from openenv.protocol.messages import (
    parse_message,
    serialize_error,
    serialize_observation,
    serialize_rpc,
    serialize_state,
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"type":"reset"}', ("reset", {}, None)),
        ('{"type":"reset","data":{}}', ("reset", {}, None)),
        ('{"type":"reset","data":{"seed":-1,"x":null}}', ("reset", {"seed": -1, "x": None}, None)),
        ('{"data":{"a":1},"type":"step"}', ("step", {"a": 1}, None)),
        ('{"type":"step","data":{"type":"call_tool"}}', ("step", {"type": "call_tool"}, None)),
        ('{"type":"step","data":{},"timeout_s":5}', ("step", {}, 5.0)),
        ('{"type":"step","data":{},"timeout_s":0.25}', ("step", {}, 0.25)),
        ('{"type":"step","data":{},"timeout_s":null}', ("step", {}, None)),
        ('{"type":"reset","timeout_s":5}', ("reset", {}, 5.0)),
        ('{"type":"state"}', ("state", None, None)),
        ('{"type":"close"}', ("close", None, None)),
        ('{"type":"mcp","data":{"id":1}}', ("mcp", {"id": 1}, None)),
        (' {"type" : "state"}\n', ("state", None, None)),
        ('{"type":"step","data":{"x":NaN,"y":1e999}}', None),
        ('{"type":"step","data":{"x":123456789012345678901234567890}}', None),
        ('{"type":"step","data":{"x":"\\ud800"}}', None),
    ],
)
def test_a_message_is_parsed(text: str, message: tuple[str, Any, Any] | None) -> None:
    """The five types; what only the standard library's decoder takes is taken too."""
    for payload in (text, text.encode()):
        parsed = parse_message(payload)
        assert parsed == message or (message is None and parsed[0] == "step")


@pytest.mark.parametrize(
    ("payload", "start"),
    [
        (b"", "Invalid JSON: Expecting value: line 1 column 1 (char 0)"),
        (b"{", "Invalid JSON: Expecting property name"),
        (b'{"type":"state"} x', "Invalid JSON: Extra data"),
        (b"{'type':'state'}", "Invalid JSON: Expecting property name"),
        (b"\xff", "Invalid JSON: not UTF-8"),
        (b"[" * 200_000, "Invalid JSON: "),
        (b'{"type":"step","data":' + b'{"a":' * 100_000, "Invalid JSON: "),
        (b"1" * 5000, "Invalid JSON: "),
    ],
)
def test_what_is_not_json_is_invalid_json(payload: bytes, start: str) -> None:
    """The session lives; the text is the standard library's, as stock servers have it."""
    with pytest.raises(InvalidJsonError) as caught:
        parse_message(payload)
    assert str(caught.value).startswith(start)


@pytest.mark.parametrize("payload", [b"null", b"1", b'"text"', b"[]", b'[{"type":"state"}]', b"true", b"NaN"])
def test_json_that_is_no_object_ends_the_session(payload: bytes) -> None:
    """SESSION_ERROR, as stock servers do."""
    with pytest.raises(SessionError) as caught:
        parse_message(payload)
    assert caught.value.code == "SESSION_ERROR"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("{}", ""),
        ('{"data":{}}', ""),
        ('{"type":null}', "None"),
        ('{"type":1}', "1"),
        ('{"type":["step"],"data":{}}', "['step']"),
        ('{"type":{},"data":{}}', "{}"),
        ('{"type":"STEP","data":{}}', "STEP"),
        ('{"type":"nope"}', "nope"),
    ],
)
def test_an_unknown_type_is_named(text: str, shown: str) -> None:
    """UNKNOWN_TYPE; hashable or not."""
    with pytest.raises(UnknownTypeError) as caught:
        parse_message(text)
    assert str(caught.value) == f"Unknown message type: {shown}"


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ('{"type":"step"}', [("missing", ["data"])]),
        ('{"type":"mcp"}', [("missing", ["data"])]),
        ('{"type":"step","data":null}', [("dict_type", ["data"])]),
        ('{"type":"step","data":[]}', [("dict_type", ["data"])]),
        ('{"type":"reset","data":1}', [("dict_type", ["data"])]),
        ('{"type":"state","data":{}}', [("extra_forbidden", ["data"])]),
        ('{"type":"state","timeout_s":1}', [("extra_forbidden", ["timeout_s"])]),
        ('{"type":"close","data":{}}', [("extra_forbidden", ["data"])]),
        ('{"type":"step","data":{},"x":1,"y":2}', [("extra_forbidden", ["x"]), ("extra_forbidden", ["y"])]),
        ('{"type":"step","x":1}', [("missing", ["data"]), ("extra_forbidden", ["x"])]),
        ('{"type":"mcp","data":{},"timeout_s":1}', [("extra_forbidden", ["timeout_s"])]),
        ('{"type":"step","data":{},"timeout_s":0}', [("greater_than", ["timeout_s"])]),
        ('{"type":"step","data":{},"timeout_s":-1.5}', [("greater_than", ["timeout_s"])]),
        ('{"type":"step","data":{},"timeout_s":true}', [("float_type", ["timeout_s"])]),
        ('{"type":"step","data":{},"timeout_s":"5"}', [("float_type", ["timeout_s"])]),
    ],
)
def test_a_message_of_the_wrong_shape_names_every_fault(
    text: str, faults: list[tuple[str, list[str]]]
) -> None:
    """VALIDATION_ERROR with all of them at once, unexpected keys last."""
    with pytest.raises(SchemaError) as caught:
        parse_message(text)
    assert [(error["type"], error["loc"]) for error in caught.value.errors] == faults
    assert caught.value.message == "Invalid message"
    assert all({"type", "loc", "msg", "input"} <= set(error) for error in caught.value.errors)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "1" + "0" * 400])
def test_a_timeout_that_is_no_finite_number_is_a_fault(number: str) -> None:
    """Nothing that float() cannot hold gets through, and nothing else is raised."""
    with pytest.raises(SchemaError):
        parse_message('{"type":"step","data":{},"timeout_s":' + number + "}")


class Seen(Observation):
    """What nearly every observation is like."""

    a: int = 0


class Cut(Observation):
    """An observation that says whether a limit ended the episode."""

    truncated: bool = False


def reply_to(observation: Any) -> Any:
    """The data of a reply, which is the same the second time, when the class is known."""
    replies = {serialize_observation(observation) for _ in range(2)}
    assert len(replies) == 1
    return json.loads(replies.pop())["data"]


def test_an_observation_reply_has_three_keys() -> None:
    """In this order, and nothing else where there is nothing else to say."""
    for _ in range(2):
        assert serialize_observation(Seen(a=1, reward=1)) == (
            b'{"type":"observation","data":{"observation":{"metadata":{},"a":1},"reward":1,"done":false}}'
        )
    assert serialize_observation({"a": 1, "reward": float("nan"), "done": True}) == (
        b'{"type":"observation","data":{"observation":{"a":1},"reward":null,"done":true}}'
    )


def test_metadata_is_beside_the_observation_where_there_is_some() -> None:
    """Also for a class whose observations had none so far."""
    serialize_observation(Seen())
    data = reply_to(Seen(metadata={"k": (1, 2)}))
    assert data["metadata"] == data["observation"]["metadata"] == {"k": [1, 2]}
    assert "metadata" not in reply_to(Seen())


def test_truncated_is_beside_done_where_it_is_true() -> None:
    """And stays among the fields."""
    data = reply_to(Cut(truncated=True, done=True))
    assert data["truncated"] is data["observation"]["truncated"] is True
    assert "truncated" not in reply_to(Cut(done=True))
    assert reply_to({"truncated": True})["truncated"] is True


def test_an_observation_with_odd_keys_is_encoded_all_the_same() -> None:
    """By the slower encoder."""
    assert reply_to(Seen(a=2**70))["observation"]["a"] == 2**70


@pytest.mark.parametrize("value", [None, 3, "text", [1]])
def test_what_is_no_observation_is_a_type_error_that_says_so(value: Any) -> None:
    """It is the author's mistake, and his to read."""
    with pytest.raises(TypeError, match=f"got {type(value).__name__}"):
        serialize_observation(value)


@pytest.mark.parametrize("reward", [None, 1, 1.0, True, -0.5])
def test_a_reward_keeps_its_json_type(reward: Any) -> None:
    """1 stays 1, 1.0 stays 1.0 and true stays true."""
    for _ in range(2):
        assert f'"reward":{json.dumps(reward)},' in serialize_observation(Seen(reward=reward)).decode()


def test_state_and_rpc_replies_hold_what_they_are_given() -> None:
    """Their type and their data."""
    assert serialize_state({"episode_id": None, "step_count": 0}) == (
        b'{"type":"state","data":{"episode_id":null,"step_count":0}}'
    )
    assert serialize_rpc({"jsonrpc": "2.0", "id": 1, "result": {}}) == (
        b'{"type":"mcp","data":{"jsonrpc":"2.0","id":1,"result":{}}}'
    )


@pytest.mark.parametrize(
    ("error", "data"),
    [
        (InvalidJsonError("Invalid JSON: x"), {"message": "Invalid JSON: x", "code": "INVALID_JSON"}),
        (
            UnknownTypeError("Unknown message type: x"),
            {"message": "Unknown message type: x", "code": "UNKNOWN_TYPE"},
        ),
        (
            SchemaError([{"type": "missing", "loc": ["a"], "msg": "Field required", "input": {}}]),
            {
                "message": "Invalid message",
                "code": "VALIDATION_ERROR",
                "errors": [{"type": "missing", "loc": ["a"], "msg": "Field required", "input": {}}],
            },
        ),
        (
            SessionCapacityError(1, 1),
            {
                "message": "Server at capacity: 1/1 sessions active. Cannot accept new connections.",
                "code": "CAPACITY_REACHED",
                "active_sessions": 1,
                "max_sessions": 1,
            },
        ),
        (SessionNotFoundError("x"), {"message": "Unknown session_id: x", "code": "SESSION_ERROR"}),
        (
            AuthorError("'lost'", exception="KeyError"),
            {"message": "'lost'", "code": "EXECUTION_ERROR", "exception": "KeyError"},
        ),
        (
            EnvironmentFactoryError("Make"),
            {
                "message": "Environment factory 'Make' failed to create instance.",
                "code": "FACTORY_ERROR",
                "factory_name": "Make",
            },
        ),
    ],
)
def test_an_error_reply_has_message_code_and_what_the_error_adds(
    error: OpenEnvError, data: dict[str, Any]
) -> None:
    """One row of wire.md section 2 each."""
    assert json.loads(serialize_error(error)) == {"type": "error", "data": data}


@pytest.mark.parametrize(
    "value", [object(), {1, 2}, "\ud800", 10**40, float("nan"), b"\xff", ValueError("no"), {"a": [object()]}]
)
def test_an_error_reply_can_always_be_made(value: Any) -> None:
    """The input that did not fit is shown in an error, whatever it is."""
    fault = {"type": "value_error", "loc": ["a"], "msg": "no", "input": value, "ctx": {"error": value}}
    reply = serialize_error(SchemaError([fault]))
    assert json.loads(reply)["data"]["code"] == "VALIDATION_ERROR"


def test_of_many_faults_the_first_hundred_are_told() -> None:
    """Each costs time and bytes, and nobody reads 100,000."""
    message = {"type": "state", **dict.fromkeys(map(str, range(1000)))}
    with pytest.raises(SchemaError) as caught:
        parse_message(json.dumps(message).encode())
    errors = json.loads(serialize_error(caught.value))["data"]["errors"]
    assert [error["loc"] for error in errors[:100]] == [[str(number)] for number in range(100)]
    (last,) = errors[100:]
    assert last["type"] == "too_many_errors"


def test_faults_do_not_repeat_megabytes_of_input() -> None:
    """A reply is not many times as large as what it answers; small inputs are shown as ever."""
    large = {"x": "y" * 100_000}
    errors = [{"type": "missing", "loc": [str(i)], "msg": "", "input": large} for i in range(50)]
    small = {"type": "int_type", "loc": ["a"], "msg": "", "input": [1]}
    shown = json.loads(serialize_error(SchemaError([small, *errors])))["data"]["errors"]
    assert shown[0] == small
    assert [error["input"] for error in shown[1:]] == [None] * 50
