"""How author code runs: the one place that asks sync or async, which thread, which keywords.

In: the name of a call on an environment and its arguments. Out: its result, made ready to send,
either at once or later through a callback on the event loop. It knows nothing about sessions'
states, capacity, messages or sockets.

Three places, chosen by the environment's class and never mixed for one method:

- the loop, directly, for plain methods of a class that says `NEVER_BLOCKS`;
- a task on the loop, for `async def` methods;
- the session's own thread, for all other plain methods, the constructor and `close` included, and
  with them whatever of the author's runs while an action is loaded or an observation is dumped.

Limits: a thread cannot be killed, so a call that never returns keeps its thread; `StatelessCalls`
uses at most `MAX_STATELESS_THREADS` threads.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
import traceback
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from time import perf_counter
from typing import Any, Final

from openenv.environment import Environment, plain_place
from openenv.errors import AuthorError, EnvironmentFactoryError, OpenEnvError, SchemaError
from openenv.schema import Schema, dump_state
from openenv.session.meter import SAMPLED, Meter

__all__ = [
    "PENDING",
    "EnvironmentSpec",
    "Mailbox",
    "OnDone",
    "Runner",
    "StatelessCalls",
    "StepNow",
    "WorkThread",
    "draws_itself",
    "environment_class",
    "is_awaited",
    "reset_function",
    "work",
]

logger = logging.getLogger("openenv.session")

PENDING: Final = object()
"""Given back in place of a result that will come through the callback."""

MAX_STATELESS_THREADS: Final = 32

OnDone = Callable[[Any, BaseException | None], None]
"""Called on the loop with (result, None) or (None, error)."""

Finish = Callable[[Any], Any]
"""Makes what is sent of what the environment gave, in the author's place, since it may run his code."""

StepNow = Callable[[Any, Finish], Any]

# An author may call sys.exit(), and a cancelled await inside plain code surfaces as CancelledError:
# neither may end a worker.
_AUTHOR_RAISED = (Exception, SystemExit, asyncio.CancelledError, GeneratorExit)


@dataclass(slots=True, eq=False)
class EnvironmentSpec:
    """What an application knows about its environment.

    Attributes:
        factory: Zero-argument callable that makes one environment, usually its class.
        action: Schema of the action class.
        never_blocks: Whether plain methods run on the loop.
        single_thread: Whether all sessions share one thread.
        debug: Whether replies may carry the author's tracebacks.
        hide_errors: Whether replies say that the author's code raised, and not what.
    """

    factory: Callable[[], Any]
    action: Schema
    never_blocks: bool = False
    single_thread: bool = False
    debug: bool = False
    hide_errors: bool = False

    @property
    def factory_name(self) -> str:
        """What error replies call the factory."""
        return str(getattr(self.factory, "__name__", self.factory))


def environment_class(factory: Callable[[], Any]) -> type | None:
    """The class that a factory is, or None for a function: its annotation may name a base class."""
    while isinstance(factory, partial):
        factory = factory.func
    return factory if inspect.isclass(factory) else None


