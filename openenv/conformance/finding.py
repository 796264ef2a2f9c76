"""What a check is, what it finds, and what all of them found together.

In: small functions that look at one subject and yield what is wrong with it. Out: a `Report`. This module
knows nothing about environments, files or servers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Generic, Literal, TypeVar

__all__ = [
    "ERROR",
    "WARNING",
    "Check",
    "Finding",
    "Group",
    "Problem",
    "Report",
    "Severity",
    "SkippedCheck",
    "shown",
]

Severity = Literal["error", "warning"]
ERROR: Severity = "error"
WARNING: Severity = "warning"

_SHOWN_CHARACTERS = 120

SubjectT = TypeVar("SubjectT")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        check: Id of the check, such as `seeds-reproduce`.
        severity: `error`: clients or deployments fail; `warning`: they can be surprised.
        where: A file with its line, a call, or a route.
        expected: What the check expects.
        got: What there was instead.
        do: What to do about it.
    """

    check: str
    severity: Severity
    where: str
    expected: str
    got: str
    do: str

    def __str__(self) -> str:
        found = f"expected {self.expected}, got {self.got}; {self.do}"
        return f"{self.where}: {self.severity}: {found} [{self.check}]"


@dataclass(frozen=True, slots=True)
class Problem:
    """What a check yields; the rest of a `Finding` is the check's own.

    Attributes:
        where: As of `Finding`, like the next two.
        got: One line.
        do: One line.
        expected: Where it is more particular than what the check says.
        severity: Where it is another than the check's.
    """

    where: str
    got: str
    do: str
    expected: str | None = None
    severity: Severity | None = None


class SkippedCheck(Exception):
    """The check cannot be made here; its text says why. That is no finding."""


@dataclass(frozen=True, slots=True)
class Check(Generic[SubjectT]):
    """One thing that can be wrong.

    Attributes:
        id: Words with hyphens; stays the same for ever, for whoever filters reports.
        severity: Of its findings.
        expects: What it expects, as it stands after "expected".
        look: Yields what is wrong with a subject.
    """

    id: str
    severity: Severity
    expects: str
    look: Callable[[SubjectT], Iterator[Problem]]

    @property
    def name(self) -> str:
        """What it says of a subject without findings, as an identifier: `reset_gives_an_observation`."""
        return self.look.__name__

    def run(self, subject: SubjectT) -> list[Finding]:
        """What is wrong with the subject.

        Raises:
            SkippedCheck: It cannot be made here.
        """
        return [
            Finding(
                self.id,
                problem.severity or self.severity,
                _one_line(problem.where),
                _one_line(problem.expected or self.expects),
                _one_line(problem.got),
                _one_line(problem.do),
            )
            for problem in self.look(subject)
        ]


class Group(Generic[SubjectT]):
    """Checks that look at subjects of one kind, in order of definition.

    Attributes:
        checks: All of them.
    """

    def __init__(self) -> None:
        self.checks: list[Check[SubjectT]] = []

    def check(
        self, id: str, severity: Severity, expects: str
    ) -> Callable[[Callable[[SubjectT], Iterator[Problem]]], Callable[[SubjectT], Iterator[Problem]]]:
        """Make a check of the function below; its name is the sentence that the check asserts."""

        def add(
            look: Callable[[SubjectT], Iterator[Problem]],
        ) -> Callable[[SubjectT], Iterator[Problem]]:
            self.checks.append(Check(id, severity, expects, look))
            return look

        return add

    def run(self, subject: SubjectT, report: Report, starting: Callable[[str], None] | None = None) -> None:
        """Make every check; what they find goes into the report.

        Args:
            starting: Called with the id of each check before it is made.
        """
        for check in self.checks:
            if starting is not None:
                starting(check.id)
            try:
                report.findings += check.run(subject)
            except SkippedCheck as reason:
                report.skipped.append((check.id, str(reason)))
            else:
                report.n_checks += 1


@dataclass(slots=True)
class Report:
    """What was checked and what was found.

    Attributes:
        target: A folder, an environment's name or a URL.
        findings: In the order in which they were found.
        n_checks: How many checks were made.
        skipped: Id and reason of those that could not be made here.
        could_not_run: Why the rest of the checks could not be made at all, or None.
    """

    target: str
    findings: list[Finding] = field(default_factory=list)
    n_checks: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    could_not_run: str | None = None

    @property
    def errors(self) -> list[Finding]:
        """The findings that are errors."""
        return [finding for finding in self.findings if finding.severity == ERROR]

    @property
    def warnings(self) -> list[Finding]:
        """The findings that are warnings."""
        return [finding for finding in self.findings if finding.severity == WARNING]

    def extend(self, other: Report) -> None:
        """Take in what another report has."""
        self.findings += other.findings
        self.n_checks += other.n_checks
        self.skipped += other.skipped
        self.could_not_run = self.could_not_run or other.could_not_run

    def summary(self) -> str:
        """`my_env: 2 errors, 1 warning in 58 checks`."""
        counts = f"{_count(len(self.errors), 'error')}, {_count(len(self.warnings), 'warning')}"
        skipped = f", {len(self.skipped)} not made" if self.skipped else ""
        return f"{self.target}: {counts} in {_count(self.n_checks, 'check')}{skipped}"

    def as_json(self) -> dict[str, Any]:
        """The whole report as JSON values."""
        return {
            "target": self.target,
            "errors": len(self.errors),
            "warnings": len(self.warnings),
            "checks": self.n_checks,
            "could_not_run": self.could_not_run,
            "findings": [asdict(finding) for finding in self.findings],
            "skipped": [{"check": check, "why": why} for check, why in self.skipped],
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Report:
        """What `as_json` gave."""
        return cls(
            value["target"],
            [Finding(**finding) for finding in value["findings"]],
            value["checks"],
            [(entry["check"], entry["why"]) for entry in value["skipped"]],
            value["could_not_run"],
        )


def shown(value: object, limit: int = _SHOWN_CHARACTERS) -> str:
    """A value as a message shows it: its repr on one line, cut to ``limit`` characters."""
    text = _one_line(repr(value))
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
