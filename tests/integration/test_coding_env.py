"""The coding environment: what it does, and that nothing gets out of it.

The attacks are in ``coding_attacks/programs.py``. Each is one session on one server, in the sandboxes that
this machine has; afterwards the canaries are looked at, and when all are closed, the server's processes and
folders.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.request import urlopen

import pytest

from openenv import GenericEnvClient
from tests.integration.coding_attacks.programs import ATTACKS, Attack
from tests.support.docker import derived_image, docker, example_image
from tests.support.eventually import eventually
from tests.support.peers import ROOT, peer
from tests.support.program import run_openenv
from tests.support.server import Server, serve

EXAMPLE = ROOT / "examples" / "coding_env"
TIMEOUT_S = 1.5
N_AT_ONCE = 8
SECRET = "the-servers-own-secret"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="its sandboxes are Linux's")


def python_for(sandbox: str) -> str:
    """An interpreter that a user without rights can start, as Landlock needs; the server's own otherwise."""
    own = Path(sys.executable).resolve()
    if sandbox == "bwrap" or all(folder.stat().st_mode & 0o005 == 0o005 for folder in own.parents):
        return str(own)
    if Path("/usr/bin/python3").exists():
        return "/usr/bin/python3"
    return pytest.skip(f"{own} cannot be reached by an unprivileged user, and there is no /usr/bin/python3")


def variables(sandbox: str, folder: Path) -> dict[str, str]:
    """How the servers of these tests are set up."""
    if sandbox == "bwrap" and shutil.which("bwrap") is None:
        pytest.skip("there is no bubblewrap on this machine")
    scratch = folder / "tmp"
    scratch.mkdir(exist_ok=True)
    scratch.chmod(0o777)
    return {
        "SANDBOX": sandbox,
        "SANDBOX_TIMEOUT": str(TIMEOUT_S),
        "SANDBOX_PYTHON": python_for(sandbox),
        "SANDBOX_MEMORY_MB": "256",
        "SANDBOX_DISK_MB": "16",
        "SERVER_SECRET": SECRET,
        "TMPDIR": str(scratch),
    }


def best() -> str:
    """The better sandbox of those that this machine has."""
    return "bwrap" if shutil.which("bwrap") else "landlock"


@contextmanager
def open_folder() -> Iterator[Path]:
    """A temporary folder that everybody may enter and read, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="coding-") as name:
        os.chmod(name, 0o755)
        yield Path(name)


@pytest.fixture(scope="module", params=["bwrap", "landlock"])
def place(request: pytest.FixtureRequest) -> Iterator[tuple[Server, Path]]:
    """A server for each sandbox, and a folder with canaries. At its end nothing of the sessions is left."""
    with open_folder() as folder:
        canary = folder / "canary"
        canary.write_text("sings")
        outside = folder / "outside"
        outside.mkdir()
        outside.chmod(0o777)
        with serve(str(EXAMPLE), env=variables(request.param, folder)) as server:
            yield server, folder
            assert server.process.poll() is None
            eventually(lambda: below(server.process.pid) == [], "the end of every process")
            assert list((folder / "tmp").iterdir()) == []
            assert "Traceback" not in server.log


@contextmanager
def session(url: str) -> Iterator[Any]:
    """A session that was reset."""
    with GenericEnvClient(base_url=url).sync() as client:
        client.reset()
        yield client


def run(client: Any, code: str) -> dict[str, Any]:
    """One step; what was seen."""
    seen: dict[str, Any] = client.step({"code": code}).observation
    return seen


def below(pid: int) -> list[int]:
    """The processes under one, zombies included."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            children = [int(child) for child in (task / "children").read_text().split()]
        except OSError:
            continue
        for child in children:
            found.append(child)
            try:
                found += below(child)
            except OSError:
                continue
    return found