@dataclass(frozen=True, slots=True)
class _Method:
    """How one method is called: by which name, whether awaited, with which keywords (None: any)."""

    name: str
    is_async: bool
    keywords: frozenset[str] | None

    def accepted(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        """The keywords that the signature takes; the rest is dropped, as existing servers do."""
        if self.keywords is None or not kwargs:
            return kwargs
        return {key: value for key, value in kwargs.items() if key in self.keywords}


@dataclass(frozen=True, slots=True)
class _Plan:
    """How the methods of one environment class are called. Made once per class."""

    reset: _Method
    step: _Method
    close: _Method
    draws: bool


_plans: dict[type, _Plan] = {}


def _plan_of(cls: type) -> _Plan:
    plan = _plans.get(cls)
    if plan is None:
        plan = _Plan(
            _method_of(cls, "reset"), _method_of(cls, "step"), _method_of(cls, "close"), draws_itself(cls)
        )
        _plans[cls] = plan
    return plan


def _method_of(cls: type, name: str) -> _Method:
    overridden = getattr(cls, f"{name}_async", None)
    if overridden is not None and overridden is not getattr(Environment, f"{name}_async", None):
        return _Method(f"{name}_async", True, _keywords_of(overridden))
    method = getattr(cls, name, None)
    return _Method(name, inspect.iscoroutinefunction(method), _keywords_of(method))


def draws_itself(cls: type) -> bool:
    """Whether the author wrote anything for `/web`."""
    names = ("render_web", "web_actions")
    return any(getattr(cls, name, None) not in (None, getattr(Environment, name)) for name in names)


def reset_function(cls: type) -> Any:
    """What a reset of this class calls, for those who read its signature; None where there is none."""
    return getattr(cls, _method_of(cls, "reset").name, None)


def is_awaited(cls: type, name: str) -> bool:
    """Whether `reset`, `step` or `close` of this class is awaited."""
    return _method_of(cls, name).is_async


def _keywords_of(method: Any) -> frozenset[str] | None:
    try:
        parameters = inspect.signature(method).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return frozenset(parameter.name for parameter in parameters) - {"self", "action"}


class Mailbox:
    """Hands results from threads to the loop, and jobs from the loop to threads.

    One wake-up of the loop carries all results that have gathered. Jobs wait for the end of the loop's
    turn: a thread that is woken earlier finds the interpreter's lock taken, goes back to sleep, and is
    woken for nothing again after each callback of uvloop's, which lets the lock go and takes it back.
    """

    __slots__ = ("_items", "_jobs", "_loop", "_woken")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._items: deque[tuple[OnDone, Any, BaseException | None]] = deque()
        self._jobs: list[tuple[SimpleQueue[_Job | None], _Job | None]] = []
        self._woken = False

    def hand(self, jobs: SimpleQueue[_Job | None], job: _Job | None) -> None:
        """Put a job into a thread's queue, after what was handed before. On the loop."""
        self._jobs.append((jobs, job))
        if len(self._jobs) == 1:
            try:
                self._loop.call_soon(self._hand_out)
            except RuntimeError:  # the loop has ended: threads end with it
                self._hand_out()

    def _hand_out(self) -> None:
        handed, self._jobs = self._jobs, []
        for jobs, job in handed:
            jobs.put(job)

    def put(self, on_done: OnDone, result: Any, error: BaseException | None) -> None:
        """Have `on_done(result, error)` called on the loop. From any thread."""
        self._items.append((on_done, result, error))
        if not self._woken:
            self._woken = True
            try:
                self._loop.call_soon_threadsafe(self._deliver)
            except RuntimeError:
                self._items.clear()  # the loop has ended, and with it whoever waited

    def _deliver(self) -> None:
        # Cleared first: what is put from here on either is seen below or wakes the loop again.
        self._woken = False
        items = self._items
        while items:
            on_done, result, error = items.popleft()
            on_done(result, error)


_Job = tuple[Callable[..., Any], tuple[Any, ...], OnDone]


def work(jobs: SimpleQueue[_Job | None], mailbox: Mailbox) -> None:
    """Do jobs in order, on the calling thread, until there is a None among them."""
    while (job := jobs.get()) is not None:
        call, args, on_done = job
        try:
            result = call(*args)
        except BaseException as error:
            mailbox.put(on_done, None, error)
        else:
            mailbox.put(on_done, result, None)
        # An idle thread must not keep the last result, and with it an observation, alive.
        job = call = args = on_done = result = None  # type: ignore[assignment]


class WorkThread:
    """A thread that does jobs in order until told to end."""

    __slots__ = ("_jobs", "_mailbox")

    def __init__(self, mailbox: Mailbox, name: str) -> None:
        self._mailbox = mailbox
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        # daemon: a call that never returns must not keep the process from ending.
        threading.Thread(target=work, args=(self._jobs, mailbox), name=name, daemon=True).start()

    def submit(self, call: Callable[..., Any], args: tuple[Any, ...], on_done: OnDone) -> None:
        self._mailbox.hand(self._jobs, (call, args, on_done))

    def end(self) -> None:
        """End after the jobs submitted so far."""
        self._mailbox.hand(self._jobs, None)


def _author_error(error: BaseException, method: str, spec: EnvironmentSpec) -> OpenEnvError:
    """What the author's exception is to everybody else. Our own errors stay what they are."""
    if isinstance(error, AuthorError):
        return error
    if spec.hide_errors:
        return AuthorError(f"The environment's {method} failed", method)
    text = "".join(traceback.format_exception(error)) if spec.debug else None
    return AuthorError(str(error), method, type(error).__name__, text)


def _make(spec: EnvironmentSpec) -> Any:
    try:
        return spec.factory()
    except _AUTHOR_RAISED as error:
        text = "".join(traceback.format_exception(error)) if spec.debug else None
        raise EnvironmentFactoryError(
            spec.factory_name,
            exception=None if spec.hide_errors else type(error).__name__,
            traceback=None if spec.hide_errors else text,
        ) from error


def _reset(env: Any, spec: EnvironmentSpec, kwargs: dict[str, Any], finish: Finish) -> Any:
    try:
        return finish(env.reset(**_plan_of(type(env)).reset.accepted(kwargs)))
    except _AUTHOR_RAISED as error:
        raise _author_error(error, "reset", spec) from error


def _step(
    env: Any,
    spec: EnvironmentSpec,
    load: Callable[[Any], Any],
    data: Any,
    kwargs: dict[str, Any] | None,
    finish: Finish,
) -> Any:
    try:
        action = load(data)
        if kwargs:
            observation = env.step(action, **_plan_of(type(env)).step.accepted(kwargs))
        else:
            observation = env.step(action)
        return finish(observation)
    except SchemaError:
        raise
    except _AUTHOR_RAISED as error:
        raise _author_error(error, "step", spec) from error


def _stepper(env: Any, spec: EnvironmentSpec, meter: Meter) -> StepNow:
    """`_step` of one environment, without keywords; counted, and timed now and then."""
    action = spec.action

    def step_now(data: Any, finish: Finish) -> Any:
        n_steps = meter.n_steps = meter.n_steps + 1
        if not n_steps % SAMPLED:
            return timed(data, finish)
        try:
            return finish(env.step(action.load(data)))
        except SchemaError:
            raise
        except _AUTHOR_RAISED as error:
            raise _author_error(error, "step", spec) from error

    def timed(data: Any, finish: Finish) -> Any:
        begun_at = perf_counter()
        try:
            return _step(env, spec, action.load, data, None, finish)
        finally:
            meter.observe("step", perf_counter() - begun_at, SAMPLED)

    return step_now


def _state(env: Any, spec: EnvironmentSpec, finish: Finish) -> Any:
    try:
        state = env.state
        return finish(dump_state(state() if inspect.ismethod(state) else state))
    except _AUTHOR_RAISED as error:
        raise _author_error(error, "state", spec) from error


def _draw(env: Any, spec: EnvironmentSpec, observation: dict[str, Any], finish: Callable[..., Any]) -> Any:
    method = "render_web"
    try:
        render, offer = getattr(env, "render_web", None), getattr(env, "web_actions", None)
        html = None if render is None else render(observation)
        method = "web_actions"
        return finish(html, () if offer is None else offer(observation))
    except _AUTHOR_RAISED as error:
        raise _author_error(error, method, spec) from error


def _call(env: Any, spec: EnvironmentSpec, name: str, args: tuple[Any, ...], finish: Finish) -> Any:
    try:
        return finish(getattr(env, name)(*args))
    except _AUTHOR_RAISED as error:
        raise _author_error(error, name, spec) from error


def _close(env: Any, spec: EnvironmentSpec) -> None:
    close = getattr(env, "close", None)
    if close is None:
        return
    try:
        close()
    except _AUTHOR_RAISED as error:
        raise _author_error(error, "close", spec) from error


class Runner:
    """One environment and the place where its code runs.

    Every method gives the result at once or `PENDING`; in the latter case `on_done` is called on
    the loop later. One call at a time: the caller waits for a result before it asks again.

    Args:
        spec: The environment.
        mailbox: The loop's.
        loop: The running loop.
        thread: A thread to share, else one of its own is started where one is needed.
        meter: Counts the steps that run on the loop.
    """

    __slots__ = (
        "_context",
        "_held",
        "_loop",
        "_meter",
        "_plan",
        "_shared",
        "_spec",
        "_task",
        "_thread",
        "ended",
        "env",
        "step_now",
    )

    def __init__(
        self,
        spec: EnvironmentSpec,
        mailbox: Mailbox,
        loop: asyncio.AbstractEventLoop,
        name: str,
        shared: WorkThread | None = None,
        meter: Meter | None = None,
    ) -> None:
        self._spec = spec
        self._meter = meter or Meter()
        self._loop = loop
        self._shared = shared is not None
        self._thread = shared
        if shared is None and not spec.never_blocks:
            self._thread = WorkThread(mailbox, name)
        self._task: asyncio.Task[None] | None = None
        self._plan: _Plan | None = None
        self._held: Any = None
        self._context: Context | None = None
        self.env: Any = None
        # How a process of the environment's ended: it has none here.
        self.ended: str | None = None
        # A step without keywords that runs on the loop, or None where it runs elsewhere: the one
        # call that is made a hundred thousand times a second goes round the layers of the others.
        self.step_now: StepNow | None = None

    def open(self, on_done: OnDone) -> Any:
        """Make the environment.

        Raises:
            EnvironmentFactoryError: The factory raised.
        """
        if self._thread is None:
            self._made(_make(self._spec))
            return self._enter(on_done)

        def made(env: Any, error: BaseException | None) -> None:
            if error is None:
                self._made(env)
                if self._enter(on_done) is PENDING:
                    return
            on_done(None, error)

        self._thread.submit(_make, (self._spec,), made)
        return PENDING

    def _enter(self, on_done: OnDone) -> Any:
        """Enter `mcp_session()`, where the environment has it, for as long as the environment lives."""
        enter = getattr(self.env, "mcp_session", None)
        if not callable(enter):
            return None
        return self._start_task(self._enter_async(enter), "factory", on_done)

    async def _enter_async(self, enter: Callable[[], Any]) -> None:
        try:
            held = enter()
            await held.__aenter__()
        except _AUTHOR_RAISED as error:
            name = self._spec.factory_name
            raise EnvironmentFactoryError(name, exception=type(error).__name__) from error
        self._held = held

    def _made(self, env: Any) -> None:
        self.env = env
        self._plan = _plan_of(type(env))
        if self._thread is None and not self._plan.step.is_async:
            self.step_now = _stepper(env, self._spec, self._meter)

    def reset(self, kwargs: dict[str, Any], finish: Finish, on_done: OnDone) -> Any:
        """Call `reset` with those of the keywords that it takes."""
        assert self._plan is not None
        if self._plan.reset.is_async:
            return self._start_task(self._reset_async(kwargs, finish), "reset", on_done)
        if self._thread is None:
            return _reset(self.env, self._spec, kwargs, finish)
        self._thread.submit(_reset, (self.env, self._spec, kwargs, finish), on_done)
        return PENDING

    def step(
        self,
        load: Callable[[Any], Any],
        data: Any,
        kwargs: dict[str, Any] | None,
        finish: Finish,
        on_done: OnDone,
    ) -> Any:
        """Call `step` with the action that `load` makes of `data`, and the keywords it takes."""
        plan = self._plan
        assert plan is not None
        if plan.step.is_async:
            return self._start_task(self._step_async(load, data, kwargs, finish), "step", on_done)
        if self._thread is None:
            return _step(self.env, self._spec, load, data, kwargs, finish)
        self._thread.submit(_step, (self.env, self._spec, load, data, kwargs, finish), on_done)
        return PENDING

    def state(self, finish: Finish, on_done: OnDone) -> Any:
        """Read `state`."""
        if self._thread is None:
            return _state(self.env, self._spec, finish)
        self._thread.submit(_state, (self.env, self._spec, finish), on_done)
        return PENDING

    @property
    def draws(self) -> bool:
        """Whether the environment has a `render_web` or a `web_actions` of its own."""
        return self._plan is not None and self._plan.draws

    def draw(self, observation: dict[str, Any], finish: Callable[..., Any], on_done: OnDone) -> Any:
        """Call `render_web` and `web_actions`, both plain; `finish` gets what the two gave."""
        if self._thread is None:
            return _draw(self.env, self._spec, observation, finish)
        self._thread.submit(_draw, (self.env, self._spec, observation, finish), on_done)
        return PENDING

    def call(self, name: str, args: tuple[Any, ...], finish: Finish, on_done: OnDone) -> Any:
        """Call any other method, plain or `async def`."""
        if inspect.iscoroutinefunction(getattr(type(self.env), name, None)):
            return self._start_task(self._call_async(name, args, finish), name, on_done)
        if self._thread is None:
            return _call(self.env, self._spec, name, args, finish)
        self._thread.submit(_call, (self.env, self._spec, name, args, finish), on_done)
        return PENDING

    def apply(self, function: Callable[[Any], Any], finish: Finish, on_done: OnDone) -> Any:
        """Await what a coroutine function of the environment gives; see `session/tools.py`."""
        return self._start_task(self._apply_async(function, finish), "tools", on_done)

    def close(self, on_done: OnDone) -> Any:
        """Cancel what is awaited, call `close`, and let the thread go. Call it once."""
        if self._task is None:
            return self._close(on_done)

        def cancelled(task: asyncio.Task[None]) -> None:
            result, failure = None, None
            try:
                result = self._close(on_done)
            except AuthorError as error:
                failure = error
            if result is not PENDING:
                on_done(None, failure)

        # What is awaited must be out of the environment before close() goes in.
        self._task.add_done_callback(cancelled)
        self._task.cancel()
        return PENDING

    def _close(self, on_done: OnDone) -> Any:
        held, self._held = self._held, None
        if held is not None:
            return self._start_task(held.__aexit__(None, None, None), "close", self._close_after(on_done))
        if self._plan is not None and self._plan.close.is_async:
            return self._start_task(self.env.close(), "close", self._end_thread_after(on_done))
        if self._thread is None:
            if self.env is not None:
                _close(self.env, self._spec)
            return None
        # A thread still busy with the constructor gets no close(): there is nothing to close yet.
        if self.env is None:
            self._end_thread()
            return None
        self._thread.submit(_close, (self.env, self._spec), on_done)
        self._end_thread()
        return PENDING

    def abandon(self, on_done: OnDone) -> None:
        """Give up on a call that does not return: `close` runs if it ever does."""
        try:
            if self.close(on_done) is PENDING:
                return
        except AuthorError as error:
            on_done(None, error)
        else:
            on_done(None, None)

    def kill(self) -> None:
        """A thread cannot be killed: a call that does not return keeps it. A process can."""

    def _end_thread(self) -> None:
        if self._thread is not None and not self._shared:
            self._thread.end()

    def _close_after(self, on_done: OnDone) -> OnDone:
        """The rest of `close`, once `mcp_session()` was left; how it was left changes nothing."""

        def left(result: Any, error: BaseException | None) -> None:
            try:
                if self._close(on_done) is PENDING:
                    return
            except AuthorError as failure:
                on_done(None, failure)
            else:
                on_done(None, None)

        return left

    def _end_thread_after(self, on_done: OnDone) -> OnDone:
        def done(result: Any, error: BaseException | None) -> None:
            self._end_thread()
            on_done(result, error)

        return done

    def _start_task(self, coroutine: Any, method: str, on_done: OnDone) -> Any:
        if self._context is None:
            # One for all: what `mcp_session()` sets when it is entered it can only undo in the same context.
            self._context = copy_context()
            self._context.run(plain_place.set, self._run_plain)
        finishing = self._finish_task(coroutine, method, on_done)
        self._task = self._loop.create_task(finishing, context=self._context)
        return PENDING

    def _run_plain(self, function: Callable[[], Any]) -> Awaitable[Any]:
        """For `environment.run_plain`: plain code in the place of the plain methods."""
        future: asyncio.Future[Any] = self._loop.create_future()

        def done(result: Any, error: BaseException | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        if self._thread is not None:
            self._thread.submit(function, (), done)
            return future
        try:
            future.set_result(function())
        except _AUTHOR_RAISED as error:
            future.set_exception(error)
        return future

    async def _finish_task(self, coroutine: Any, method: str, on_done: OnDone) -> None:
        task = self._task
        try:
            result = await coroutine
        except SchemaError as error:
            self._forget(task)
            on_done(None, error)
        except _AUTHOR_RAISED as error:
            self._forget(task)
            wrapped = _author_error(error, method, self._spec)
            if wrapped is not error:
                wrapped.__cause__ = error
            on_done(None, wrapped)
        else:
            self._forget(task)
            on_done(result, None)

    def _forget(self, task: asyncio.Task[None] | None) -> None:
        if self._task is task:
            self._task = None

    async def _reset_async(self, kwargs: dict[str, Any], finish: Finish) -> Any:
        assert self._plan is not None
        method = self._plan.reset
        observation = await getattr(self.env, method.name)(**method.accepted(kwargs))
        return finish(observation)

    async def _apply_async(self, function: Callable[[Any], Any], finish: Finish) -> Any:
        return finish(await function(self.env))

    async def _call_async(self, name: str, args: tuple[Any, ...], finish: Finish) -> Any:
        return finish(await getattr(self.env, name)(*args))

    async def _step_async(
        self, load: Callable[[Any], Any], data: Any, kwargs: dict[str, Any] | None, finish: Finish
    ) -> Any:
        assert self._plan is not None
        action = load(data)
        method = self._plan.step
        observation = await getattr(self.env, method.name)(action, **method.accepted(kwargs or {}))
        return finish(observation)


class StatelessCalls:
    """Calls that have an environment of their own each: made, called once, closed.

    The methods are those of `Runner`, with the same bargain: the result at once, or `PENDING` and
    `on_done` later.

    Args:
        spec: The environment.
        mailbox: The loop's.
        loop: The running loop.
    """

    def __init__(self, spec: EnvironmentSpec, mailbox: Mailbox, loop: asyncio.AbstractEventLoop) -> None:
        self._spec = spec
        self._mailbox = mailbox
        self._loop = loop
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._n_threads = 0
        self._n_running = 0
        self._tasks: set[asyncio.Task[None]] = set()
        cls = environment_class(spec.factory)
        self._plan = None if cls is None else _plan_of(cls)

    def reset(self, kwargs: dict[str, Any], finish: Finish, on_done: OnDone) -> Any:
        """Call `reset` with those of the keywords that it takes."""
        if self._plan is None or self._plan.reset.is_async:
            return self._run_task(lambda runner, done: runner.reset(kwargs, finish, done), on_done)
        return self._run(_reset, (kwargs, finish), on_done)

    def step(self, action: Any, kwargs: dict[str, Any], finish: Finish, on_done: OnDone) -> Any:
        """Call `step` with a loaded action and those of the keywords that it takes."""
        if self._plan is None or self._plan.step.is_async:
            return self._run_task(
                lambda runner, done: runner.step(_same, action, kwargs, finish, done), on_done
            )
        return self._run(_step, (_same, action, kwargs, finish), on_done)

    def state(self, finish: Finish, on_done: OnDone) -> Any:
        """Read `state`."""
        return self._run(_state, (finish,), on_done)

    def call(self, name: str, args: tuple[Any, ...], finish: Finish, on_done: OnDone) -> Any:
        """Call any other method."""
        return self._run_task(lambda runner, done: runner.call(name, args, finish, done), on_done)

    def apply(self, function: Callable[[Any], Any], finish: Finish, on_done: OnDone) -> Any:
        """Await what a coroutine function of the environment gives; see `session/tools.py`."""
        return self._run_task(lambda runner, done: runner.apply(function, finish, done), on_done)

    def close(self) -> None:
        """End the threads once they are idle, and cancel what is awaited."""
        for task in self._tasks:
            task.cancel()
        for _ in range(self._n_threads):
            self._jobs.put(None)
        self._n_threads = 0

    def _run(self, operation: Callable[..., Any], args: tuple[Any, ...], on_done: OnDone) -> Any:
        if self._spec.never_blocks:
            return _once(self._spec, operation, args)
        self._n_running += 1
        if self._n_running > self._n_threads and self._n_threads < MAX_STATELESS_THREADS:
            self._n_threads += 1
            name = f"openenv-stateless-{self._n_threads}"
            args_of_work = (self._jobs, self._mailbox)
            threading.Thread(target=work, args=args_of_work, name=name, daemon=True).start()

        def done(result: Any, error: BaseException | None) -> None:
            self._n_running -= 1
            on_done(result, error)

        self._jobs.put((_once, (self._spec, operation, args), done))
        return PENDING

    def _run_task(self, ask: Callable[[Runner, OnDone], Any], on_done: OnDone) -> Any:
        task = self._loop.create_task(self._once_async(ask, on_done))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return PENDING

    async def _once_async(self, ask: Callable[[Runner, OnDone], Any], on_done: OnDone) -> None:
        runner = Runner(self._spec, self._mailbox, self._loop, "openenv-stateless")
        try:
            await self._outcome(runner.open)
            result = await self._outcome(lambda done: ask(runner, done))
        except OpenEnvError as error:
            on_done(None, error)
        else:
            on_done(result, None)
        finally:
            try:
                await self._outcome(runner.close)
            except AuthorError as error:
                _report_close(error)

    def _outcome(self, ask: Callable[[OnDone], Any]) -> asyncio.Future[Any]:
        """Await what a runner answers by callback."""
        future: asyncio.Future[Any] = self._loop.create_future()

        def done(result: Any, error: BaseException | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        try:
            result = ask(done)
        except OpenEnvError as error:
            future.set_exception(error)
        else:
            if result is not PENDING:
                future.set_result(result)
        return future


def _once(spec: EnvironmentSpec, operation: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    env = _make(spec)
    try:
        return operation(env, spec, *args)
    finally:
        try:
            _close(env, spec)
        except AuthorError as error:
            # The answer is already there; a failing close() must not cost the caller his reward.
            _report_close(error)


def _report_close(error: AuthorError) -> None:
    logger.error("close() of a stateless call raised", exc_info=error.__cause__ or error)


def _same(value: Any) -> Any:
    return value
