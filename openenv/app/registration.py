"""An environment's routes in a FastAPI application that exists, and two ways existing code asks for an app.

In: an environment class and its types, as for `create_app`. Out: an `App`, or its routes added to a FastAPI
application of the author's own, which `openenv serve` then serves as that app.

Reference: wire.md section 7.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from openenv.app.app import App, create_app

__all__ = ["HTTPEnvServer", "create_fastapi_app"]


def create_fastapi_app(
    env: Callable[[], Any],
    action_cls: Any,
    observation_cls: Any,
    max_concurrent_envs: int | None = None,
    concurrency_config: Any = None,
    env_name: str | None = None,
    state_cls: Any = None,
    *,
    mode: Any = None,
    reset_observation_cls: Any = None,
) -> App:
    """`create_app` with its arguments in another order, as existing code calls it."""
    return create_app(
        env,
        action_cls,
        observation_cls,
        env_name,
        max_concurrent_envs,
        concurrency_config,
        state_cls=state_cls,
        mode=mode,
        reset_observation_cls=reset_observation_cls,
    )


@dataclass(frozen=True, slots=True)
class _Concurrency:
    """How many sessions at once; what `HTTPEnvServer.concurrency_config` gives where none was given."""

    max_concurrent_envs: int
    session_timeout: float | None = None


class HTTPEnvServer:
    """An environment whose routes can be added to a FastAPI application.

    Arguments and errors are those of `create_app`; `max_concurrent_envs` is 1 where it is not given.

    Attributes:
        app: The app whose routes they are.
    """

    def __init__(
        self,
        env: Callable[[], Any],
        action_cls: Any,
        observation_cls: Any,
        max_concurrent_envs: int | None = None,
        concurrency_config: Any = None,
        env_name: str | None = None,
        state_cls: Any = None,
        *,
        reset_observation_cls: Any = None,
    ) -> None:
        self.app = create_fastapi_app(
            env,
            action_cls,
            observation_cls,
            max_concurrent_envs,
            concurrency_config,
            env_name,
            state_cls,
            reset_observation_cls=reset_observation_cls,
        )
        # Under the incumbent's name for it, because subclasses call it.
        self._env_factory = env
        self.action_cls = action_cls
        self.observation_cls = observation_cls
        self.reset_observation_cls = reset_observation_cls or observation_cls
        self.state_cls = state_cls
        self.env_name = self.app.env_name
        self.concurrency_config = concurrency_config or _Concurrency(max_concurrent_envs or 1)

    @property
    def max_concurrent_envs(self) -> int:
        """Sessions at once as asked for in code."""
        asked: int = self.concurrency_config.max_concurrent_envs
        return asked

    @property
    def is_concurrency_safe(self) -> bool:
        """Whether several environments can live side by side."""
        return self.app.concurrent

    @property
    def active_sessions(self) -> int:
        """Sessions that there are in this process, under an ASGI server."""
        return self.app.n_sessions

    def register_routes(self, app: Any, mode: Any = None) -> None:
        """Add the environment's routes.

        Args:
            app: A FastAPI application; one made by `create_app` has such routes already.
            mode: `simulation` or `production`.

        Raises:
            ConfigurationError: `mode` is unknown.
            ValueError: They were added to an application before.
        """
        if self.app.delegate is not None:
            raise ValueError("the routes were added to an application already; make another HTTPEnvServer")
        self.app.set_mode(mode)
        self.app.ensure_delegate(app)