@pytest.fixture(scope="module")
def listener() -> Iterator[int]:
    """A port of this machine that takes connections."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(100)
        yield listening.getsockname()[1]


@dataclass(frozen=True)
class Aftermath:
    """What one attack was answered, and what the next step was."""

    seen: dict[str, Any]
    after: dict[str, Any]
    duration_s: float


def besieged(url: str, words: dict[str, object], attacks: list[Attack]) -> dict[str, Aftermath]:
    """Run attacks, several at a time, each in a session of its own, and one more step after each."""

    def launched(attack: Attack) -> Aftermath:
        code = attack.code
        for word, value in words.items():
            code = code.replace(f"{{{{{word}}}}}", str(value))
        with session(url) as client:
            begun = monotonic()
            seen = run(client, code)
            duration_s = monotonic() - begun
            if attack.spoils:
                client.reset()
            after = run(client, "print('still'); 6 * 7")
            if after["restarted"]:
                after = run(client, "print('still'); 6 * 7")
            return Aftermath(seen, after, duration_s)

    with ThreadPoolExecutor(N_AT_ONCE) as threads:
        return dict(zip((attack.name for attack in attacks), threads.map(launched, attacks), strict=True))


def judge(attack: Attack, aftermath: Aftermath) -> None:
    """Fail if an attack got what it wanted, or its session did not survive it."""
    seen, after = aftermath.seen, aftermath.after
    shown = {key: str(value)[-2000:] for key, value in seen.items()}
    assert attack.ends(seen), shown
    said = f"{seen['stdout']}{seen['stderr']}{seen['result']}"
    assert "ESCAPED" not in seen["stdout"], shown
    assert SECRET not in said
    assert len(said) < 3 * 10_000 + 500
    # Whatever became of the interpreter, the next step is answered, by it or by a fresh one.
    assert (after["stdout"].split()[-1:], after["result"]) == (["still"], "42"), after
    assert aftermath.duration_s < TIMEOUT_S * 10  # those that sleep would take twice that, or for ever


@pytest.fixture(scope="module")
def aftermaths(place: tuple[Server, Path], listener: int) -> dict[str, Aftermath]:
    """All attacks on one server, several at a time, each in a session of its own."""
    server, folder = place
    words = {
        "canary": folder / "canary",
        "outside": folder / "outside",
        "mailbox": folder / "mailbox",
        "port": listener,
        "pid": server.process.pid,
        "example": EXAMPLE,
        "seconds": TIMEOUT_S * 20,
    }

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as mailbox:
        mailbox.bind(str(folder / "mailbox"))
        (folder / "mailbox").chmod(0o777)
        mailbox.setblocking(False)
        answers = besieged(server.url, words, ATTACKS)
        with pytest.raises(BlockingIOError):
            mailbox.recv(100)
    assert (folder / "canary").read_text() == "sings"
    assert (folder / "canary").stat().st_mode & 0o777 == 0o644
    assert list((folder / "outside").iterdir()) == []
    assert server.process.poll() is None
    return answers


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_nothing_gets_out(aftermaths: dict[str, Aftermath], attack: Attack) -> None:
    """The answer is an observation, nothing was reached, and the session goes on."""
    judge(attack, aftermaths[attack.name])


def test_a_session_remembers_its_variables(place: tuple[Server, Path]) -> None:
    """Across steps, not across resets, and not across sessions."""
    server, _ = place
    with session(server.url) as one, session(server.url) as other:
        assert run(one, "x = 20\nprint('set')")["stdout"] == "set\n"
        assert run(one, "def f(): return x + 1\nf()")["result"] == "21"
        assert "NameError" in run(other, "x")["stderr"]
        one.reset()
        assert "NameError" in run(one, "x")["stderr"]


def test_an_observation_says_how_the_code_ended(place: tuple[Server, Path]) -> None:
    """Exit code, traceback with its lines, the reward, and the state."""
    server, _ = place
    with session(server.url) as client:
        seen = run(client, "import sys\nprint('out'); print('err', file=sys.stderr)\nsys.exit(7)")
        assert (seen["stdout"], seen["stderr"], seen["exit_code"], seen["result"]) == (
            "out\n",
            "err\n",
            7,
            None,
        )
        seen = run(client, "def f():\n    return 1 / 0\nf()")
        assert seen["exit_code"] == 1
        assert "return 1 / 0" in seen["stderr"]
        assert seen["stderr"].endswith("ZeroDivisionError: division by zero\n")
        assert "repl" not in seen["stderr"]
        assert client.step({"code": "1"}).reward == 0.1
        assert client.step({"code": "!"}).reward == -0.1
        assert client.step({"code": "import os; os._exit(1)"}).reward == -1.0
        assert client.state()["restarts"] == 1
        assert client.state()["last_exit_code"] == 1


def test_output_is_cut_where_the_limit_is(place: tuple[Server, Path]) -> None:
    """With how much is missing; stderr keeps its end, where the error is."""
    server, _ = place
    with session(server.url) as client:
        seen = run(client, "print('é' * 123_456, end='')")
        assert seen["stdout"] == "é" * 10_000 + "... [113456 characters cut]"
        seen = run(client, "import sys\nsys.stderr.write('x' * 50_000)\nraise ValueError('the end')")
        assert seen["stderr"].endswith("ValueError: the end\n")
        assert "characters cut]" in seen["stderr"]
        assert seen["output_cut"]
        assert run(client, "print('x' * 9_999)")["output_cut"] is False


def test_a_step_that_is_too_slow_shows_what_it_had_printed(place: tuple[Server, Path]) -> None:
    """And the client's own time limit is met, too, without breaking the session."""
    server, _ = place
    with session(server.url) as client:
        begun = monotonic()
        result = client.step({"code": "print('before')\nwhile True: pass"}, timeout_s=1.2)
        assert monotonic() - begun < 20
        assert result.observation["stdout"] == "before\n"
        assert result.observation["timed_out"]
        assert run(client, "1")["result"] == "1"


