"""`openenv serve`: what is served is what was named; a mistake is one line and exit code 2."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from websockets.exceptions import WebSocketException

from tests.support.authored import write_environment
from tests.support.eventually import eventually
from tests.support.program import environment, run_openenv, started
from tests.support.server import ROOT, answers, serve
from tests.support.talk import talk

OURS = {"PYTHONPATH": str(ROOT)}


def fails_with_one_line(result: subprocess.CompletedProcess[str]) -> str:
    """The only line on standard error of a command that ended with 2."""
    assert result.returncode == 2, result.stderr
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("openenv: ")
    return lines[0]


# -- mistakes -------------------------------------------------------------------------------

MISTAKES = [
    ("nosuch:app", (), {}, "No module named 'nosuch'"),
    ("talk:nope", (), {}, "talk has no 'nope'; it has Talk and app: name one, as in talk:Talk"),
    ("talk:TalkAction", (), {}, "got the class TalkAction; write app = create_app(YourEnvironment)"),
    ("talk:app.nope", (), {}, "has no 'nope'"),
    ("no/such/folder", (), {}, "there is no folder 'no/such/folder'"),
    ("nosuch.py", (), {}, "there is no file"),
    (".", (), {}, "there is no openenv.yaml in"),
    ("talk:", (), {}, "expected module:attribute, a .py file or a folder, got 'talk:'"),
    ("talk:app", (), {"WORKERS": "abc"}, "a whole number from 1 to 1024, got 'abc' in WORKERS"),
    ("talk:app", (), {"PORT": "http"}, "got 'http' in PORT"),
    ("talk:app", ("--port", "70000"), {}, "from 0 to 65535, got 70000 in --port"),
    ("talk:app", ("--drain-s", "long"), {}, "a number of seconds"),
    ("talk:app", ("--log-format", "xml"), {}, "one of text, json, got 'xml' in --log-format"),
    ("talk:app", ("--prot", "1"), {}, "unknown arguments: --prot 1; see 'openenv serve --help'"),
    ("talk:app", ("--port",), {}, "expected one argument"),
    ("talk:app", ("--host", "not-a-host.invalid"), {}, "cannot listen on host 'not-a-host.invalid'"),
    ("talk:app", ("--host", "192.0.2.1"), {}, "not an address of this machine"),
    ("talk:app", ("--ssl-certfile", "no.pem"), {}, "--ssl-certfile 'no.pem' does not exist"),
    ("talk:app", ("--ssl-certfile", "talk.py"), {}, "cannot use certificate 'talk.py'"),
    ("talk:app", ("--ssl-keyfile", "k.pem"), {}, "--ssl-keyfile without --ssl-certfile"),
    ("talk:app", ("--uds", "no/such/env.sock"), {}, "cannot listen on unix socket 'no/such/env.sock'"),
    ("talk:app", ("--uds", "talk.py"), {}, "a file that is no socket is there"),
    ("talk:app", ("--uds", "x" * 200), {}, "AF_UNIX path too long"),
    ("alone:app", ("--max-concurrent-envs", "100"), {}, "'Talk' is not marked as SUPPORTS_CONCURRENT"),
    ("alone:app", (), {"MAX_CONCURRENT_ENVS": "2"}, "max_concurrent_envs=2"),
    ("broken", (), {}, "SyntaxError"),
    ("needy", (), {}, "No module named 'not_installed_anywhere' (needy.py, line 2); install what"),
    ("raising", (), {}, "ZeroDivisionError: division by zero (raising.py, line 4); mend it"),
    ("leaving", (), {}, "SystemExit"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with modules that can be served, and some that cannot."""
    path = tmp_path_factory.mktemp("authors")
    write_environment(path)
    write_environment(path, concurrent=False, name="alone")
    (path / "broken.py").write_text("x = 1\ndef (:\n")
    (path / "needy.py").write_text("import os\nimport not_installed_anywhere\n")
    (path / "raising.py").write_text(
        "def fail():\n    x = 0\n    # here it happens\n    return 1 / x\nfail()\n"
    )
    (path / "leaving.py").write_text("import sys\nsys.exit('no')\n")
    return path


