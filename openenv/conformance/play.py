"""Author code, played with as a session plays with it, and never waited for longer than agreed.

In: what makes an environment, and its types. Out: a `Player` for each environment, whose calls give a `Given`
each: what came back, or what went wrong and where. It is `session.runner` that runs the author's code here as
in a server: the same threads, the same keywords, the same thread for one environment all its life. Plain
methods run on a thread even if the class says `NEVER_BLOCKS`: then one that hangs can be told.

Limits: a thread cannot be killed. What hangs stays behind on a daemon thread, and so does a stage whose loop
an `async def` method holds up; another stage is made for whoever plays next.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any

from openenv.app.app import App, create_app
from openenv.app.context import Definition
from openenv.codec import decode, encode
from openenv.conformance.finding import SkippedCheck, shown
from openenv.conformance.sampler import NoSampleError, Sampler
from openenv.errors import AuthorError, OpenEnvError, SchemaError
from openenv.schema import dump_observation, dump_state, jsonable
from openenv.session.runner import PENDING, EnvironmentSpec, Mailbox, Runner, WorkThread

__all__ = ["Episode", "Given", "Options", "Player", "Subject"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How an environment is tried out.

    Attributes:
        timeout_s: Seconds that one call may take, > 0.
        seed: Decides which actions are drawn, and is given to `reset`.
        n_steps: Steps of an episode, >= 1.
        actions: Actions to play in order, as JSON values; None draws them from the action's JSON Schema.
        volatile: Names of observation fields that may differ between equal episodes, such as a clock.
        n_sessions: Sessions to open at once on a running server, >= 2.
    """

    timeout_s: float = 10.0
    seed: int = 7
    n_steps: int = 6
    actions: tuple[Any, ...] | None = None
    volatile: frozenset[str] = frozenset()
    n_sessions: int = 4


