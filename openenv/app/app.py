"""`create_app` and the application it gives: an environment class as something that can be served.

In: an environment class or factory, and its types. Out: an `App`, which answers requests for our
own server (`dispatch`) and for any ASGI server (`__call__`), and serves itself (`run`). It knows
nothing about sockets or processes.

Reference: wire.md sections 2 to 4 and 8.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import parse_qs, quote

from openenv.app import asgi
from openenv.app.context import Context, Definition, Respond, Response, detail
from openenv.app.delegate import Delegate, Part, fastapi_names
from openenv.app.gate import Gate
from openenv.app.openapi import make_handler
from openenv.app.router import Route, Router
from openenv.app.routes import about, control, docs, mcp, metrics, tasks, web
from openenv.app.routes.answers import failure
from openenv.app.routes.rpc_socket import RpcSocket
from openenv.app.routes.ws import Peer, SessionSocket
from openenv.config import Config, effective_capacity, resolve
from openenv.errors import ConcurrencyConfigurationError, ConfigurationError
from openenv.mcp import action_schema_of
from openenv.models import State
from openenv.protocol.http11 import Request
from openenv.schema import infer_types, schema_of
from openenv.session.meter import Meter
from openenv.session.pool import Capacity
from openenv.session.runner import EnvironmentSpec, environment_class

__all__ = ["ROUTES", "App", "create_app"]

logger = logging.getLogger("openenv.app")

ROUTES: tuple[Route, ...] = (
    Route("GET", "/health", about.health),
    Route("POST", "/reset", control.reset, control=True),
    Route("POST", "/step", control.step, control=True),
    Route("GET", "/state", control.state, control=True),
    Route("DELETE", "/session", control.close, control=True, public=False),
    Route("GET", "/metrics", metrics.metrics, public=False),
    Route("GET", "/schema", about.schema),
    Route("GET", "/metadata", about.metadata),
    Route("POST", "/mcp", mcp.post),
    Route("DELETE", "/mcp", mcp.delete),
    Route("GET", "/list_environments", tasks.list_environments),
    Route("GET", "/{env_name}/splits", tasks.list_splits),
    Route("POST", "/{env_name}/tasks", tasks.list_tasks),
    Route("POST", "/{env_name}/num_tasks", tasks.num_tasks),
    Route("POST", "/{env_name}/task", tasks.get_task),
    Route("POST", "/{env_name}/task_range", tasks.get_task_range),
    *docs.ROUTES,
    *web.ROUTES,
)
"""Every HTTP route about the environment; `/openapi.json` describes those that are served, and `/ws`
is the one WebSocket route, see `App.open_socket`."""


class App:
    """One environment, ready to be served. Made by `create_app`; an ASGI 3 application.

    What it has not itself (`get`, `post`, `include_router`, `add_middleware`, `router`, `state` ...) it takes
    from a FastAPI application behind its routes, made when it is first asked for: see `delegate`.

    Attributes:
        definition: What it is about.
        environment_name: Name of the environment class, for messages.
        max_concurrent_envs: Sessions at once as asked for in code, or None.
        delegate: The author's part, None where he has none.
    """

    def __init__(
        self,
        definition: Definition,
        environment_name: str,
        max_concurrent_envs: int | None,
        mode: str | None,
    ) -> None:
        self.definition = definition
        self.environment_name = environment_name
        self.max_concurrent_envs = max_concurrent_envs
        self._mode = mode
        self._asgi: asgi.AsgiWorker | None = None
        self.delegate: Part | None = None

    def __getattr__(self, name: str) -> Any:
        names = frozenset() if name.startswith("_") else fastapi_names()
        if name not in names:
            hint = "" if names or name.startswith("_") else "; fastapi, which may have it, is not installed"
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}{hint}")
        return getattr(self.ensure_delegate().inner, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and name not in _OWN_NAMES and name in fastapi_names():
            setattr(self.ensure_delegate().inner, name, value)
            if not hasattr(type(self), name):
                return
        object.__setattr__(self, name, value)

    def openapi(self) -> Any:
        """The OpenAPI document, as FastAPI's applications give theirs; authors replace this by assignment."""
        return self.ensure_delegate().openapi()

    def ensure_delegate(self, inner: Any = None) -> Part:
        """The author's part, made now if there is none: of `inner`, a FastAPI application, if given."""
        if self.delegate is None:
            routes = [row for row in ROUTES if row.public and not row.web]
            config = resolve({}, code=self.settings())
            rows = [row for row in (*routes, *_described(ROUTES)) if _is_served(row, config)]
            self.delegate = Delegate(self, rows, inner)
        return self.delegate

    @property
    def part(self) -> Callable[..., Any] | None:
        """The author's part as an ASGI application, None where he has none."""
        return None if self.delegate is None else self.delegate.inner

    def context_of(self, scope: Any) -> Context:
        """The context that an ASGI scope is for."""
        context: Context | None = scope.get(asgi.CONTEXT_KEY)
        if context is not None and context.definition is self.definition:
            return context
        if self._asgi is None:
            self._asgi = asgi.AsgiWorker(self)
        return self._asgi.context()

    def set_mode(self, mode: Any) -> None:
        """Say anew in which mode it is served; None says nothing.

        Raises:
            ConfigurationError: It is neither `simulation` nor `production`.
        """
        self._mode = _settle_mode(mode) or self._mode

    @property
    def n_sessions(self) -> int:
        """Sessions that there are in this process, under an ASGI server."""
        return 0 if self._asgi is None else self._asgi.n_sessions

    @property
    def env_name(self) -> str:
        """The name in the Task API's paths."""
        return self.definition.env_name

    @property
    def concurrent(self) -> bool:
        """Whether several environments can live side by side. May make one to find out."""
        return bool(getattr(_class_of(self.definition.environment.factory), _CONCURRENT, False))

    def settings(self) -> dict[str, Any]:
        """What the code said of the server's knobs, for `config.resolve`."""
        return {"max_concurrent_envs": self.max_concurrent_envs, "mode": self._mode}

    def start(
        self,
        config: Config,
        capacity: Capacity,
        loop: asyncio.AbstractEventLoop,
        meter: Meter | None = None,
    ) -> Context:
        """Make the context that a worker serves with. Call it once per worker, on its loop.

        Raises:
            ConcurrencyConfigurationError: The configuration asks for more than the class can.
        """
        effective_capacity(config.max_concurrent_envs, self.concurrent, self.environment_name)
        routes = [row for row in ROUTES if _is_served(row, config)]
        context = Context(self.definition, _router(routes), config, capacity, loop, meter)
        context.gate = Gate(config, frozenset(row.path for row in routes if _is_open(row.path)))
        if self.delegate is not None:
            self.delegate.settle()
        return context

    async def begin(self, context: Context) -> None:
        """Start up the author's part, if there is one: before anything is served with the context.

        Raises:
            ConfigurationError: Its author's startup failed.
        """
        if self.delegate is not None:
            context.lifespan = asgi.Lifespan(self.delegate.inner)
            await context.lifespan.start()
            # A startup may add routes.
            self.delegate.settle()

    async def end(self, context: Context) -> None:
        """Shut it down: after everything was served."""
        if context.lifespan is not None:
            await context.lifespan.stop()

    def refusal(self, context: Context, request: Request) -> Response | None:
        """The response to a request that may not come in at all; None lets it in."""
        return None if context.gate is None else context.gate.refusal(request)

    def dispatch(self, context: Context, request: Request, respond: Respond) -> Any:
        """Answer one request.

        Returns:
            A `Response`, or `PENDING`; then `respond` is called on the loop.
        """
        refusal = self.refusal(context, request)
        if refusal is not None:
            return refusal
        match = context.router.find(request.method, request.path)
        if match.handler is not None:
            try:
                return match.handler(context, request, respond)
            except Exception as error:
                return failure(error)
        if match.allowed:
            headers = (("content-type", "application/json"), ("allow", ", ".join(match.allowed)))
            return detail(405, "Method Not Allowed", headers)
        return _redirect(context, request) or detail(404, "Not Found")

    def open_socket(self, context: Context, path: str, peer: Peer) -> SessionSocket | None:
        """What answers a WebSocket at `path`, or None: then the handshake is refused with 403."""
        if path == "/ws":
            return SessionSocket(context, peer)
        return RpcSocket(context, peer) if path == "/mcp" else None

    def is_session_path(self, path: str) -> bool:
        """Whether a WebSocket at `path` holds a session of its own."""
        if self.delegate is not None and self.delegate.takes_socket(path):
            return False
        return path in ("/ws", "/mcp")

    def session_id_of(self, request: Request) -> str | None:
        """Id of the session that a request is about, None where it is about no one in particular."""
        if request.path == "/ws":
            if "session_id" not in request.query:
                return None
            return parse_qs(request.query).get("session_id", [None])[0]
        if request.path == "/mcp":
            return mcp.session_id_of(request)
        return request.header(control.SESSION_HEADER)

    def opens_session(self, request: Request) -> bool:
        """Whether a request over plain HTTP makes a session that later ones will name."""
        if request.path == "/mcp":
            return mcp.opens_session(request)
        return request.path == "/reset" and request.header(control.SESSION_HEADER) == control.NEW_SESSION

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """The same answers under an ASGI server; its workers do not share their capacity."""
        if self._asgi is None:
            self._asgi = asgi.AsgiWorker(self)
        await self._asgi(scope, receive, send)

    def run(self, **knobs: Any) -> int:
        """Serve until SIGTERM or SIGINT.

        Args:
            **knobs: `host`, `port`, `workers` and so on, see `openenv.config.Config`. Here they
                have the rank of flags: before variables and `create_app`.

        Returns:
            The exit code, 0 after an orderly end.
        """
        # The one call up the floors: an App that can serve itself has to reach the shell.
        from openenv.server.run import run

        return run(self, resolve(knobs, code=self.settings()))


