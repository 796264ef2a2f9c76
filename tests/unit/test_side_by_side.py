"""Two pytest processes side by side: `tests/support/side_by_side.py`."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.support.eventually import eventually
from tests.support.peers import ROOT
from tests.support.side_by_side import DOCKER, Turns, group_of


@pytest.fixture
def turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Turns]:
    """Those of three processes; locks of open files do not care whose they are."""
    monkeypatch.setenv("OPENENV_PEERS_DIR", str(tmp_path))
    return [Turns() for _ in range(3)]


def test_files_with_docker_are_one_group_and_others_are_not() -> None:
    """By what stands in them, so that nobody has to remember a list."""
    files = [ROOT / "tests" / "integration" / name for name in ("test_docker.py", "test_images.py")]
    assert {group_of(path) for path in files} == {DOCKER}
    alone = ROOT / "tests" / "integration" / "test_slow_step.py"
    assert group_of(alone) == str(alone)


def is_locked(path: Path) -> bool:
    """Whether somebody holds the lock of a file."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_who_wants_to_be_alone_waits_and_is_waited_for(turns: list[Turns], tmp_path: Path) -> None:
    """Two share; the third has the machine to itself, and comes before a fourth who would share again."""
    one, other, third = turns
    seen: list[str] = []

    def be_alone() -> None:
        with third.taken(alone=True):
            seen.append("alone")

    def share_again() -> None:
        with other.taken(alone=False):
            seen.append("shared")

    with one.taken(alone=False):
        with other.taken(alone=False):
            first = threading.Thread(target=be_alone)
            first.start()
            eventually(lambda: is_locked(tmp_path / "tests-door.lock"), "the third's waiting")
        second = threading.Thread(target=share_again)
        second.start()
        second.join(0.3)
        assert seen == []
    first.join(60)
    second.join(60)
    assert seen == ["alone", "shared"]
    for each in turns:
        each.close()


TESTS = """
import os, time
import pytest

def note():
    begun = time.monotonic()
    time.sleep(0.2)
    with open({log!r}, "a") as file:
        file.write(f"{name} {{os.getpid()}} {{begun}} {{time.monotonic()}}\\n")

{mark}
@pytest.mark.parametrize("number", range(3))
def test_it(number):
    note()
"""


def test_two_processes_run_a_suite(tmp_path: Path) -> None:
    """Both have something to do, what uses Docker stays in one, and beside what is alone nothing runs."""
    log = tmp_path / "log"
    suite = {"a_docker": "@pytest.mark.docker", "b_plain": "", "c_alone": "@pytest.mark.alone"}
    suite |= {"d_plain": "", "e_docker": "@pytest.mark.docker", "f_plain": ""}
    for name, mark in suite.items():
        (tmp_path / f"test_{name}.py").write_text(TESTS.format(log=str(log), name=name, mark=mark))
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    docker\n    alone\n")
    flags = ["-p", "tests.conftest", "-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *flags],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(ROOT), "OPENENV_PEERS_DIR": str(tmp_path / "locks")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stdout.splitlines()[-1].startswith("18 passed"), done.stdout + done.stderr
    ran = [line.split() for line in log.read_text().splitlines()]
    assert len({pid for _, pid, _, _ in ran}) == 2
    assert len({pid for name, pid, _, _ in ran if name.endswith("docker")}) == 1
    spans = [(name, float(begun), float(ended)) for name, _, begun, ended in ran]
    for name, begun, ended in spans:
        if name == "c_alone":
            assert [span for span in spans if span[1] < ended and span[2] > begun] == [(name, begun, ended)]
