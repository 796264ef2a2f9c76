"""A route of a FastAPI application as a row, under the path that existing code imports it from."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

__all__ = ["GetEndpointConfig", "register_get_endpoints"]


@dataclass
class GetEndpointConfig:
    """One GET route.

    Attributes:
        path: Such as ``/health``.
        handler: Called without arguments; its result is the response.
        response_model: Class of the result.
        tag: Under which ``/docs`` shows it.
        summary: A line for ``/docs``.
        description: A paragraph for ``/docs``.
    """

    path: str
    handler: Callable[[], Any]
    response_model: type
    tag: str
    summary: str
    description: str


def register_get_endpoints(app: Any, configs: Iterable[GetEndpointConfig]) -> None:
    """Add the routes to an application made by FastAPI or by `create_app`."""
    for config in configs:
        app.add_api_route(
            config.path,
            _awaitable(config.handler),
            methods=["GET"],
            response_model=config.response_model,
            tags=[config.tag],
            summary=config.summary,
            description=config.description,
        )


def _awaitable(handler: Callable[[], Any]) -> Callable[[], Any]:
    # FastAPI would give a plain function a thread.
    async def endpoint() -> Any:
        return handler()

    return endpoint
