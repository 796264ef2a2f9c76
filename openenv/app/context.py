"""What handlers work with: one context per worker, made when it starts to serve."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from openenv.codec import encode
from openenv.config import Config
from openenv.protocol.http11 import Request
from openenv.schema import Schema, jsonable
from openenv.session import child
from openenv.session.calls import ProcessCalls
from openenv.session.meter import Meter
from openenv.session.nursery import Limits, Nursery
from openenv.session.pool import Capacity, SessionPool
from openenv.session.process import ProcessRunner
from openenv.session.runner import EnvironmentSpec, Mailbox, StatelessCalls
from openenv.session.session import Deadlines

if TYPE_CHECKING:
    from openenv.app.asgi import Lifespan
    from openenv.app.gate import Gate
    from openenv.app.router import Router

__all__ = ["JSON", "Context", "Definition", "Handler", "Respond", "Response", "detail", "json_response"]

JSON = (("content-type", "application/json"),)


class Response(NamedTuple):
    """An HTTP response, whole.

    Attributes:
        status: 200..599.
        body: Bytes of the body.
        headers: (name, value), without those that frame the response.
        error: What it is the answer to, where something failed; for those who answer errors themselves.
    """

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = JSON
    error: BaseException | None = None


def json_response(value: Any, status: int = 200, headers: tuple[tuple[str, str], ...] = JSON) -> Response:
    """A response that says `value` as JSON."""
    return Response(status, encode(value, jsonable), headers)


def detail(status: int, text: Any, headers: tuple[tuple[str, str], ...] = JSON) -> Response:
    """A refusal, `{"detail": ...}`, as existing servers phrase it."""
    return json_response({"detail": text}, status, headers)


@dataclass(frozen=True, slots=True, eq=False)
class Definition:
    """What an application is about; the same in every worker.

    Attributes:
        env_name: The name in the Task API's paths.
        environment: How to make an environment and what its actions are.
        observation: Schema of what `step` gives.
        reset_observation: Schema of what `reset` gives.
        state: Schema of `state`.
    """

    env_name: str
    environment: EnvironmentSpec
    observation: Schema
    reset_observation: Schema
    state: Schema


class Context:
    """What a worker's handlers share.

    Args:
        definition: The application.
        router: Which handler answers what.
        config: The settled knobs.
        capacity: Where sessions get their slots.
        loop: The running loop.
        meter: Counts for this worker; None for one of its own.

    Attributes:
        rows: Gives the cells of every worker's meter.
        n_gone: Gives how many workers are gone.
        trouble: What keeps the server from working as it should, in words, or None.
    """

    def __init__(
        self,
        definition: Definition,
        router: Router,
        config: Config,
        capacity: Capacity,
        loop: asyncio.AbstractEventLoop,
        meter: Meter | None = None,
    ) -> None:
        self.meter = meter or Meter()
        self.rows: Callable[[], list[memoryview]] = lambda: [self.meter.cells]
        self.n_gone: Callable[[], int] = lambda: 0
        self.trouble: str | None = None
        mailbox = Mailbox(loop)
        spec = replace(definition.environment, debug=config.debug, hide_errors=config.hide_errors)
        start_process: Callable[[Callable[[], None]], ProcessRunner] | None = None
        self._nursery: Nursery | None = None
        if config.isolation == "process":
            # First of all, while this process holds no lock and has no thread: it is forked here.
            limits = Limits(config.env_memory_bytes, config.env_cpu_s)
            self._nursery = Nursery(partial(child.run, spec, Response), loop, limits)
            start_process = partial(ProcessRunner, self._nursery, spec, loop, Response)
        self.definition = definition
        self.router = router
        self.config = config
        self.capacity = capacity
        self.loop = loop
        deadlines = Deadlines(
            config.step_deadline_s or None,
            config.reset_deadline_s or None,
            config.factory_deadline_s or None,
            config.close_deadline_s or None,
        )
        self.pool = SessionPool(
            spec,
            capacity,
            loop,
            mailbox,
            config.capacity_wait_s,
            config.max_waiting,
            self.meter,
            deadlines,
            start_process,
        )
        self.stateless: StatelessCalls | ProcessCalls = (
            StatelessCalls(spec, mailbox, loop)
            if start_process is None
            else ProcessCalls(start_process, loop, deadlines)
        )
        self.openapi: bytes | None = None
        self.gate: Gate | None = None
        self.lifespan: Lifespan | None = None

    def close(self, when_empty: Callable[[], None]) -> None:
        """Close every session, then call `when_empty`."""

        def empty() -> None:
            self.cut_off()
            when_empty()

        self.stateless.close()
        self.pool.close_all(empty)

    def cut_off(self) -> None:
        """End the processes of environments, those included that `close` still waits for."""
        if self._nursery is not None:
            self._nursery.close()


Respond = Callable[[Response], None]
"""Given to a handler that answers `PENDING`: called on the loop with the response."""

Handler = Callable[[Context, Request, Respond], Any]
"""Gives a `Response`, or `PENDING` and the response later."""
