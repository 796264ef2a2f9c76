"""The contract with authors as checks on an environment: types, signatures, and what it does when played.

In: a `Subject`. Out: findings, through the two groups `CODE` (looks, calls nothing of the author's but his
constructor) and `CONTRACT` (plays).

Reference: ``wire.md`` sections 2 and 3; ``environment.py``.
"""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Iterator
from typing import Any

from openenv.conformance.finding import ERROR, WARNING, Group, Problem, SkippedCheck, shown
from openenv.conformance.fits import misfits
from openenv.conformance.play import Episode, Given, Subject
from openenv.conformance.sampler import misfitting
from openenv.environment import Environment
from openenv.errors import SchemaError
from openenv.schema import Schema, jsonable

__all__ = ["CODE", "CONTRACT", "differences"]

CODE: Group[Subject] = Group()
CONTRACT: Group[Subject] = Group()

_QUICK_S = 0.05
_MAX_STEPS_TO_DONE = 30
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


# -- types and signatures -------------------------------------------------------------------


@CODE.check("types-described", ERROR, "types that a JSON Schema can describe")
def the_types_are_described_by_json_schema(subject: Subject) -> Iterator[Problem]:
    """Clients and `/schema` need them."""
    for what, schema in _schemas(subject):
        try:
            described = schema.json_schema
        except (TypeError, ValueError) as error:
            yield Problem(
                f"{subject.name}, {what} type {_type_name(schema)}",
                f"{type(error).__name__}: {error}",
                "use types that JSON has a form for, or describe the field as Any",
            )
            continue
        if not isinstance(described, dict):
            yield Problem(f"{subject.name}, {what} type", shown(described), "let the model give an object")


@CODE.check("observation-fields", WARNING, "the fields reward and done in the observation type")
def observations_can_say_reward_and_done(subject: Subject) -> Iterator[Problem]:
    """Without them every step gives None and False."""
    cls = subject.definition.observation.cls
    fields = getattr(cls, "model_fields", None) or getattr(cls, "__dataclass_fields__", None)
    missing = [name for name in ("reward", "done") if fields and name not in fields]
    if missing:
        yield Problem(
            f"{subject.name}, observation type {cls.__name__}",
            f"none called {' and '.join(missing)}",
            "derive it from openenv.Observation, which has both",
        )


@CODE.check("reset-signature", ERROR, "reset() to work without arguments")
def reset_needs_no_arguments(subject: Subject) -> Iterator[Problem]:
    """A client may send none."""
    for name, parameters in _parameters(subject, "reset"):
        needed = _needed(parameters)
        if needed:
            yield Problem(
                f"{subject.cls.__name__}.{name}",
                f"required arguments: {', '.join(needed)}",
                f"give {' and '.join(needed)} a default",
            )


@CODE.check("step-signature", ERROR, "step(action) to work with the action alone")
def step_takes_the_action_alone(subject: Subject) -> Iterator[Problem]:
    """Nothing else is sent over a session."""
    for name, parameters in _parameters(subject, "step"):
        where = f"{subject.cls.__name__}.{name}"
        takes = [one for one in parameters if one.kind in _POSITIONAL or one.kind is one.VAR_POSITIONAL]
        if not takes:
            yield Problem(where, "a signature without an argument for it", "write def step(self, action)")
        needed = _needed(parameters)[1:]
        if needed:
            yield Problem(
                where,
                f"further required arguments: {', '.join(needed)}",
                f"give {' and '.join(needed)} a default",
            )


@CODE.check("state-property", WARNING, "state to be a property")
def state_is_a_property(subject: Subject) -> Iterator[Problem]:
    """We call a method as well; other servers answer with an error."""
    state = inspect.getattr_static(subject.cls, "state", None)
    if inspect.isfunction(state):
        yield Problem(f"{subject.cls.__name__}.state", "a method", "write @property above def state(self)")


