"""Which handler answers which path."""

from __future__ import annotations

from typing import Any

from openenv.app.router import Route, Router


def handler(name: str) -> Any:
    def handle(context: Any, request: Any, respond: Any) -> Any:
        return name

    return handle


def ask(router: Router, method: str, path: str) -> Any:
    match = router.find(method, path)
    return match.handler(None, None, None) if match.handler else match.allowed  # type: ignore[arg-type]


ROUTER = Router(
    [
        Route("GET", "/a", handler("a")),
        Route("POST", "/a", handler("post a")),
        Route("GET", "/{name}/b", handler("template")),
        Route("POST", "/x/b", handler("exact")),
    ]
)


def test_path_and_method_find_their_handler() -> None:
    """Exactly, and HEAD finds what answers GET."""
    assert ask(ROUTER, "GET", "/a") == "a"
    assert ask(ROUTER, "POST", "/a") == "post a"
    assert ask(ROUTER, "HEAD", "/a") == "a"


def test_an_unknown_path_allows_nothing() -> None:
    """That is what makes it a 404."""
    assert ask(ROUTER, "GET", "/nope") == ()
    assert ask(ROUTER, "GET", "/a/") == ()
    assert ask(ROUTER, "GET", "//b") == ()


def test_a_known_path_says_what_it_allows() -> None:
    """That is what makes it a 405."""
    assert ask(ROUTER, "PUT", "/a") == ("GET", "POST")


def test_a_template_matches_one_segment() -> None:
    """And gives way to an exact path."""
    assert ask(ROUTER, "GET", "/anything/b") == "template"
    assert ask(ROUTER, "GET", "/any/thing/b") == ()
    assert ask(ROUTER, "POST", "/x/b") == "exact"


def test_the_first_of_two_equal_routes_wins() -> None:
    """So that a table reads from the top."""
    router = Router([Route("GET", "/a", handler("first")), Route("GET", "/a", handler("second"))])
    assert ask(router, "GET", "/a") == "first"
