"""The copy of an environment that a Space is given: what is in it, what is not, and what is changed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from openenv.cli.ignore import git_rules
from openenv.cli.staging import (
    copy_environment,
    find_value,
    prepare_dockerfile,
    prepare_readme,
    with_base_image,
    with_front_matter,
    with_interface,
)
from openenv.errors import ConfigurationError
from openenv.manifest import Manifest

FRONT = "---\ntitle: Mine\nsdk: docker\napp_port: 7860\nbase_path: /web\n---\n# Mine\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder of an author's."""
    made = tmp_path / "author"
    made.mkdir()
    return made


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Fill a folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")


def touch(folder: Path, words: str) -> None:
    """Fill a folder with empty files."""
    write(folder, dict.fromkeys(words.split(), ""))


def names(folder: Path, into: Path, exclude: str = "") -> set[str]:
    """What is copied."""
    into.mkdir(exist_ok=True)
    return set(copy_environment(folder, into, git_rules(exclude)).files())


def test_what_tools_leave_behind_stays_here(folder: Path, tmp_path: Path) -> None:
    """Repositories, virtual environments, caches and builds are never copied, named anywhere or not."""
    touch(
        folder,
        ".git/config .venv/bin/python myvenv/pyvenv.cfg myvenv/lib/x.py server/__pycache__/app.pyc x.pyo",
    )
    touch(
        folder, "my_env.egg-info/PKG-INFO build/lib/x.py dist/x.whl .mypy_cache/x node_modules/x.js .DS_Store"
    )
    touch(folder, "models.py server/app.py server/build/level.txt .gitignore")
    assert names(folder, tmp_path / "copy") == {
        *("models.py", "server/app.py", "server/build/level.txt", ".gitignore"),
    }


def test_ignore_files_are_honoured(folder: Path, tmp_path: Path) -> None:
    """`.gitignore` at every depth, `.dockerignore` at the top, and the caller's own patterns."""
    write(
        folder,
        {
            ".gitignore": "*.csv\n!keep.csv\n",
            ".dockerignore": "notes\n*.md\npyproject.toml\n",
            "server/.gitignore": "/local.py\n",
        },
    )
    touch(
        folder, "a.csv keep.csv notes/x server/local.py local.py big.bin README.md CHANGES.md pyproject.toml"
    )
    assert names(folder, tmp_path / "copy", exclude="*.bin\n") == {
        *(".gitignore", ".dockerignore", "server/.gitignore", "keep.csv", "local.py"),
        # An image does without these two; a Space and an installation from it do not.
        *("README.md", "pyproject.toml"),
    }


def test_secrets_stay_here_and_are_named(folder: Path, tmp_path: Path) -> None:
    """What holds passwords or keys is not copied, whatever says that it should; certificates are."""
    key = "-----BEGIN PRIVATE KEY-----\n"
    touch(folder, ".env server/.env.local prod.env .env.example .netrc models.py")
    write(folder, {"id_rsa": key, "tls.pem": key, "ca.pem": "-----BEGIN CERTIFICATE-----\n"})
    (tmp_path / "copy").mkdir()
    staged = copy_environment(folder, tmp_path / "copy", git_rules("!.env\n"))
    assert set(staged.files()) == {".env.example", "ca.pem", "models.py"}
    assert staged.secrets == (".env", ".netrc", "id_rsa", "prod.env", "server/.env.local", "tls.pem")


