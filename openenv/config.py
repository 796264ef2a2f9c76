"""Every knob of the server, once: name, default, unit, bounds, variable and help.

In: what the command line, the environment variables and the code say. Out: one frozen `Config`, or a
`ConfigurationError` that names the place and what would be accepted there. It knows nothing about what
the knobs do; the command line builds its flags from the same table, `KNOBS`.

This is the only module that reads `os.environ`. An empty variable counts as unset, because that is how
`docker run -e WORKERS=` and compose files say "nothing".
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from openenv.errors import ConcurrencyConfigurationError, ConfigurationError

__all__ = [
    "DEFAULT_CAPACITY",
    "KNOBS",
    "Config",
    "Knob",
    "effective_capacity",
    "environ",
    "huggingface_token",
    "resolve",
]

DEFAULT_CAPACITY = 100
"""Sessions that a server holds when nobody said a number and the environment can do several."""

_KIB = 1024
_MIB = 1024 * 1024
_TRUE_WORDS = frozenset({"1", "true", "yes", "on"})
_FALSE_WORDS = frozenset({"0", "false", "no", "off"})


@dataclass(frozen=True, slots=True)
class Knob:
    """One row of the table.

    Attributes:
        name: Attribute of `Config`, and keyword of `App.run`.
        default: Value where nobody said anything.
        kind: `str`, `int`, `float` or `bool`.
        optional: Whether None is a value of its own (none, or not said).
        unit: What a number counts, for messages and help.
        low: Smallest number allowed, inclusive.
        high: Largest number allowed, inclusive.
        choices: Words allowed, lower case; empty allows any.
        variable: Environment variable.
        flag: Command-line flag, or None where there is none.
        help: One line.
    """

    name: str
    default: Any
    kind: type
    optional: bool
    unit: str
    low: float
    high: float
    choices: tuple[str, ...]
    variable: str | None
    flag: str | None
    help: str

    def parse(self, text: str, where: str) -> Any:
        """Read a value from what a person typed in `where`.

        Raises:
            ConfigurationError: It is not such a value.
        """
        stripped = text.strip()
        if self.kind is bool:
            return self._parse_bool(stripped, text, where)
        if self.kind is str:
            return self.check(stripped.lower() if self.choices else stripped, where)
        try:
            # int() and float() also take "1_000", which nobody means in a variable.
            number = self.kind(stripped) if "_" not in stripped else None
        except ValueError:
            number = None
        if number is None:
            raise self._refusal(text, where)
        return self.check(number, where)

    def check(self, value: Any, where: str) -> Any:
        """Give a typed value back if it is one that this knob can have.

        Raises:
            ConfigurationError: It is of another type or out of bounds.
        """
        if value is None:
            if self.optional:
                return None
            raise self._refusal(value, where)
        if self.kind in (int, float):
            fits = isinstance(value, int) or (self.kind is float and isinstance(value, float))
            # NaN is in no range.
            if isinstance(value, bool) or not fits or not self.low <= value <= self.high:
                raise self._refusal(value, where)
            return float(value) if self.kind is float else value
        if not isinstance(value, self.kind) or (self.choices and value not in self.choices):
            raise self._refusal(value, where)
        return value

    @property
    def expected(self) -> str:
        """What is accepted, in words: `a whole number from 1 to 1024`."""
        if self.kind is bool:
            return "one of true, false, 1, 0, yes, no"
        if self.kind is str:
            return f"one of {', '.join(self.choices)}" if self.choices else "text"
        noun = "a whole number" if self.kind is int else "a number"
        unit = f" of {self.unit}" if self.unit in ("seconds", "bytes") else ""
        bounds = (
            f"from {self.low:.12g} to {self.high:.12g}" if self.high < math.inf else f">= {self.low:.12g}"
        )
        return f"{noun}{unit} {bounds}"

    def _parse_bool(self, stripped: str, text: str, where: str) -> bool:
        word = stripped.lower()
        if word in _FALSE_WORDS:
            return False
        # What is on by default stays on unless somebody plainly said no: ENABLE_WEB_INTERFACE=auto.
        if word in _TRUE_WORDS or self.default:
            return True
        raise self._refusal(text, where)

    def _refusal(self, value: object, where: str) -> ConfigurationError:
        default = "the default" if self.default is None else f"the default, {self.default}"
        return ConfigurationError(
            f"expected {self.expected}, got {value!r} in {where}; "
            f"give {where} such a value, or leave it out for {default}"
        )


def _knob(
    default: Any,
    help: str,
    *,
    kind: type | None = None,
    unit: str = "",
    low: float = 0,
    high: float = math.inf,
    choices: tuple[str, ...] = (),
    variable: str | None = None,
    flag: str | None = None,
) -> Any:
    row = {
        "kind": kind or type(default),
        "optional": default is None,
        "unit": unit,
        "low": low,
        "high": high,
        "choices": choices,
        "variable": variable,
        "flag": flag,
        "help": help,
    }
    return field(default=default, metadata=row)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """How one server is set up; made by `resolve`. Seconds and bytes are in the names."""

    host: str = _knob("0.0.0.0", "address to listen on", variable="HOST", flag="--host")
    port: int = _knob(
        8000,
        "port to listen on; 0 takes a free one and prints it",
        high=65535,
        variable="PORT",
        flag="--port",
    )
    uds: str | None = _knob(
        None, "listen on this unix socket instead of host and port", kind=str, flag="--uds"
    )
    workers: int = _knob(
        1,
        "processes that serve, all on the same port",
        low=1,
        high=1024,
        variable="WORKERS",
        flag="--workers",
    )
    max_concurrent_envs: int | None = _knob(
        None,
        f"sessions at once, all workers together; {DEFAULT_CAPACITY} by default, 1 for an environment "
        "that is not marked SUPPORTS_CONCURRENT_SESSIONS",
        kind=int,
        unit="sessions",
        low=1,
        high=1_000_000,
        variable="MAX_CONCURRENT_ENVS",
        flag="--max-concurrent-envs",
    )
    reload: bool = _knob(False, "start again when a source file changes; one worker", flag="--reload")
    log_level: str = _knob(
        "info",
        "what is logged",
        choices=("critical", "error", "warning", "info", "debug"),
        variable="LOG_LEVEL",
        flag="--log-level",
    )
    log_format: str = _knob(
        "text",
        "lines for people, or one JSON object per line",
        choices=("text", "json"),
        variable="LOG_FORMAT",
        flag="--log-format",
    )
    ssl_certfile: str | None = _knob(
        None, "certificate chain (PEM); serves https and wss", kind=str, flag="--ssl-certfile"
    )
    ssl_keyfile: str | None = _knob(
        None,
        "private key (PEM), where it is not in the certificate's file",
        kind=str,
        flag="--ssl-keyfile",
    )
    drain_s: float = _knob(
        30.0,
        "time that running steps get to finish after SIGTERM",
        unit="seconds",
        high=86400,
        variable="OPENENV_DRAIN_S",
        flag="--drain-s",
    )
    debug: bool = _knob(
        False,
        "tracebacks: of mistakes on stderr, of the environment's exceptions in replies",
        variable="OPENENV_DEBUG",
        flag="--debug",
    )
    web_interface: bool = _knob(True, "serve /web", variable="ENABLE_WEB_INTERFACE")
    mode: str = _knob(
        "simulation",
        "production leaves out /reset, /step and /state",
        choices=("simulation", "production"),
        variable="OPENENV_MODE",
    )
    max_message_bytes: int = _knob(
        100 * _MIB,
        "largest WebSocket message accepted",
        unit="bytes",
        low=_KIB,
        high=2**31 - 1,
        variable="OPENENV_MAX_MESSAGE_BYTES",
    )
    max_body_bytes: int = _knob(
        100 * _MIB,
        "largest request body accepted",
        unit="bytes",
        low=_KIB,
        high=2**31 - 1,
        variable="OPENENV_MAX_BODY_BYTES",
    )
    max_head_bytes: int = _knob(
        64 * _KIB,
        "largest request line and headers together",
        unit="bytes",
        low=_KIB,
        high=16 * _MIB,
        variable="OPENENV_MAX_HEAD_BYTES",
    )
    max_headers: int = _knob(
        100,
        "most header lines in a request",
        unit="headers",
        low=1,
        high=10_000,
        variable="OPENENV_MAX_HEADERS",
    )
    head_timeout_s: float = _knob(
        10.0,
        "time that a request's head may take",
        unit="seconds",
        low=0.01,
        high=86400,
        variable="OPENENV_HEAD_TIMEOUT_S",
    )
    body_timeout_s: float = _knob(
        30.0,
        "time that a request's body may pause",
        unit="seconds",
        low=0.01,
        high=86400,
        variable="OPENENV_BODY_TIMEOUT_S",
    )
    keep_alive_s: float = _knob(
        75.0,
        "time that an idle HTTP connection is kept",
        unit="seconds",
        low=0.01,
        high=86400,
        variable="OPENENV_KEEP_ALIVE_S",
    )
    ping_interval_s: float = _knob(
        20.0,
        "time between pings on an idle WebSocket; 0 sends none",
        unit="seconds",
        high=86400,
        variable="OPENENV_PING_INTERVAL_S",
    )
    ping_timeout_s: float | None = _knob(
        None,
        "time that a pong may take; without it none is demanded",
        kind=float,
        unit="seconds",
        low=0.01,
        high=86400,
        variable="OPENENV_PING_TIMEOUT_S",
    )
    close_timeout_s: float = _knob(
        10.0,
        "time that the peer gets to answer a WebSocket close",
        unit="seconds",
        low=0.01,
        high=86400,
        variable="OPENENV_CLOSE_TIMEOUT_S",
    )
    write_high_water_bytes: int = _knob(
        _MIB,
        "unsent bytes of one connection past which it is no longer read",
        unit="bytes",
        low=_KIB,
        high=2**31 - 1,
        variable="OPENENV_WRITE_HIGH_WATER_BYTES",
    )
    token: str | None = _knob(
        None,
        "secret that clients must know; without it whoever reaches the port may run the environment's code",
        kind=str,
        variable="OPENENV_TOKEN",
        flag="--token",
    )
    allow_origin: str | None = _knob(
        None,
        "origins, separated by commas, whose web pages may use the server; * allows all",
        kind=str,
        variable="OPENENV_ALLOW_ORIGIN",
        flag="--allow-origin",
    )
    allow_host: str | None = _knob(
        None,
        "host names, separated by commas, that a server on a loopback address answers to; * allows all",
        kind=str,
        variable="OPENENV_ALLOW_HOST",
        flag="--allow-host",
    )
    hide_errors: bool = _knob(
        False,
        "keep the text of what an environment raises out of replies; it is in the log",
        variable="OPENENV_HIDE_ERRORS",
        flag="--hide-errors",
    )
    step_deadline_s: float = _knob(
        0.0,
        "time that a step may take before its session is given up as broken; 0 sets none",
        unit="seconds",
        high=31 * 86400,
        variable="OPENENV_STEP_DEADLINE_S",
        flag="--step-deadline-s",
    )
    reset_deadline_s: float = _knob(
        0.0,
        "the same for a reset",
        unit="seconds",
        high=31 * 86400,
        variable="OPENENV_RESET_DEADLINE_S",
        flag="--reset-deadline-s",
    )
    factory_deadline_s: float = _knob(
        0.0,
        "time that making an environment may take before its session is refused; 0 sets none",
        unit="seconds",
        high=31 * 86400,
        variable="OPENENV_FACTORY_DEADLINE_S",
        flag="--factory-deadline-s",
    )
    close_deadline_s: float = _knob(
        60.0,
        "time that an environment's close may take before its place is free all the same; 0 sets none",
        unit="seconds",
        high=31 * 86400,
        variable="OPENENV_CLOSE_DEADLINE_S",
        flag="--close-deadline-s",
    )
    isolation: str = _knob(
        "thread",
        "where each session's environment lives: on a thread, or in a process that can be killed",
        choices=("thread", "process"),
        variable="OPENENV_ISOLATION",
        flag="--isolation",
    )
    env_memory_bytes: int = _knob(
        0,
        "memory that an environment's process may take beyond the imported code; 0 sets no limit",
        unit="bytes",
        high=2**60,
        variable="OPENENV_ENV_MEMORY_BYTES",
        flag="--env-memory-bytes",
    )
    env_cpu_s: int = _knob(
        0,
        "processor time that an environment's process may use in its life; 0 sets no limit",
        unit="seconds",
        high=31 * 86400,
        variable="OPENENV_ENV_CPU_S",
        flag="--env-cpu-s",
    )
    capacity_wait_s: float = _knob(
        5.0,
        "time that a client waits for a session while all are taken; 0 refuses at once",
        unit="seconds",
        high=86400,
        variable="OPENENV_CAPACITY_WAIT_S",
        flag="--capacity-wait-s",
    )
    max_waiting: int = _knob(
        1000,
        "clients that may wait for a session, per worker",
        unit="clients",
        low=1,
        high=1_000_000,
        variable="OPENENV_MAX_WAITING",
    )
    lease_s: float = _knob(
        4 * 3600.0,
        "time after which a session that nobody speaks to is closed; 0 never closes one",
        unit="seconds",
        high=31 * 86400,
        variable="OPENENV_LEASE_S",
        flag="--lease-s",
    )
    backlog: int = _knob(
        4096,
        "connections that wait to be accepted, per worker",
        unit="connections",
        low=1,
        high=65535,
        variable="OPENENV_BACKLOG",
    )


KNOBS: Mapping[str, Knob] = {
    row.name: Knob(name=row.name, default=row.default, **row.metadata) for row in fields(Config)
}
"""The table, by name, in the order in which help shows it."""


def environ() -> Mapping[str, str]:
    """The environment variables of this process."""
    return os.environ


def resolve(
    flags: Mapping[str, object | None] | None = None,
    variables: Mapping[str, str] | None = None,
    code: Mapping[str, object | None] | None = None,
) -> Config:
    """Settle every knob: flag before variable before code before default.

    Args:
        flags: What the command line said, by knob name: text as typed, or a typed value. None: not said.
        variables: Environment variables. None reads those of the process.
        code: What `create_app`, `App.run` or the manifest said, by knob name, typed. None: not said.

    Raises:
        ConfigurationError: A value cannot be used, or two of them do not go together. The first one
            found is reported, in the order of the table.
    """
    flags = flags or {}
    variables = environ() if variables is None else variables
    code = code or {}
    for name in (*flags, *code):
        if name not in KNOBS:
            raise ConfigurationError(
                f"expected one of {', '.join(KNOBS)}, got {name!r} as the name of a setting"
            )
    config = Config(**{knob.name: _settle(knob, flags, variables, code) for knob in KNOBS.values()})
    if config.ssl_keyfile is not None and config.ssl_certfile is None:
        raise ConfigurationError("got --ssl-keyfile without --ssl-certfile; give both, or neither")
    if config.isolation != "process" and (config.env_memory_bytes or config.env_cpu_s):
        raise ConfigurationError(
            "got --env-memory-bytes or --env-cpu-s without --isolation process; a thread has no such limits"
        )
    return config


def _settle(
    knob: Knob,
    flags: Mapping[str, object | None],
    variables: Mapping[str, str],
    code: Mapping[str, object | None],
) -> Any:
    said = flags.get(knob.name)
    if said is not None:
        where = knob.flag or knob.name
        return knob.parse(said, where) if isinstance(said, str) else knob.check(said, where)
    if knob.variable is not None:
        text = variables.get(knob.variable, "")
        if text.strip():
            return knob.parse(text, knob.variable)
    said = code.get(knob.name)
    if said is not None:
        return knob.check(said, f"{knob.name}=")
    return knob.default


def effective_capacity(max_concurrent_envs: int | None, concurrent: bool, environment_name: str) -> int:
    """How many sessions a server may hold, all its workers together.

    Args:
        max_concurrent_envs: What was asked for by flag, variable or code; None where nobody did.
        concurrent: Whether the environment's class says `SUPPORTS_CONCURRENT_SESSIONS = True`.
        environment_name: The class's name, for the message.

    Returns:
        What was asked for, else `DEFAULT_CAPACITY` for a concurrent environment and 1 for another.

    Raises:
        ConcurrencyConfigurationError: More than one was asked for an environment that is not concurrent.
    """
    if max_concurrent_envs is None:
        return DEFAULT_CAPACITY if concurrent else 1
    if max_concurrent_envs > 1 and not concurrent:
        raise ConcurrencyConfigurationError(environment_name, max_concurrent_envs)
    return max_concurrent_envs


def huggingface_token() -> str | None:
    """The Hugging Face token of this machine: a variable, else the file that `hf auth login` wrote."""
    variables = environ()
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if token := variables.get(name, "").strip():
            return token
    cache = variables.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    home = variables.get("HF_HOME") or os.path.join(cache, "huggingface")
    try:
        with open(variables.get("HF_TOKEN_PATH") or os.path.join(home, "token"), encoding="utf-8") as file:
            return file.read().strip() or None
    except (OSError, UnicodeDecodeError):
        return None
