"""Several workers are one server: one capacity, one end, one reload, and a death that nobody else notices."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from websockets.exceptions import ConnectionClosed, WebSocketException

from openenv.config import Config
from openenv.server.listener import claim
from tests.support.authored import write_environment
from tests.support.eventually import eventually
from tests.support.program import started, wait_for_uds
from tests.support.server import ROOT, Server, StartFailedError, answers, serve
from tests.support.talk import Talk, talk

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds workers through /proc")

OURS = {"PYTHONPATH": str(ROOT)}


def workers_of(server: Server | Program) -> set[int]:
    """Process ids of the server's workers."""
    pid = server.process.pid
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return {int(word) for word in text.split()}


def is_alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


@dataclass
class Program:
    """A server that need not speak plain HTTP over TCP.

    Attributes:
        process: Its first process.
        opening: Opens a session.
    """

    process: subprocess.Popen[str]
    opening: Callable[[], AbstractContextManager[Talk]]


@contextmanager
def listening(kind: str, folder: Path, *flags: str, workers: int = 2) -> Iterator[Program]:
    """Serve on a TCP port, with TLS or without, or on a unix socket."""
    path = folder / "env.sock"
    where = ["--uds", str(path)] if kind == "unix" else ["--host", "127.0.0.1", "--port", "0"]
    trust = None
    if kind == "tls":
        trust = ssl.create_default_context(cafile=str(make_certificate(folder)))
        where += ["--ssl-certfile", str(folder / "cert.pem"), "--ssl-keyfile", str(folder / "key.pem")]
    with started("serve", "talk:app", *where, *flags, "--workers", str(workers), cwd=folder) as process:
        assert process.stdout is not None
        banner = process.stdout.readline()
        if kind == "unix":
            yield Program(process, lambda: talk("", uds=str(path)))
            return
        port = int(banner.split("://127.0.0.1:")[1].split()[0])
        url = f"{'wss' if trust else 'ws'}://127.0.0.1:{port}/ws"
        yield Program(process, lambda: talk(url, ssl_context=trust))