@pytest.mark.parametrize(("target", "flags", "variables", "text"), MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(
    folder: Path, target: str, flags: tuple[str, ...], variables: dict[str, str], text: str
) -> None:
    """The line says what was expected, what was found, and what to do."""
    port = () if "--port" in flags or "PORT" in variables else ("--port", "0")
    result = run_openenv("serve", target, *port, *flags, cwd=folder, env=variables)
    assert text in fails_with_one_line(result)


def test_a_traceback_is_shown_under_debug_only(folder: Path) -> None:
    """Flag and variable both bring it; the one line still ends it."""
    for flags, variables in ((("--debug",), {}), ((), {"OPENENV_DEBUG": "1"})):
        result = run_openenv("serve", "needy", *flags, cwd=folder, env=variables)
        assert result.returncode == 2
        assert "Traceback (most recent call last)" in result.stderr
        assert 'needy.py", line 2' in result.stderr
        assert result.stderr.splitlines()[-1].startswith("openenv: cannot import needy")


def test_an_unknown_command_names_the_known_ones(folder: Path) -> None:
    """`openenv srve` is a mistake like any other."""
    assert "choose from" in fails_with_one_line(run_openenv("srve", cwd=folder))


def test_help_shows_an_example_and_every_flag(folder: Path) -> None:
    """The flags come from the table of knobs, with default and variable."""
    result = run_openenv("serve", "--help", cwd=folder)
    assert result.returncode == 0
    assert "openenv serve examples/echo_env" in result.stdout
    assert "(default 8000, variable PORT)" in " ".join(result.stdout.split())
    assert run_openenv("--help", cwd=folder).returncode == 0
    assert run_openenv(cwd=folder).stdout.startswith("usage: openenv")


def test_version_is_printed(folder: Path) -> None:
    """One line, as other programs do."""
    result = run_openenv("--version", cwd=folder)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("openenv 0.")


@pytest.mark.parametrize("reuse_port", [False, True])
@pytest.mark.parametrize("workers", ["1", "4"])
def test_a_port_in_use_is_a_mistake_even_where_its_user_would_share_it(
    folder: Path, reuse_port: bool, workers: str
) -> None:
    """SO_REUSEPORT would let several workers join a stranger's port in silence."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for host in ("127.0.0.1", "0.0.0.0"):
            flags = ("--host", host, "--port", str(port), "--workers", workers)
            line = fails_with_one_line(run_openenv("serve", "talk:app", *flags, cwd=folder))
            assert f"port {port} on {host} is already in use; stop what uses it, or" in line


def test_a_second_server_of_ours_does_not_join_the_first(folder: Path) -> None:
    """Two servers with several workers each on one port would split the sessions between them."""
    with serve("talk:app", env=OURS, workers=2, cwd=folder) as server:
        flags = ("--host", "127.0.0.1", "--port", str(server.port), "--workers", "2")
        assert "already in use" in fails_with_one_line(run_openenv("serve", "talk:app", *flags, cwd=folder))


# -- targets --------------------------------------------------------------------------------

ENTRY = {
    "own folder": "from models import Talk",
    "package": "from ..models import Talk",
    "by name": "from talk_env.models import Talk",
    "both": "try:\n    from ..models import Talk\nexcept ImportError:\n    from models import Talk",
}


def write_folder(parent: Path, entry: str, name: str = "talk_env") -> Path:
    """An environment's folder, laid out as `openenv init` does."""
    folder = parent / name
    (folder / "server").mkdir(parents=True)
    write_environment(folder, name="models")
    (folder / "__init__.py").write_text("")
    (folder / "server" / "__init__.py").write_text("")
    (folder / "server" / "app.py").write_text(
        f"from openenv import create_app\n{entry}\napp = create_app(Talk)\n"
    )
    (folder / "openenv.yaml").write_text("spec_version: 1\nname: talk_env\napp: server.app:app\nport: 0\n")
    return folder


@pytest.mark.parametrize("style", sorted(ENTRY))
def test_a_folder_is_served_however_its_imports_are_written(tmp_path: Path, style: str) -> None:
    """From its own folder, as a package from the folder above, or by its name."""
    folder = write_folder(tmp_path, ENTRY[style])
    with serve(str(folder), env=OURS, cwd=tmp_path) as server, talk(server.ws_url) as session:
        assert session.reset()["text"] == "hello"


def test_an_installed_package_is_found_by_the_manifests_name(tmp_path: Path) -> None:
    """The folder's own name may be no identifier: `talk-env`, with `talk_env` installed."""
    folder = write_folder(tmp_path, ENTRY["package"], "talk-env")
    site = tmp_path / "site"
    shutil.copytree(folder, site / "talk_env")
    variables = {"PYTHONPATH": f"{ROOT}{os.pathsep}{site}"}
    with serve(str(folder), env=variables, cwd=tmp_path) as server, talk(server.ws_url) as session:
        assert session.reset()["text"] == "hello"


def test_the_error_that_came_furthest_is_shown(tmp_path: Path) -> None:
    """A missing dependency in the author's file, not that one of the ways found no such module."""
    folder = write_folder(tmp_path, "from ..models import Talk\nimport not_installed_anywhere")
    line = fails_with_one_line(run_openenv("serve", str(folder), cwd=tmp_path))
    assert "No module named 'not_installed_anywhere' (server/app.py, line 3)" in line


def test_a_manifest_that_names_no_module_is_reported_as_such(tmp_path: Path) -> None:
    """Where nothing was found at all, the manifest is what to look at."""
    folder = write_folder(tmp_path, ENTRY["package"])
    (folder / "openenv.yaml").write_text("name: talk_env\napp: serve.app:app\n")
    line = fails_with_one_line(run_openenv("serve", str(folder), cwd=tmp_path))
    assert "No module named 'serve'; check 'app:' in" in line


@pytest.mark.parametrize(
    "target", ["talk:Talk", "talk:app", "talk", "talk.py", "./talk.py:Talk", "factory:make"]
)
def test_an_app_a_class_a_module_a_file_or_a_factory_can_be_named(folder: Path, target: str) -> None:
    """All of them serve the same environment."""
    (folder / "factory.py").write_text(
        "from openenv import create_app\nfrom talk import Talk\ndef make():\n    return create_app(Talk)\n"
    )
    with serve(target, env=OURS, cwd=folder) as server, talk(server.ws_url) as session:
        assert session.reset()["text"] == "hello"


def test_an_environment_object_is_refused_with_the_reason(folder: Path) -> None:
    """Every session needs an object of its own."""
    (folder / "single.py").write_text("from talk import Talk\nenv = Talk()\n")
    line = fails_with_one_line(run_openenv("serve", "single:env", "--port", "0", cwd=folder))
    assert "got an instance of Talk; every session needs its own, so name the class" in line


# -- configuration --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "variables", "capacity"),
    [
        (("--max-concurrent-envs", "5"), {"MAX_CONCURRENT_ENVS": "6"}, 5),
        ((), {"MAX_CONCURRENT_ENVS": "6"}, 6),
        ((), {}, 7),
    ],
)
def test_flag_comes_before_variable_before_code(
    tmp_path: Path, flags: tuple[str, ...], variables: dict[str, str], capacity: int
) -> None:
    """The capacity that is announced is the one that applies."""
    path = write_environment(tmp_path)
    path.write_text(path.read_text().replace("create_app(Talk)", "create_app(Talk, max_concurrent_envs=7)"))
    with serve("talk:app", *flags, env={**OURS, **variables}, cwd=tmp_path) as server:
        assert f"(1 worker, {capacity} sessions at once)" in server.log