GOES_ON = """
import time
a, end = n, time.time() + 1
while n == a and time.time() < end: time.sleep(0.01)
n > a
"""


def test_what_a_step_left_running_stands_still_between_steps(place: tuple[Server, Path]) -> None:
    """A thread goes on with the next step, and costs nothing in between."""
    server, _ = place
    eventually(lambda: below(server.process.pid) == [], "the end of earlier sessions")
    with session(server.url) as client:
        run(client, "import threading\nn = 0\ndef spin():\n    global n\n    while True: n += 1\n"
                    "threading.Thread(target=spin, daemon=True).start()")  # fmt: skip
        spent = sum(cpu_time(pid) for pid in below(server.process.pid))
        threading.Event().wait(0.3)
        # It would be 30; a signal that stops takes effect a moment after it was sent.
        assert sum(cpu_time(pid) for pid in below(server.process.pid)) - spent <= 3
        assert run(client, GOES_ON)["result"] == "True"


def cpu_time(pid: int) -> int:
    """Clock ticks that a process has used."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(words[11]) + int(words[12])


def test_metadata_says_which_walls_there_are(place: tuple[Server, Path]) -> None:
    """And so does the log, before anybody connects."""
    server, _ = place
    with urlopen(f"{server.url}/metadata", timeout=30) as response:
        description = json.load(response)["description"]
    assert "Sandbox: bwrap (" in description or "Sandbox: landlock (" in description
    assert "seccomp" in description
    assert "code runs behind" in server.log


ATTACKERS = [
    "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
    "import threading\ndef f():\n    while True: pass\n"
    "for _ in range(20): threading.Thread(target=f).start()\nf()",
    "x = []\nwhile True:\n    try: x.append(bytearray(b'x' * (1 << 20)))\n    except MemoryError: x = []",
    "import os\nwhile True: os.write(1, b'x' * 65536)",
]


@pytest.mark.alone
def test_other_sessions_hardly_notice(place: tuple[Server, Path]) -> None:
    """The 99th percentile of a step, with four attackers at once and without, on the same server."""
    server, _ = place
    alone = step_times(server)
    ended = threading.Event()

    def keep_on(code: str) -> None:
        with session(server.url) as client:
            while not ended.is_set():
                run(client, code)

    with ThreadPoolExecutor(len(ATTACKERS)) as threads:
        attacks = [threads.submit(keep_on, code) for code in ATTACKERS]
        try:
            besieged = step_times(server)
        finally:
            ended.set()
        for attack in attacks:
            attack.result(60)
    assert besieged < max(0.3, 50 * alone), (
        f"p99 {alone * 1000:.1f} ms alone, {besieged * 1000:.1f} ms besieged"
    )


def step_times(server: Server) -> float:
    """The 99th percentile of a short step, in seconds."""
    times = []
    with session(server.url) as client:
        run(client, "x = 0")
        end = monotonic() + 1.5
        while monotonic() < end:
            begun = monotonic()
            assert run(client, "x += 1\nx")["exit_code"] == 0
            times.append(monotonic() - begun)
    return statistics.quantiles(times, n=100)[98]


def test_a_killed_server_leaves_nothing_running(tmp_path: Path) -> None:
    """Workers that were killed cannot clean up; the kernel does."""
    with (
        open_folder() as folder,
        serve(str(EXAMPLE), env=variables(best(), folder), workers=2) as server,
        session(server.url) as client,
    ):
        run(client, "import subprocess\ntry: subprocess.Popen(['sleep', '1000'])\nexcept OSError: pass")
        pids = below(server.process.pid)
        interpreters = [pid for pid in pids if b"nonce" in cmdline(pid)]
        assert interpreters
        for pid in set(pids) - set(interpreters):
            if b"openenv" in cmdline(pid):
                os.kill(pid, 9)
        eventually(lambda: not any(is_alive(pid) for pid in interpreters), "the interpreter's end")


def cmdline(pid: int) -> bytes:
    """The command line of a process, empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def is_alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    return cmdline(pid) != b""


