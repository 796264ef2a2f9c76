"""Replies become data or the errors that the server raised."""

from __future__ import annotations

from typing import Any

import pytest

from openenv import errors
from openenv.client.replies import load_reply
from openenv.codec import encode
from openenv.protocol.messages import serialize_error


@pytest.mark.parametrize(
    ("message", "data"),
    [
        (b'{"type":"observation","data":{"done":false}}', {"done": False}),
        (b'{"type":"observation","data":{"a":"},{"}}', {"a": "},{"}),
        (b'{"type":"observation","data":{"a":1},"data":{"b":2}}', {"b": 2}),
        (b'{"type":"observation","data":{"a":1}} ', {"a": 1}),
        (b'{"type":"state"}', {}),
        (b'{"data":{"x":1}}', {}),
        (b'{"type":"state","data":{"x":Infinity}}', {"x": float("inf")}),
    ],
)
def test_the_data_of_a_reply_is_what_counts(message: bytes, data: Any) -> None:
    """`type` is looked at for errors only (wire.md section 6)."""
    assert load_reply(message) == data


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"nonsense",
        b"[1]",
        b"null",
        b'"text"',
        b'{"type":"observation","data":}',
        b'{"type":"observation","data":{}]',
    ],
)
def test_what_is_no_reply_is_a_remote_error(message: bytes) -> None:
    """Not an accident of ours."""
    with pytest.raises(errors.RemoteError):
        load_reply(message)


RAISED = [
    errors.SchemaError([{"type": "missing", "loc": ["a"], "msg": "Field required", "input": {}}]),
    errors.SessionCapacityError(3, 3),
    errors.SessionNotFoundError("abc"),
    errors.SessionError("busy"),
    errors.AuthorError("boom", "step", "ValueError", "Traceback ..."),
    errors.EnvironmentFactoryError("Env", exception="OSError"),
    errors.StepTimeoutError(2.0),
]


@pytest.mark.parametrize("raised", RAISED, ids=lambda error: type(error).__name__)
def test_the_class_that_the_server_raised_is_raised_here(raised: errors.OpenEnvError) -> None:
    """With its attributes, and as the RuntimeError that the incumbent's callers catch."""
    with pytest.raises(RuntimeError) as caught:
        load_reply(serialize_error(raised))
    error: Any = caught.value
    assert type(error) is type(raised)
    assert str(error).startswith(f"Server error: {raised.message} (code: {raised.code})")
    assert (error.code, error.data["message"]) == (raised.code, raised.message)
    for name, value in raised.extras().items():
        assert getattr(error, name) == value


def test_a_code_without_a_class_is_kept() -> None:
    """Whatever a later server may say."""
    with pytest.raises(errors.RemoteError, match=r"Server error: hm \(code: NEW\)") as caught:
        load_reply(encode({"type": "error", "data": {"message": "hm", "code": "NEW", "x": 1}}))
    assert (caught.value.code, caught.value.data["x"]) == ("NEW", 1)


@pytest.mark.parametrize(
    "data", [None, "text", {}, {"code": "CAPACITY_REACHED"}, {"code": "VALIDATION_ERROR", "errors": 1}]
)
def test_an_error_reply_of_any_shape_is_an_error(data: Any) -> None:
    """Nothing is taken for granted."""
    with pytest.raises(RuntimeError, match="Server error: "):
        load_reply(encode({"type": "error", "data": data}))
