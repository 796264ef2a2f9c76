"""The README's code runs as it stands; only the port is another, so that tests can run side by side."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.program import environment
from tests.support.server import ROOT, serve

README = (ROOT / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    """The README's code blocks in one language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def write_named_blocks(folder: Path) -> list[str]:
    """Write each Python block under the name in its first line; gives the names."""
    names = []
    for block in blocks("python"):
        named = re.match(r"# (\w+\.py)\n", block)
        assert named, "a Python block says in its first line which file it is"
        (folder / named[1]).write_text(block)
        names.append(named[1])
    return names


def test_the_environment_and_its_clients_run_as_they_stand(tmp_path: Path) -> None:
    """The command serves the environment, and each client prints what the README says it prints."""
    names = write_named_blocks(tmp_path)
    assert names == ["counter.py", "play.py", "drawn.py", "train.py", "shop.py", "agent.py"]
    command = next(block for block in blocks("bash") if block.startswith("openenv serve "))
    printed = blocks("text")
    run_clients(tmp_path, command.split()[2], {"play.py": printed[0], "train.py": printed[1]})
    run_clients(tmp_path, "drawn.py:DrawnCounter", {})
    assert "`openenv serve shop.py:Shop`" in README
    run_clients(tmp_path, "shop.py:Shop", {"agent.py": printed[2]})


def run_clients(tmp_path: Path, target: str, clients: dict[str, str]) -> None:
    """Serve a target and run each client against it; it prints what it should."""
    with serve(target, env={"PYTHONPATH": str(ROOT)}, cwd=tmp_path) as server:
        for client, printed in clients.items():
            text = (tmp_path / client).read_text()
            assert "localhost:8000" in text
            (tmp_path / client).write_text(text.replace("localhost:8000", f"127.0.0.1:{server.port}"))
            result = subprocess.run(
                [sys.executable, client],
                cwd=tmp_path,
                env=environment(),
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
            )
            assert (result.returncode, result.stderr) == (0, "")
            assert result.stdout == printed


def test_both_commands_exist_and_can_be_run() -> None:
    """`bin/run` and `bin/test` are what a clone begins with."""
    first = blocks("bash")[0]
    named = re.findall(r"^(bin/\w+)", first, re.MULTILINE)
    assert named == ["bin/run", "bin/test"]
    assert all(os.access(ROOT / name, os.X_OK) for name in named)


@pytest.mark.parametrize("script", ["bin/run", "bin/test", "bin/check", "bin/venv", ".ci/run"])
def test_scripts_are_plain_shell(script: str) -> None:
    """`sh -n` reads them; nothing in them needs another shell."""
    subprocess.run(["sh", "-n", str(ROOT / script)], check=True)


def test_bin_run_serves_the_example() -> None:
    """With an environment that is installed already, it is one exec away from serving."""
    venv = ROOT / ".venv"
    if not (venv / "bin" / "python").exists():
        pytest.skip("needs .venv, which bin/test makes")
    with subprocess.Popen(
        [str(ROOT / "bin" / "run"), "--port", "0"],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("EchoEnvironment is served on http://")
            process.send_signal(signal.SIGTERM)
            assert process.wait(15) == 0
        finally:
            process.kill()


def test_the_table_of_flags_is_complete() -> None:
    """Every flag and variable that the command knows stands in the README, with its default."""
    from openenv.config import KNOBS

    for knob in KNOBS.values():
        if knob.flag is not None:
            assert f"`{knob.flag}`" in README
            if knob.variable is not None:
                assert f"`{knob.variable}`" in README
