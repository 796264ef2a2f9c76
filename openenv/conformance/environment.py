"""Checks of an environment in this process, and the same for an author's own tests.

In: an environment class, a factory, an app or an object. Out: a `Report`, or an AssertionError that lists
what is wrong. Every call of the author's code has a deadline; code that ends the process ends this one, so
`openenv validate` calls this in a process of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from openenv.conformance.contract import CODE, CONTRACT
from openenv.conformance.finding import ERROR, Check, Finding, Report, SkippedCheck
from openenv.conformance.play import Options, Subject
from openenv.errors import ConcurrencyConfigurationError, ConfigurationError

__all__ = ["ConformanceTests", "assert_conformant", "check_environment", "check_subject", "refused"]

_UNTYPED = "types-described"


def check_environment(
    environment: Any,
    *,
    action_cls: Any = None,
    observation_cls: Any = None,
    state_cls: Any = None,
    actions: Iterable[Any] | None = None,
    timeout_s: float = 10.0,
    seed: int = 7,
    n_steps: int = 6,
    volatile: Iterable[str] = (),
) -> Report:
    """Play an environment and say what a client, a trainer or a server would stumble over.

    It is made about fifteen times and plays a few short episodes. May be called from a running event
    loop, which it blocks.

    Args:
        environment: An environment class, a factory, an `App`, or one environment object, which is
            played with as it is and not closed.
        action_cls: Type of actions, where neither the app nor annotations say it; likewise the next two.
        observation_cls: Type of observations.
        state_cls: Type of the state.
        actions: Actions to play, as JSON values. Without them they are drawn from the action's JSON Schema.
        timeout_s: Seconds that one call may take, > 0.
        seed: Given to `reset`, and decides which actions are drawn.
        n_steps: Steps of an episode, >= 1.
        volatile: Observation fields that may differ between equal episodes, such as a clock.

    Raises:
        TypeError: It is nothing of these.
    """
    options = Options(
        timeout_s=timeout_s,
        seed=seed,
        n_steps=n_steps,
        actions=None if actions is None else tuple(actions),
        volatile=frozenset(volatile),
    )
    name = str(getattr(environment, "environment_name", getattr(environment, "__name__", environment)))
    try:
        subject = Subject(
            environment,
            options,
            action_cls=action_cls,
            observation_cls=observation_cls,
            state_cls=state_cls,
        )
    except ConfigurationError as error:
        return Report(name, [refused(error, name)], 1)
    report = Report(subject.name)
    check_subject(subject, report)
    return report


def check_subject(subject: Subject, report: Report, starting: Callable[[str], None] | None = None) -> None:
    """Make every check of an environment; what they find goes into the report.

    Args:
        starting: Called with the id of each check before it is made.
    """
    CODE.run(subject, report, starting)
    if any(finding.check == _UNTYPED for finding in report.findings):
        # Nothing can be drawn from, or held against, a schema that there is not.
        report.skipped += [(check.id, "a type has no JSON Schema") for check in CONTRACT.checks]
        return
    CONTRACT.run(subject, report, starting)


def refused(error: ConfigurationError, where: str) -> Finding:
    """What `create_app` refused, as a finding."""
    concurrency = isinstance(error, ConcurrencyConfigurationError)
    said, _, do = str(error).rpartition(". " if concurrency else "; ")
    return Finding(
        "concurrency" if concurrency else "app",
        ERROR,
        where,
        "an environment that create_app takes",
        said or do,
        do if said else "see create_app",
    )


def assert_conformant(environment: Any, *, strict: bool = False, **options: Any) -> None:
    """Check an environment and fail with everything that was found.

    Args:
        environment: As of `check_environment`, like the options.
        strict: Whether warnings fail, too.

    Raises:
        AssertionError: Something is wrong; one line for each finding.
    """
    report = check_environment(environment, **options)
    _assert_none(report.findings if strict else report.errors)


def _assert_none(findings: list[Finding]) -> None:
    if findings:
        raise AssertionError("\n".join(["the environment does not keep the contract:", *map(str, findings)]))


class ConformanceTests:
    """The contract as tests, one for each check, for an author's class to inherit::

        class TestMyEnvironment(ConformanceTests):
            environment = MyEnvironment

    Works with pytest and needs nothing of it. A check that cannot be made passes.

    Attributes:
        environment: As of `check_environment`. A plain function is wrapped in `staticmethod`.
        options: Further arguments of `check_environment`, by name.
        strict: Whether warnings fail, too.
    """

    environment: ClassVar[Any] = None
    options: ClassVar[dict[str, Any]] = {}
    strict: ClassVar[bool] = False
    _subject: ClassVar[Subject | None] = None

    @classmethod
    def subject(cls) -> Subject:
        """The environment, made ready once for all tests of the class."""
        if "_subject" not in cls.__dict__ or cls._subject is None:
            if cls.environment is None:
                raise TypeError(f"{cls.__name__} names no environment; write environment = MyEnvironment")
            given = dict(cls.options)
            types = {
                key: given.pop(key) for key in ("action_cls", "observation_cls", "state_cls") if key in given
            }
            given = {key: _COLLECT[key](value) if key in _COLLECT else value for key, value in given.items()}
            cls._subject = Subject(cls.environment, Options(**given), **types)
        return cls._subject


_COLLECT: dict[str, Callable[[Any], Any]] = {"actions": tuple, "volatile": frozenset}


def _test_of(check: Check[Subject]) -> Callable[[ConformanceTests], None]:
    def test(self: ConformanceTests) -> None:
        try:
            findings = check.run(self.subject())
        except SkippedCheck:
            return
        _assert_none([finding for finding in findings if self.strict or finding.severity == ERROR])

    test.__name__ = f"test_{check.name}"
    test.__doc__ = check.look.__doc__
    return test


for _check in (*CODE.checks, *CONTRACT.checks):
    setattr(ConformanceTests, f"test_{_check.name}", _test_of(_check))
