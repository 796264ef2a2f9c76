"""Turns the outcome of a call on an environment into a response, now or later.

Here is where HTTP learns what an error is worth; the WebSocket's side of it is in `ws.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from openenv.app.context import Respond, Response, detail
from openenv.errors import AuthorError, OpenEnvError
from openenv.protocol.http11 import Request
from openenv.protocol.messages import shown_faults
from openenv.session.runner import OnDone

__all__ = ["REQUEST_ID_HEADER", "SESSION_HEADER", "failure", "respond_later"]

SESSION_HEADER = "openenv-session"
REQUEST_ID_HEADER = "x-request-id"
_NO_ID = frozenset({"new", "none"})

logger = logging.getLogger("openenv.app")

_TEXT = (("content-type", "text/plain; charset=utf-8"),)


def respond_later(
    respond: Respond,
    ask: Callable[[OnDone], Any],
    request: Request | None = None,
    request_id: str | None = None,
) -> Any:
    """Ask, and give the response or `PENDING`; then `respond` is called with it.

    Args:
        respond: Where a late response goes.
        ask: Starts the call and gives a `Response` or `PENDING`.
        request, request_id: As of `failure`.
    """

    def done(result: Any, error: BaseException | None) -> None:
        respond(result if error is None else failure(error, request, request_id))

    try:
        return ask(done)
    except OpenEnvError as error:
        return failure(error, request, request_id)


def failure(error: BaseException, request: Request | None = None, request_id: str | None = None) -> Response:
    """The response that an error deserves; what the author raised goes to the log, not to the peer.

    Args:
        error: What went wrong.
        request: The log says which it was, and whose session's.
        request_id: What its body calls it; else what its `X-Request-Id` says.
    """
    if isinstance(error, AuthorError) or not isinstance(error, OpenEnvError):
        where, ids = "", {}
        if request is not None:
            where = f"{request.method} {request.path}: "
            session_id = request.header(SESSION_HEADER)
            ids = {
                "session_id": None if session_id in _NO_ID else session_id,
                "request_id": request_id or request.header(REQUEST_ID_HEADER),
            }
        logger.error(
            "%s%s: %s", where, type(error).__name__, error, exc_info=error.__cause__ or error, extra=ids
        )
        status = error.status if isinstance(error, AuthorError) else 500
        text = b"Internal Server Error" if status == 500 else str(error).encode()
        return Response(status, text, _TEXT, error)
    faults = error.extras().get("errors")
    return detail(error.status, shown_faults(faults) if faults else error.message)
