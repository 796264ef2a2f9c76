"""Which files `.gitignore` and `.dockerignore` leave out, and that git itself agrees."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from openenv.cli.ignore import docker_rules, git_rules, is_left_out_by_docker, is_left_out_by_git
from openenv.errors import ConfigurationError

GIT_FILES = (
    *("a.py", "b.pyc", "build/x", "data.csv", "data/x.csv", "deep/data/y.csv", "logs/keep.txt", "logs/x.log"),
    *(
        "deep/build/z",
        "sub/logs/x.log",
        "#odd",
        "with space.txt",
        "x1.txt",
        "xa.txt",
        "a/b/c/d.txt",
        "a/d.txt",
    ),
)
GIT_TEXTS = (
    "*.pyc\nbuild/\n",
    "/build\n",
    "data\n",
    "/data/*.csv\n",
    "**/data/*.csv\n",
    "*.log\n!keep.txt\n",
    "logs/*\n!logs/keep.txt\n",
    "logs/\n!logs/keep.txt\n",
    "\\#odd\nwith space.txt\n",
    "x[0-9].txt\n",
    "x[!0-9].txt   \n",
    "a/**/d.txt\n",
    "a/**\n!a/d.txt\n",
    "# a comment\n\n/a.py\n?.pyc\n",
    "\ufeff*.pyc\n",
    "x[b-a].txt\nx[!].txt\n*.pyc\n",
    "x[&&~~a[].txt\n",
)

DOCKER_CASES = (
    ("*.pyc", "b.pyc", True),
    ("*.pyc", "deep/b.pyc", False),
    ("**/*.pyc", "deep/b.pyc", True),
    ("build", "build/x/y", True),
    ("/build/", "build/x/y", True),
    ("build", "deep/build/x", False),
    ("*\n!keep", "keep/x", False),
    ("*\n!keep", "other", True),
    ("docs\n!docs/README.md", "docs/README.md", False),
    ("*.md\n!README.md\nREADME.md", "README.md", True),
    ("# *.md\n.\n", "README.md", False),
    ("a?c", "abc", True),
    ("a?c", "a/c", False),
    ("secret/*/x", "secret/a/x", True),
    ("secret/*/x", "secret/a/b/x", False),
    ("a//b/./c/../d", "a/b/d", True),
    ("../a", "a", False),
    ("!", "a", False),
    ("\ufeffkey", "key", True),
    ("[^a].txt", "b.txt", True),
    ("[!a].txt", "a.txt", True),
    ("[&&~~[].txt", "[.txt", True),
)


@pytest.mark.parametrize("text", GIT_TEXTS)
def test_git_leaves_out_the_same_files(text: str, tmp_path: Path) -> None:
    """For every pattern form of gitignore(5), the real git is asked what it would add."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    for name in GIT_FILES:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    (tmp_path / ".gitignore").write_text(text)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    command = ["git", "-c", "core.quotePath=off", "ls-files", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert {name for name in GIT_FILES if not _git_leaves_out(text, name)} == {
        name for name in listed.splitlines() if name != ".gitignore"
    }


def _git_leaves_out(text: str, name: str) -> bool:
    """A file's own fate, after that of every folder it is in."""
    rules = git_rules(text)
    parts = name.split("/")
    folders = ("/".join(parts[:end]) for end in range(1, len(parts)))
    return any(is_left_out_by_git(rules, folder, True) for folder in folders) or is_left_out_by_git(
        rules, name, False
    )


def test_a_gitignore_counts_from_its_own_folder() -> None:
    """Patterns of a folder's own file neither reach above nor beside it."""
    rules = git_rules("*.csv\n/top\n", base="data")
    assert is_left_out_by_git(rules, "data/deep/x.csv", False)
    assert is_left_out_by_git(rules, "data/top", False)
    assert not is_left_out_by_git(rules, "x.csv", False)
    assert not is_left_out_by_git(rules, "data/deep/top", False)


@pytest.mark.parametrize(("text", "name", "expected"), DOCKER_CASES)
def test_docker_leaves_out(text: str, name: str, expected: bool) -> None:
    """Patterns count from the top, a folder takes its files along, and the last one that fits decides."""
    assert is_left_out_by_docker(docker_rules(text), name) is expected


def test_a_pattern_that_is_none_is_refused() -> None:
    """Docker would refuse it, too, once it had been sent everything."""
    with pytest.raises(ConfigurationError, match=r"pattern in \.dockerignore, got '\[b-a\]\.txt'.*mend"):
        docker_rules("key\n![b-a].txt\n")
