"""Environments in the incumbent's style are the same under our server as under the incumbent's.

Each of `tests/dropin/envs` is served by both and asked the same; `bin/dropin` does the same for any folder.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.dropin.compare import Report, compare_all, find_environments
from tests.support.peers import peer

ENVIRONMENTS = find_environments([Path(__file__).parents[1] / "dropin" / "envs"])


@pytest.fixture(scope="module")
def reports() -> dict[str, Report]:
    """All of them, compared once: each stack is started once, and at most two servers run at a time."""
    peer("openenv-0.10.0")
    peer("dropin")
    return {report.name: report for report in compare_all(ENVIRONMENTS, n_steps=5, seed=7)}


@pytest.mark.peer
@pytest.mark.parametrize("name", [folder.name for folder in ENVIRONMENTS])
def test_an_environment_is_the_same_under_both(reports: dict[str, Report], name: str) -> None:
    """Rewards, done, metadata, states, schemas, errors and its own routes, by WebSocket and by HTTP."""
    report = reports[name]
    assert report.n_asked > 25
    assert report.differences == [], report.logs