def test_a_class_that_is_not_concurrent_serves_one_session_and_says_so(folder: Path) -> None:
    """The log names the attribute that would change it; a second session is refused."""
    with serve("alone:app", env=OURS, cwd=folder) as server:
        assert "(1 worker, 1 session at a time)" in server.log
        assert "Talk is not marked SUPPORTS_CONCURRENT_SESSIONS = True" in server.log
        with talk(server.ws_url) as first, talk(server.ws_url) as second:
            assert first.reset()["text"] == "hello"
            assert second.receive()["data"]["code"] == "CAPACITY_REACHED"


def test_the_banner_is_on_standard_output_and_logs_are_not(folder: Path) -> None:
    """Whoever reads the address from a pipe reads nothing else there."""
    with started("serve", "alone:app", "--port", "0", "--log-format", "json", cwd=folder) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first.startswith("Talk is served on http://127.0.0.1:")
        assert any("/ws" in process.stdout.readline() for _ in range(6))
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0
    entries = [json.loads(line) for line in errors.splitlines()]
    assert entries[0]["level"] == "info"
    assert "one session at a time" in entries[0]["message"]
    assert {"time", "level", "logger", "message", "pid"} <= set(entries[0])


def test_what_an_environment_raises_is_logged_with_its_session(folder: Path) -> None:
    """One JSON line holds the traceback and names the session."""
    with started("serve", "talk:app", "--port", "0", "--log-format", "json", cwd=folder) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split(" on ")[1].split()[0]
        with talk(f"{url.replace('http', 'ws')}/ws") as session:
            assert session.step("raise out of cheese")["code"] == "EXECUTION_ERROR"
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    entries = [json.loads(line) for line in errors.splitlines()]
    told = [entry for entry in entries if "out of cheese" in entry.get("exception", "")]
    assert len(told) == 1
    assert re.search(r"session [0-9a-f-]{32,36}", told[0]["message"])