def test_links_out_of_the_folder_are_not_followed(folder: Path, tmp_path: Path) -> None:
    """A link within the folder is copied as the file it stands for; one that leads out is named instead."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "passwords").write_text("x")
    write(folder, {"models.py": "here"})
    (folder / "same.py").symlink_to("models.py")
    (folder / "passwords").symlink_to(outside / "passwords")
    (folder / "elsewhere").symlink_to(outside)
    (folder / "nowhere").symlink_to("missing")
    (tmp_path / "copy").mkdir()
    staged = copy_environment(folder, tmp_path / "copy")
    assert set(staged.files()) == {"models.py", "same.py"}
    assert not (staged.folder / "same.py").is_symlink()
    assert staged.links == ("elsewhere", "nowhere", "passwords")


def test_a_value_is_found_in_the_copy(folder: Path, tmp_path: Path) -> None:
    """A token that was written into a file is found wherever it stands; nothing is found for no values."""
    write(folder, {"a.py": "", "server/app.py": "x = 'hf_abcdefgh'\n"})
    (tmp_path / "copy").mkdir()
    staged = copy_environment(folder, tmp_path / "copy")
    assert find_value(staged, ["hf_abcdefgh"]) == "server/app.py"
    assert find_value(staged, ["hf_other"]) is None
    assert find_value(staged, [""]) is None


def test_the_dockerfile_is_also_at_the_top(folder: Path) -> None:
    """A Space builds from the top; one that is there already comes first, and both say the same."""
    write(folder, {"server/Dockerfile": "FROM a\n"})
    prepare_dockerfile(folder, None, None)
    assert (folder / "Dockerfile").read_text() == (folder / "server/Dockerfile").read_text() == "FROM a\n"
    write(folder, {"Dockerfile": "FROM b\n"})
    prepare_dockerfile(folder, "c", True)
    assert (folder / "Dockerfile").read_text() == "FROM c\nENV ENABLE_WEB_INTERFACE=true\n"
    assert (folder / "server/Dockerfile").read_text() == (folder / "Dockerfile").read_text()


def test_a_folder_without_a_dockerfile_is_refused(folder: Path) -> None:
    """Nothing could be built from it."""
    with pytest.raises(ConfigurationError, match="expected a Dockerfile in server/"):
        prepare_dockerfile(folder, None, None)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("FROM python:3.12\nRUN x\n", "FROM new\nRUN x\n"),
        (
            "# FROM old\nfrom python:3.12 AS build\nFROM python:3.12\n",
            "# FROM old\nfrom new AS build\nFROM new\n",
        ),
        ("FROM --platform=linux/amd64 a AS b\nFROM b\n", "FROM --platform=linux/amd64 new AS b\nFROM b\n"),
        ("ARG BASE=a:1\nFROM ${BASE} AS x\nFROM $BASE\n", "ARG BASE=new\nFROM ${BASE} AS x\nFROM $BASE\n"),
        ("ARG BASE\nFROM ${BASE:-a}\n", "ARG BASE=new\nFROM ${BASE:-a}\n"),
        ("FROM a\nRUN <<EOF\nFROM a\nEOF\n", "FROM new\nRUN <<EOF\nFROM a\nEOF\n"),
        ("FROM a\nRUN x \\\n FROM a\n", "FROM new\nRUN x \\\n FROM a\n"),
        ("FROM node:20 AS ui\nFROM python:3.12\n", "FROM new AS ui\nFROM python:3.12\n"),
    ],
)
def test_the_base_image_is_replaced_where_it_is_named(before: str, after: str) -> None:
    """In the first stage and wherever the same image is named, or in the argument that names it."""
    assert with_base_image(before, "new") == after


def test_a_dockerfile_without_an_image_is_refused() -> None:
    """There is nothing to replace."""
    with pytest.raises(ConfigurationError, match="expected a FROM"):
        with_base_image("# FROM x\nRUN y\n", "new")


@pytest.mark.parametrize(
    ("before", "on", "after"),
    [
        ("FROM a\nCMD x\n", True, "FROM a\nENV ENABLE_WEB_INTERFACE=true\nCMD x\n"),
        ("FROM a\nFROM b", False, "FROM a\nFROM b\nENV ENABLE_WEB_INTERFACE=false\n"),
        (
            "FROM a\nENV A=1 ENABLE_WEB_INTERFACE=true B=2\n",
            False,
            "FROM a\nENV A=1 ENABLE_WEB_INTERFACE=false B=2\n",
        ),
        ("FROM a\nENV ENABLE_WEB_INTERFACE false\n", True, "FROM a\nENV ENABLE_WEB_INTERFACE true\n"),
    ],
)
def test_the_last_stage_says_whether_there_is_a_web_interface(before: str, on: bool, after: str) -> None:
    """Only the last stage runs; what it says already is changed in its place."""
    assert with_interface(before, on) == after


def test_a_readme_without_front_matter_gets_all_of_it() -> None:
    """Title, look, kind, port, page and tag in front, the text below as it was."""
    text = with_front_matter("# Mine\n", "my_env", "It's mine", 9000, True)
    assert text.startswith("---\ntitle: My Env\n")
    assert text.endswith("---\n\n# Mine\n")
    lines = text.splitlines()
    assert {"sdk: docker", "app_port: 9000", "base_path: /web", "short_description: 'It''s mine'"} <= set(
        lines
    )
    assert "tags:\n  - openenv\n" in text


def test_an_empty_readme_gets_a_text() -> None:
    """A Space without a README shows at least what it is."""
    assert with_front_matter("", "my_env", "Mine", 8000, True).endswith("---\n\n# My Env\n\nMine.\n")


def test_front_matter_that_is_there_stays() -> None:
    """Keys of the author's are neither changed nor repeated; what a Space cannot do without is added."""
    assert with_front_matter(FRONT, "x", None, 8000, True) == FRONT
    short = with_front_matter("---\r\ntitle: Mine\r\n---\r\n# Mine\n", "x", None, 8000, True)
    assert short == "---\ntitle: Mine\r\nsdk: docker\napp_port: 8000\nbase_path: /web\n---\n# Mine\n"


def test_without_the_web_interface_the_space_does_not_open_at_it() -> None:
    """`base_path: /web` would lead to a page that is not there."""
    assert "base_path" not in with_front_matter(FRONT, "x", None, 8000, False)
    assert "base_path" not in with_front_matter("", "x", None, 8000, False)


def test_a_space_of_another_kind_is_refused() -> None:
    """An environment cannot be served by Gradio."""
    with pytest.raises(ConfigurationError, match=r"expected sdk: docker .* got 'gradio'"):
        with_front_matter("---\nsdk: gradio\n---\n", "x", None, 8000, True)


def test_two_ports_are_remarked_upon(folder: Path) -> None:
    """The README's counts on a Space, and whoever wrote another into the manifest should know."""
    write(folder, {"README.md": FRONT})
    remark = prepare_readme(folder, Manifest(port=8000), "x", True)
    assert remark is not None
    assert "app_port 7860" in remark
    assert prepare_readme(folder, Manifest(port=7860), "x", True) is None
    assert prepare_readme(folder, Manifest(), "x", True) is None


@pytest.mark.parametrize("name", [b"a\nb.txt", b"a\xff.txt"])
def test_a_name_that_cannot_be_said_is_refused(name: bytes, folder: Path, tmp_path: Path) -> None:
    """The Hub knows paths in UTF-8; one that is left out does not matter."""
    with open(os.path.join(os.fsencode(folder), name), "wb"):
        pass
    into = tmp_path / "into"
    into.mkdir()
    with pytest.raises(ConfigurationError, match=r"names of files in UTF-8 .* got 'a\\.*rename it"):
        copy_environment(folder, into)
    (folder / ".gitignore").write_text("a*\n")
    assert copy_environment(folder, into)
