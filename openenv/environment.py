"""The contract with authors: what an environment is.

An environment is a class with `reset`, `step` and `state`. One object of it serves one session;
the runtime makes it, calls it one call at a time and closes it. This module knows nothing about
servers, threads or wires: `session/runner.py` alone decides where a method runs.

Reference: the Gymnasium API (https://gymnasium.farama.org), `wire.md` section 3.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from openenv.models import EnvironmentMetadata

__all__ = ["Environment", "TaskProvider", "Transform", "run_plain"]

ActT = TypeVar("ActT")
ObsT = TypeVar("ObsT")
StateT = TypeVar("StateT")
T = TypeVar("T")

plain_place: ContextVar[Callable[[Callable[[], Any]], Awaitable[Any]] | None] = ContextVar(
    "openenv_plain_place", default=None
)
"""How `run_plain` runs something; set by the runner around every coroutine of an environment."""


async def run_plain(function: Callable[[], T]) -> T:
    """From an ``async def`` method, run plain code where this session's plain methods run.

    That is the session's own thread, so what is bound to that thread works and the loop is not blocked.
    Outside of a server it is some thread of the loop's executor.
    """
    place = plain_place.get()
    if place is None:
        # Here, since models and environments are imported where no loop is, and asyncio takes 45 ms.
        from asyncio import get_running_loop

        return await get_running_loop().run_in_executor(None, function)
    result: T = await place(function)
    return result


class Transform(Generic[ObsT]):
    """Changes an observation on its way out: adds a reward, a metric, another view.

    Subclass and define `__call__`; give it to `Environment(transform=...)`.
    """

    def __call__(self, observation: ObsT) -> ObsT:
        """Give back the observation to send, the same object or another."""
        raise NotImplementedError(f"{type(self).__name__} defines no __call__(observation)")


class TaskProvider(Protocol):
    """What an environment over a data set may define so that its tasks can be listed over HTTP.

    The methods are looked up on the environment; none needs to be inherited from here. Each may be
    `async def`, must work on an environment that was never reset and must not change anything.
    """

    def list_splits(self) -> list[Any]:
        """Names of the splits, or dicts with at least a ``name``."""

    def list_tasks(self, split: str) -> list[Any]:
        """The tasks of one split."""

    def num_tasks(self, split: str) -> int:
        """How many tasks the split has."""

    def get_task(self, split: str, index: int) -> Any:
        """One task, counted from 0. An IndexError is answered with status 400."""

    def get_task_range(self, split: str, start: int | None = None, stop: int | None = None) -> list[Any]:
        """Tasks of ``[start, stop)``, as Python slices count."""


class Environment(Generic[ActT, ObsT, StateT]):
    """Base class of environments; the type parameters are action, observation and state.

    Define `reset`, `step` and `state`, each either plain or (`reset` and `step`) `async def`.
    `reset_async` and `step_async`, where defined, are used in place of the plain ones.

    All plain methods of one session, the constructor and `close` included, run on one thread that
    is that session's alone, so thread-bound libraries work. `async def` methods run on the event
    loop. See `NEVER_BLOCKS` for the third way.

    Args:
        transform: Applied by `_apply_transform`, which `step` and `reset` may call.
        rubric: Computes rewards through `_apply_rubric`; a callable ``(action, observation)``.

    Attributes:
        SUPPORTS_CONCURRENT_SESSIONS: True if several objects of this class can live side by side:
            no shared mutable state, no fixed port or path. A class that does not say so gets one
            session at a time.
        REQUIRES_SINGLE_THREAD_EXECUTOR: True if the objects of all sessions must share one thread.
        NEVER_BLOCKS: True if every method, the constructor included, is short (well below a
            millisecond) and never waits for a disk, a network, a lock or a subprocess. Its plain
            methods then run on the event loop itself, which is several times faster; one that does
            block holds up every session of its worker.
    """

    SUPPORTS_CONCURRENT_SESSIONS: bool = False
    REQUIRES_SINGLE_THREAD_EXECUTOR: bool = False
    NEVER_BLOCKS: bool = False

    def __init__(
        self,
        transform: Transform[ObsT] | None = None,
        rubric: Callable[..., Any] | None = None,
    ) -> None:
        self.transform = transform
        self.rubric = rubric

    if TYPE_CHECKING:
        # To type checkers an author's signature is right whichever keywords it leaves out: the
        # runner passes only those that it names.
        def reset(self, *args: Any, **kwargs: Any) -> Any: ...

        def step(self, action: ActT, *args: Any, **kwargs: Any) -> Any: ...

    else:

        def reset(self, seed: int | None = None, episode_id: str | None = None, **kwargs: Any) -> Any:
            """Start an episode and give its first observation.

            Args:
                seed: Same seed, same episode. Any integer a client sends on the WebSocket; >= 0 over HTTP.
                episode_id: The client's name for the episode, at most 255 characters over HTTP.
                **kwargs: Whatever else the client sent. A signature without `**kwargs` gets only the
                    keywords that it names.

            Returns:
                The first observation; `reward` and `done` may be left at their defaults.
            """
            raise NotImplementedError(f"{type(self).__name__} defines no reset()")

        def step(self, action: ActT, timeout_s: float | None = None, **kwargs: Any) -> Any:
            """Apply one action and give back what the environment shows next.

            Args:
                action: An object of the action class, already validated.
                timeout_s: Seconds, > 0, that the client is going to wait; None if it did not say.
                **kwargs: Further keys of a stateless HTTP request, if the signature takes them.

            Returns:
                An observation. `reward` is in the environment's own unit or None; `done` is True once
                the episode is over.
            """
            raise NotImplementedError(f"{type(self).__name__} defines no step()")

    @property
    def state(self) -> Any:
        """The state of the episode: a `State`, another model, or a dict."""
        raise NotImplementedError(f"{type(self).__name__} defines no state property")

    def reset_async(self, *args: Any, **kwargs: Any) -> Awaitable[Any]:
        """`reset` for authors who await; override it with `async def`. The default calls `reset`."""
        return _awaitable(self.reset(*args, **kwargs))

    def step_async(self, action: ActT, *args: Any, **kwargs: Any) -> Awaitable[Any]:
        """`step` for authors who await; override it with `async def`. The default calls `step`."""
        return _awaitable(self.step(action, *args, **kwargs))

    def get_metadata(self) -> EnvironmentMetadata:
        """Name, description and version, for `/metadata` and the web page."""
        name = type(self).__name__
        return EnvironmentMetadata(name=name, description=f"{name} environment", version="1.0.0")

    def close(self) -> Any:
        """Let go of what the environment holds. Called once, when its session ends."""

    def render_web(self, observation: dict[str, Any]) -> str | None:
        """HTML that draws an observation on `/web`, or None to list its fields.

        Args:
            observation: The observation as sent, with `reward` and `done` beside its fields.
        """
        return None

    def web_actions(self, observation: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
        """Actions that `/web` offers as buttons, as (label, action) pairs.

        Args:
            observation: The observation as sent, with `reward` and `done` beside its fields.
        """
        return []

    def _apply_transform(self, observation: ObsT) -> ObsT:
        """The observation after the transform, if there is one."""
        return observation if self.transform is None else self.transform(observation)

    def _apply_rubric(self, action: ActT, observation: ObsT) -> Any:
        """The rubric's reward for this step, 0.0 without a rubric."""
        return 0.0 if self.rubric is None else self.rubric(action, observation)

    async def _apply_rubric_async(self, action: ActT, observation: ObsT) -> Any:
        """The rubric's reward for this step, awaited if need be; 0.0 without a rubric."""
        reward = self._apply_rubric(action, observation)
        return await reward if isinstance(reward, Awaitable) else reward

    def _reset_rubric(self) -> None:
        """Clear what the rubric remembers of the last episode."""
        reset = getattr(self.rubric, "reset", None)
        if reset is not None:
            reset()

    async def _reset_rubric_async(self) -> None:
        """Clear what the rubric remembers of the last episode, awaited if need be."""
        reset = getattr(self.rubric, "reset_async", None) or getattr(self.rubric, "reset", None)
        result = reset() if reset is not None else None
        if isinstance(result, Awaitable):
            await result


async def _awaitable(value: Any) -> Any:
    return await value if isinstance(value, Awaitable) else value