def test_localhost_and_ipv6_can_be_served(folder: Path) -> None:
    """Every address that `localhost` names here gets the same port; `::1` is written in brackets."""
    with started("serve", "talk:app", "--port", "0", "--host", "localhost", cwd=folder) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline().split("http://localhost:")[1].split()[0])
        for *_, address in socket.getaddrinfo("localhost", port, type=socket.SOCK_STREAM):
            assert answers(str(address[0]), port)
    if _has_ipv6():
        with started("serve", "talk:app", "--port", "0", "--host", "::", cwd=folder) as process:
            assert process.stdout is not None
            port = int(process.stdout.readline().split("http://[::1]:")[1].split()[0])
            assert answers("::1", port)
            assert answers("127.0.0.1", port)


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def test_a_unix_socket_is_served_and_a_stale_one_replaced(folder: Path, tmp_path: Path) -> None:
    """A file left by a killed server is no obstacle; a server that listens there is."""
    path = tmp_path / "env.sock"
    flags = ("serve", "talk:app", "--uds", str(path))
    with started(*flags, cwd=folder) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(f"Talk is served on unix:{path} ")
        assert "already in use" in fails_with_one_line(run_openenv(*flags, cwd=folder))
        with talk("", uds=str(path)) as session:
            assert session.reset()["text"] == "hello"
        process.kill()
        process.wait(10)
    assert path.exists()
    with started(*flags, cwd=folder) as process:
        # It accepts connections before it listens to signals; the banner comes after both.
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Talk is served on ")
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert not path.exists()


# -- TLS ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for localhost, with `key.pem` beside it."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make a certificate")
    path = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *("-keyout", str(path / "key.pem"), "-out", str(path / "cert.pem")),
        ],
        check=True,
        capture_output=True,
    )
    return path / "cert.pem"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_https_and_wss_are_served(folder: Path, certificate: Path, workers: str) -> None:
    """The banner says so, `/health` answers, and a session works."""
    key = str(certificate.with_name("key.pem"))
    flags = ("--ssl-certfile", str(certificate), "--ssl-keyfile", key, "--workers", workers)
    with started("serve", "talk:app", "--port", "0", *flags, cwd=folder) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline().split("https://127.0.0.1:")[1].split()[0])
        trust = ssl.create_default_context(cafile=str(certificate))
        connection = http.client.HTTPSConnection("127.0.0.1", port, context=trust, timeout=60)
        connection.request("GET", "/health")
        assert json.loads(connection.getresponse().read()) == {"status": "healthy"}
        connection.close()
        with talk(f"wss://127.0.0.1:{port}/ws", ssl_context=trust) as session:
            assert session.step("secret")["text"] == "secret"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def test_a_key_that_is_not_the_certificates_is_a_mistake(folder: Path, certificate: Path) -> None:
    """One line, before anything is served."""
    other = folder / "other.pem"
    subprocess.run(
        ["openssl", "genpkey", "-algorithm", "RSA", "-out", str(other)], check=True, capture_output=True
    )
    flags = ("--ssl-certfile", str(certificate), "--ssl-keyfile", str(other))
    line = fails_with_one_line(run_openenv("serve", "talk:app", "--port", "0", *flags, cwd=folder))
    assert "KEY_VALUES_MISMATCH" in line
    assert "pair that belongs together" in line


# -- reload ---------------------------------------------------------------------------------


def test_reload_serves_changed_code_and_waits_out_a_mistake(tmp_path: Path) -> None:
    """The port stays the same; a file that cannot be imported is shown, and its mending is noticed."""
    path = write_environment(tmp_path, "first")
    with serve("talk:app", "--reload", "--workers", "4", env=OURS, cwd=tmp_path) as server:
        assert "(1 worker, " in server.log
        assert _greeting(server.ws_url) == "first"
        write_environment(tmp_path, "second, and longer")
        eventually(lambda: _greeting(server.ws_url) == "second, and longer", "the change")
        path.write_text("def broken(:\n")
        eventually(lambda: "waiting for a file to change" in server.log, "the report")
        assert "cannot import talk: SyntaxError" in server.log
        assert "Traceback" not in server.log
        write_environment(tmp_path, "third")
        eventually(lambda: _greeting(server.ws_url) == "third", "the mending")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(10) == 0