def make_certificate(folder: Path) -> Path:
    """Make `cert.pem` for this machine's loopback address, signed by itself, and `key.pem`."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make a certificate")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")),
        ],
        check=True,
        capture_output=True,
    )
    return folder / "cert.pem"


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    """Closes the sessions of a test that still are open."""
    with ExitStack() as stack:
        yield stack


def open_many(server: Server, count: int, opened: ExitStack) -> tuple[list[Talk], list[dict[str, object]]]:
    """Ask for `count` sessions at the same moment; gives those that were granted, and the refusals."""
    granted: list[Talk] = []
    refused: list[dict[str, object]] = []
    barrier = threading.Barrier(count)

    def ask() -> None:
        session = opened.enter_context(talk(server.ws_url))
        barrier.wait(15)
        try:
            observation = session.reset()
        except ConnectionClosed:
            # The refusal came first, and can still be read: see wire.md section 6.
            observation = session.receive()["data"]
        if "code" in observation:
            refused.append(observation)
        else:
            granted.append(session)

    threads = [threading.Thread(target=ask) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return granted, refused


def test_every_worker_serves_and_the_banner_waits_for_all(tmp_path: Path, opened: ExitStack) -> None:
    """Once the address is printed, sessions spread over as many processes as were asked for."""
    write_environment(tmp_path)
    with serve("talk:app", env=OURS, workers=4, cwd=tmp_path) as server:
        assert "(4 workers, 100 sessions at once)" in server.log
        pids = set()
        for _ in range(100):
            with talk(server.ws_url) as session:
                pids.add(session.reset()["pid"])
            if len(pids) == 4:
                break
        assert pids == workers_of(server)


def test_capacity_is_exact_over_all_workers(tmp_path: Path, opened: ExitStack) -> None:
    """Of 40 that ask at the same moment, 10 get a session; each one that leaves makes room for one."""
    write_environment(tmp_path)
    with serve(
        "talk:app",
        "--max-concurrent-envs",
        "10",
        env=OURS,
        workers=4,
        cwd=tmp_path,
    ) as server:
        granted, refused = open_many(server, 40, opened)
        assert len(granted) == 10
        assert len(refused) == 30
        assert {entry["code"] for entry in refused} <= {"CAPACITY_REACHED", "closed"}
        told = [entry for entry in refused if entry["code"] == "CAPACITY_REACHED"]
        assert told
        assert all(entry["max_sessions"] == 10 for entry in told)
        assert all(entry["active_sessions"] == 10 for entry in told)
        for session in granted[:3]:
            session.socket.close()
        granted, _ = open_many(server, 12, opened)
        assert len(granted) == 3


def test_sessions_are_balanced_over_the_workers(tmp_path: Path, opened: ExitStack) -> None:
    """Whichever worker the kernel gives a connection to: the fullest holds a tenth more than the mean."""
    write_environment(tmp_path)
    with serve("talk:app", env={**OURS, "MAX_CONCURRENT_ENVS": "80"}, workers=4, cwd=tmp_path) as server:
        sessions = [opened.enter_context(talk(server.ws_url)) for _ in range(40)]
        held = Counter(session.reset()["pid"] for session in sessions)
        assert max(held.values()) <= 11
        assert len(held) == 4
        for session in sessions[::2]:
            assert session.step("still here")["text"] == "still here"


def test_sessions_under_tls_are_balanced_too(tmp_path: Path) -> None:
    """A connection that is to be encrypted goes to the emptier worker before the first byte of it is read."""
    write_environment(tmp_path)
    with listening("tls", tmp_path, workers=4) as program, ExitStack() as stack:
        sessions = [stack.enter_context(program.opening()) for _ in range(40)]
        held = Counter(session.reset()["pid"] for session in sessions)
        assert max(held.values()) <= 11
        assert len(held) == 4


@pytest.mark.parametrize("share", [False, True])
def test_a_host_that_is_gone_is_found(share: bool) -> None:
    """By the kernel, after minutes: nobody demands a pong, and idle HTTP connections get no ping."""
    addresses = claim(Config(host="127.0.0.1", port=0), share=share)
    (door,) = addresses.open()
    door.listen()
    door.setblocking(True)
    with socket.create_connection(("127.0.0.1", addresses.port)):
        accepted, _ = door.accept()
        with accepted:
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60
    door.close()
    addresses.close()


def test_a_session_made_over_http_is_found_by_every_connection(tmp_path: Path) -> None:
    """`/ws?session_id=` and JSON-RPC reach the worker that has it; closing it works from anywhere."""
    write_environment(tmp_path)
    with serve("talk:app", env=OURS, workers=4, cwd=tmp_path) as server:
        ids = [rpc(server, "openenv/session/create", {})["result"]["session_id"] for _ in range(8)]
        held: Counter[object] = Counter()
        for session_id in ids:
            with talk(f"{server.ws_url}?session_id={session_id}") as session:
                assert session.reset()["text"] == "hello"
                held[session.step("where")["pid"]] += 1
        assert set(held.values()) == {2}
        for session_id in ids:
            closed = rpc(server, "openenv/session/close", {"session_id": session_id, "padding": "x" * 40_000})
            assert closed["result"]["closed"] is True
        assert rpc(server, "openenv/session/close", {"session_id": ids[0]})["error"]["code"] == -32602


def rpc(server: Server, method: str, params: dict[str, object]) -> dict[str, Any]:
    """One JSON-RPC request on a connection of its own."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    asked = Request(f"{server.url}/mcp", body, {"Content-Type": "application/json"})
    with urlopen(asked, timeout=15) as response:
        answer: dict[str, Any] = json.load(response)
    return answer


def test_a_client_waits_for_a_place_that_another_worker_gives_back(tmp_path: Path) -> None:
    """Its first message is answered when its turn comes; when the time is up it is told when to try again."""
    write_environment(tmp_path)
    env = {**OURS, "MAX_CONCURRENT_ENVS": "1", "OPENENV_CAPACITY_WAIT_S": "1.5"}
    with serve("talk:app", env=env, workers=2, cwd=tmp_path) as server, ExitStack() as stack:
        first = stack.enter_context(talk(server.ws_url))
        first.reset()
        second = stack.enter_context(talk(server.ws_url))
        second.send("reset", {})
        first.socket.close()
        assert second.receive()["data"]["observation"]["text"] == "hello"
        third = stack.enter_context(talk(server.ws_url))
        refusal = third.receive()["data"]
        assert (refusal["code"], refusal["retry_after_s"]) == ("CAPACITY_REACHED", 2)


