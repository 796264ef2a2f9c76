"""What stands between the code and the machine, and how an interpreter is started behind it.

In: `Settings`. Out: a process that runs `repl.py` behind these walls:

- ``bwrap``: bubblewrap gives it namespaces: its own processes, network (none), users, mounts. It sees system
  directories read-only, a private /tmp of limited size and nothing else. A seccomp filter lies on top.
- ``landlock``: where namespaces are not to be had, as in most containers. Landlock leaves it the same
  directories and a private folder; a seccomp filter takes away sockets, other processes and signals.
- ``none``: a process with limits. It can read and change whatever the server can.

This module knows nothing about what is said to the interpreter; whether a sandbox works on this machine is
found out by trying it (`choice.py`).
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from secrets import randbelow

from .settings import Settings

__all__ = ["Launched", "Sandbox", "sandboxes"]

_HERE = Path(__file__).resolve().parent
_NICE = 10
_CPU_PER_TIMEOUT = 120  # the backstop of a process that outlives its server's attention
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_ETC = ("/etc/ld.so.cache", "/etc/localtime", "/etc/alternatives")
_DEVICES = ("/dev/zero", "/dev/random", "/dev/urandom")
_SHM_BYTES = 16 * 1024 * 1024
_NOBODY = 65534
_VARIABLES = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "USER": "sandbox",
    "LOGNAME": "sandbox",
    # Libraries that start a thread for each core would use up the limit on processes.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


@dataclass(frozen=True, slots=True)
class Launched:
    """A process behind its walls.

    Attributes:
        process: What was started; with bubblewrap its outer process, with pipes for output.
        folder: The private folder to remove afterwards, or None where the kernel removes it.
    """

    process: "subprocess.Popen[bytes]"
    folder: str | None


@dataclass(frozen=True, slots=True)
class Sandbox:
    """One way of starting an interpreter.

    Attributes:
        name: ``bwrap``, ``landlock`` or ``none``.
        drops_root: Where a server that is root gives that up: ``outside``, before the sandbox is made;
            ``inside`` of it; or ``""`` where there is nothing to give up.
    """

    name: str
    drops_root: str = ""

    def launch(self, settings: Settings, control: socket.socket) -> Launched:
        """Start an interpreter that serves the other end of `control`.

        Raises:
            OSError: The program cannot be started. One that starts and fails ends by itself, with its
                reason on stderr.
        """
        user = _unused_user() if self.drops_root else None
        folder = None if self.name == "bwrap" else tempfile.mkdtemp(prefix="coding-env-")
        try:
            return self._launch(settings, control, user, folder)
        except OSError:
            if folder is not None:
                remove(folder)
            raise

    def _launch(
        self, settings: Settings, control: socket.socket, user: int | None, folder: str | None
    ) -> Launched:
        if folder is not None and user is not None:
            os.chown(folder, user, user)
        home = folder or "/tmp"
        python = interpreter(settings)
        visible, hidden = system_view(python)
        packages = [settings.packages] if settings.packages else []
        order = {
            "control": control.fileno(),
            "sandbox": self.name,
            "parent": None if self.name == "bwrap" or not _is_linux() else os.getpid(),
            "user": user if self.drops_root == "inside" else None,
            "nice": _NICE,
            "memory_bytes": settings.memory_bytes,
            "disk_bytes": settings.disk_bytes,
            # Counted for a user: only where the session has one of its own does the number mean a session.
            "max_processes": settings.max_processes + 1 if self.name == "bwrap" else None,
            "cpu_s": int(settings.timeout_s * _CPU_PER_TIMEOUT) + 1,
            "max_output": settings.max_output,
            "folder": home,
            "packages": packages,
            "readable": [],
            "listable": [],
            "writable": [],
        }
        if self.name == "landlock":
            around, listable = without(visible, hidden)
            order["readable"] = [*around, *_ETC, *_DEVICES, *packages]
            order["listable"] = listable
            order["writable"] = [home, "/dev/null"]
        # -I: nothing of the user's and no current folder on the path. -S: no site-packages.
        command = [python, "-I", "-S", "-u", "-c", _program(), repr(order)]
        if self.name == "bwrap":
            command = [*self._bubblewrap(settings, visible, hidden), *command]
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/" if folder is None else folder,
            env={**_VARIABLES, "HOME": home, "TMPDIR": home},
            pass_fds=[control.fileno()],
            start_new_session=True,
            bufsize=0,
            **({} if user is None or self.drops_root == "inside" else _as_user(user)),  # type: ignore[call-overload]
        )
        return Launched(process, folder)

    def _bubblewrap(self, settings: Settings, visible: list[str], hidden: list[str]) -> list[str]:
        program = shutil.which("bwrap")
        if program is None:
            raise FileNotFoundError("bubblewrap (bwrap) is not installed")
        command = [program, "--die-with-parent", "--new-session"]
        command += [
            "--unshare-ipc",
            "--unshare-pid",
            "--unshare-net",
            "--unshare-uts",
            "--unshare-cgroup-try",
        ]
        if self.drops_root == "inside":
            # Root makes the sandbox and repl.py becomes somebody else in it; no other capability is left.
            command += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
        else:
            command += ["--unshare-user", "--disable-userns", "--uid", str(_NOBODY), "--gid", str(_NOBODY)]
        command += ["--hostname", "sandbox"]
        # First, so that what is shown may be below /tmp.
        command += ["--perms", "1777", "--size", str(settings.disk_bytes), "--tmpfs", "/tmp"]
        for path in visible:
            if os.path.islink(path):
                command += ["--symlink", os.readlink(path), path]
            elif os.path.isdir(path):
                command += [*_parents(path), "--ro-bind", path, path]
        for path in hidden:
            command += ["--size", "4096", "--tmpfs", path, "--remount-ro", path]
        for path in _ETC:
            command += ["--ro-bind-try", path, path]
        if settings.packages:
            command += [*_parents(settings.packages), "--ro-bind", settings.packages, settings.packages]
        command += ["--proc", "/proc", "--dev", "/dev"]
        command += [
            "--perms",
            "1777",
            "--size",
            str(_SHM_BYTES),
            "--tmpfs",
            "/dev/shm",
            "--remount-ro",
            "/dev",
        ]
        # The root itself is a tmpfs without a limit.
        return [*command, "--chdir", "/tmp", "--remount-ro", "/", "--"]


def sandboxes() -> list[Sandbox]:
    """Every way of starting an interpreter that has walls, the best first. Not all work on each machine."""
    if not _is_linux():
        return []
    if os.geteuid() == 0:
        return [Sandbox("bwrap", "inside"), Sandbox("bwrap", "outside"), Sandbox("landlock", "inside")]
    return [Sandbox("bwrap"), Sandbox("landlock")]


def interpreter(settings: Settings) -> str:
    """The Python that runs the code: not a virtual environment's, since that is the server's own."""
    return os.path.realpath(settings.python or sys.executable)


@cache
def system_view(python: str) -> tuple[list[str], list[str]]:
    """Directories that the code may read, and those below them that it may not: the server's own."""
    prefix = os.path.dirname(os.path.dirname(python))
    visible = [path for path in _SYSTEM if os.path.lexists(path)]
    if not _is_below(prefix, visible):
        visible.append(prefix)
    secret = {str(_HERE), str(_HERE.parent), os.getcwd(), os.path.expanduser("~")}
    for root in {prefix, "/usr", "/usr/local"}:
        for pattern in ("lib/python3*/site-packages", "lib/python3*/dist-packages"):
            secret |= {str(path) for path in Path(root).glob(pattern)}
    hidden = [
        path
        for path in sorted({os.path.realpath(path) for path in secret})
        # Hiding what holds Python itself would leave nothing to run.
        if os.path.isdir(path) and _is_below(path, visible) and not _is_below(prefix, [path])
    ]
    return visible, [path for path in hidden if not _is_below(os.path.dirname(path), hidden)]


