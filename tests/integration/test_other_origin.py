"""A page from another origin, in a real browser, cannot use a server that is bound to a loopback address."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import run_script
from tests.support.server import Server, serve

TARGET = "tests.reliability.envs:marked"


class _Page(BaseHTTPRequestHandler):
    """A stranger's site: an empty page, whatever is asked."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>a stranger</title>")

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


@contextmanager
def stranger() -> Iterator[int]:
    """A site on a port of its own."""
    site = ThreadingHTTPServer(("127.0.0.1", 0), _Page)
    thread = threading.Thread(target=site.serve_forever)
    thread.start()
    try:
        yield site.server_address[1]
    finally:
        site.shutdown()
        thread.join()
        site.server_close()


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What pages of four origins were told, and how many environments were made for them."""
    marks = tmp_path_factory.mktemp("marks") / "marks"
    marks.touch()
    with stranger() as port, serve(TARGET, env={"OPENENV_TEST_MARKS": str(marks)}) as server:
        return {**browse(server, port), "made": len(marks.read_text().splitlines())}


def browse(server: Server, page_port: int) -> dict[str, Any]:
    """Have a browser visit all pages."""
    said = run_script("other_origin.mjs", str(server.port), str(page_port))
    assert isinstance(said, dict)
    return said


def test_a_page_of_the_servers_own_origin_may_use_it(seen: dict[str, Any]) -> None:
    """Else the refusals below would prove nothing."""
    same = seen["same"]
    assert same["ws"] == "observation"
    assert same["json"] == 200
    assert same["form"] == 422  # it was let in: a form's text is no JSON


@pytest.mark.parametrize("origin", ["other", "localhost"])
def test_a_page_of_another_origin_opens_no_websocket_and_posts_nothing(
    seen: dict[str, Any], origin: str
) -> None:
    """Neither by a script, with or without a preflight, nor by a form."""
    said = seen[origin]
    assert said["ws"] == "refused"
    assert said["json"] == "refused"
    assert said["form"] == 403


def test_a_name_that_was_made_to_point_here_is_not_answered(seen: dict[str, Any]) -> None:
    """DNS rebinding: to the browser that page is the server's own origin."""
    said = seen["rebound"]
    assert said["ws"] == "refused"
    assert [said[name] for name in ("json", "simple", "reset", "mcp", "form")] == [421, 421, 421, 421, 421]


def test_no_environment_was_made_for_a_stranger(seen: dict[str, Any]) -> None:
    """What a browser hides from a page, an opaque answer, must not have had an effect either."""
    for origin in ("other", "localhost"):
        assert seen[origin]["simple"] == "opaque"
    # For the server's own page: a session, a step that says that it is JSON, a JSON-RPC session.
    assert seen["made"] == 3


def test_a_page_that_was_allowed_may_use_it(tmp_path: Path) -> None:
    """The same page of another origin, once `--allow-origin` names it."""
    marks = tmp_path / "marks"
    marks.touch()
    with stranger() as port:
        origin = f"http://127.0.0.1:{port}"
        with serve(TARGET, "--allow-origin", origin, env={"OPENENV_TEST_MARKS": str(marks)}) as server:
            said = browse(server, port)
    assert said["other"]["ws"] == "observation"
    assert said["localhost"]["ws"] == "refused"