@CODE.check("concurrency", ERROR, "SUPPORTS_CONCURRENT_SESSIONS = True where several sessions are asked for")
def the_class_can_do_as_many_sessions_as_are_asked_for(subject: Subject) -> Iterator[Problem]:
    """A server refuses to start otherwise."""
    asked = subject.app.max_concurrent_envs or 1
    said = getattr(subject.cls, "SUPPORTS_CONCURRENT_SESSIONS", False)
    if asked > 1 and said is not True:
        yield Problem(
            f"create_app(max_concurrent_envs={asked})",
            f"SUPPORTS_CONCURRENT_SESSIONS = {said!r} on {subject.cls.__name__}",
            "set it to True if its objects share nothing, or ask for one session",
        )


def _schemas(subject: Subject) -> Iterator[tuple[str, Schema]]:
    definition = subject.definition
    yield "action", definition.environment.action
    yield "observation", definition.observation
    if definition.reset_observation is not definition.observation:
        yield "reset observation", definition.reset_observation
    yield "state", definition.state


def _type_name(schema: Schema) -> str:
    return str(getattr(schema.cls, "__name__", schema.cls))


def _parameters(subject: Subject, name: str) -> Iterator[tuple[str, list[inspect.Parameter]]]:
    """The parameters of the method that is called, without self."""
    for candidate in (f"{name}_async", name):
        function = inspect.getattr_static(subject.cls, candidate, None)
        if not inspect.isfunction(function) or function is getattr(Environment, candidate, None):
            continue
        yield candidate, list(inspect.signature(function).parameters.values())[1:]
        return


def _needed(parameters: list[inspect.Parameter]) -> list[str]:
    return [
        one.name
        for one in parameters
        if one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
    ]


# -- one episode ----------------------------------------------------------------------------


@CONTRACT.check("opens", ERROR, "an environment, made without arguments")
def the_environment_can_be_made(subject: Subject) -> Iterator[Problem]:
    """Every session makes one."""
    with subject.play() as player:
        given = player.opened
    if not given.ok:
        yield Problem(given.call, given.problem, _advice(given, "mend the constructor"))


@CONTRACT.check("reset-answers", ERROR, "an observation from reset")
def reset_gives_an_observation(subject: Subject) -> Iterator[Problem]:
    """Without it there is no episode."""
    with subject.play() as player:
        _skip_unless(player.opened, "the environment cannot be made")
        plain = player.reset()
    for given in (plain, subject.episode.first):
        if not given.ok and given.part != "encode":
            yield Problem(
                f"{subject.name}.{given.call}", given.problem, _advice(given, "return an observation")
            )
            return


@CONTRACT.check("steps-answer", WARNING, "an observation from step, for every action that the schema allows")
def step_gives_an_observation(subject: Subject) -> Iterator[Problem]:
    """An action that is allowed and then refused by raising is one that a policy cannot know."""
    steps = _episode(subject).steps
    if not steps:
        subject.actions(1)
        raise SkippedCheck("the episode was over after its reset")
    failed = [(action, given) for action, given in steps if not given.ok and given.part != "encode"]
    raised = [given for _, given in failed if given.part == "call"]
    useless = len(failed) == len(steps)
    for _, given in failed[:1]:
        where = f"{subject.name}.{given.call}"
        if given.hung or given.part == "dump":
            yield Problem(where, given.problem, _advice(given, "return an observation"), severity=ERROR)
        elif raised:
            yield Problem(
                where,
                f"{given.problem}, in {len(raised)} of {len(steps)} steps",
                "mend step, or give actions that it takes"
                if useless
                else "answer with an observation that says so, or let the type forbid such actions",
                severity=ERROR if useless else None,
            )