def test_a_session_that_nobody_speaks_to_is_closed(tmp_path: Path) -> None:
    """The client hears why; one that steps now and then keeps its session, and the place is free again."""
    write_environment(tmp_path)
    env = {**OURS, "MAX_CONCURRENT_ENVS": "2", "OPENENV_LEASE_S": "3"}
    with serve("talk:app", env=env, workers=1, cwd=tmp_path) as server, ExitStack() as stack:
        busy = stack.enter_context(talk(server.ws_url))
        idle = stack.enter_context(talk(server.ws_url))
        idle.reset()
        made = rpc(server, "openenv/session/create", {})
        assert made["error"]["data"]["max_sessions"] == 2

        def n_expired() -> int:
            busy.step("still here")
            metrics = urlopen(f"{server.url}/metrics", timeout=60).read().decode()
            return int(metrics.partition("\nopenenv_sessions_expired_total ")[2].split()[0])

        eventually(lambda: n_expired() == 1, "the end of the idle one's lease", poll_s=0.1)
        refusal = idle.receive()["data"]
        assert refusal["code"] == "SESSION_ERROR"
        assert "nothing was asked of it for 3 s" in refusal["message"]
        session_id = rpc(server, "openenv/session/create", {})["result"]["session_id"]
        attached = stack.enter_context(talk(f"{server.ws_url}?session_id={session_id}"))
        attached.reset()
        eventually(lambda: n_expired() == 2, "the end of another lease", poll_s=0.1)
        assert attached.receive()["data"]["code"] == "SESSION_ERROR"
        assert rpc(server, "openenv/session/close", {"session_id": session_id})["error"]["code"] == -32602


def test_a_killed_worker_is_replaced_and_its_sessions_are_given_back(
    tmp_path: Path, opened: ExitStack
) -> None:
    """SIGKILL takes that worker's sessions and no other; the capacity is whole again at once."""
    write_environment(tmp_path)
    with serve("talk:app", "--max-concurrent-envs", "8", env=OURS, workers=2, cwd=tmp_path) as server:
        granted, _ = open_many(server, 8, opened)
        by_pid = Counter(session.step("hi")["pid"] for session in granted)
        assert sum(by_pid.values()) == 8
        victim = max(by_pid, key=lambda pid: by_pid[pid])
        os.kill(victim, signal.SIGKILL)
        eventually(lambda: victim not in workers_of(server) and len(workers_of(server)) == 2, "a new worker")
        survivors = []
        for session in granted:
            try:
                assert session.step("still here")["text"] == "still here"
                survivors.append(session)
            except ConnectionClosed:
                pass
        assert len(survivors) == 8 - by_pid[victim]
        assert "was killed by SIGKILL; starting another in" in server.log
        eventually(lambda: answers(server.host, server.port), "an answer")
        again, refused = open_many(server, by_pid[victim] + 4, opened)
        assert len(again) == by_pid[victim]
        assert len(refused) == 4


def test_a_step_that_kills_its_worker_does_not_end_the_server(tmp_path: Path) -> None:
    """A segmentation fault in an environment is one worker's, not the server's."""
    write_environment(tmp_path)
    with serve("talk:app", env=OURS, workers=2, cwd=tmp_path) as server:
        for _ in range(3):
            with talk(server.ws_url) as session, pytest.raises(ConnectionClosed):
                session.step("die")
            eventually(lambda: answers(server.host, server.port), "an answer")
        assert server.process.poll() is None


