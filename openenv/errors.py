"""Every exception this package raises, and what each one is worth on the wire.

In: nothing. Out: exception classes. Each knows its WebSocket error code (``code``), its HTTP
status (``status``) and, where a command can end with it, its exit code (``exit_code``). This
module knows nothing about sockets, replies or logging: ``app/`` alone turns an error into a
reply and ``cli/main`` alone into an exit code.

::

    OpenEnvError
    |- ConfigurationError            the program was set up wrongly; exit code 2
    |  |- ManifestError
    |  `- ConcurrencyConfigurationError
    |- ProtocolError                 the peer broke the grammar
    |  |- HttpError
    |  |- InvalidJsonError
    |  `- UnknownTypeError
    |- SchemaError                   a payload does not fit its declared type
    |- SessionError
    |  |- SessionCapacityError
    |  |- SessionNotFoundError
    |  `- SessionBrokenError
    |- AuthorError                   the environment's own code raised
    |  |- EnvironmentFactoryError
    |  `- StepTimeoutError           also a TimeoutError
    |- ClientError
    |  |- ConnectError               also a ConnectionError
    |  |- ReplyTimeoutError          also a TimeoutError
    |  `- RemoteError                what a server said that has no class of its own here
    |- ProviderError
    |  |- ProviderMissingError
    |  |- StartError
    |  `- ReadyTimeoutError
    `- HubError

Everything that a server can say to a client is also a ``RuntimeError``, which is what callers of
the incumbent's client catch.

Reference: ``wire.md`` sections 2 and 4; ``design.md`` section 4.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, ClassVar

__all__ = [
    "MAX_FAULTS",
    "AuthorError",
    "ClientError",
    "ConcurrencyConfigurationError",
    "ConfigurationError",
    "ConnectError",
    "EnvironmentFactoryError",
    "HttpError",
    "HubError",
    "InvalidJsonError",
    "ManifestError",
    "OpenEnvError",
    "ProtocolError",
    "ProviderError",
    "ProviderMissingError",
    "ReadyTimeoutError",
    "RemoteError",
    "ReplyTimeoutError",
    "SchemaError",
    "SessionBrokenError",
    "SessionCapacityError",
    "SessionError",
    "SessionNotFoundError",
    "StartError",
    "StepTimeoutError",
    "UnknownTypeError",
]


class OpenEnvError(Exception):
    """Base of everything raised here.

    Attributes:
        code: The ``code`` of a WebSocket error reply, or None where the error never travels.
        status: The HTTP status that the error answers with.
        exit_code: What a command that ends with this error returns to the shell.
    """

    code: str | None = None
    status: int = 500
    exit_code: ClassVar[int] = 1

    @property
    def message(self) -> str:
        """The text a peer or a person is shown."""
        return str(self)

    def extras(self) -> dict[str, Any]:
        """Keys that this error adds beside ``message`` and ``code`` in an error reply."""
        return {}

    def __reduce__(self) -> tuple[Any, ...]:
        # Trainers carry errors between processes, and by default an exception is made anew from its
        # args, which are not what these constructors take.
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(cls: type[OpenEnvError], args: tuple[Any, ...], attributes: dict[str, Any]) -> OpenEnvError:
    # Where a class is an OSError as well, only that one's constructor makes an object large enough.
    error = (OSError if issubclass(cls, OSError) else Exception).__new__(cls)
    error.args = args
    error.__dict__.update(attributes)
    return error


class ConfigurationError(OpenEnvError):
    """A flag, a variable, a manifest or an argument of ``create_app`` cannot be used as given."""

    exit_code: ClassVar[int] = 2


class ManifestError(ConfigurationError):
    """``openenv.yaml`` cannot be read or says something that cannot be."""


class ConcurrencyConfigurationError(ConfigurationError):
    """More than one session was asked for an environment that is not marked as able to.

    Args:
        environment_name: Name of the environment class.
        max_concurrent_envs: How many sessions were asked for, > 1.
    """

    def __init__(self, environment_name: str, max_concurrent_envs: int, message: str | None = None) -> None:
        self.environment_name = environment_name
        self.max_concurrent_envs = max_concurrent_envs
        super().__init__(
            message
            or f"Environment '{environment_name}' is not marked as SUPPORTS_CONCURRENT_SESSIONS, so it "
            f"cannot run with max_concurrent_envs={max_concurrent_envs}. Set "
            f"SUPPORTS_CONCURRENT_SESSIONS = True on the class if its sessions share no mutable state, "
            f"or ask for max_concurrent_envs=1."
        )


class ProtocolError(OpenEnvError):
    """The peer broke the grammar of a protocol it speaks with us."""

    status = 400


class HttpError(ProtocolError):
    """A request that cannot be understood or will not be served; the connection is closed after it.

    Args:
        status: 400, 405, 408, 411, 413, 414, 417, 421, 431, 501 or 505.
        reason: One sentence for the response body and the log.
    """

    def __init__(self, status: int, reason: str) -> None:
        self.status = status
        super().__init__(reason)

    @property
    def phrase(self) -> str:
        """The standard reason phrase of the status (RFC 9110 section 15)."""
        return HTTPStatus(self.status).phrase


class InvalidJsonError(ProtocolError):
    """Bytes that should be JSON (RFC 8259) are not."""

    code = "INVALID_JSON"


class UnknownTypeError(ProtocolError):
    """A message whose ``type`` is missing or not one of those the session speaks."""

    code = "UNKNOWN_TYPE"


MAX_FAULTS = 100
"""How many faults of one payload are told; what finds them may stop looking once it has more."""


class SchemaError(OpenEnvError, RuntimeError):
    """A payload does not fit the type declared for it. Nothing ran; the session stands.

    From a server it may also be a model that does not fit which the environment's own code made, in a step or
    a reset: existing servers say that in the same way.

    Args:
        errors: One entry per fault, ``{type, loc, msg, input, ctx?}``, in declaration order with
            unexpected keys last; ``loc`` is relative to what was validated. Of more than `MAX_FAULTS`
            the first are kept, and one that says so.
        message: The reply's text. Stock servers always say ``Invalid message``.
    """

    code = "VALIDATION_ERROR"
    status = 422

    def __init__(self, errors: list[dict[str, Any]], message: str = "Invalid message") -> None:
        if len(errors) > MAX_FAULTS:
            msg = f"There are more than {MAX_FAULTS} errors; these are the first"
            errors = [*errors[:MAX_FAULTS], {"type": "too_many_errors", "loc": [], "msg": msg, "input": None}]
        self.errors = errors
        super().__init__(message)

    def __str__(self) -> str:
        lines = [
            f"{error.get('msg', 'invalid')} at {'.'.join(map(str, error.get('loc', ()))) or '(top level)'}"
            for error in self.errors
        ]
        return f"{self.args[0]}: {'; '.join(lines)}" if lines else str(self.args[0])

    @property
    def message(self) -> str:
        return str(self.args[0])

    def extras(self) -> dict[str, Any]:
        return {"errors": self.errors}


class SessionError(OpenEnvError, RuntimeError):
    """The session cannot do what was asked of it; on the WebSocket it is closed with 1000."""

    code = "SESSION_ERROR"
    status = 409


class SessionCapacityError(SessionError):
    """Every session the server may hold is taken.

    Args:
        active_sessions: Sessions held now, over all workers.
        max_sessions: The server's capacity.
        message: Says it in other words.
        retry_after_s: Seconds after which it is worth trying again; None where nobody knows.
    """

    code = "CAPACITY_REACHED"
    status = 503

    def __init__(
        self,
        active_sessions: int,
        max_sessions: int,
        message: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        self.active_sessions = active_sessions
        self.max_sessions = max_sessions
        self.retry_after_s = retry_after_s
        super().__init__(
            message
            or f"Server at capacity: {active_sessions}/{max_sessions} sessions active. "
            "Cannot accept new connections."
        )

    def extras(self) -> dict[str, Any]:
        said: dict[str, Any] = {"active_sessions": self.active_sessions, "max_sessions": self.max_sessions}
        if self.retry_after_s is not None:
            said["retry_after_s"] = self.retry_after_s
        return said


class SessionNotFoundError(SessionError):
    """No session has that ``session_id``."""

    status = 404

    def __init__(self, session_id: str, message: str | None = None) -> None:
        self.session_id = session_id
        super().__init__(message or f"Unknown session_id: {session_id}")


class SessionBrokenError(SessionError):
    """An earlier call of this session never came back; only ``reset`` can make it usable again."""


class AuthorError(OpenEnvError, RuntimeError):
    """The environment's own code raised; ``__cause__`` is what it raised.

    Args:
        message: ``str()`` of what was raised, as existing clients expect it.
        method: ``reset``, ``step``, ``state``, ``close``, ``get_metadata`` or ``factory``.
        exception: Class name of what was raised.
        traceback: Formatted traceback, only where the operator asked for it.
    """

    code = "EXECUTION_ERROR"

    def __init__(
        self,
        message: str,
        method: str = "step",
        exception: str | None = None,
        traceback: str | None = None,
    ) -> None:
        self.method = method
        self.exception = exception
        self.traceback = traceback
        super().__init__(message)

    def extras(self) -> dict[str, Any]:
        extras: dict[str, Any] = {}
        if self.exception is not None:
            extras["exception"] = self.exception
        if self.traceback is not None:
            extras["traceback"] = self.traceback
        return extras


class EnvironmentFactoryError(AuthorError):
    """The factory raised, so there is no environment and no session.

    Args:
        factory_name: ``__name__`` of the class or callable.
    """

    code = "FACTORY_ERROR"

    def __init__(
        self,
        factory_name: str,
        message: str | None = None,
        exception: str | None = None,
        traceback: str | None = None,
    ) -> None:
        self.factory_name = factory_name
        super().__init__(
            message or f"Environment factory '{factory_name}' failed to create instance.",
            "factory",
            exception,
            traceback,
        )

    def extras(self) -> dict[str, Any]:
        return {"factory_name": self.factory_name, **super().extras()}


class StepTimeoutError(AuthorError, TimeoutError):
    """No answer from the environment within the time the caller gave it.

    Args:
        timeout_s: Seconds that were waited.
        method: ``reset`` or ``step``.
    """

    status = 504

    def __init__(self, timeout_s: float, method: str = "step", message: str | None = None) -> None:
        self.timeout_s = timeout_s
        super().__init__(
            message or f"{method} did not answer within {timeout_s:g} s; reset the session to go on",
            method,
            "StepTimeoutError",
        )


class ClientError(OpenEnvError):
    """The client could not get an answer."""


class ConnectError(ClientError, ConnectionError):
    """No connection could be made, or the one there was is gone."""


class ReplyTimeoutError(ClientError, TimeoutError):
    """The server did not reply in time. The session stands: a late reply is read and dropped."""


class RemoteError(ClientError, RuntimeError):
    """A server's error reply with a code that has no class of its own here.

    Args:
        message: What the server said.
        code: The reply's ``code``.
        data: The whole ``data`` of the reply.
    """

    def __init__(self, message: str, code: str | None = None, data: dict[str, Any] | None = None) -> None:
        self.code = code
        self.data = data if data is not None else {}
        super().__init__(message)


class ProviderError(OpenEnvError, RuntimeError):
    """Something that should serve an environment could not be started, found or stopped."""


class ProviderMissingError(ProviderError):
    """The tool that the provider shells out to is not installed or does not answer."""


class StartError(ProviderError):
    """It was started and ended, or was refused, before it served anything."""


class ReadyTimeoutError(ProviderError, TimeoutError):
    """It was started and runs, but did not answer ``/health`` in time."""


class HubError(OpenEnvError):
    """The Hugging Face Hub refused, or could not be reached."""