@CONTRACT.check("observation-type", ERROR, "an observation of the declared type")
def observations_are_of_the_declared_type(subject: Subject) -> Iterator[Problem]:
    """What `/schema` says and clients load."""
    episode = _episode(subject)
    for given in episode.observations:
        first = given is episode.first
        declared = subject.definition.reset_observation.cls if first else subject.definition.observation.cls
        cls = getattr(declared, "__origin__", declared)
        if given.value is not None and isinstance(cls, type) and not isinstance(given.value, cls):
            yield Problem(
                f"{subject.name}.{given.call}",
                f"an object of {type(given.value).__name__}",
                f"return {cls.__name__}(...), or declare the type that is returned",
                expected=f"an observation of the declared type {cls.__name__}",
            )
            return


@CONTRACT.check("observation-json", ERROR, "values that JSON has a form for")
def observations_can_be_written_as_json(subject: Subject) -> Iterator[Problem]:
    """They travel as JSON."""
    for given in _episode(subject).observations:
        if given.part == "encode" and not given.ok:
            yield Problem(
                f"{subject.name}.{given.call}", given.problem, "turn it into numbers, texts, lists or dicts"
            )
            return


@CONTRACT.check("observation-schema", ERROR, "observations that fit their JSON Schema")
def observations_fit_their_schema(subject: Subject) -> Iterator[Problem]:
    """As they are sent, not as they are in Python: NaN, for one, is sent as null."""
    episode = _episode(subject)
    told: set[tuple[str, str]] = set()
    for given in episode.replies:
        schema = (
            subject.definition.reset_observation if given is episode.first else subject.definition.observation
        )
        whole = {**given.sent, "reward": _number_or_none(given.reward), "done": given.done is True}
        declared = schema.json_schema.get("properties", {})
        whole = {
            key: value for key, value in whole.items() if key not in ("reward", "done") or key in declared
        }
        found = misfits(schema.json_schema, whole)
        if not found:
            try:
                schema.load(whole)
            except SchemaError as error:
                found = [("", "what the type's own checks accept", str(error))]
        for where, expected, got in found:
            if (where, expected) not in told:
                told.add((where, expected))
                yield Problem(
                    f"{subject.name}.{given.call}, {where or 'the observation'}",
                    _with_nan(got, given),
                    "send what the type says, or say in the type what is sent",
                    expected=expected,
                )


@CONTRACT.check("reward-number", ERROR, "a finite number or None as reward")
def rewards_are_finite_numbers_or_none(subject: Subject) -> Iterator[Problem]:
    """NaN is sent as null, and a text breaks every trainer."""
    for given in _episode(subject).replies:
        reward = given.reward
        if reward is None:
            continue
        number = _number_or_none(reward)
        if isinstance(reward, bool) or number is None or not math.isfinite(number):
            yield Problem(
                f"{subject.name}.{given.call}, reward",
                shown(reward),
                "give a float, or None where there is no reward",
            )
            return


@CONTRACT.check("done-bool", ERROR, "True or False as done")
def done_is_a_bool(subject: Subject) -> Iterator[Problem]:
    """Clients compare it with True."""
    for given in _episode(subject).replies:
        if not isinstance(given.done, bool):
            yield Problem(
                f"{subject.name}.{given.call}, done", shown(given.done), "give bool(...) of what it is"
            )
            return


@CONTRACT.check("first-not-done", WARNING, "an episode that is not over after its reset")
def an_episode_does_not_begin_at_its_end(subject: Subject) -> Iterator[Problem]:
    """Loops that step until done would never step."""
    first = _episode(subject).first
    if first.done is True:
        yield Problem(
            f"{subject.name}.{first.call}, done",
            "True",
            "set done where an action ends the episode, not in reset",
        )