def without(visible: Iterable[str], hidden: list[str]) -> tuple[list[str], list[str]]:
    """Paths that together cover `visible` except `hidden`, and the directories that hold both."""
    covered: list[str] = []
    passed: list[str] = []
    waiting = [os.path.realpath(path) for path in visible]
    while waiting:
        path = waiting.pop()
        if path in hidden:
            continue
        if any(_is_below(secret, [path]) for secret in hidden):
            passed.append(path)
            with suppress(OSError):
                waiting += [entry.path for entry in os.scandir(path) if not entry.is_symlink()]
        else:
            covered.append(path)
    return covered, passed


def remove(folder: str) -> None:
    """Remove a private folder, however deep it goes and whatever rights its owner took away."""
    with suppress(OSError):
        os.rmdir(folder)
        return
    # These two know no depth too deep, and follow no link.
    for command in (["chmod", "-R", "u+rwx", folder], ["rm", "-rf", folder]):
        subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)


@cache
def _program() -> str:
    return (_HERE / "walls.py").read_text("utf-8") + "\n" + (_HERE / "repl.py").read_text("utf-8")


def _parents(path: str) -> list[str]:
    """The folders above a path, made passable: bubblewrap would make them for their owner alone."""
    made: list[str] = []
    for folder in reversed(Path(path).parents[:-1]):
        made += ["--perms", "0755", "--dir", str(folder)]
    return made


def _as_user(user: int) -> dict[str, object]:
    return {"user": user, "group": user, "extra_groups": []}


def _unused_user() -> int:
    """A user that nobody is, a different one for each session: the kernel counts processes by user."""
    # Above all that distributions give out; in a container whose users are mapped there may be 65,536.
    with suppress(OSError, ValueError), open("/proc/self/uid_map", encoding="ascii") as file:
        first, _, count = (int(word) for word in file.readline().split())
        if first == 0 and count > 1 << 31:
            return (1 << 30) + randbelow((1 << 30) - 1)
    return 61184 + randbelow(65520 - 61184)


def _is_below(path: str, folders: Iterable[str]) -> bool:
    return any(path == folder or path.startswith(folder.rstrip("/") + "/") for folder in folders)


def _is_linux() -> bool:
    return sys.platform == "linux"