def test_a_server_without_a_sandbox_does_not_start(tmp_path: Path) -> None:
    """Unless somebody says so; the message says what was tried and what to do."""
    empty = tmp_path / "bin"
    empty.mkdir()
    env = {"SANDBOX": "bwrap", "PATH": str(empty)}
    done = run_openenv("serve", str(EXAMPLE), "--port", "0", cwd=tmp_path, env=env)
    assert done.returncode == 2
    assert "SANDBOX=none" in done.stderr
    assert "bwrap" in done.stderr
    assert "Traceback" not in done.stderr
    done = run_openenv("serve", str(EXAMPLE), cwd=tmp_path, env={"SANDBOX": "armour"})
    assert done.returncode == 2
    assert "expected one of auto, bwrap, landlock, none, got 'armour' in SANDBOX" in done.stderr


def test_without_a_sandbox_it_says_so_and_works(tmp_path: Path) -> None:
    """SANDBOX=none is for a machine that is a sandbox itself."""
    with serve(
        str(EXAMPLE), env={"SANDBOX": "none", "SANDBOX_TIMEOUT": "1", "TMPDIR": str(tmp_path)}
    ) as server:
        assert "no sandbox" in server.log
        with session(server.url) as client:
            assert run(client, "x = 1\nx")["result"] == "1"
            assert run(client, "while True: pass")["timed_out"]
            assert run(client, "2")["result"] == "2"
        eventually(lambda: below(server.process.pid) == [], "the end of every process")
        assert list(tmp_path.iterdir()) == []


def test_packages_that_the_operator_offers_can_be_imported(tmp_path: Path) -> None:
    """And nothing else of the server's machine."""
    with open_folder() as folder:
        packages = folder / "packages"
        packages.mkdir()
        (packages / "offered.py").write_text("value = 42\n")
        env = {**variables(best(), folder), "SANDBOX_PACKAGES": str(packages)}
        with serve(str(EXAMPLE), env=env) as server, session(server.url) as client:
            assert run(client, "import offered\noffered.value")["result"] == "42"
            assert run(client, "open(offered.__file__, 'w')")["exit_code"] == 1


STOCK = """
import sys
from openenv import GenericEnvClient
with GenericEnvClient(base_url=sys.argv[1]).sync() as client:
    client.reset()
    first = client.step({"code": "x = 6\\nprint('hello')"})
    second = client.step({"code": "x * 7"})
    assert first.observation["stdout"] == "hello\\n", first
    assert second.observation["result"] == "42", second
    assert (second.reward, second.done) == (0.1, False), second
    assert client.state()["step_count"] == 2
"""