@CONTRACT.check("state-answers", ERROR, "the state of the episode")
def state_answers(subject: Subject) -> Iterator[Problem]:
    """Clients ask for it at any time."""
    for given in _episode(subject).states:
        if given.ok or given.part == "encode":
            continue
        cause = given.error.__cause__ if given.error is not None else None
        undefined = isinstance(cause, NotImplementedError)
        yield Problem(
            f"{subject.name}.state",
            "none" if undefined else given.problem,
            "define the property state; it gives a State(episode_id=..., step_count=...)"
            if undefined
            else _advice(given, "mend state; it gives a State, a model or a dict"),
            severity=WARNING if undefined else ERROR,
        )
        return


@CONTRACT.check("state-json", ERROR, "a state that JSON has a form for")
def states_can_be_written_as_json(subject: Subject) -> Iterator[Problem]:
    """It travels as JSON."""
    for given in _episode(subject).states:
        if not given.ok and given.part == "encode":
            yield Problem(f"{subject.name}.state", given.problem, "keep what is no data out of the state")
            return


@CONTRACT.check("state-fields", ERROR, "episode_id and step_count in the state")
def the_state_has_episode_id_and_step_count(subject: Subject) -> Iterator[Problem]:
    """What every client can rely on."""
    state = _states(subject)[-1].sent
    wanted = {"episode_id": (str, type(None)), "step_count": (int,)}
    for name, types in wanted.items():
        if name not in state:
            yield Problem(f"{subject.name}.state, {name}", "no such field", "derive it from openenv.State")
        elif not isinstance(state[name], types) or isinstance(state[name], bool):
            yield Problem(
                f"{subject.name}.state, {name}",
                shown(state[name]),
                "keep to the type that openenv.State has",
                expected="text or null" if name == "episode_id" else "a whole number",
            )


@CONTRACT.check("state-counts", ERROR, "a step_count of 0 after reset that grows by 1 with a step")
def step_count_counts(subject: Subject) -> Iterator[Problem]:
    """Trainers cut episodes by it."""
    episode = _episode(subject)
    counts = [given.sent.get("step_count") for given in _states(subject)]
    if not all(isinstance(count, int) for count in counts):
        raise SkippedCheck("the state has no step_count that is a whole number")
    where = f"{subject.name}.state, step_count"
    do = "set it to 0 in reset and add 1 in step"
    if counts[0] != 0:
        yield Problem(where, f"{counts[0]} after reset", do)
        return
    answered = sum(1 for _, given in episode.steps if given.ok)
    pairs = itertools.pairwise(counts)
    if any(after - before not in (0, 1) for before, after in pairs):  # type: ignore[operator]
        yield Problem(where, f"{', '.join(map(str, counts))} after reset and each step", do)
    elif answered and counts[-1] == 0:
        yield Problem(where, f"0 after {answered} steps", do)


@CONTRACT.check("episode-id-kept", WARNING, "the episode_id that reset was given in the state")
def the_episode_id_that_was_given_is_kept(subject: Subject) -> Iterator[Problem]:
    """Whoever names an episode wants to find it again."""
    if "episode_id" not in subject.keywords("reset"):
        raise SkippedCheck("reset takes no episode_id")
    wanted = subject.reset_keywords(subject.options.seed)["episode_id"]
    got = _states(subject)[0].sent.get("episode_id")
    if got != wanted:
        yield Problem(
            f"{subject.name}.{_episode(subject).first.call}",
            f"{shown(got)} as the state's episode_id",
            "put episode_id into the state where one is given",
        )


@CONTRACT.check("never-blocks", WARNING, "short calls from a class that says NEVER_BLOCKS")
def what_never_blocks_is_short(subject: Subject) -> Iterator[Problem]:
    """On the event loop, one long call holds up every session of its worker."""
    if not subject.never_blocks:
        raise SkippedCheck("the class does not say NEVER_BLOCKS")
    episode = _episode(subject)
    calls = [*episode.observations, *episode.states]
    slowest = max(calls, key=lambda given: given.took_s)
    if slowest.took_s > _QUICK_S:
        # A busy machine holds up any call once; one that takes long does so again.
        with subject.play() as player:
            again = subject.record(player, subject.options.seed, [action for action, _ in episode.steps])
        pairs = zip(calls, [*again.observations, *again.states], strict=False)
        slowest = max(
            (min(pair, key=lambda given: given.took_s) for pair in pairs), key=lambda given: given.took_s
        )
    if slowest.took_s > _QUICK_S:
        yield Problem(
            f"{subject.name}.{slowest.call}",
            f"{slowest.took_s * 1000:.0f} ms",
            "leave NEVER_BLOCKS out; its calls then run on a thread",
            expected=f"less than {_QUICK_S * 1000:.0f} ms for a call of a class that says NEVER_BLOCKS",
        )


