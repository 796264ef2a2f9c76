"""`--isolation process`: an environment that dies, hangs or eats its machine takes nothing with it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from tests.support.eventually import eventually
from tests.support.server import Server, serve
from tests.support.talk import Talk, talk

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks at processes through /proc")

APP = "tests.support.deadly_envs:app"
ASYNC_APP = "tests.support.deadly_envs:async_app"
FLAGS = ("--isolation", "process", "--close-deadline-s", "1", "--drain-s", "5")
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One worker, four sessions; a close may take a second."""
    with serve(APP, *FLAGS, env={"OPENENV_CAPACITY_WAIT_S": "10"}) as running:
        yield running


def do(session: Talk, message: str, number: float = 0, timeout_s: float | None = None) -> dict[str, Any]:
    """The fields of a step's observation, or the error's data."""
    step = {"type": "step", "data": {"message": message, "number": number}}
    session.socket.send(json.dumps(step if timeout_s is None else {**step, "timeout_s": timeout_s}))
    data = session.receive()["data"]
    fields = data.get("observation", data)
    assert isinstance(fields, dict)
    return fields


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not, and is somebody's mistake: see `zombies_of`."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] != "Z"


def parent_of(pid: int) -> int:
    """Its parent's pid."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def children_of(pid: int) -> list[int]:
    """Pids of its children, zombies included."""
    texts = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    return [int(word) for text in texts for word in text.split()]


def channels_of(pid: int) -> set[str]:
    """Every socket and pipe that a process holds."""
    found = set()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(path)
        except OSError:
            continue
        if target.startswith(("socket:", "pipe:")):
            found.add(target)
    return found


def free_places(server: Server) -> float:
    """How many sessions the server could hold beside those that it holds."""
    values = metrics(server)
    held = sum(value for name, value in values.items() if name.startswith("openenv_sessions{"))
    return values["openenv_capacity"] - held


def metrics(server: Server) -> dict[str, float]:
    """Every number of `/metrics`."""
    text = httpx.get(f"{server.url}/metrics").text
    pairs = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


DEATHS = [
    ("segfault", 0, "was ended by SIGSEGV"),
    ("exit", 3, "ended with exit code 3"),
    ("exit", 0, "ended with exit code 0"),
    ("kill", 0, "was ended by SIGKILL"),
    ("close_all", 0, "ended"),
    ("lie", 0, "was ended for what it wrote to the worker: "),
]


@pytest.mark.parametrize(("message", "number", "end"), DEATHS)
def test_a_process_that_ends_is_an_error_of_its_session_and_nobody_elses(
    server: Server, message: str, number: float, end: str
) -> None:
    """The call is answered, the session broken until a reset gives it another process."""
    with talk(server.ws_url) as other, talk(server.ws_url) as victim:
        others_pid = other.reset()["pid"]
        first_pid = victim.reset()["pid"]
        error = do(victim, message, number)
        assert error["code"] == "EXECUTION_ERROR"
        assert error["exception"] == "EnvironmentEnded"
        assert end in error["message"]
        again = do(victim, "hello")
        assert again["code"] == "SESSION_ERROR"
        assert end in again["message"]
        second_pid = victim.reset()["pid"]
        assert second_pid != first_pid
        assert not is_alive(first_pid)
        assert do(victim, "hello")["echoed"] == "hello"
        assert do(other, "hello")["pid"] == others_pid


def test_a_process_that_is_killed_while_idle_is_missed_at_the_next_call(server: Server) -> None:
    """The out-of-memory killer asks nobody."""
    with talk(server.ws_url) as session:
        pid = session.reset()["pid"]
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: "its process was ended by SIGKILL" in server.log, "the worker hearing of it")
        error = do(session, "hello")
        assert "was ended by SIGKILL; reset" in error["message"]
        assert session.reset()["pid"] != pid


def test_a_step_past_its_deadline_is_killed(server: Server) -> None:
    """Even one that never comes back from C: its process is gone when the answer is there, or soon after."""
    with talk(server.ws_url) as other, talk(server.ws_url) as session:
        other.reset()
        pid = session.reset()["pid"]
        error = do(session, "spin", timeout_s=0.3)
        assert error["exception"] == "StepTimeoutError"
        eventually(lambda: not is_alive(pid), "the end of the process")
        assert do(other, "hello")["echoed"] == "hello"
        assert session.reset()["pid"] != pid


def test_a_close_that_hangs_is_killed(server: Server) -> None:
    """Its place is free after the deadline, and so is its memory."""
    with talk(server.ws_url) as session:
        pid = session.reset()["pid"]
        do(session, "hang_in_close")
    eventually(lambda: not is_alive(pid), "the end of the process", 6)
    eventually(lambda: free_places(server) == 4, "the place being free")


def test_a_client_that_leaves_during_an_endless_step_leaves_nothing(server: Server) -> None:
    """The process has the time that a close has, and no more."""
    with talk(server.ws_url) as session:
        pid = session.reset()["pid"]
        session.send("step", {"message": "spin"})
    eventually(lambda: not is_alive(pid), "the end of the process", 6)
    eventually(lambda: free_places(server) == 4, "the place being free")


def test_what_an_environment_started_ends_with_it(server: Server) -> None:
    """Its process group, and a child that had made itself a session of its own."""
    with talk(server.ws_url) as session:
        session.reset()
        pids = do(session, "breed")["pids"]
        assert len(set(pids)) == 4
        assert all(map(is_alive, pids))
    eventually(lambda: not any(map(is_alive, pids)), "the end of all four")


def test_what_a_step_past_its_deadline_started_ends_with_it(server: Server) -> None:
    """Killed without being asked to close."""
    with talk(server.ws_url) as session:
        session.reset()
        pids = do(session, "breed")["pids"]
        assert do(session, "spin", timeout_s=0.3)["exception"] == "StepTimeoutError"
        eventually(lambda: not any(map(is_alive, pids)), "the end of all four")


def test_what_an_environment_started_ends_with_it_however_late_it_is_killed(server: Server) -> None:
    """One that is to be killed does not end by itself before: nobody would know what it started."""
    with talk(server.ws_url) as session:
        pid = session.reset()["pid"]
        pids = do(session, "breed")["pids"]
        nursery = parent_of(pid)
        os.kill(nursery, signal.SIGSTOP)
    try:
        with suppress(AssertionError):
            eventually(lambda: not is_alive(pid), "what must not happen", 1.0)
    finally:
        os.kill(nursery, signal.SIGCONT)
    eventually(lambda: not any(map(is_alive, pids)), "the end of all four")


def test_what_a_crashed_environment_started_ends_with_the_server() -> None:
    """A child that had made itself a session of its own is nobody's any more, but not for ever."""
    with serve(APP, *FLAGS) as server, talk(server.ws_url) as session:
        pid = session.reset()["pid"]
        pids = do(session, "breed")["pids"]
        nursery = parent_of(pid)
        os.kill(nursery, signal.SIGSTOP)
        session.send("step", {"message": "kill"})
        eventually(lambda: not is_alive(pid), "the crash")
        os.kill(nursery, signal.SIGCONT)
        assert "SIGKILL" in session.receive()["data"]["message"]
        assert any(map(is_alive, pids))
    eventually(lambda: not any(map(is_alive, pids)), "the end of all four")