@pytest.mark.parametrize("workers", [1, 2])
def test_sigterm_lets_a_running_step_finish_and_ends_with_0(tmp_path: Path, workers: int) -> None:
    """The reply arrives, then close 1001; no new session is taken meanwhile."""
    write_environment(tmp_path)
    with serve("talk:app", env=OURS, workers=workers, cwd=tmp_path) as server:
        with talk(server.ws_url) as session:
            session.reset()
            session.send("step", {"message": "sleep 0.7"})
            eventually(lambda: answers(server.host, server.port), "an answer")
            server.process.send_signal(signal.SIGTERM)
            assert session.receive()["data"]["observation"]["text"] == "sleep 0.7"
            with pytest.raises(ConnectionClosed) as closed:
                session.receive()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1001
        assert server.process.wait(10) == 0
        assert not answers(server.host, server.port)


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_reaches_the_whole_group_and_still_drains(tmp_path: Path, workers: int) -> None:
    """A terminal signals every process of the group: a worker must not take that for two signals."""
    write_environment(tmp_path)
    with serve("talk:app", env=OURS, workers=workers, cwd=tmp_path) as server:
        with talk(server.ws_url) as session:
            session.reset()
            session.send("step", {"message": "sleep 0.7"})
            eventually(lambda: answers(server.host, server.port), "an answer")
            os.killpg(server.process.pid, signal.SIGINT)
            assert session.receive()["data"]["observation"]["text"] == "sleep 0.7"
        assert server.process.wait(10) == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_a_second_signal_ends_at_once(tmp_path: Path, workers: int) -> None:
    """Whoever asks twice does not want to wait for a step of a minute."""
    write_environment(tmp_path)
    with (
        serve("talk:app", env=OURS, workers=workers, cwd=tmp_path) as server,
        talk(server.ws_url) as session,
    ):
        session.reset()
        session.send("step", {"message": "sleep 60"})
        eventually(lambda: answers(server.host, server.port), "an answer")
        server.process.send_signal(signal.SIGTERM)
        eventually(lambda: "drain" in server.log, "the drain")
        with pytest.raises(subprocess.TimeoutExpired):
            server.process.wait(0.4)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(3) not in (0, None)


def test_the_drain_ends_when_its_time_is_up(tmp_path: Path) -> None:
    """A step that does not end is cut off, the log says so, and the exit code is that of a drain."""
    write_environment(tmp_path)
    with (
        serve("talk:app", "--drain-s", "0.3", env=OURS, workers=2, cwd=tmp_path) as server,
        talk(server.ws_url) as session,
    ):
        session.reset()
        session.send("step", {"message": "sleep 60"})
        eventually(lambda: answers(server.host, server.port), "an answer")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(8) == 0
        assert "cut off what was still running" in server.log


def test_a_worker_that_hears_nothing_is_killed_at_the_end(tmp_path: Path) -> None:
    """A stopped or spinning process cannot keep the server from ending."""
    write_environment(tmp_path)
    with serve("talk:app", "--drain-s", "0.1", env=OURS, workers=2, cwd=tmp_path) as server:
        stopped = min(workers_of(server))
        os.kill(stopped, signal.SIGSTOP)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(10) == 1
        assert not is_alive(stopped)
        assert f"worker {stopped} did not end in time; killing it" in server.log


def test_workers_end_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    """No worker goes on holding the port when nobody is left to stop it."""
    write_environment(tmp_path)
    with serve("talk:app", env=OURS, workers=3, cwd=tmp_path) as server:
        workers = workers_of(server)
        assert len(workers) == 3
        server.process.kill()
        eventually(lambda: not any(is_alive(pid) for pid in workers), "the end of the workers")


CRASHES = """\
import os

os.register_at_fork(after_in_child=lambda: os._exit(3))
"""


def test_a_crash_loop_is_reported_and_given_up(tmp_path: Path) -> None:
    """Workers that die before they serve are not started for ever; the exit code is not 0."""
    path = write_environment(tmp_path)
    path.write_text(path.read_text() + CRASHES)
    with (
        pytest.raises(StartFailedError, match="the server ended with 1") as failed,
        serve("talk:app", env=OURS, workers=2, cwd=tmp_path),
    ):
        pass
    assert "ended with exit code 3; starting another in" in str(failed.value)
    assert "workers die too often to go on, giving up" in str(failed.value)


def test_sighup_brings_new_code_without_a_refused_connection(tmp_path: Path) -> None:
    """One worker at a time, the new one ready before the old drains; a restarted worker has it too."""
    write_environment(tmp_path, "old")
    with serve("talk:app", env=OURS, workers=2, cwd=tmp_path) as server:
        before = workers_of(server)
        with talk(server.ws_url) as session:
            assert session.reset()["text"] == "old"
        write_environment(tmp_path, "new")
        server.process.send_signal(signal.SIGHUP)

        def reloaded() -> bool:
            # Asked again and again: at no moment is there nobody to answer.
            assert answers(server.host, server.port, timeout_s=15.0)
            return "every worker runs the new code" in server.log

        eventually(reloaded, "the reload")
        after = workers_of(server)
        assert len(after) == 2
        assert not after & before
        for _ in range(8):
            with talk(server.ws_url) as session:
                assert session.reset()["text"] == "new"
        os.kill(min(after), signal.SIGKILL)
        eventually(lambda: len(workers_of(server) - {min(after)}) == 2, "a new worker")
        eventually(lambda: answers(server.host, server.port), "an answer")
        for _ in range(8):
            with talk(server.ws_url) as session:
                assert session.reset()["text"] == "new"
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(10) == 0