@CONTRACT.check("metadata-answers", WARNING, "a name and a description from get_metadata()")
def the_environment_describes_itself(subject: Subject) -> Iterator[Problem]:
    """`/metadata` and the web page show it."""
    if not hasattr(subject.cls, "get_metadata"):
        raise SkippedCheck("the class has no get_metadata")
    with subject.play() as player:
        _skip_unless(player.opened, "the environment cannot be made")
        given = player.metadata()
    where = f"{subject.name}.get_metadata()"
    if not given.ok:
        yield Problem(where, given.problem, "return an EnvironmentMetadata(name=..., description=...)")
    elif not all(isinstance(given.sent.get(key), str) for key in ("name", "description")):
        yield Problem(where, shown(given.sent), "return an EnvironmentMetadata(name=..., description=...)")


# -- several episodes -----------------------------------------------------------------------


@CONTRACT.check("resets-again", ERROR, "a new episode from a second reset")
def an_environment_can_be_reset_again(subject: Subject) -> Iterator[Problem]:
    """A session is many episodes, and the next one knows nothing of the last."""
    _episode(subject)
    with subject.play() as player:
        subject.record(player, subject.options.seed, subject.actions(2), states=False)
        again = player.reset(**subject.reset_keywords(subject.options.seed + 1))
        state = player.state()
    where = f"{subject.name}.{again.call}, a second time"
    if not again.ok:
        yield Problem(where, again.problem, _advice(again, "set everything back in reset"))
    elif state.ok and state.sent.get("step_count", 0) != 0:
        yield Problem(where, f"a step_count of {state.sent['step_count']}", "make a new State in reset")


@CONTRACT.check("seeds-reproduce", ERROR, "equal observations from equal seeds and actions")
def the_same_seed_gives_the_same_episode(subject: Subject) -> Iterator[Problem]:
    """Runs cannot be repeated otherwise."""
    named = "seed" in subject.keywords("reset")
    if not named and "**" not in subject.keywords("reset"):
        raise SkippedCheck("reset takes no seed")
    episode = _episode(subject)
    actions = [action for action, _ in episode.steps]
    with subject.play() as player:
        again = subject.record(player, subject.options.seed, actions, states=False)
    found = differences(episode.observations, again.observations, subject.options.volatile)
    if found is not None:
        call, what = found
        yield Problem(
            f"{subject.name}.{call}, after reset(seed={subject.options.seed})",
            what,
            "draw everything that is random from random.Random(seed), made in reset"
            if named
            else "take seed in reset, if anything is random",
            severity=None if named else WARNING,
        )


@CONTRACT.check(
    "actions-refused", ERROR, "an action that does not fit to be refused, and the session to go on"
)
def invalid_actions_do_not_end_a_session(subject: Subject) -> Iterator[Problem]:
    """A policy that writes nonsense loses a step, not its episode."""
    episode = _episode(subject)
    if not any(given.ok for _, given in episode.steps):
        raise SkippedCheck("no step was answered")
    schema = subject.spec.action.json_schema
    valid = next(action for action, given in episode.steps if given.ok)
    with subject.play() as player:
        player.reset(**subject.reset_keywords(subject.options.seed))
        for what, action in misfitting(schema, valid):
            given = player.step(action)
            if given.hung:
                yield Problem(f"{subject.name}.step, an action {what}", given.problem, "refuse it at once")
                return
            if given.error is not None and given.part != "load":
                yield Problem(
                    f"{subject.name}.step, an action {what}",
                    given.problem,
                    "raise ValueError from the action's own checks, which becomes a VALIDATION_ERROR",
                )
                break
        after = player.step(valid)
        if not after.ok:
            after = player.reset()
    if not after.ok:
        yield Problem(
            f"{subject.name}.{after.call}, after an action that does not fit",
            after.problem,
            "leave the environment as it is where an action is refused",
        )