def test_a_fork_bomb_ends_with_its_session(server: Server) -> None:
    """However many there are, one signal reaches the whole group."""
    with talk(server.ws_url) as session:
        pid = session.reset()["pid"]
        do(session, "bomb")
        eventually(lambda: n_in_group(pid) > 12, "the bomb going off")
    eventually(lambda: n_in_group(pid) == 0, "the end of all of them")


def n_in_group(group: int) -> int:
    """How many processes a group has."""
    found = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        found += int(fields[2]) == group and fields[0] != "Z"
    return found


def test_an_environment_holds_none_of_the_workers_sockets(server: Server) -> None:
    """A listening socket in a child would keep the port open, a client's would keep it from closing."""
    with talk(server.ws_url) as other, talk(server.ws_url) as session:
        pids = [other.reset()["pid"], session.reset()["pid"]]
        nursery = parent_of(pids[0])
        held = [channels_of(pid) for pid in (*pids, nursery, server.process.pid)]
        for index, channels in enumerate(held):
            assert channels
            for others in held[index + 1 :]:
                assert not channels & others


def test_nothing_is_left_when_sessions_have_come_and_gone(server: Server) -> None:
    """No zombie, no process, no descriptor, and every place is free."""
    with talk(server.ws_url) as session:
        nursery = parent_of(session.reset()["pid"])
    eventually(lambda: not children_of(nursery), "the end of the last session")
    n_before = len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))
    for number in range(6):
        with talk(server.ws_url) as session:
            session.reset()
            do(session, ("hello", "segfault", "exit")[number % 3])
    eventually(lambda: not children_of(nursery), "the end of every process")
    eventually(
        lambda: len(list(Path(f"/proc/{server.process.pid}/fd").iterdir())) <= n_before,
        "the descriptors' end",
    )
    eventually(lambda: free_places(server) == 4, "the sessions' places")


