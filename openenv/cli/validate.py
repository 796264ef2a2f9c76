"""`openenv validate [DIR | --url URL]`: does an environment keep the contract?

In: a folder or the URL of a running server. Out: one line for each finding on standard output, or one JSON
document; exit code 0 without findings, 1 with errors, 3 where the checks could not be made.

A folder's files are read here. Its code is imported and played with by a process of its own (`examine`),
which reports over a pipe: author code may print, exit, crash or hang, and this process always ends with a
report.
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import IO, Any

from openenv.app.foreign import ForeignApp
from openenv.cli.targets import Target, find_target
from openenv.codec import decode, encode
from openenv.config import environ
from openenv.conformance.environment import check_subject, refused
from openenv.conformance.finding import ERROR, WARNING, Finding, Report
from openenv.conformance.folder import Folder
from openenv.conformance.offline import offline
from openenv.conformance.play import Options, Subject
from openenv.conformance.server import check_url
from openenv.conformance.static import check_folder
from openenv.conformance.together import TOGETHER, Whole
from openenv.errors import ConfigurationError, InvalidJsonError

__all__ = ["configure", "examine", "run"]

_FINDINGS, _COULD_NOT_RUN = 1, 3
_EPILOG = """\
examples:
  openenv validate                                   the folder you stand in: its files, then its code
  openenv validate examples/echo_env --strict        warnings count as well
  openenv validate --url http://localhost:8000       a running server, whoever wrote it
  openenv validate --actions moves.json              play these actions (a JSON list), not drawn ones
  openenv validate --json --output report.json       for machines