@dataclass(slots=True)
class Given:
    """What one call gave.

    Attributes:
        call: `reset(seed=7)`, as a person would write it.
        value: What the author's method returned, if it did.
        fields: An observation's fields but reward and done, or the state's.
        reward: As returned.
        done: As returned.
        metadata: As returned, None where empty.
        sent: The fields as JSON values, as a client receives them.
        error: What was raised, by the author or about what he returned.
        part: Which part raised: `call`, `dump` (taking the value apart) or `encode` (making JSON of it).
        hung: Whether it did not return in time.
        took_s: Seconds.
    """

    call: str
    value: Any = None
    fields: dict[str, Any] = field(default_factory=dict)
    reward: Any = None
    done: Any = False
    metadata: Any = None
    sent: dict[str, Any] = field(default_factory=dict)
    error: BaseException | None = None
    part: str = "call"
    hung: bool = False
    took_s: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether it is what a client can be sent."""
        return self.error is None and not self.hung

    @property
    def problem(self) -> str:
        """What went wrong, in words."""
        if self.hung:
            return f"no answer within {self.took_s:.3g} s"
        if self.error is None:
            return "nothing wrong"
        cause = self.error.__cause__ if isinstance(self.error, AuthorError) else None
        real = cause or self.error
        return f"{type(real).__name__}: {real}" if str(real) else type(real).__name__

    @property
    def seen(self) -> tuple[dict[str, Any], Any, Any]:
        """What a policy sees of it, for comparing: without metadata, where clocks and ids may be."""
        shown_fields = {key: value for key, value in self.sent.items() if key != "metadata"}
        return shown_fields, self.reward, self.done


@dataclass(slots=True)
class Episode:
    """One episode as it was played.

    Attributes:
        first: What `reset` gave.
        steps: What each step gave, with the action before it.
        states: What `state` gave: after the reset, and after each step.
    """

    first: Given
    steps: list[tuple[Any, Given]] = field(default_factory=list)
    states: list[Given] = field(default_factory=list)

    @property
    def observations(self) -> list[Given]:
        """All that gave an observation or should have."""
        return [self.first, *(given for _, given in self.steps)]

    @property
    def replies(self) -> list[Given]:
        """The observations that a client can be sent."""
        return [given for given in self.observations if given.ok]


class _Stage:
    """A loop on a thread of its own, for calls that may hang."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.mailbox = Mailbox(self.loop)
        self._thread = threading.Thread(target=self._run, name="openenv-stage", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.loop.run_forever()
        finally:
            self.loop.close()

    def ask(
        self, call: Callable[[Callable[[Any, BaseException | None], None]], Any], timeout_s: float
    ) -> Any:
        """Run what answers at once or by callback, on the loop; TimeoutError if it does neither in time."""
        future: Future[Any] = Future()

        def done(result: Any, error: BaseException | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(result)
            elif isinstance(error, OpenEnvError):
                future.set_exception(error)
            else:
                # Whatever else the author's code raised, KeyboardInterrupt included, is not ours to raise.
                wrapped = AuthorError(str(error), exception=type(error).__name__)
                wrapped.__cause__ = error
                future.set_exception(wrapped)

        def start() -> None:
            try:
                result = call(done)
            except OpenEnvError as error:
                done(None, error)
            else:
                if result is not PENDING:
                    done(result, None)

        self.loop.call_soon_threadsafe(start)
        return future.result(timeout_s)

    def end(self) -> None:
        """Let it go; if something holds up the loop, its daemon thread ends whenever that does."""
        self.loop.call_soon_threadsafe(self._finish)
        self._thread.join(1.0)

    def _finish(self) -> None:
        # Kept, since a loop holds on to its tasks only weakly.
        self._ending = self.loop.create_task(self._cancel_and_stop())

    async def _cancel_and_stop(self) -> None:
        tasks = asyncio.all_tasks() - {self._ending}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.loop.stop()


class Player:
    """One environment, from its constructor to its `close`. Made by `Subject.play`."""

    def __init__(self, subject: Subject, stage: _Stage, thread: WorkThread) -> None:
        self._subject = subject
        self._stage = stage
        self._runner = Runner(subject.spec, stage.mailbox, stage.loop, "openenv-player", thread)
        self._closed = False
        self.hung = False
        self.opened = Given(f"{subject.spec.factory_name}()")
        self._ask(self.opened, self._runner.open, None)

    @property
    def env(self) -> Any:
        """The author's object."""
        return self._runner.env

    def reset(self, **keywords: Any) -> Given:
        """Start an episode, with those of the keywords that the signature takes."""
        text = ", ".join(f"{key}={value!r}" for key, value in keywords.items())
        given = Given(f"reset({text})")
        finish = _FinishObservation(given)
        return self._ask(given, lambda done: self._runner.reset(keywords, finish, done), finish)

    def step(self, action: Any) -> Given:
        """Apply one action, given as JSON values."""
        given = Given(f"step({shown(action, 60)})")
        finish = _FinishObservation(given)
        load = self._subject.spec.action.load
        return self._ask(given, lambda done: self._runner.step(load, action, None, finish, done), finish)

    def state(self) -> Given:
        """Read the state."""
        given = Given("state")
        finish = _FinishState(given)
        return self._ask(given, lambda done: self._runner.state(finish, done), finish)

    def metadata(self) -> Given:
        """Ask for its name and description."""
        given = Given("get_metadata()")
        finish = _FinishMetadata(given)
        return self._ask(given, lambda done: self._runner.call("get_metadata", (), finish, done), finish)

    def close(self) -> Given:
        """Close the environment as a session does at its end."""
        self._closed = True
        return self._ask(Given("close()"), self._runner.close, None)

    def close_early(self) -> Given:
        """Call `close` once more than a session does; `close` then is the second call."""
        return self._ask(Given("close()"), lambda done: self._runner.call("close", (), _nothing, done), None)

    def end(self) -> None:
        """Close it, unless that was done."""
        if self.opened.ok and not self._closed and not self._subject.is_object:
            self.close()

    def _ask(self, given: Given, call: Any, finish: _Finish | None) -> Given:
        if self.hung:
            given.hung = True
            return given
        if not self.opened.ok:
            given.error = self.opened.error
            return given
        started = monotonic()
        try:
            self._stage.ask(call, self._subject.options.timeout_s)
        except SchemaError as error:
            given.error, given.part = error, "load"
        except OpenEnvError as error:
            given.error = error
            given.part = "call" if finish is None else finish.part
        except TimeoutError:
            given.hung = self.hung = True
        given.took_s = monotonic() - started
        return given


class _Finish:
    """Takes what the author's method returned, where it returned it; `part` says how far that came."""

    def __init__(self, given: Given) -> None:
        self.given = given
        self.part = "call"

    def __call__(self, value: Any) -> None:
        self.given.value = value
        self.part = "dump"
        self.take(value)
        self.part = "encode"
        self.given.sent = decode(encode(self.given.fields, jsonable))
        self.part = "done"

    def take(self, value: Any) -> None:
        """Fill in the fields."""
        self.given.fields = dict(value)


class _FinishObservation(_Finish):
    def take(self, value: Any) -> None:
        given = self.given
        given.fields, given.reward, given.done, given.metadata = dump_observation(value)


class _FinishState(_Finish):
    """What a runner gives here has been dumped already."""


class Subject:
    """An environment that is to be checked: what makes it, what its types are, and how it is played with.

    Args:
        environment: An environment class, a factory, an `App`, or one environment object. An object is
            played with as it is, and checks that need several are skipped.
        action_cls: Type of actions, where neither the app nor annotations say it.
        observation_cls: Type of observations, likewise.
        state_cls: Type of the state, likewise.

    Raises:
        ConfigurationError: The types cannot be told, as of `create_app`.
        TypeError: It is nothing of these.
    """

    def __init__(
        self,
        environment: Any,
        options: Options | None = None,
        *,
        action_cls: Any = None,
        observation_cls: Any = None,
        state_cls: Any = None,
    ) -> None:
        self.options = options or Options()
        self.is_object = not isinstance(environment, App) and not callable(environment)
        made = environment
        if self.is_object:
            made = _always(environment)
            cls = type(environment)
            named = create_app(cls, action_cls, observation_cls, state_cls=state_cls)
            definition = replace(
                named.definition, environment=replace(named.definition.environment, factory=made)
            )
            self.app: App = App(definition, cls.__name__, None, None)
        elif isinstance(environment, App):
            self.app = environment
        else:
            self.app = create_app(environment, action_cls, observation_cls, state_cls=state_cls)
        self.definition: Definition = self.app.definition
        self.spec: EnvironmentSpec = replace(self.definition.environment, never_blocks=False)
        self._episode: Episode | None = None
        self._cls: type | None = type(environment) if self.is_object else None

    @property
    def name(self) -> str:
        """The environment's class or factory."""
        return self.app.environment_name

    @property
    def cls(self) -> type:
        """The environment's class; makes one to find out where only a function is known.

        Raises:
            SkippedCheck: The function gives no environment.
        """
        if self._cls is None:
            factory: Any = self.definition.environment.factory
            while hasattr(factory, "func"):
                factory = factory.func
            if inspect.isclass(factory):
                self._cls = factory
            else:
                with self.play() as player:
                    if not player.opened.ok:
                        raise SkippedCheck("the environment cannot be made")
                    self._cls = type(player.env)
        return self._cls

    @property
    def never_blocks(self) -> bool:
        """Whether the class says that it may run on the event loop."""
        return self.definition.environment.never_blocks

    def keywords(self, method: str) -> frozenset[str]:
        """The arguments that `reset` or `step` names; `**` itself if it takes any."""
        function = getattr(self.cls, f"{method}_async", None)
        if function is None or getattr(function, "__module__", "") == "openenv.environment":
            function = getattr(self.cls, method, None)
        if not callable(function):
            return frozenset()
        parameters = inspect.signature(function).parameters.values()
        return frozenset(
            "**" if parameter.kind is parameter.VAR_KEYWORD else parameter.name for parameter in parameters
        )

    def reset_keywords(self, seed: int) -> dict[str, Any]:
        """What `reset` is given for a reproducible episode."""
        return {"seed": seed, "episode_id": f"conformance-{seed}"}

    @contextmanager
    def play(self) -> Iterator[Player]:
        """An environment that is made now and closed afterwards; whether either worked is not looked at."""
        with self._players(1) as (player,):
            yield player

    @contextmanager
    def play_two(self) -> Iterator[tuple[Player, Player]]:
        """Two environments side by side."""
        with self._players(2) as (one, other):
            yield one, other

    @contextmanager
    def _players(self, n: int) -> Iterator[list[Player]]:
        stage = _Stage()
        n_threads = 1 if self.spec.single_thread else n
        threads = [WorkThread(stage.mailbox, f"openenv-player-{index}") for index in range(n_threads)]
        players: list[Player] = []
        try:
            players += [Player(self, stage, threads[index % n_threads]) for index in range(n)]
            yield players
        finally:
            for player in players:
                player.end()
            for thread in threads:
                thread.end()
            stage.end()

    def actions(self, n: int, seed: int | None = None) -> list[Any]:
        """Actions to play, as JSON values: the author's own, else drawn ones that the action class accepts.

        Raises:
            SkippedCheck: None could be drawn.
        """
        given = self.options.actions
        if given:
            start = 0 if seed is None else seed
            return [given[(start + index) % len(given)] for index in range(n)]
        sampler = Sampler(self.spec.action.json_schema, self.options.seed if seed is None else seed)
        try:
            return [self._drawn(sampler) for _ in range(n)]
        except NoSampleError as error:
            raise SkippedCheck(f"{error}; give actions that the environment takes") from error

    def _drawn(self, sampler: Sampler) -> Any:
        for _ in range(20):
            action = sampler.sample()
            try:
                self.spec.action.load(action)
            except Exception:  # the author's own check knows more than the schema says
                continue
            return action
        raise NoSampleError("the action class refuses every action drawn from its schema")

    @property
    def episode(self) -> Episode:
        """One episode, played once and looked at by many checks."""
        if self._episode is None:
            try:
                actions = self.actions(self.options.n_steps)
            except SkippedCheck:  # told by the checks that are about steps
                actions = []
            with self.play() as player:
                self._episode = self.record(player, self.options.seed, actions)
        return self._episode

    def record(self, player: Player, seed: int, actions: list[Any], states: bool = True) -> Episode:
        """Reset and step until done, until the actions are used up, or as long as a few slow calls take."""
        ends_at = monotonic() + 3 * self.options.timeout_s
        episode = Episode(player.reset(**self.reset_keywords(seed)))
        if states:
            episode.states.append(player.state())
        for action in actions if episode.first.ok else ():
            given = player.step(action)
            episode.steps.append((action, given))
            if states:
                episode.states.append(player.state())
            if given.hung or given.done or monotonic() > ends_at:
                break
        return episode


class _FinishMetadata(_Finish):
    def take(self, value: Any) -> None:
        self.given.fields = dump_state(value)


def _nothing(value: Any) -> None:
    """What `close` gives is nobody's business."""


def _always(value: Any) -> Callable[[], Any]:
    def factory() -> Any:
        return value

    factory.__name__ = type(value).__name__
    return factory
