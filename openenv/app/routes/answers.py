"""Turns the outcome of a call on an environment into a response, now or later.

Here is where HTTP learns what an error is worth; the WebSocket's side of it is in `ws.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from openenv.app.context import Respond, Response, detail
from openenv.errors import AuthorError, OpenEnvError
from openenv.protocol.messages import shown_faults
from openenv.session.runner import OnDone

__all__ = ["failure", "respond_later"]

logger = logging.getLogger("openenv.app")

_TEXT = (("content-type", "text/plain; charset=utf-8"),)


def respond_later(respond: Respond, ask: Callable[[OnDone], Any]) -> Any:
    """Ask, and give the response or `PENDING`; then `respond` is called with it.

    Args:
        respond: Where a late response goes.
        ask: Starts the call and gives a `Response` or `PENDING`.
    """

    def done(result: Any, error: BaseException | None) -> None:
        respond(result if error is None else failure(error))

    try:
        return ask(done)
    except OpenEnvError as error:
        return failure(error)


def failure(error: BaseException) -> Response:
    """The response that an error deserves; what the author raised goes to the log, not to the peer."""
    if isinstance(error, AuthorError) or not isinstance(error, OpenEnvError):
        logger.error("%s: %s", type(error).__name__, error, exc_info=error.__cause__ or error)
        status = error.status if isinstance(error, AuthorError) else 500
        text = b"Internal Server Error" if status == 500 else str(error).encode()
        return Response(status, text, _TEXT, error)
    faults = error.extras().get("errors")
    return detail(error.status, shown_faults(faults) if faults else error.message)
