"""The command line's entry: finds the command, runs it, and turns errors into exit codes.

In: arguments. Out: an exit code, and on a mistake one line on standard error that says what to do; the
traceback only under `--debug`. A command's module is imported when it is the one that was named.
"""

from __future__ import annotations

import argparse
import importlib
import os
import select
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

from openenv.config import KNOBS, environ
from openenv.errors import ConfigurationError, OpenEnvError
from openenv.version import __version__

__all__ = ["COMMANDS", "Parser", "main"]

COMMANDS = {
    "init": "make a new environment, which runs at once",
    "build": "make a container image of an environment",
    "serve": "serve an environment over WebSocket and HTTP",
    "top": "show what a running server does, once a second",
    "validate": "check an environment's folder, or a running server, against the contract",
    "push": "put an environment on a Hugging Face Space, or its image into a registry",
    "fork": "copy a Space of somebody's into your namespace",
}
"""Name and purpose of every command; each is a module of this package with `configure` and `run`."""

_EXIT_INTERNAL = 70
_EXIT_OUTPUT = 74
_EXIT_INTERRUPTED = 130
# What a shell says of a program that SIGPIPE ended, as it ends most programs there.
_EXIT_UNHEARD = 141


class Parser(argparse.ArgumentParser):
    """Raises what argparse would print and exit with, so that a mistake is one line."""

    def error(self, message: str) -> NoReturn:
        """A mistake in the arguments."""
        raise ConfigurationError(f"{message}; see '{self.prog} --help'")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: Without the program's name; None takes the process's.

    Returns:
        0 when all went well, 2 for a mistake of the caller's, 141 when nobody reads what it prints
        (`| head -1`), else what the command says.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = _answer(words)
    except SystemExit:  # argparse's, behind the text that was asked for
        unheard = _flush()
        if unheard:
            return unheard
        raise
    return _flush() or code


def _answer(words: list[str]) -> int:
    try:
        return _run(words)
    except OpenEnvError as error:
        _report(error, words, f"openenv: {_one_line(str(error))}")
        return error.exit_code
    except KeyboardInterrupt:
        return _EXIT_INTERRUPTED
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _is_unheard():
            return _flush() or _EXIT_UNHEARD
        text = _one_line(f"{type(error).__name__}: {error}")
        _report(error, words, f"openenv: internal error, {text}; run it again with --debug for the traceback")
        return _EXIT_INTERNAL


def _run(words: list[str]) -> int:
    parser = Parser(
        prog="openenv",
        description="Serve reinforcement-learning environments.",
        epilog="example: openenv serve examples/echo_env --port 8000",
    )
    parser.add_argument("--version", action="version", version=f"openenv {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    named = next((word for word in words if not word.startswith("-")), None)
    for name, purpose in COMMANDS.items():
        subparser = commands.add_parser(
            name, help=purpose, description=f"{purpose[0].upper()}{purpose[1:]}.", allow_abbrev=False
        )
        if name == named:
            importlib.import_module(f"openenv.cli.{name}").configure(subparser)
    options, unknown = parser.parse_known_args(words)
    if unknown:
        command = " ".join(["openenv", *([options.command] if options.command else [])])
        # Without what is behind a '=', which may be a secret whose flag is misspelt.
        shown = " ".join(word.partition("=")[0] for word in unknown)
        raise ConfigurationError(f"unknown arguments: {shown}; see '{command} --help'")
    if options.command is None:
        parser.print_help()
        return 0
    return int(importlib.import_module(f"openenv.cli.{options.command}").run(options))


def _flush() -> int:
    """Have what was printed go out now, not at the interpreter's end; an exit code if it cannot."""
    try:
        print(end="", flush=True)
    except OSError as error:
        # What is left would be tried once more at the end, and complained about.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return _EXIT_UNHEARD
        print(f"openenv: what it prints cannot be written: {error}", file=sys.stderr)
        return _EXIT_OUTPUT
    return 0


def _is_unheard() -> bool:
    """Whether it is standard output whose other end was closed, and no connection of a command's."""
    poll = select.poll()
    try:
        poll.register(sys.stdout.fileno(), 0)
    except (OSError, ValueError):
        return False
    return bool(poll.poll(0))  # only errors are asked for: poll(2)


def _report(error: BaseException, words: list[str], line: str) -> None:
    if _debugging(words):
        print("".join(traceback.format_exception(error)), file=sys.stderr, end="")
    print(line, file=sys.stderr)


def _debugging(words: list[str]) -> bool:
    """Whether tracebacks were asked for; the configuration may be the very thing that is wrong."""
    knob = KNOBS["debug"]
    if knob.flag in words:
        return True
    try:
        return bool(knob.parse(environ().get(knob.variable or "", "") or "0", ""))
    except ConfigurationError:
        return False


def _one_line(text: str) -> str:
    return " ".join(text.split())