def _is_served(row: Route, config: Config) -> bool:
    if row.web and not config.web_interface:
        return False
    return config.mode != "production" or not row.control


def _is_open(path: str) -> bool:
    """Whether a route wants no token: it says nothing of the environment."""
    return path in ("/", "/health", "/web", "/web/", "/web/frame") or (
        path.startswith("/web/") and path.endswith((".js", ".css"))
    )


def _redirect(context: Context, request: Request) -> Response | None:
    """Existing servers lead `/health/` to `/health`; 307 keeps the method and the body."""
    path = request.path.rstrip("/")
    if path == request.path or context.router.find(request.method, path) == (None, ()):
        return None
    # Relative, so that it is right behind any proxy: RFC 9110 section 10.2.2.
    location = quote(path) + (f"?{request.query}" if request.query else "")
    return Response(307, b"", (("location", location),))


def _described(routes: Sequence[Route]) -> tuple[Route, ...]:
    """The routes that say what the others are."""
    return (
        Route("GET", "/openapi.json", make_handler(routes), public=False),
        Route("GET", "/docs", docs.make_handler(routes), public=False),
    )


def _router(routes: Sequence[Route]) -> Router:
    return Router([*routes, *_described(routes)])


_OWN_NAMES = frozenset({"definition", "delegate", "environment_name", "max_concurrent_envs"})