@dataclass
class Fate:
    """What became of somebody who opened sessions while workers were replaced."""

    n_served: int = 0
    n_told: int = 0
    lost: tuple[str, ...] = ()


def use(opening: Callable[[], AbstractContextManager[Talk]], fate: Fate, hold: Callable[[], object]) -> None:
    """Open a session, reset it and call `hold`. To be told to come again is no loss; anything else is."""
    try:
        with opening() as session:
            session.reset()
            fate.n_served += 1
            hold()
    except ConnectionClosed as closed:
        if closed.rcvd is not None and closed.rcvd.code == 1001:
            fate.n_told += 1
        else:
            fate.lost += (repr(closed),)
    except (OSError, WebSocketException) as error:
        fate.lost += (repr(error),)


@pytest.mark.parametrize("kind", ["tcp", "tls", "unix"])
def test_a_reload_under_a_stream_of_new_connections_loses_none(tmp_path: Path, kind: str) -> None:
    """At no moment is one refused, reset or left unanswered."""
    write_environment(tmp_path)
    with listening(kind, tmp_path) as program:
        before = workers_of(program)
        fates = [Fate() for _ in range(4)]
        ended = threading.Event()

        def stream(fate: Fate) -> None:
            while not ended.is_set():
                use(program.opening, fate, lambda: None)

        threads = [threading.Thread(target=stream, args=(fate,)) for fate in fates]
        for thread in threads:
            thread.start()
        try:
            eventually(lambda: all(fate.n_served for fate in fates), "the stream")
            program.process.send_signal(signal.SIGHUP)
            eventually(
                lambda: len(workers_of(program)) == 2 and not workers_of(program) & before, "the reload", 120
            )
        finally:
            ended.set()
            for thread in threads:
                thread.join()
        assert [fate.lost for fate in fates] == [()] * 4


@pytest.mark.parametrize("kind", ["tcp", "tls", "unix"])
def test_a_reload_loses_nobody_who_waits_for_a_worker_that_is_replaced(tmp_path: Path, kind: str) -> None:
    """Neither those that it has yet to accept, nor those that another worker gave it."""
    write_environment(tmp_path)
    with listening(kind, tmp_path) as program:
        before = workers_of(program)
        stopped = min(before)
        os.kill(stopped, signal.SIGSTOP)
        fates = [Fate() for _ in range(24)]
        ended = threading.Event()
        threads = [threading.Thread(target=use, args=(program.opening, fate, ended.wait)) for fate in fates]
        for thread in threads:
            thread.start()
        try:
            eventually(lambda: sum(fate.n_served for fate in fates) > 2, "sessions with the other worker")
            program.process.send_signal(signal.SIGHUP)
            eventually(lambda: len(workers_of(program)) == 3, "a worker for the first one's place")
            assert sum(fate.n_served + fate.n_told for fate in fates) < len(fates)
            os.kill(stopped, signal.SIGCONT)
            eventually(lambda: all(fate.n_served + fate.n_told for fate in fates), "an answer for all", 60)
        finally:
            ended.set()
            os.kill(stopped, signal.SIGCONT) if stopped in workers_of(program) else None
            for thread in threads:
                thread.join()
        assert [fate.lost for fate in fates] == [()] * len(fates)


def test_what_waits_for_a_worker_that_dies_is_answered_by_another(tmp_path: Path) -> None:
    """Its listening socket is not closed with it, as long as somebody waits there."""
    write_environment(tmp_path)
    with serve("talk:app", env=OURS, workers=2, cwd=tmp_path) as server, ExitStack() as stack:
        stopped = min(workers_of(server))
        os.kill(stopped, signal.SIGSTOP)
        waiting = []
        for _ in range(24):
            asking = stack.enter_context(socket.create_connection((server.host, server.port), timeout=60))
            asking.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            waiting.append(asking)
        os.kill(stopped, signal.SIGKILL)
        for asking in waiting:
            assert asking.recv(15) == b"HTTP/1.1 200 OK"


