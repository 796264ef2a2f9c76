"""`openenv validate` finds each fault that is planted in a folder, and none where there is none."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from openenv.cli.main import main
from openenv.client import GenericEnvClient
from openenv.conformance.contract import CODE, CONTRACT
from openenv.conformance.files import FILES
from openenv.conformance.server import SERVER
from openenv.conformance.together import TOGETHER
from tests.support.eventually import eventually
from tests.support.faulty_envs import IN_CODE, IN_FILES, Fault, write_sound
from tests.support.faulty_server import SERVER_FAULTS
from tests.support.peers import ROOT
from tests.support.program import run_openenv
from tests.support.server import Server, free_port, serve, serve_incumbent, serve_uvicorn

EXAMPLES = sorted(path.parent for path in (ROOT / "examples").glob("*/openenv.yaml"))


def validate(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    """Run the command in this process; its exit code and its JSON document."""
    code = main(["validate", *arguments, "--json"])
    out = capsys.readouterr().out
    return code, json.loads(out)


def found(report: dict[str, Any], severity: str = "") -> set[str]:
    """Ids of the checks that found something."""
    return {entry["check"] for entry in report["findings"] if entry["severity"].startswith(severity)}


def test_nothing_is_found_in_a_sound_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the faults are planted in has none, so that each finding is the fault's; and no file is left."""
    folder = write_sound(tmp_path)
    before = sorted(folder.rglob("*"))
    code, report = validate(capsys, str(folder), "--strict")
    assert (code, report["findings"], report["could_not_run"]) == (0, [], None)
    assert [entry["check"] for entry in report["skipped"]] == ["never-blocks"]
    assert report["checks"] > 50
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("fault", IN_FILES, ids=lambda fault: fault.name)
def test_a_fault_in_a_file_is_found(fault: Fault, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each by its own check, with its severity, and by no other."""
    folder = write_sound(tmp_path)
    fault.plant(folder)
    code, report = validate(capsys, str(folder), "--files-only")
    assert found(report) == {fault.check}
    assert {entry["severity"] for entry in report["findings"]} == {fault.severity}
    assert code == (1 if fault.severity == "error" else 0)


@pytest.mark.parametrize("fault", IN_CODE, ids=lambda fault: fault.name)
def test_a_fault_in_the_code_is_found(
    fault: Fault, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each by its own check, with its severity; what follows from it may be found as well."""
    folder = write_sound(tmp_path)
    fault.plant(folder)
    if fault.check == "image-capacity":
        path = folder / "server/Dockerfile"
        path.write_text(path.read_text().replace("WORKERS=4", "MAX_CONCURRENT_ENVS=100"))
    code, report = validate(capsys, str(folder), "--timeout", "0.5" if "hangs" in fault.name else "10")
    assert fault.check in found(report, fault.severity)
    assert report["could_not_run"] is None
    if fault.severity == "error":
        assert code == 1


def test_every_check_has_a_planted_fault() -> None:
    """A check that never found anything may as well look at nothing."""
    ids = {check.id for check in (*FILES.checks, *CODE.checks, *CONTRACT.checks, *TOGETHER.checks)}
    ids |= {check.id for check in SERVER.checks}
    planted = {fault.check for fault in (*IN_FILES, *IN_CODE)} | set(SERVER_FAULTS.values())
    assert ids - planted == set()


@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda path: path.name)
def test_nothing_is_found_in_our_examples(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They are what authors copy."""
    code, report = validate(capsys, str(folder), "--steps", "3")
    if report["could_not_run"] is not None and "No module named" in report["could_not_run"]:
        pytest.skip(report["could_not_run"])
    assert (report["findings"], report["could_not_run"], code) == ([], None, 0)


def test_nothing_is_found_in_what_init_makes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What every new environment starts from keeps the contract, warnings included."""
    assert main(["init", "new_env", "--output-dir", str(tmp_path)]) == 0
    capsys.readouterr()
    (folder,) = (path.parent for path in tmp_path.rglob("openenv.yaml"))
    code, report = validate(capsys, str(folder), "--strict")
    assert (report["findings"], report["could_not_run"], code) == ([], None, 0)


# -- running servers ------------------------------------------------------------------------

ECHO = "tests.integration.client_peers.echo"
QUIET = [{"message": "hello"}, {"message": "tagged"}, {"message": "end"}]


@contextmanager
def serving(kind: str, attribute: str = "app") -> Iterator[Server]:
    """The same environment, served by ours and by others."""
    app = f"{ECHO}:{attribute}"
    if kind.startswith("openenv-"):
        served = serve_incumbent(app, name=kind)
    elif kind == "uvicorn":
        served = serve_uvicorn(app)
    else:
        served = serve(app, env={"OPENENV_MODE": kind})
    with served as server:
        yield server


@pytest.mark.parametrize(
    "kind",
    [
        "simulation",
        "production",
        "uvicorn",
        pytest.param("openenv-0.10.0", marks=pytest.mark.peer),
        pytest.param("openenv-core-0.2.3", marks=pytest.mark.peer),
    ],
)
def test_nothing_is_found_on_a_sound_server(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ours, ours in production mode, ours under uvicorn, and the incumbent's, which is not to be blamed."""
    actions = tmp_path / "actions.json"
    actions.write_text(json.dumps(QUIET))
    with serving(kind) as server:
        code, report = validate(capsys, "--url", server.url, "--actions", str(actions), "--strict")
    assert (report["findings"], report["could_not_run"], code) == ([], None, 0)
    skipped = {entry["check"] for entry in report["skipped"]}
    control = {"http-reset", "http-step", "http-refusals", "http-state"}
    assert skipped == {"capacity", *(control if kind == "production" else ())}


@pytest.mark.parametrize("kind", ["simulation", pytest.param("openenv-0.10.0", marks=pytest.mark.peer)])
def test_the_capacity_of_a_small_server_is_met(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With one session at a time, a second one is refused properly and a closed one frees its slot."""
    with serving(kind, "single") as server:
        code, report = validate(capsys, "--url", server.url)
    assert code == 0
    assert [entry["check"] for entry in report["skipped"]] == ["sessions-apart"]


def test_a_full_server_could_not_be_checked(capsys: pytest.CaptureFixture[str]) -> None:
    """Others use it; that is no fault of its."""
    with (
        serving("simulation", "single") as server,
        GenericEnvClient(base_url=server.url).sync() as client,
    ):
        client.reset()
        code, report = validate(capsys, "--url", server.url)
    assert code == 3
    assert "1/1 sessions active" in report["could_not_run"]


@pytest.fixture(scope="module")
def faulty() -> Iterator[Server]:
    """A server whose paths name the fault that it is to have."""
    with serve_uvicorn("tests.support.faulty_server:app") as server:
        yield server


@pytest.mark.parametrize(("fault", "check"), sorted(SERVER_FAULTS.items()), ids=sorted(SERVER_FAULTS))
def test_a_fault_of_a_server_is_found(
    fault: str, check: str, faulty: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    """A server that is sound but for one answer; each fault by its own check."""
    code, report = validate(capsys, "--url", f"{faulty.url}/{fault}")
    assert check in found(report)
    assert code == (1 if found(report, "error") else 0)


def test_nothing_is_found_on_the_server_that_faults_are_planted_in(
    faulty: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    """So that each finding is the fault's."""
    code, report = validate(capsys, "--url", f"{faulty.url}/sound", "--strict")
    assert (report["findings"], report["could_not_run"], code) == ([], None, 0)


# -- the command ----------------------------------------------------------------------------


def test_findings_are_lines_for_people(tmp_path: Path) -> None:
    """Where, what was expected, what there was, what to do; a count at the end; no colours in a pipe."""
    folder = write_sound(tmp_path)
    (folder / "openenv.yaml").write_text("name: guess_env\nport: 0\n")
    done = run_openenv("validate", "--files-only", cwd=folder)
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "openenv.yaml, port: error: expected a port that a server can be reached on, got 0; "
        "write port: 8000, or leave it out [manifest-port]",
        "guess_env: 1 error, 0 warnings in 25 checks",
    ]
    assert done.stderr == ""


def test_warnings_alone_are_no_failure_unless_strict(tmp_path: Path) -> None:
    """Exit code 0, and 1 with --strict; --output writes the report to a file."""
    folder = write_sound(tmp_path)
    (folder / "README.md").unlink()
    output = tmp_path / "report.json"
    assert run_openenv("validate", "--files-only", str(folder), cwd=tmp_path).returncode == 0
    strict = run_openenv(
        "validate", "--files-only", str(folder), "--strict", "--output", str(output), cwd=tmp_path
    )
    assert strict.returncode == 1
    report = json.loads(output.read_text())
    assert (report["errors"], report["warnings"], report["findings"][0]["check"]) == (0, 1, "space")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "there is no folder 'nowhere'"),
        ([".", "--url", "http://localhost:1"], "expected a folder or --url, got both"),
        (["--url", "nothing"], "expected a URL like"),
        (["--timeout", "0"], "expected --timeout > 0"),
        (["--actions", "none.json"], "cannot read none.json"),
        (["--no-such-flag"], "unknown arguments"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2."""
    previous = Path.cwd()
    os.chdir(tmp_path)
    try:
        assert main(["validate", *arguments]) == 2
    finally:
        os.chdir(previous)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err
    assert captured.err.count("\n") == 1


def test_what_could_not_run_is_neither_right_nor_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 3: nobody serves there, a dependency is missing, the application is another framework's."""
    code, report = validate(capsys, "--url", f"http://127.0.0.1:{free_port()}")
    assert code == 3
    assert "connection refused" in report["could_not_run"]
    folder = write_sound(tmp_path)
    models = folder / "models.py"
    models.write_text(f"import no_such_package\n{models.read_text()}")
    code, report = validate(capsys, str(folder))
    assert code == 3
    assert "No module named 'no_such_package' (models.py, line 1)" in report["could_not_run"]
    app = folder / "server/app.py"
    app.write_text(
        "class Framework:\n    async def __call__(self, scope, receive, send): ...\n\n"
        "app = Framework()\n\ndef main(): ...\n"
    )
    code, report = validate(capsys, str(folder))
    assert code == 3
    assert "use openenv validate --url" in report["could_not_run"]


def test_what_the_environment_prints_stays_out_of_the_report(tmp_path: Path) -> None:
    """Standard output is the report's; --debug shows the rest on standard error."""
    folder = write_sound(tmp_path)
    app = folder / "server/app.py"
    app.write_text(f"print('noise')\n{app.read_text()}")
    quiet = run_openenv("validate", "--json", cwd=folder)
    assert json.loads(quiet.stdout)["errors"] == 0
    assert quiet.stderr == ""
    loud = run_openenv("validate", "--json", "--debug", cwd=folder)
    assert json.loads(loud.stdout)["errors"] == 0
    assert loud.stderr == "noise\n"


def test_nothing_is_left_running(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A program that the environment started ends with the check."""
    folder = write_sound(tmp_path)
    mark = tmp_path / "pid"
    environment = folder / "server/environment.py"
    environment.write_text(
        environment.read_text().replace(
            "import random\n",
            "import random, subprocess\n"
            f"open({str(mark)!r}, 'w').write(str(subprocess.Popen(['sleep', '60']).pid))\n",
        )
    )
    code, _ = validate(capsys, str(folder))
    assert code == 0
    pid = int(mark.read_text())
    eventually(lambda: not is_alive(pid), "the end of the program")


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_file_that_cannot_be_read_is_no_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whether there is a fault in it cannot be said: exit code 3, and one line that names it."""

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "models.py")

    monkeypatch.setattr("openenv.cli.validate.check_folder", refuse)
    assert main(["validate", str(tmp_path)]) == 3
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "openenv: could not run: cannot read models.py: Permission denied\n")