_CONCURRENT = "SUPPORTS_CONCURRENT_SESSIONS"


def _class_of(factory: Callable[[], Any]) -> type:
    """The class that a factory makes; makes one environment where nothing else tells."""
    known = environment_class(factory)
    if known is not None:
        return known
    env = factory()
    close = getattr(env, "close", None)
    if close is not None and not inspect.iscoroutinefunction(close):
        close()
    return type(env)


def create_app(
    env: Callable[[], Any],
    action_cls: Any = None,
    observation_cls: Any = None,
    env_name: str | None = None,
    max_concurrent_envs: int | None = None,
    concurrency_config: Any = None,
    gradio_builder: Any = None,
    custom_tab_name: str = "Custom",
    custom_tab_primary: bool = False,
    show_default_tab: bool = True,
    title_override: str | None = None,
    state_cls: Any = None,
    *,
    mode: Any = None,
    reset_observation_cls: Any = None,
) -> App:
    """Make an application of an environment.

    Args:
        env: The environment class, or a callable without arguments that makes one environment.
        action_cls: Type of actions: an `Action`, a dataclass, a pydantic model or `dict`. May be
            left out where the class's annotations say it; so may the next, and `state_cls`.
        observation_cls: Type of what `step` gives.
        env_name: Name in the Task API's paths; by default the class's.
        max_concurrent_envs: Sessions at once over all workers, >= 1.
        concurrency_config: An object with `max_concurrent_envs`, in place of the number.
        gradio_builder: Accepted for compatibility and not used, like the four that follow.
        state_cls: Type of `state`.
        mode: `simulation`, or `production`, which leaves out `/reset`, `/step` and `/state`.
        reset_observation_cls: Type of what `reset` gives, where it is another.

    Raises:
        TypeError: `env` is not callable, an environment instance for example.
        ConfigurationError: A type is neither given nor annotated, or `mode` is unknown.
        ConcurrencyConfigurationError: More than one session for a class that is not concurrent.
    """
    if not callable(env):
        raise TypeError(
            f"expected an environment class or a callable that makes an environment, got an instance of "
            f"{type(env).__name__}; pass the class itself: create_app({type(env).__name__}, ...)"
        )
    if gradio_builder is not None:
        logger.info("create_app: gradio_builder is accepted for compatibility and not used")
    cls = environment_class(env)
    if concurrency_config is not None:
        if max_concurrent_envs is not None:
            raise ValueError("give either max_concurrent_envs or concurrency_config, not both")
        max_concurrent_envs = concurrency_config.max_concurrent_envs
    name = cls.__name__ if cls is not None else getattr(env, "__name__", "environment")
    if (max_concurrent_envs or 1) > 1 and not getattr(cls or _class_of(env), _CONCURRENT, False):
        raise ConcurrencyConfigurationError(name, int(max_concurrent_envs or 1))
    inferred = infer_types(cls) if cls is not None else (None, None, None)
    action = action_schema_of(_settle_type("action_cls", action_cls, inferred[0], name))
    observation = schema_of(_settle_type("observation_cls", observation_cls, inferred[1], name))
    definition = Definition(
        env_name=env_name or name,
        environment=EnvironmentSpec(
            factory=env,
            action=action,
            never_blocks=bool(getattr(cls, "NEVER_BLOCKS", False)),
            single_thread=bool(getattr(cls, "REQUIRES_SINGLE_THREAD_EXECUTOR", False)),
        ),
        observation=observation,
        reset_observation=schema_of(reset_observation_cls) if reset_observation_cls else observation,
        state=schema_of(state_cls or inferred[2] or State),
    )
    return App(definition, name, max_concurrent_envs, _settle_mode(mode))


def _settle_type(keyword: str, given: Any, inferred: Any, name: str) -> Any:
    if given is not None:
        return given
    if inferred is None:
        raise ConfigurationError(
            f"cannot tell the {keyword} of {name}: annotate its methods, as in "
            f"`class {name}(Environment[MyAction, MyObservation, State])`, or pass {keyword}= to create_app"
        )
    return inferred


def _settle_mode(mode: Any) -> str | None:
    if mode is None:
        return None
    text = str(getattr(mode, "value", mode)).lower()
    if text not in ("simulation", "production"):
        raise ConfigurationError(f"expected mode 'simulation' or 'production', got {mode!r}")
    return text
