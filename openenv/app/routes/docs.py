"""`/docs`: the API as a page, with what it loads, and `/redoc`, which leads there.

The page is made of the same document as `/openapi.json`, once per worker. It is there whether or not
`/web` is.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from openenv.app.apipage import page
from openenv.app.context import Context, Handler, Respond, Response
from openenv.app.openapi import document
from openenv.app.router import Route
from openenv.app.routes.assets import TYPES, asset, respond_with
from openenv.protocol.http11 import Request

__all__ = ["ROUTES", "make_handler"]


def make_handler(routes: Iterable[Route]) -> Handler:
    """A handler that answers with the page about those routes."""
    shown = [route for route in routes if route.public]

    @cache
    def made(context: Context) -> bytes:
        definition = context.definition
        return page(document(definition, shown), definition.env_name, context.config.web_interface)

    def docs(context: Context, request: Request, respond: Respond) -> Response:
        return respond_with(request, made(context), TYPES[".html"])

    return docs


def redoc(context: Context, request: Request, respond: Respond) -> Response:
    """Lead from `/redoc` to the page; relative, so that it is right behind any proxy."""
    return Response(307, b"", (("location", "docs"),))


def slashed(context: Context, request: Request, respond: Respond) -> Response:
    """Lead from `/docs/` to the page, from which the relative addresses in it are right."""
    return Response(307, b"", (("location", "../docs"),))


ROUTES: tuple[Route, ...] = (
    Route("GET", "/docs/", slashed, public=False),
    Route("GET", "/docs/docs.css", asset("docs.css"), public=False),
    Route("GET", "/docs/docs.js", asset("docs.js"), public=False),
    Route("GET", "/redoc", redoc, public=False),
)
"""What belongs to the page; the page itself is a route that knows the others, see `app.py`."""