@pytest.mark.peer
def test_the_incumbents_client_plays_it(tmp_path: Path) -> None:
    """Over `/ws`, with its own package."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with open_folder() as folder, serve(str(EXAMPLE), env=variables(best(), folder)) as server:
        done = subprocess.run(
            [str(peer("openenv-0.10.0")), "-c", STOCK, server.url],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stderr


# One of each kind; all of them have been run outside a container.
IN_A_CONTAINER = frozenset(
    {
        "a fork bomb that goes on after errors",
        "a memory bomb in several processes",
        "endless output",
        "an endless loop in C",
        "filling the disk with many files",
        "killing process 1, the parent and everybody",
        "a daemon by double fork",
        "ptrace and reading another's memory",
        "capabilities that were left over",
        "becoming somebody else",
        "reading secrets",
        "reading every process's variables",
        "out by /proc",
        "out by symbolic links",
        "writing outside",
        "reading the server's packages",
        "sockets to the host",
        "mounts and namespaces",
        "keys, bpf, io_uring and other doors of the kernel",
        "closing every descriptor",
    }
)
FORTIFIED = """\
FROM {image}
USER root
COPY bwrap /usr/bin/bwrap
RUN chmod 755 /usr/bin/bwrap && mkdir -m 777 /outside && mkdir /vault && echo sings > /vault/canary
USER 1000
"""
LEAVE = ("--security-opt", "seccomp=unconfined", "--security-opt", "systempaths=unconfined")


@pytest.mark.docker
@pytest.mark.parametrize(
    ("options", "sandbox"), [((), "landlock"), (LEAVE, "bwrap")], ids=["plain", "with leave"]
)
def test_it_holds_in_a_container(options: tuple[str, ...], sandbox: str, tmp_path: Path) -> None:
    """Its own image: with Docker's defaults, and with what bubblewrap needs, as the README says."""
    image = example_image("coding_env")
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        pytest.skip("there is no bubblewrap on this machine to put into the image")
    shutil.copy(bwrap, tmp_path / "bwrap")
    image = derived_image("openenv-test-coding-fortified:latest", FORTIFIED.format(image=image), tmp_path)
    name = f"openenv-test-coding-{os.getpid()}"
    settings = {"SANDBOX_TIMEOUT": str(TIMEOUT_S), "SANDBOX_MEMORY_MB": "256", "SANDBOX_DISK_MB": "16"}
    launch = GenericEnvClient.from_docker_image(
        image, name=name, workers=1, run_args=options, env_vars={**settings, "SERVER_SECRET": SECRET}
    )
    with launch.sync() as client:
        url = str(client.base_url)
        with urlopen(f"{url}/metadata", timeout=30) as response:
            description = json.load(response)["description"]
        if f"Sandbox: {sandbox} (" not in description:
            pytest.skip(f"this engine does not allow {sandbox}: {description}")
        words: dict[str, object] = {
            "canary": "/vault/canary",
            "outside": "/outside",
            "mailbox": "/vault/mailbox",
            "port": 8000,
            # The server is process 1 out here; in there, with bubblewrap, 1 is the sandbox itself.
            "pid": 1 if sandbox == "landlock" else 4_000_000,
            "example": "/app/coding_env",
            "seconds": 30,
        }
        attacks = [attack for attack in ATTACKS if attack.name in IN_A_CONTAINER]
        assert len(attacks) == len(IN_A_CONTAINER)
        answers = besieged(url, words, attacks)
        for attack in attacks:
            judge(attack, answers[attack.name])
        assert docker("exec", name, "cat", "/vault/canary") == "sings\n"
        assert docker("exec", name, "ls", "/outside") == ""
        # The server alone is left, and not even a folder.
        eventually(lambda: len(docker("top", name).splitlines()) == 2, "the end of every process")
        assert "coding-env-" not in docker("exec", name, "ls", "/tmp")
