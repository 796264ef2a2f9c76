"""Which sandbox this machine has: each is tried, with a file and a secret that must stay out of reach.

In: `Settings`. Out: the best `Sandbox` that holds and what is in force, or a `ConfigurationError` that says
what was tried, why it failed and what to do. Decided once for a process and those that it forks.
"""

import hashlib
import logging
import os
import socket
import tempfile
from dataclasses import dataclass
from functools import cache

from openenv.errors import ConfigurationError

from .interpreter import Interpreter, LostError
from .sandbox import Sandbox, sandboxes
from .settings import Settings

__all__ = ["Choice", "choose"]

logger = logging.getLogger("coding_env")

# What code in the sandbox must not manage, each of them harmless: read a file that everybody may read, make
# one outside, talk to a socket of the host, see the process of the server.
_ATTEMPTS = """
import hashlib, os, socket
def digest(path):
    if hashlib.sha256(open(path, "rb").read()).hexdigest() != {variables!r}: raise OSError
def attempt(what):
    try:
        what()
    except OSError:
        return False
    return True
def call(port):
    with socket.create_connection(("127.0.0.1", port), 1): pass
[name for name, what in (
    ("reads files of the host", lambda: open({canary!r}).read()),
    ("writes files of the host", lambda: open({canary!r} + ".written", "w").close()),
    ("reaches the network", lambda: call({port})),
    ("sees the server's variables", lambda: digest("/proc/{pid}/environ")),
) if attempt(what)]
"""
_PROBE_S = 20.0


@dataclass(frozen=True, slots=True)
class Choice:
    """A sandbox and what is known of it.

    Attributes:
        sandbox: What interpreters are started behind.
        in_force: The walls, in words, for logs and `/metadata`.
    """

    sandbox: Sandbox
    in_force: str


@cache
def choose(settings: Settings) -> Choice:
    """The best sandbox that `settings` allow and this machine has.

    Raises:
        ConfigurationError: There is none, and nobody said that none is needed.
    """
    if settings.sandbox == "none":
        in_force = "no sandbox (SANDBOX=none): code can read, change and reach whatever the server can"
        logger.warning("%s", in_force)
        return Choice(Sandbox("none"), in_force)
    failures = []
    for sandbox in sandboxes():
        if settings.sandbox not in ("auto", sandbox.name):
            continue
        try:
            facts = _tried(sandbox, settings)
        except LostError as error:
            failures.append(f"{sandbox.name}: {error}")
            continue
        in_force = f"{sandbox.name} ({facts})"
        # Said in any case: `server` and uvicorn import this before they let anybody say anything else.
        level = logging.INFO if logger.isEnabledFor(logging.INFO) else logging.WARNING
        logger.log(level, "code runs behind %s", in_force)
        return Choice(sandbox, in_force)
    tried = "; ".join(dict.fromkeys(failures)) or "Linux is needed for it"
    raise ConfigurationError(
        f"expected a sandbox for the code that is sent here, and none works ({tried}). Install bubblewrap, "
        "or give the container what it needs (README.md, Security), or say SANDBOX=none if whoever can "
        "reach this server may do anything on this machine"
    )


def _tried(sandbox: Sandbox, settings: Settings) -> str:
    """What is in force behind a sandbox that holds.

    Raises:
        LostError: It does not start, or it does not hold.
    """
    interpreter = Interpreter(sandbox, settings)
    try:
        with tempfile.TemporaryDirectory(prefix="coding-env-canary-") as folder, socket.socket() as listener:
            os.chmod(folder, 0o777)
            canary = os.path.join(folder, "canary")
            with open(canary, "w", encoding="ascii") as file:
                file.write("sings")
            os.chmod(canary, 0o644)
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            with open("/proc/self/environ", "rb") as file_:
                variables = hashlib.sha256(file_.read()).hexdigest()
            code = _ATTEMPTS.format(
                canary=canary, port=listener.getsockname()[1], pid=os.getpid(), variables=variables
            )
            outcome = interpreter.run(code, _PROBE_S)
    finally:
        interpreter.close()
        interpreter.release()
    if outcome.result != "[]":
        raise LostError(f"code in it {outcome.result or 'does not run: ' + outcome.stderr.strip()[-500:]}")
    first = (
        "own namespaces of processes, network and mounts" if sandbox.name == "bwrap" else "no child processes"
    )
    return f"{first}, {interpreter.facts}"