def test_a_nursery_that_is_killed_is_replaced(server: Server) -> None:
    """Its sessions are lost, and told so; the next reset has a process again."""
    with talk(server.ws_url) as session:
        pid = session.reset()["pid"]
        nursery = parent_of(pid)
        pids = do(session, "breed")["pids"]
        children = pids[:2]
        os.kill(nursery, signal.SIGKILL)
        os.killpg(pids[2], signal.SIGKILL)  # a session of its own, of which nobody knows any more
        eventually(lambda: not is_alive(pid), "the end of the process with its parent")
        eventually(lambda: not any(map(is_alive, children)), "the end of its group")
        eventually(lambda: "reset the session" in do(session, "hello").get("message", ""), "the error")
        assert parent_of(session.reset()["pid"]) not in (nursery, 1)


def test_large_observations_come_whole(server: Server) -> None:
    """More than any buffer on the way."""
    with connect(server.ws_url, max_size=None) as socket:
        socket.send('{"type":"reset"}')
        socket.recv(timeout=15)
        socket.send('{"type":"step","data":{"message":"big","number":20000000}}')
        assert len(json.loads(socket.recv(timeout=15))["data"]["observation"]["echoed"]) == 20_000_000


def test_stateless_calls_have_a_process_each(server: Server) -> None:
    """Over HTTP too, an environment that dies is one answer and not the server."""
    with httpx.Client(base_url=server.url, timeout=15) as client:
        pids = [client.post("/reset", json={}).json()["observation"]["pid"] for _ in range(2)]
        assert len({*pids, server.process.pid}) == 3
        assert client.post("/step", json={"action": {"message": "segfault"}}).status_code == 500
        assert client.get("/metadata").json()["name"].endswith("DeadlyEnv")
        assert client.get("/health").json() == {"status": "healthy"}
    eventually(lambda: not any(map(is_alive, pids)), "the end of the processes")


def test_a_session_over_http_has_one_process(server: Server) -> None:
    """Held by its id, and replaced by a reset."""
    with httpx.Client(base_url=server.url, timeout=15) as client:
        opened = client.post("/reset", json={}, headers={"openenv-session": "new"})
        named = {"openenv-session": opened.headers["openenv-session"]}
        step = client.post("/step", json={"action": {"message": "hello"}}, headers=named).json()
        assert step["observation"]["pid"] == opened.json()["observation"]["pid"]
        assert client.post("/step", json={"action": {"message": "kill"}}, headers=named).status_code == 500
        assert client.post("/step", json={"action": {"message": "hello"}}, headers=named).status_code == 409
        assert client.post("/reset", json={}, headers=named).status_code == 200
        assert client.delete("/session", headers=named).json() == {"closed": True}