def test_sighup_with_code_that_cannot_be_imported_leaves_the_old_serving(tmp_path: Path) -> None:
    """The mistake is logged in one line; a later reload of mended code works."""
    path = write_environment(tmp_path, "old")
    with serve("talk:app", env=OURS, workers=2, cwd=tmp_path) as server:
        before = workers_of(server)
        path.write_text("def broken(:\n")
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: "reload failed" in server.log, "the report")
        assert "SyntaxError" in server.log
        assert "Traceback" not in server.log
        assert workers_of(server) == before
        with talk(server.ws_url) as session:
            assert session.reset()["text"] == "old"
        write_environment(tmp_path, "mended")
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: "every worker runs the new code" in server.log, "the reload")
        with talk(server.ws_url) as session:
            assert session.reset()["text"] == "mended"


def test_capacity_is_exact_after_a_reload(tmp_path: Path, opened: ExitStack) -> None:
    """What the replaced workers held is given back, and given back once."""
    write_environment(tmp_path)
    with serve("talk:app", "--max-concurrent-envs", "6", env=OURS, workers=2, cwd=tmp_path) as server:
        granted, _ = open_many(server, 6, opened)
        assert len(granted) == 6
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: "every worker runs the new code" in server.log, "the reload")
        granted, refused = open_many(server, 9, opened)
        assert len(granted) == 6
        assert len(refused) == 3


def test_workers_share_a_unix_socket(tmp_path: Path) -> None:
    """All of them accept from it, and its file goes with the server."""
    write_environment(tmp_path)
    path = tmp_path / "env.sock"
    with started("serve", "talk:app", "--uds", str(path), "--workers", "2", cwd=tmp_path) as process:
        wait_for_uds(path)
        with talk("", uds=str(path)) as session:
            assert session.reset()["text"] == "hello"
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert not path.exists()


DRAWS = """\
import random

import numpy.random  # which numpy itself imports late, or at once where it is older


class Drawing(Talk):
    def reset(self, seed=None, episode_id=None):
        return TalkObservation(text=f"{random.random()} {numpy.random.random()}", pid=os.getpid())


app = create_app(Drawing)
"""


@pytest.mark.parametrize("isolation", ["thread", "process"])
def test_no_two_processes_draw_the_same_random_numbers(tmp_path: Path, isolation: str) -> None:
    """They are forked with the same generators, which would make the same episodes in each."""
    pytest.importorskip("numpy")
    path = write_environment(tmp_path)
    path.write_text(path.read_text() + DRAWS)
    flags = ("--isolation", isolation)
    with (
        serve("talk:app", *flags, env=OURS, workers=2, cwd=tmp_path) as server,
        ExitStack() as stack,
    ):
        sessions = [stack.enter_context(talk(server.ws_url)) for _ in range(4)]
        drawn = [session.reset() for session in sessions]
        assert len({observation["pid"] for observation in drawn}) == (2 if isolation == "thread" else 4)
        numbers = [number for observation in drawn for number in observation["text"].split()]
        assert len(set(numbers)) == 8


ADOPTS_ORPHANS = """\
import ctypes

ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: as the first process of a container
"""


def test_the_parent_reaps_what_dead_workers_leave_behind(tmp_path: Path) -> None:
    """In a container it is the first process, and every orphan is its child."""
    path = write_environment(tmp_path)
    path.write_text(path.read_text() + ADOPTS_ORPHANS)
    flags = ("--isolation", "process")
    with serve("talk:app", *flags, env=OURS, workers=2, cwd=tmp_path) as server:
        with talk(server.ws_url) as session:
            session.reset()
            before = workers_of(server)
            for pid in before:
                os.kill(pid, signal.SIGKILL)
        eventually(
            lambda: len(workers_of(server)) == 2 and not workers_of(server) & before, "only the new workers"
        )
        assert all(map(is_alive, workers_of(server)))
        assert "was killed by SIGKILL; starting another in" in server.log
