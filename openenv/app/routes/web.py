"""`/web`: the page to play with an environment, and what it loads.

The page itself speaks `/ws`, `/schema` and `/metadata` like any client. Only what those do not say is
answered here: what `reset` takes, and the README that lies beside the environment's manifest.

All locations are relative, so that the page works behind any path prefix.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
import typing
from functools import cache
from pathlib import Path
from typing import Any

from openenv.app.context import Context, Respond, Response, json_response
from openenv.app.router import Route
from openenv.app.routes.assets import (
    EMBEDDERS,
    PAGE_POLICY,
    TYPES,
    asset,
    hash_source,
    read,
    respond_with,
)
from openenv.protocol.http11 import Request
from openenv.schema import Schema
from openenv.session.runner import environment_class, reset_function

__all__ = ["ROUTES", "reset_schema"]

_README_BYTES = 200_000
_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)
_STYLE_LINK = b'<link rel="stylesheet" href="web/playground.css">'


def playground(context: Context, request: Request, respond: Respond) -> Response:
    """The page. Its style is in it, by its hash, so that it can be painted before anything else has come."""
    body, policy = styled_page()
    return respond_with(request, body, TYPES[".html"], policy)


@cache
def styled_page() -> tuple[bytes, str]:
    """The page as it is sent, and its policy."""
    page, style = read("playground.html"), read("playground.css")
    assert _STYLE_LINK in page, "playground.html names its style sheet"
    policy = PAGE_POLICY.replace("style-src 'self'", f"style-src {hash_source(style)}")
    return page.replace(_STYLE_LINK, b"<style>" + style + b"</style>"), policy


def home(context: Context, request: Request, respond: Respond) -> Response:
    """Lead from `/` to the page, with the query."""
    return _redirect("web", request)


def slashed(context: Context, request: Request, respond: Respond) -> Response:
    """Lead from `/web/` to the page, from which the relative addresses in it are right."""
    return _redirect("../web", request)


def _redirect(location: str, request: Request) -> Response:
    return Response(307, b"", (("location", f"{location}?{request.query}" if request.query else location),))


def about(context: Context, request: Request, respond: Respond) -> Response:
    """What the page needs and the API does not say."""
    definition = context.definition
    cls = environment_class(definition.environment.factory)
    return json_response(
        {
            "env_name": definition.env_name,
            "control": context.config.mode != "production",
            "reset": reset_schema(cls),
            "readme": readme(cls),
        }
    )


def frame(context: Context, request: Request, respond: Respond) -> Response:
    """The document that shows an author's HTML: an origin of its own, no script but ours, no network."""
    body = read("frame.html")
    return respond_with(request, body, TYPES[".html"], frame_policy(body))


def frame_policy(body: bytes) -> str:
    """The policy of that document. Author HTML may have styles of its own; it loads nothing."""
    found = _SCRIPT.search(body)
    assert found is not None, "frame.html has one script"
    return (
        f"default-src 'none'; script-src {hash_source(found[1])}; style-src 'unsafe-inline'; "
        f"img-src data: blob:; font-src data:; base-uri 'none'; form-action 'none'; "
        f"sandbox allow-scripts; {EMBEDDERS}"
    )


@cache
def reset_schema(cls: type | None) -> dict[str, Any]:
    """What `reset` takes, as JSON Schema: the keywords of its signature with their annotations and defaults.

    Args:
        cls: The environment's class; None where only its factory is known.
    """
    seed: tuple[str, Any, Any] = ("seed", int | None, dataclasses.field(default=None))
    episode = ("episode_id", str | None, dataclasses.field(default=None))
    function = None if cls is None else reset_function(cls)
    parameters = [] if function is None else list(inspect.signature(function).parameters.values())
    kinds = inspect.Parameter
    fields = [
        (each.name, _hint(function, each), _default(each))
        for each in parameters
        if each.kind in (kinds.POSITIONAL_OR_KEYWORD, kinds.KEYWORD_ONLY) and each.name != "self"
    ]
    takes_more = function is None or any(each.kind is kinds.VAR_KEYWORD for each in parameters)
    if takes_more:
        named = {name for name, _, _ in fields}
        fields += [known for known in (seed, episode) if known[0] not in named]
    made = dataclasses.make_dataclass("Reset", fields, kw_only=True)
    described = Schema(made).json_schema
    return {**described, "additionalProperties": takes_more}


def _hint(function: Any, parameter: inspect.Parameter) -> Any:
    try:
        hint = typing.get_type_hints(function, include_extras=True).get(parameter.name, Any)
        Schema(hint).json_schema  # noqa: B018  # whether it can be described at all
    except (TypeError, NameError):
        return Any
    return hint


def _default(parameter: inspect.Parameter) -> Any:
    value = parameter.default
    if value is inspect.Parameter.empty:
        return dataclasses.field()
    if type(value).__hash__ is None:  # which a dataclass refuses as a default
        return dataclasses.field(default_factory=lambda: value)
    return dataclasses.field(default=value)


@cache
def readme(cls: type | None) -> str | None:
    """The README beside the manifest of the environment: around its module, else in the working folder."""
    places = [Path.cwd()]
    file = getattr(sys.modules.get(cls.__module__), "__file__", None) if cls is not None else None
    if file is not None:
        places = [*list(Path(file).resolve().parents)[:3], *places]
    for place in places:
        if (place / "openenv.yaml").is_file():
            path = place / "README.md"
            try:
                return path.read_bytes()[:_README_BYTES].decode("utf-8", "replace")
            except OSError:
                return None
    return None


_FILES = (
    "playground.js",
    "session.js",
    "forms.js",
    "show.js",
    "episode.js",
    "markdown.js",
)

ROUTES: tuple[Route, ...] = (
    Route("GET", "/", home, public=False, web=True),
    Route("GET", "/web", playground, public=False, web=True),
    Route("GET", "/web/", slashed, public=False, web=True),
    Route("GET", "/web/about.json", about, public=False, web=True),
    Route("GET", "/web/frame", frame, public=False, web=True),
    *(Route("GET", f"/web/{name}", asset(name), public=False, web=True) for name in _FILES),
)
"""The page and its parts."""
