"""`openenv fork` through the real `huggingface_hub` client, over HTTP, to a stand-in for the Hub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from openenv.cli.main import main
from tests.support.hub import HubStandIn

SECRET = "hunter2-and-more"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubStandIn]:
    """The Hub, with somebody else's Space on it and a user who is logged in."""
    with HubStandIn(orgs=["acme"]) as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        running.make(
            "openenv/echo_env", {"Dockerfile": b"FROM x\n"}, variables={"A": "1", "B": "2"}, hardware="a100"
        )
        yield running


def test_a_space_is_copied_into_ones_own_namespace(
    hub: HubStandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    """With its files and its variables, on hardware that costs nothing; where it lives is printed."""
    assert main(["fork", "openenv/echo_env"]) == 0
    copy = hub.spaces["author/echo_env"]
    assert copy.files == hub.spaces["openenv/echo_env"].files
    assert (copy.private, copy.hardware, copy.variables) == (False, "cpu-basic", {"A": "1", "B": "2"})
    said = capsys.readouterr().out
    assert f"{hub.url}/spaces/author/echo_env" in said
    assert "https://author-echo-env.hf.space/web" in said


def test_a_copy_has_settings_of_its_own(hub: HubStandIn, capsys: pytest.CaptureFixture[str]) -> None:
    """Name, privacy, hardware, variables, and secrets, whose values are said nowhere."""
    words = ["--repo-id", "acme/mine", "--private", "-H", "t4-medium", "-e", "B=3", "--secret", f"C={SECRET}"]
    assert main(["fork", "openenv/echo_env", *words]) == 0
    copy = hub.spaces["acme/mine"]
    assert (copy.private, copy.hardware) == (True, "t4-medium")
    assert copy.variables == {"A": "1", "B": "3"}
    assert copy.secrets == {"C": SECRET}
    assert SECRET not in "".join(capsys.readouterr())


def test_a_copy_of_a_private_space_is_private(hub: HubStandIn) -> None:
    """Nobody publishes by leaving a flag out."""
    hub.make("acme/hidden", private=True)
    assert main(["fork", "acme/hidden"]) == 0
    assert hub.spaces["author/hidden"].private


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (("nobody/nothing",), 1, "the Hub does not know it"),
        (("openenv/echo_env", "-r", "stranger/x"), 1, "write access"),
        (("openenv/echo_env", "-r", "author/taken"), 1, "choose another name with --repo-id"),
        (("author/taken",), 2, "is yours already"),
        (("echo_env",), 2, "expected namespace/name as SPACE"),
        (("a/b/c",), 2, "expected namespace/name as SPACE"),
        (("openenv/echo_env", "-r", "no..dots"), 2, "got 'no..dots'"),
        (("openenv/echo_env", "--secret", f"={SECRET}"), 2, "expected --secret NAME=VALUE"),
    ],
)
def test_a_refusal_is_one_line_that_says_what_to_do(
    hub: HubStandIn, words: tuple[str, ...], code: int, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1 where the Hub refuses, 2 where the command line is wrong; nothing new is there."""
    hub.make("author/taken")
    before = dict(hub.spaces)
    assert main(["fork", *words]) == code
    said = capsys.readouterr().err
    assert expected in said
    assert said.count("\n") == 1
    assert SECRET not in said
    assert hub.spaces == before


def test_a_secret_that_the_hub_repeats_is_not_repeated(
    hub: HubStandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither in the error nor in its traceback."""
    hub.fail("POST", "/duplicate", 400, f"{SECRET} will not do")
    assert main(["fork", "openenv/echo_env", "--secret", f"C={SECRET}", "--debug"]) == 1
    said = "".join(capsys.readouterr())
    assert "*** will not do" in said
    assert SECRET not in said


def test_nobody_is_logged_in(
    hub: HubStandIn, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is asked, and the message says how to log in."""
    monkeypatch.setenv("HF_TOKEN", "")
    assert main(["fork", "openenv/echo_env"]) == 1
    assert "not logged in" in capsys.readouterr().err
    assert hub.asked == []
