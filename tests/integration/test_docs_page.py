"""`/docs` in a real browser: read without scripts, tried with them, by mouse and by keyboard.

One run of Chromium looks at everything (`browser/docs.mjs`) and the tests judge what it saw; it is played
behind a path prefix, since nobody should have to care.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.peers import node_peer
from tests.support.server import Server, serve

SCRIPT = Path(__file__).parent / "browser" / "docs.mjs"
TIMEOUT_S = 180


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve("examples/echo_env") as running:
        yield running


@pytest.fixture(scope="module")
def seen(server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the browser saw of the echo environment's page."""
    # Screenshots are for people: OPENENV_SCREENSHOTS names a folder to keep them in.
    folder = Path(os.environ.get("OPENENV_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    return browse(f"{server.url}/docs", folder)


def browse(url: str, folder: Path, *flags: str) -> dict[str, Any]:
    """Run the browser; gives what it says. Skips (fails under CI) where there is none."""
    packages = node_peer("node-browser")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("Chromium is not installed")
    done = subprocess.run(
        ["node", str(SCRIPT), str(packages), str(chromium), url, str(folder), *flags],
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def test_it_is_readable_without_scripts(seen: dict[str, Any]) -> None:
    """Everything is in the document; there are no forms that would do nothing."""
    assert seen["plain"]["forms"] == 0
    for text in ("/step", "Message to echo back", "CAPACITY_REACHED", "1009", "tools/call", "curl"):
        assert text in seen["plain"]["text"]


def test_a_step_is_tried(seen: dict[str, Any]) -> None:
    """With status, time, headers and body, and a line to copy that does the same."""
    assert seen["step"]["status"].startswith("200 OK, ")
    assert " ms, " in seen["step"]["status"]
    assert json.loads(seen["step"]["body"])["observation"]["echoed_message"] == "hello"
    assert "openenv-session: none" in seen["step"]["headers"]
    assert json.loads(seen["health"]["body"]) == {"status": "healthy"}


def test_a_refusal_is_shown(seen: dict[str, Any]) -> None:
    """What the server says to what does not fit, or is no JSON."""
    assert seen["wrong"]["status"].startswith("422 ")
    assert json.loads(seen["wrong"]["body"])["detail"][0]["loc"] == ["message"]
    assert json.loads(seen["half"]["body"])["detail"][0]["type"] == "json_invalid"


def test_the_line_to_copy_does_what_the_button_does(seen: dict[str, Any]) -> None:
    """In a shell."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    done = subprocess.run(
        seen["step"]["curl"] + " -sS", shell=True, capture_output=True, check=True, timeout=30
    )
    assert json.loads(done.stdout) == json.loads(seen["step"]["body"])


def test_a_session_is_played_on_the_websocket(seen: dict[str, Any]) -> None:
    """Reset, step and state, each answered; and the end, with its code."""
    talk = "\n".join(seen["talk"])
    assert talk.count("server\n") == 3
    assert '"echoed_message":"hello"' in talk
    assert '"step_count":1' in talk
    assert seen["talk"][-1].endswith("closed with 1000")


def test_the_keyboard_is_enough(seen: dict[str, Any]) -> None:
    """The first stop skips the navigation; Ctrl+Enter sends."""
    assert seen["keyboard"]["first"] == "Skip to the content"
    assert seen["keyboard"]["status"].startswith("200 OK")


def test_no_request_leaves_the_origin(server: Server, seen: dict[str, Any]) -> None:
    """Nor does anything break the page's policy."""
    assert {urlsplit(url).netloc for url in seen["requests"]} == {urlsplit(server.url).netloc}
    assert [problem for problem in seen["problems"] if "422" not in problem] == []


def test_axe_finds_nothing(seen: dict[str, Any]) -> None:
    """In light at a desk's width and in dark at a phone's, where nothing is cut off either."""
    assert (seen["light"], seen["dark"]) == ([], [])
    assert seen["overflow"] <= 0


def test_links_and_ids_are_in_order(seen: dict[str, Any]) -> None:
    """Once scripts have added theirs, too."""
    assert (seen["broken"], seen["twice"]) == ([], [])


def test_the_page_is_light(seen: dict[str, Any], record_property: Any) -> None:
    """Three requests, all its own."""
    assert seen["bytes"] < 120_000
    record_property("bytes", seen["bytes"])
    print(f"{seen['bytes']} bytes in 3 requests, first paint after {seen['paint']:.0f} ms")


class Prefixed(BaseHTTPRequestHandler):
    """A proxy that serves another server below `/a/prefix`, as many do; WebSockets are not passed on."""

    protocol_version = "HTTP/1.1"
    target = ("127.0.0.1", 0)

    def do_GET(self) -> None:
        """Pass a request on, without the prefix."""
        if not self.path.startswith("/a/prefix/"):
            self.send_error(404)
            return
        length = int(self.headers.get("content-length") or 0)
        connection = http.client.HTTPConnection(*self.target, timeout=30)
        try:
            names = ("content-type", "accept", "if-none-match")
            fields = {name: self.headers[name] for name in names if name in self.headers}
            path = self.path.removeprefix("/a/prefix")
            connection.request(self.command, path, self.rfile.read(length) or None, fields)
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        self.send_response(response.status)
        for name, value in response.getheaders():
            if name.lower() not in ("date", "content-length", "connection"):
                self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815  # the name that the base class asks for

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def prefixed(server: Server) -> Iterator[str]:
    """The address of the server behind a prefix."""
    handler = type("Handler", (Prefixed,), {"target": (server.host, server.port)})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{proxy.server_port}/a/prefix"
        proxy.shutdown()
        thread.join(10)


def test_it_works_behind_a_prefix(prefixed: str, tmp_path: Path) -> None:
    """`/redoc` leads to it, its parts load, and a step is tried."""
    said = browse(f"{prefixed}/redoc", tmp_path, "brief")
    assert said["step"]["status"].startswith("200 OK")
    assert f"{prefixed}/step" in said["step"]["curl"]
    assert f"{prefixed}/docs" in said["requests"]
    assert all(url.startswith(prefixed) for url in said["requests"])
    assert said["problems"] == []