@CONTRACT.check("step-before-reset", ERROR, "an answer or an exception from a step before the first reset")
def a_step_before_the_first_reset_does_no_harm(subject: Subject) -> Iterator[Problem]:
    """It reaches the environment, which may raise; the reset after it works."""
    _episode(subject)
    action = subject.actions(1)[0]
    with subject.play() as player:
        given = player.step(action)
        after = player.reset() if not given.hung else given
    if given.hung:
        yield Problem(f"{subject.name}.{given.call}", given.problem, "raise an error before the first reset")
    elif not after.ok:
        yield Problem(f"{subject.name}.reset() after it", after.problem, "set everything back in reset")


@CONTRACT.check("step-after-done", ERROR, "an answer or an exception from a step after done")
def a_step_after_done_does_no_harm(subject: Subject) -> Iterator[Problem]:
    """It may do either, but must come back; the reset after it works."""
    _episode(subject)
    with subject.play() as player:
        episode = subject.record(
            player, subject.options.seed, subject.actions(_MAX_STEPS_TO_DONE), states=False
        )
        if not episode.steps or episode.steps[-1][1].done is not True:
            raise SkippedCheck(f"no episode was over within {len(episode.steps)} steps")
        given = player.step(episode.steps[-1][0])
        after = player.reset() if not given.hung else given
    if given.hung:
        yield Problem(
            f"{subject.name}.{given.call} after done", given.problem, "answer with done=True again, or raise"
        )
    elif not after.ok:
        yield Problem(f"{subject.name}.reset() after it", after.problem, "set everything back in reset")


@CONTRACT.check("sessions-independent", ERROR, "two environments that share nothing")
def two_environments_do_not_share_their_state(subject: Subject) -> Iterator[Problem]:
    """The class says SUPPORTS_CONCURRENT_SESSIONS; every session then has an object of its own."""
    if subject.is_object:
        raise SkippedCheck("one object was given, not what makes several")
    if not getattr(subject.cls, "SUPPORTS_CONCURRENT_SESSIONS", False):
        raise SkippedCheck("the class does not say SUPPORTS_CONCURRENT_SESSIONS")
    episode = _episode(subject)
    actions = [action for action, _ in episode.steps]
    others = subject.actions(len(actions) + 1, subject.options.seed + 1)
    do = "keep what belongs to an episode on self, and mutable defaults out of the class"
    with subject.play_two() as (one, other):
        _skip_unless(other.opened, "a second environment cannot be made")
        replies = [one.reset(**subject.reset_keywords(subject.options.seed))]
        other.reset(**subject.reset_keywords(subject.options.seed + 1))
        for action, different in zip(actions, others, strict=False):
            other.step(different)
            replies.append(one.step(action))
        # What changes by being looked at tells nothing of the other.
        earlier, before = one.state(), one.state()
        other.step(others[-1])
        other.reset(**subject.reset_keywords(subject.options.seed + 2))
        after = one.state()
    where = f"two {subject.name} side by side"
    if before.ok and after.ok:
        steady = [key for key, value in before.sent.items() if earlier.sent.get(key, value) == value]
        changed = [key for key in steady if before.sent[key] != after.sent.get(key)]
        if changed:
            yield Problem(where, f"{' and '.join(changed)} in the state of one changed by the other", do)
            return
    found = differences(episode.observations, replies, subject.options.volatile)
    if found is not None and _reproduces(subject, episode):
        yield Problem(where, f"another answer to {found[0]} than alone: {found[1]}", do)