def test_awaited_steps_die_alike_and_the_servers_deadline_kills_every_kind_of_call() -> None:
    """In a session and without one, with an environment whose steps are awaited."""
    with serve(ASYNC_APP, *FLAGS, "--step-deadline-s", "1") as server, talk(server.ws_url) as session:
        pid = session.reset()["pid"]
        assert do(session, "spin")["exception"] == "StepTimeoutError"
        eventually(lambda: not is_alive(pid), "the end of the process")
        session.reset()
        assert "SIGSEGV" in do(session, "segfault")["message"]
        pid = session.reset()["pid"]
        late = httpx.post(f"{server.url}/step", json={"action": {"message": "spin"}}, timeout=15)
        assert late.status_code == 504
        assert do(session, "hello")["pid"] == pid


def test_memory_is_limited() -> None:
    """Beyond what the application takes: a hog is told, a modest one is not."""
    with serve(APP, *FLAGS, "--env-memory-bytes", str(64 * MIB)) as server, talk(server.ws_url) as session:
        session.reset()
        assert do(session, "hog", 40 * MIB)["echoed"] == "hog"
        assert do(session, "hog", 80 * MIB)["exception"] == "MemoryError"
        assert do(session, "hello")["echoed"] == "hello"


def test_processor_time_is_limited() -> None:
    """The error says what ended it."""
    flags = ("--isolation", "process", "--env-cpu-s", "1")
    with serve(APP, *flags) as server, talk(server.ws_url) as session:
        session.reset()
        assert "SIGXCPU, all its processor time is used up" in do(session, "spin")["message"]
        assert do(session, "hello")["code"] == "SESSION_ERROR"
        session.reset()
        assert do(session, "hello")["echoed"] == "hello"


def test_a_factory_that_ends_its_process_is_refused() -> None:
    """The session is not opened, and says why; the server goes on."""
    with serve(APP, *FLAGS, env={"DEADLY_FACTORY": "1"}) as server:
        with talk(server.ws_url) as session:
            session.send("reset", {})
            error = session.receive()["data"]
            assert error["code"] == "FACTORY_ERROR"
            assert "ended with exit code 4" in error["message"]
        eventually(lambda: free_places(server) == 4, "the place being free")


def test_workers_that_die_drain_and_are_replaced_leave_no_process() -> None:
    """Killed, reloaded by SIGHUP and drained: environments end with their workers, and serve until then."""
    with serve(APP, *FLAGS, workers=2) as server:
        with ExitStack() as stack:
            sessions = [stack.enter_context(talk(server.ws_url)) for _ in range(4)]
            pids = [session.reset()["pid"] for session in sessions]
            workers = {parent_of(parent_of(pid)) for pid in pids}
            assert workers == set(children_of(server.process.pid))
            nurseries = {parent_of(pid) for pid in pids}
            victim = parent_of(parent_of(pids[0]))
            os.kill(victim, signal.SIGKILL)
            eventually(lambda: not is_alive(pids[0]), "the end of the killed worker's environments")
        eventually(lambda: len(children_of(server.process.pid)) == 2, "another worker")
        eventually(lambda: free_places(server) == 4, "every place being free")
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: "every worker runs the new code" in server.log, "the reload")
        with talk(server.ws_url) as session:
            pid = session.reset()["pid"]
            assert parent_of(pid) not in nurseries
            session.send("step", {"message": "sleep", "number": 2.5})
            eventually(lambda: metrics(server)['openenv_sessions{state="running"}'] == 1, "the step")
            server.process.send_signal(signal.SIGTERM)
            assert session.receive()["data"]["observation"]["echoed"] == "sleep"
        assert server.process.wait(10) == 0
        eventually(lambda: not is_alive(pid), "the end of the last environment")
        eventually(lambda: not any(map(is_alive, nurseries)), "the end of the nurseries")