def test_reload_starts_even_with_a_mistake_in_the_code(tmp_path: Path) -> None:
    """Whoever starts it to mend something must not have to start it again."""
    path = write_environment(tmp_path)
    text = path.read_text()
    path.write_text("import not_installed_anywhere\n")
    with started("serve", "talk:app", "--reload", "--port", "0", cwd=tmp_path) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        assert "No module named 'not_installed_anywhere'" in process.stderr.readline()
        path.write_text(text)
        url = process.stdout.readline().split(" on ")[1].split()[0]
        assert _greeting(f"{url.replace('http', 'ws')}/ws") == "hello"
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


def _greeting(ws_url: str) -> str | None:
    try:
        with talk(ws_url) as session:
            return str(session.reset()["text"])
    except (OSError, WebSocketException):
        # A connection that waits through a restart may be dropped in the middle of its handshake.
        return None


# -- the example ----------------------------------------------------------------------------


@pytest.fixture
def echo_elsewhere(tmp_path: Path) -> Path:
    """A copy of the example outside the repository."""
    return Path(shutil.copytree(ROOT / "examples" / "echo_env", tmp_path / "echo_env"))


def _echoes(ws_url: str) -> None:
    with talk(ws_url) as session:
        assert session.reset()["echoed_message"] == "Echo environment ready!"
        session.send("step", {"message": "Hello"})
        data = session.receive()["data"]
        assert data["observation"]["echoed_message"] == "Hello"
        assert data["observation"]["message_length"] == 5
        assert data["reward"] == pytest.approx(0.5)


def test_the_example_is_served_from_the_root_and_from_its_folder(echo_elsewhere: Path) -> None:
    """By its folder, by no name at all, and as a module of the repository."""
    for target, cwd in (
        ("examples/echo_env", ROOT),
        (".", echo_elsewhere),
        ("examples.echo_env.server.app:app", ROOT),
        ("echo_env.server.app:app", echo_elsewhere.parent),
    ):
        with serve(target, env=OURS, cwd=cwd) as server:
            assert "EchoEnvironment is served on" in server.log
            _echoes(server.ws_url)


@pytest.mark.parametrize(
    ("app", "from_its_folder"), [("examples.echo_env.server.app:app", False), ("server.app:app", True)]
)
def test_the_example_runs_under_uvicorn(echo_elsewhere: Path, app: str, from_its_folder: bool) -> None:
    """As the guide shows it, from the repository's root and from the environment's folder."""
    cwd = echo_elsewhere if from_its_folder else ROOT
    command = [sys.executable, "-m", "uvicorn", app, "--host", "127.0.0.1", "--port", "0"]
    with subprocess.Popen(
        command,
        cwd=cwd,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            line = next(line for line in process.stderr if "running on" in line)
            port = line.split("127.0.0.1:")[1].split()[0]
            _echoes(f"ws://127.0.0.1:{port}/ws")
        finally:
            process.terminate()
            process.stderr.read()


def test_an_app_can_serve_itself(folder: Path) -> None:
    """`app.run(port=0)` is what `server = "my_env.server.app:main"` in a pyproject.toml calls."""
    script = "import talk; raise SystemExit(talk.app.run(host='127.0.0.1', port=0))"
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=folder, env=environment(), stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            line = next(line for line in process.stderr if "is served on" in line)
            url = line.split(" on ")[1].split()[0]
            assert _greeting(f"{url.replace('http', 'ws')}/ws") == "hello"
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
        finally:
            process.kill()
            process.stderr.read()


# -- what is printed ------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [("init", "quiet"), ("--help",), ("serve", "--help")])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_nobody_reading_is_no_error(tmp_path: Path, arguments: tuple[str, ...], unbuffered: str) -> None:
    """`openenv init x | head -1` ends as a shell's own tools do, without a word."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "openenv", *arguments],
            cwd=tmp_path,
            env=environment({"PYTHONUNBUFFERED": unbuffered}),
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(writer)
    # argparse hears at once that nobody reads where nothing is buffered, and takes it for done.
    wanted = (0, 141) if unbuffered and "--help" in arguments else (141,)
    assert done.returncode in wanted
    assert done.stderr == ""


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    """Where the output goes to a file that takes no more, with an exit code of its own."""
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full on this machine")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "openenv", "--version"],
            cwd=tmp_path,
            env=environment({"PYTHONUNBUFFERED": ""}),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 74
    assert done.stderr == "openenv: what it prints cannot be written: [Errno 28] No space left on device\n"