@CONTRACT.check("close-twice", ERROR, "close() that returns, also a second time")
def closing_twice_does_no_harm(subject: Subject) -> Iterator[Problem]:
    """A session closes once; whoever tests or embeds an environment may close it again."""
    if subject.is_object:
        raise SkippedCheck("the object that was given is not ours to close")
    if not hasattr(subject.cls, "close"):
        raise SkippedCheck("the class has no close")
    with subject.play() as player:
        _skip_unless(player.opened, "the environment cannot be made")
        if player.reset().hung:
            raise SkippedCheck("reset does not come back")
        first = player.close_early()
        second = player.close()
    where = f"{subject.name}.close()"
    if not first.ok:
        yield Problem(where, first.problem, _advice(first, "let close() release what there is, and no more"))
    elif not second.ok:
        yield Problem(
            f"{where}, a second time",
            second.problem,
            "let close() remember that it was called",
            severity=ERROR if second.hung else WARNING,
        )


def differences(
    one: list[Given], other: list[Given], volatile: frozenset[str] = frozenset()
) -> tuple[str, str] | None:
    """Where two episodes part: the call, and what differs; None where they are equal."""
    for first, second in zip(one, other, strict=False):
        if first.ok != second.ok:
            return first.call, f"{first.problem} at first, and then {second.problem}"
        if not first.ok:
            continue
        shown_first, reward, done = first.seen
        shown_second, other_reward, other_done = second.seen
        for name in dict.fromkeys([*shown_first, *shown_second]):
            if name not in volatile and shown_first.get(name) != shown_second.get(name):
                pair = f"{shown(shown_first.get(name), 50)} and {shown(shown_second.get(name), 50)}"
                return first.call, f"{pair} as {name}"
        if _comparable(reward) != _comparable(other_reward) or done != other_done:
            return (
                first.call,
                f"reward {shown(reward)}, done {done} and reward {shown(other_reward)}, done {other_done}",
            )
    if len(one) != len(other):
        return "step", f"{len(one) - 1} steps and {len(other) - 1} steps until done"
    return None


def _reproduces(subject: Subject, episode: Episode) -> bool:
    """Whether the same happens again at all, alone."""
    with subject.play() as player:
        again = subject.record(
            player, subject.options.seed, [action for action, _ in episode.steps], states=False
        )
    return differences(episode.observations, again.observations, subject.options.volatile) is None


def _episode(subject: Subject) -> Episode:
    episode = subject.episode
    _skip_unless(episode.first, "reset gave no observation", also="encode")
    return episode


def _states(subject: Subject) -> list[Given]:
    states = _episode(subject).states
    if not all(given.ok for given in states):
        raise SkippedCheck("state gave no answer")
    return states


def _skip_unless(given: Given, why: str, also: str = "") -> None:
    if not given.ok and given.part != also:
        raise SkippedCheck(why)


def _advice(given: Given, do: str) -> str:
    return "let it come back in time, or allow more with --timeout" if given.hung else do


def _number_or_none(value: Any) -> float | None:
    """A number as JSON has it; None for what is none."""
    if isinstance(value, int | float):
        return value
    if value is None or isinstance(value, str | bytes):
        return None
    try:
        return float(jsonable(value))
    except (TypeError, ValueError):
        return None


def _comparable(value: Any) -> Any:
    number = _number_or_none(value)
    return "nan" if number is not None and math.isnan(number) else number


def _with_nan(got: str, given: Given) -> str:
    if got != "null":
        return got
    numbers = (value for value in given.fields.values() if isinstance(value, float))
    return "null, which NaN is sent as" if any(not math.isfinite(value) for value in numbers) else got
