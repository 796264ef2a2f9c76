"""What every error is worth: its place in the tree, its code, its status, its extras."""

from __future__ import annotations

import pickle

import pytest

from openenv import errors
from openenv.errors import OpenEnvError

MADE = [
    errors.ConcurrencyConfigurationError("Env", 3),
    errors.HttpError(431, "too many fields"),
    errors.InvalidJsonError("x"),
    errors.UnknownTypeError("x"),
    errors.SchemaError([{"type": "missing", "loc": ["a", 0], "msg": "Field required", "input": {}}]),
    errors.SessionError("x"),
    errors.SessionCapacityError(3, 4),
    errors.SessionNotFoundError("abc"),
    errors.SessionBrokenError("x"),
    errors.AuthorError("'lost'", "step", "KeyError"),
    errors.EnvironmentFactoryError("Env", exception="OSError"),
    errors.StepTimeoutError(1.5),
    errors.ConnectError("x"),
    errors.ReplyTimeoutError("x"),
    errors.RemoteError("x", "CODE", {"message": "x"}),
    errors.ReadyTimeoutError("x"),
    errors.HubError("x"),
]

WIRE = {
    "InvalidJsonError": ("INVALID_JSON", 400),
    "UnknownTypeError": ("UNKNOWN_TYPE", 400),
    "SchemaError": ("VALIDATION_ERROR", 422),
    "SessionError": ("SESSION_ERROR", 409),
    "SessionCapacityError": ("CAPACITY_REACHED", 503),
    "SessionNotFoundError": ("SESSION_ERROR", 404),
    "SessionBrokenError": ("SESSION_ERROR", 409),
    "AuthorError": ("EXECUTION_ERROR", 500),
    "EnvironmentFactoryError": ("FACTORY_ERROR", 500),
    "StepTimeoutError": ("EXECUTION_ERROR", 504),
}


def test_every_public_error_is_ours_and_the_list_is_sorted() -> None:
    """One base for who wants to catch them all."""
    assert errors.__all__ == sorted(errors.__all__, key=lambda name: (not name.isupper(), name))
    public = [getattr(errors, name) for name in errors.__all__]
    assert all(issubclass(thing, OpenEnvError) for thing in public if isinstance(thing, type))


@pytest.mark.parametrize(("name", "worth"), WIRE.items())
def test_code_and_status_are_those_of_the_wire(name: str, worth: tuple[str, int]) -> None:
    """design.md section 4."""
    cls = getattr(errors, name)
    assert (cls.code, cls.status) == worth


def test_errors_are_also_what_callers_of_the_builtin_kind_catch() -> None:
    """RuntimeError for callers of the incumbent, and the builtin that each one is a case of."""
    for name in (
        "SchemaError",
        "SessionCapacityError",
        "AuthorError",
        "EnvironmentFactoryError",
        "RemoteError",
    ):
        assert issubclass(getattr(errors, name), RuntimeError)
    assert issubclass(errors.ConnectError, ConnectionError)
    for name in ("StepTimeoutError", "ReplyTimeoutError", "ReadyTimeoutError"):
        assert issubclass(getattr(errors, name), TimeoutError)


def test_a_schema_error_says_what_and_where() -> None:
    """To a person; the reply keeps its two parts apart."""
    error = errors.SchemaError([{"type": "int_type", "loc": ["row", 0], "msg": "Input should be an integer"}])
    assert str(error) == "Invalid message: Input should be an integer at row.0"
    assert error.message == "Invalid message"


@pytest.mark.parametrize("error", MADE, ids=lambda error: type(error).__name__)
def test_errors_survive_pickling(error: OpenEnvError) -> None:
    """They cross processes in trainers."""
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert copy.extras() == error.extras()