Exit code: 0 nothing found, or warnings alone; 1 findings; 2 a mistake on the command line; 3 the checks
could not be made: a server that does not answer, a dependency that is not installed.
"""
_IMPORT_S = 60.0
_CHECK_CALLS = 15
_POLL_S = 0.2
# The child's whole program: the import path is this process's, whatever its own would be.
_PROGRAM = (
    "import json, sys; given = json.loads(sys.argv[1]); sys.argv = ['openenv']; sys.path[:] = given['path']; "
    "from openenv.cli.validate import examine; examine(given)"
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument(
        "folder", metavar="DIR", nargs="?", help="an environment's folder (default: this one)"
    )
    parser.add_argument("--url", help="check a running server in place of a folder")
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    parser.add_argument("--output", metavar="FILE", help="write the JSON document to a file as well")
    parser.add_argument("--strict", action="store_true", help="exit with 1 for warnings, too")
    parser.add_argument("--files-only", action="store_true", help="do not import the folder's code")
    parser.add_argument("--actions", metavar="FILE", help="actions to play: a JSON list")
    parser.add_argument(
        "--volatile",
        metavar="FIELD",
        action="append",
        default=[],
        help="an observation field that may differ between equal episodes; may be given several times",
    )
    parser.add_argument("--seed", type=int, default=7, help="for reset, and for drawing actions (default 7)")
    parser.add_argument("--steps", metavar="N", type=int, default=6, help="steps of an episode (default 6)")
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=float,
        default=10.0,
        help="time that one call may take (default 10)",
    )
    parser.add_argument(
        "--sessions", metavar="N", type=int, default=4, help="sessions to open at once with --url (default 4)"
    )
    parser.add_argument("--debug", action="store_true", help="tracebacks, and what the environment printed")


def run(options: argparse.Namespace) -> int:
    """Validate; gives the exit code."""
    if options.url is not None and options.folder is not None:
        raise ConfigurationError("expected a folder or --url, got both; give one of them")
    if not options.timeout > 0 or options.steps < 1 or options.sessions < 2:
        raise ConfigurationError("expected --timeout > 0, --steps >= 1 and --sessions >= 2")
    actions = _read_actions(options.actions)
    if options.url is not None:
        report = check_url(
            options.url,
            actions=actions,
            timeout_s=options.timeout,
            seed=options.seed,
            n_steps=options.steps,
            n_sessions=options.sessions,
            volatile=options.volatile,
        )
    else:
        report = _validate_folder(options, actions)
    _write(report, options)
    if report.could_not_run is not None:
        print(f"openenv: could not run: {report.could_not_run}", file=sys.stderr)
        return _COULD_NOT_RUN
    return _FINDINGS if report.errors or (options.strict and report.findings) else 0


def _read_actions(name: str | None) -> list[Any] | None:
    if name is None:
        return None
    try:
        actions = decode(Path(name).read_bytes())
    except OSError as error:
        raise ConfigurationError(f"cannot read {name}: {error.strerror or error}") from error
    except InvalidJsonError as error:
        raise ConfigurationError(f"expected a JSON list of actions in {name}: {error}") from error
    if not isinstance(actions, list) or not actions:
        raise ConfigurationError(f"expected a JSON list of actions in {name}, got {type(actions).__name__}")
    return actions


# -- output ---------------------------------------------------------------------------------


def _write(report: Report, options: argparse.Namespace) -> None:
    document = json.dumps(report.as_json(), indent=2, ensure_ascii=False)
    if options.output is not None:
        try:
            Path(options.output).write_text(f"{document}\n", "utf-8")
        except OSError as error:
            raise ConfigurationError(f"cannot write {options.output}: {error.strerror or error}") from error
    if options.json:
        print(document)
        return
    colours = _COLOURS if sys.stdout.isatty() and not environ().get("NO_COLOR") else {}
    for finding in report.findings:
        print(_line(finding, colours))
    if report.n_checks:
        print(report.summary())


_COLOURS = {ERROR: "\x1b[31m", WARNING: "\x1b[33m", "end": "\x1b[0m"}


def _line(finding: Finding, colours: dict[str, str]) -> str:
    painted = f"{colours.get(finding.severity, '')}{finding.severity}{colours.get('end', '')}"
    return str(finding).replace(f" {finding.severity}: ", f" {painted}: ", 1)


# -- a folder -------------------------------------------------------------------------------


def _validate_folder(options: argparse.Namespace, actions: list[Any] | None) -> Report:
    folder = Path(options.folder or ".")
    try:
        report = check_folder(folder)
    except OSError as error:
        report = Report(folder.name)
        report.could_not_run = f"cannot read {error.filename}: {error.strerror}"
        return report
    if options.files_only:
        return report
    if any(finding.check in ("manifest", "manifest-app") for finding in report.findings):
        report.skipped.append(("imports", "there is no app to import"))
        return report
    given = {
        "path": sys.path,
        "folder": str(folder.resolve()),
        "options": {
            "timeout_s": options.timeout,
            "seed": options.seed,
            "n_steps": options.steps,
            "actions": actions,
            "volatile": options.volatile,
        },
    }
    with tempfile.TemporaryFile("w+") as printed:
        report.extend(_examined(given, printed, options.timeout))
        if options.debug:
            printed.seek(0)
            print(printed.read(), end="", file=sys.stderr)
    return report


def _examined(given: dict[str, Any], printed: IO[str], timeout_s: float) -> Report:
    """Have the code examined by another process; its report, or what can be said of its end."""
    name = Path(given["folder"]).name
    heard = _Heard(Report(name))
    with _examiner(given, printed) as (process, pipe):
        for line in _lines(pipe, lambda: _IMPORT_S if heard.at is None else 60 + _CHECK_CALLS * timeout_s):
            heard.take(line)
        if heard.done:
            return heard.report
        # Its end of the pipe is closed, so it is about to end, unless it is we who waited long enough.
        with suppress(subprocess.TimeoutExpired):
            process.wait(1.0)
        code = process.poll()
    where = f"{name}, {'the import' if heard.at is None else f'the check {heard.at}'}"
    expected = "code that comes back and leaves its process alone"
    if code is None:
        got, do = "no end, and nothing could interrupt it", "look for a loop or a wait without a timeout"
    else:
        printed.seek(0)
        last = [line.strip() for line in printed.read().splitlines() if line.strip()][-1:]
        got = f"the end of the process with exit code {code}{f', {last[0][:200]}' if last else ''}"
        do = "raise what can be caught instead; with --debug all that it wrote is shown"
    heard.report.findings.append(Finding("survives", ERROR, where, expected, got, do))
    return heard.report


@dataclass(slots=True)
class _Heard:
    """What the examiner has said so far."""

    report: Report
    at: str | None = None
    done: bool = False

    def take(self, line: bytes) -> None:
        """Each line has everything that was found until then."""
        said = decode(line)
        self.report = Report.from_json(said["report"])
        self.at, self.done = said["at"], said["done"]


@contextmanager
def _examiner(given: dict[str, Any], printed: IO[str]) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    ours, its = os.pipe()
    try:
        given = {**given, "pipe": its}
        process = subprocess.Popen(
            # -B: looking at a folder leaves nothing in it.
            [sys.executable, "-B", "-c", _PROGRAM, json.dumps(given)],
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            pass_fds=(its,),
            start_new_session=True,
        )
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(its)
    try:
        yield process, ours
    finally:
        os.close(ours)
        # Threads that hang, and programs that the environment started, end with it.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _lines(pipe: int, patience_s: Any) -> Iterator[bytes]:
    """Lines until the other end is closed, or none comes for as long as `patience_s()` says."""
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        heard_at = monotonic()
        while monotonic() < heard_at + patience_s():
            if not selector.select(_POLL_S):
                continue
            data = os.read(pipe, 65536)
            if not data:
                return
            heard_at = monotonic()
            *lines, rest = (rest + data).split(b"\n")
            yield from lines


# -- the process that meets the author's code -----------------------------------------------


def examine(given: dict[str, Any]) -> None:
    """Import an environment and play with it; what was found goes over the pipe, and again before each check.

    Args:
        given: `folder`, `options` of the checks and the number of the `pipe`.
    """
    report = Report(Path(given["folder"]).name)

    def say(at: str | None, done: bool = False) -> None:
        line = encode({"at": at, "done": done, "report": report.as_json()}) + b"\n"
        while line:
            line = line[os.write(given["pipe"], line) :]

    options = given["options"]
    made = Options(
        timeout_s=options["timeout_s"],
        seed=options["seed"],
        n_steps=options["n_steps"],
        actions=None if options["actions"] is None else tuple(options["actions"]),
        volatile=frozenset(options["volatile"]),
    )
    subject = _import(find_target(given["folder"]), made, report)
    if subject is not None:
        check_subject(subject, report, say)
        TOGETHER.run(Whole(Folder(Path(given["folder"])), subject), report, say)
    say(None, done=True)
    # Threads of the author's may still run; nothing that waits for them is of use any longer.
    sys.stdout.flush()


def _import(target: Target, options: Options, report: Report) -> Subject | None:
    """Import what the manifest names, without the network; what goes wrong is put into the report."""
    where = f"{target.module}:{target.attribute}"
    report.n_checks += 2
    with offline() as asked:
        try:
            app = target.load()
            if isinstance(app, ForeignApp):
                report.could_not_run = (
                    f"{where} is an application without an environment of ours, which can be served and not "
                    "looked into; serve it, and use openenv validate --url"
                )
                return None
            subject = Subject(app, options)
        except ConfigurationError as error:
            cause = error.__cause__
            if asked:
                report.findings.append(_needs_network(where, asked, ERROR))
            elif isinstance(cause, ModuleNotFoundError) and not _is_own(target, cause):
                report.could_not_run = str(error)
            elif cause is None and (foreign := _foreign_app(target)) is not None:
                report.could_not_run = (
                    f"{where} is an application of {foreign}, which only its own server runs; "
                    "serve it, and use openenv validate --url"
                )
            elif cause is None:
                report.findings.append(refused(error, where))
            else:
                got, _, do = str(error).rpartition("; ")
                report.findings.append(
                    Finding("imports", ERROR, where, "a module that can be imported", got, do)
                )
            return None
    if asked:
        report.findings.append(_needs_network(where, asked, WARNING))
    return subject


def _needs_network(where: str, asked: Sequence[str], severity: Any) -> Finding:
    hosts = ", ".join(dict.fromkeys(asked))
    return Finding(
        "import-offline",
        severity,
        where,
        "an import that works without the network",
        f"a connection to {hosts}",
        "download what is needed when the image is built, or in the constructor",
    )


def _is_own(target: Target, error: ModuleNotFoundError) -> bool:
    """Whether what is missing would be the author's own, and is no dependency."""
    top = (error.name or "").partition(".")[0]
    return (
        not top
        or top == target.folder.name
        or any((target.folder / name).exists() for name in (top, f"{top}.py"))
    )


def _foreign_app(target: Target) -> str | None:
    """Whose application it is that the manifest names, if it is one of another framework."""
    for name in (target.module, f"{target.folder.name}.{target.module}"):
        value: Any = sys.modules.get(name)
        for part in target.attribute.split("."):
            value = getattr(value, part, None)
        call = getattr(type(value), "__call__", None)  # noqa: B004 - how an ASGI application is known
        if value is not None and getattr(getattr(call, "__code__", None), "co_argcount", 0) == 4:
            return type(value).__module__.partition(".")[0]
    return None
