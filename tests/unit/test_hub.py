"""Names on the Hub, and what is said where it cannot even be asked.

What it answers is in `integration/test_push.py` and `integration/test_fork.py`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from openenv.errors import ConfigurationError, HubError
from openenv.hub import Hub, check_repo_id, subdomain


@pytest.mark.parametrize("name", ["echo-env", "me/echo_env", "a/b", "Me-2/My.Env_1", "_me/env_", "x" * 96])
def test_names_that_the_hub_takes(name: str) -> None:
    """With and without a namespace."""
    assert check_repo_id(name) == name


@pytest.mark.parametrize(
    "name",
    [
        *("", "/", "a/", "/b", "a/b/c", "a b", "a/b c", "-a", "a-", ".a", "a.", "a--b", "a..b", "a/b.git"),
        *("ä/b", "a/b\n", "https://huggingface.co/spaces/a/b", "x" * 97, "a\\b"),
    ],
)
def test_names_that_the_hub_refuses(name: str) -> None:
    """In words that say where the name comes from."""
    with pytest.raises(ConfigurationError, match="as SPACE"):
        check_repo_id(name, "SPACE")


@pytest.mark.parametrize(
    ("repo_id", "expected"),
    [("openenv/echo-env", "openenv-echo-env"), ("Me/My_Env.2", "me-my-env-2"), ("a/b_", "a-b")],
)
def test_what_a_space_is_called_below_hf_space(repo_id: str, expected: str) -> None:
    """As the guide has it: `https://<username>-<space-name>.hf.space`."""
    assert subdomain(repo_id) == expected


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line with the command that installs it."""
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(HubError, match=r'run: pip install "openenv-runtime\[hub\]"$'):
        Hub()


def test_the_package_is_not_imported_before_it_is_needed() -> None:
    """Whoever serves or trains pays nothing for it."""
    lines = (Path(__file__).parents[2] / "openenv" / "hub.py").read_text("utf-8").splitlines()
    assert not [line for line in lines if line.startswith(("import huggingface", "from huggingface"))]


def test_nobody_is_logged_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither by a variable nor by a file."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(HubError, match="run 'hf auth login', or set HF_TOKEN"):
        Hub()


def test_an_address_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """`HF_ENDPOINT` is the user's word, and the message names it."""
    monkeypatch.setenv("HF_TOKEN", "hf_x")
    monkeypatch.setenv("HF_ENDPOINT", "hub.example")
    with pytest.raises(ConfigurationError, match="expected an http or https URL as HF_ENDPOINT"):
        Hub()
