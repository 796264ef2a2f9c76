"""An environment's folder without a fault, and faults to plant in it, for the tests of `openenv validate`.

In: a folder to write to. Out: the folder of a guessing game that keeps the contract; with a `Fault`, one that
breaks it in one place. What is planted is text: nothing here is imported.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MANIFEST = """\
spec_version: 1
name: guess_env
type: space
runtime: fastapi
app: server.app:app
port: 8000
version: "0.1.0"
description: Guess a number
"""

PYPROJECT = """\
[build-system]
requires = ["setuptools>=68"]
build-backend = "setuptools.build_meta"

[project]
name = "guess-env"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = ["openenv-runtime>=0.1.0"]

[project.scripts]
server = "guess_env.server.app:main"

[tool.setuptools]
packages = ["guess_env", "guess_env.server"]
package-dir = { "guess_env" = ".", "guess_env.server" = "server" }
"""

DOCKERFILE = """\
FROM python:3.12-slim AS builder
# All that is installed comes from here.
RUN python -m venv /app/venv
COPY . /app/env
RUN /app/venv/bin/pip install --no-cache-dir \\
    # a comment within
    /app/env

FROM python:3.12-slim
RUN useradd --uid 1000 user
COPY --from=builder /app /app
ENV PORT=8000 WORKERS=4
EXPOSE 8000
HEALTHCHECK CMD ["/app/venv/bin/python", "-c", "print()"]
USER user
CMD ["/app/venv/bin/server"]
"""

README = """\
---
title: Guess
sdk: docker
app_port: 8000
tags:
  - openenv
---

# Guess
"""

MODELS = '''\
"""What goes in and what comes out."""

from openenv import Action, Observation, field


class Guess(Action):
    number: int = field(ge=0, le=9)


class Answer(Observation):
    text: str = ""
    noise: float = 0.0
'''

ENVIRONMENT = '''\
"""Guess a number."""

import random
import time

from openenv import Environment, State

if __package__ == "server":
    from models import Answer, Guess
else:
    from ..models import Answer, Guess


class GuessEnvironment(Environment[Guess, Answer, State]):
    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self) -> None:
        super().__init__()
        self._state = State(episode_id="none")
        self._random = random.Random(0)
        self._secret = 0
        self._closed = False

    def reset(self, seed: int | None = None, episode_id: str | None = None) -> Answer:
        self._random = random.Random(seed)
        self._state = State(episode_id=episode_id or "one")
        self._secret = self._random.randint(0, 9)
        return Answer(text="guess", noise=self._random.random())

    def step(self, action: Guess) -> Answer:
        self._state.step_count += 1
        found = action.number == self._secret
        text = "yes" if found else "no"
        return Answer(text=text, noise=self._random.random(), reward=float(found), done=found)

    @property
    def state(self) -> State:
        return self._state

    def close(self) -> None:
        self._closed = True
'''

APP = '''\
"""The application."""

from openenv import create_app

from .environment import GuessEnvironment

app = create_app(GuessEnvironment, env_name="guess_env")


def main() -> None:
    raise SystemExit(app.run())
'''

SOUND = {
    "openenv.yaml": MANIFEST,
    "pyproject.toml": PYPROJECT,
    "README.md": README,
    "__init__.py": '"""Guess a number."""\n',
    "models.py": MODELS,
    "server/__init__.py": "",
    "server/app.py": APP,
    "server/environment.py": ENVIRONMENT,
    "server/Dockerfile": DOCKERFILE,
}
"""Every file, by its path within the folder."""


@dataclass(frozen=True)
class Fault:
    """One mistake of an author.

    Attributes:
        name: What he did, as words with hyphens; unique.
        check: Id of the check that finds it.
        file: Where it is planted.
        old: Text there that is replaced; "" removes the file.
        new: What replaces it.
        severity: Of the finding.
    """

    name: str
    check: str
    file: str
    old: str
    new: str = ""
    severity: str = "error"

    def plant(self, folder: Path) -> None:
        """Change the file; an `old` that is not there is a mistake of the table."""
        path = folder / self.file
        if not self.old:
            path.unlink()
            return
        text = path.read_text()
        assert self.old in text, f"{self.name}: {self.old!r} is not in {self.file}"
        path.write_text(text.replace(self.old, self.new))


def write_sound(parent: Path) -> Path:
    """Write the folder without a fault; gives its path."""
    folder = parent / "guess_env"
    for name, text in SOUND.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


_YAML, _TOML, _IMAGE, _README = "openenv.yaml", "pyproject.toml", "server/Dockerfile", "README.md"
_ENV, _MODELS, _APP = "server/environment.py", "models.py", "server/app.py"

IN_FILES = (
    Fault("no-manifest", "manifest", _YAML, ""),
    Fault("a-tab-in-the-manifest", "manifest", _YAML, "port: 8000", "port:\n\t- 8000"),
    Fault("no-name", "manifest-name", _YAML, "name: guess_env\n"),
    Fault("two-versions", "manifest-version", _YAML, "0.1.0", "0.2.0", "warning"),
    Fault("another-spec", "manifest-spec", _YAML, "spec_version: 1", "spec_version: 2", "warning"),
    Fault("app-in-no-module", "manifest-app", _YAML, "server.app:app", "server.main:app"),
    Fault("app-of-another-name", "manifest-app", _YAML, "server.app:app", "server.app:application"),
    Fault("port-zero", "manifest-port", _YAML, "port: 8000", "port: 0"),
    Fault("a-syntax-error", "sources", _MODELS, "class Guess(Action):", "class Guess(Action)"),
    Fault("no-pyproject", "package", _TOML, ""),
    Fault("broken-toml", "package", _TOML, "[project]", "[project"),
    Fault("no-project-version", "package", _TOML, 'version = "0.1.0"\n'),
    Fault("no-runtime", "package-runtime", _TOML, "openenv-runtime", "requests"),
    Fault("old-python", "package-python", _TOML, ">=3.11", ">=3.9"),
    Fault("no-server-script", "package-server", _TOML, "server = ", "serve = "),
    Fault("script-without-function", "package-server", _TOML, "app:main", "app:start"),
    Fault("server-not-packaged", "package-covers", _TOML, ', "guess_env.server"]', "]"),
    Fault("package-of-no-folder", "package-covers", _TOML, '= "server" }', '= "serve" }'),
    Fault("no-dockerfile", "image", _IMAGE, ""),
    Fault("image-without-tag", "image-tag", _IMAGE, "FROM python:3.12-slim\n", "FROM python\n", "warning"),
    Fault("shell-form", "image-command", _IMAGE, 'CMD ["/app/venv/bin/server"]', "CMD server --port 8000"),
    Fault(
        "shell-in-exec-form",
        "image-command",
        _IMAGE,
        '["/app/venv/bin/server"]',
        '["sh", "-c", "cd /app && server"]',
        "warning",
    ),
    Fault("no-command", "image-command", _IMAGE, 'CMD ["/app/venv/bin/server"]\n'),
    Fault("another-port-exposed", "image-port", _IMAGE, "EXPOSE 8000", "EXPOSE 7860"),
    Fault("another-port-served", "image-port", _IMAGE, "PORT=8000", "PORT=9000"),
    Fault("copies-what-is-not-there", "image-copies", _IMAGE, "COPY . ", "COPY requirements.txt "),
    Fault("no-health-check", "image-health", _IMAGE, "HEALTHCHECK", "# HEALTHCHECK", "warning"),
    Fault("runs-as-root", "image-user", _IMAGE, "USER user\n", "", "warning"),
    Fault("a-token-in-the-image", "image-secrets", _IMAGE, "ENV PORT=8000", "ENV HF_TOKEN=hf_abc PORT=8000"),
    Fault("no-readme", "space", _README, "", severity="warning"),
    Fault("another-sdk", "space-sdk", _README, "sdk: docker", "sdk: gradio"),
    Fault("no-app-port", "space-port", _README, "app_port: 8000\n"),
    Fault("no-title", "space-title", _README, "title: Guess\n", "", "warning"),
    Fault("no-tag", "space-tag", _README, "  - openenv", "  - game", "warning"),
)
"""Faults that can be told without importing anything."""

IN_CODE = (
    Fault("import-raises", "imports", _APP, "from openenv", "1 / 0\nfrom openenv"),
    Fault("import-exits", "imports", _ENV, "import random\n", "import random\nraise SystemExit(3)\n"),
    Fault(
        "import-downloads",
        "import-offline",
        _ENV,
        "import random\n",
        "import random\nimport urllib.request\nurllib.request.urlopen('http://192.0.2.1/')\n",
    ),
    Fault("import-ends-the-process", "survives", _ENV, "import random\n", "import os, random\nos._exit(7)\n"),
    Fault("app-is-no-app", "app", _APP, 'create_app(GuessEnvironment, env_name="guess_env")', '"app"'),
    Fault("a-number-as-action-type", "imports", _APP, 'env_name="guess_env"', "action_cls=3"),
    Fault("not-concurrent", "image-capacity", _ENV, "SUPPORTS_CONCURRENT_SESSIONS = True", "pass"),
    Fault("a-type-without-schema", "types-described", _MODELS, "number: int", 'number: "Nowhere"'),
    Fault("reset-needs-an-argument", "reset-signature", _ENV, "seed: int | None = None", "seed: int"),
    Fault("step-needs-an-argument", "step-signature", _ENV, "action: Guess)", "action: Guess, when: float)"),
    Fault("state-is-a-method", "state-property", _ENV, "    @property\n", "", "warning"),
    Fault("constructor-raises", "opens", _ENV, "self._secret = 0", "raise OSError('no display')"),
    Fault(
        "reset-gives-nothing",
        "reset-answers",
        _ENV,
        'return Answer(text="guess"',
        'return None and Answer(text="guess"',
    ),
    Fault("reset-hangs", "reset-answers", _ENV, "self._random = random.Random(seed)", "time.sleep(3600)"),
    Fault("step-raises-always", "steps-answer", _ENV, "found = action", "found = action.nummer"),
    Fault(
        "step-raises-at-times",
        "steps-answer",
        _ENV,
        "found = action",
        "1 / (action.number % 3 - 1)\n        found = action",
        "warning",
    ),
    Fault("step-hangs", "steps-answer", _ENV, "found = action", "time.sleep(3600)\n        found = action"),
    Fault(
        "another-observation-type",
        "observation-type",
        _ENV,
        'return Answer(text="guess"',
        'return State(text="guess"',
    ),
    Fault(
        "an-observation-out-of-its-type",
        "observation-schema",
        _ENV,
        'text = "yes" if found else "no"',
        "text = found",
    ),
    Fault(
        "nan-in-an-observation",
        "observation-schema",
        _ENV,
        "noise=self._random.random(), reward",
        "noise=float('nan'), reward",
    ),
    Fault(
        "an-object-in-an-observation",
        "observation-json",
        _ENV,
        "noise=self._random.random(), reward",
        "noise=object(), reward",
    ),
    Fault("a-text-as-reward", "reward-number", _ENV, "reward=float(found)", "reward='high'"),
    Fault("an-infinite-reward", "reward-number", _ENV, "reward=float(found)", "reward=float('inf')"),
    Fault("a-number-as-done", "done-bool", _ENV, "done=found", "done=int(found)"),
    Fault(
        "done-at-once",
        "first-not-done",
        _ENV,
        'Answer(text="guess"',
        'Answer(done=True, text="guess"',
        "warning",
    ),
    Fault("state-raises", "state-answers", _ENV, "return self._state", "return self.no_such_state"),
    Fault("state-without-fields", "state-fields", _ENV, "return self._state", "return {'where': 1}"),
    Fault("steps-are-not-counted", "state-counts", _ENV, "self._state.step_count += 1", "pass"),
    Fault(
        "count-goes-on-after-reset",
        "state-counts",
        _ENV,
        'episode_id or "one")',
        'episode_id or "one", step_count=3)',
    ),
    Fault("episode-id-is-dropped", "episode-id-kept", _ENV, 'episode_id or "one"', '"one"', "warning"),
    Fault(
        "a-long-step-that-never-blocks",
        "never-blocks",
        _ENV,
        "    def step(self, action: Guess) -> Answer:\n",
        "    NEVER_BLOCKS = True\n\n    def step(self, action: Guess) -> Answer:\n        time.sleep(0.06)\n",
        "warning",
    ),
    Fault("the-seed-is-not-used", "seeds-reproduce", _ENV, "random.Random(seed)", "random.Random()"),
    Fault("the-state-is-shared", "sessions-independent", _ENV, "self._state", "GuessEnvironment._state"),
    Fault(
        "a-check-of-an-action-raises-another-error",
        "actions-refused",
        _MODELS,
        "class Guess(Action):\n    number: int = field(ge=0, le=9)\n",
        """import pydantic


class Guess(pydantic.BaseModel):
    number: int = pydantic.Field(ge=0, le=9)

    @pydantic.model_validator(mode="before")
    @classmethod
    def whole(cls, data):
        return {**data, "number": int(data["number"])}
""",
    ),
    Fault(
        "reset-works-once",
        "resets-again",
        _ENV,
        "self._secret = self._random.randint(0, 9)",
        "self._secret = self.__dict__.pop('_closed') or self._random.randint(0, 9)",
    ),
    Fault(
        "step-after-done-hangs",
        "step-after-done",
        _ENV,
        "found = action",
        "time.sleep(3600 * self._closed)\n        found = self._closed = action",
    ),
    Fault("close-raises", "close-twice", _ENV, "self._closed = True", "raise OSError('no disk')"),
    Fault(
        "close-raises-the-second-time",
        "close-twice",
        _ENV,
        "self._closed = True",
        "del self._secret",
        "warning",
    ),
    Fault(
        "an-observation-without-reward",
        "observation-fields",
        _MODELS,
        "class Answer(Observation):\n",
        "import dataclasses\n\n\n@dataclasses.dataclass\nclass Answer:\n    done: bool = False\n",
        "warning",
    ),
    Fault(
        "several-sessions-of-a-class-by-a-function",
        "concurrency",
        _APP,
        'app = create_app(GuessEnvironment, env_name="guess_env")',
        "GuessEnvironment.SUPPORTS_CONCURRENT_SESSIONS = True\n"
        "app = create_app(GuessEnvironment, max_concurrent_envs=5)\n"
        "GuessEnvironment.SUPPORTS_CONCURRENT_SESSIONS = False",
    ),
    Fault(
        "several-sessions-of-a-class-that-is-not-concurrent",
        "concurrency",
        _APP,
        'app = create_app(GuessEnvironment, env_name="guess_env")',
        "GuessEnvironment.SUPPORTS_CONCURRENT_SESSIONS = False\n"
        "app = create_app(GuessEnvironment, max_concurrent_envs=5)",
    ),
    Fault(
        "an-object-in-the-state",
        "state-json",
        _ENV,
        'episode_id or "one")',
        'episode_id or "one", at=object())',
    ),
    Fault(
        "metadata-of-no-kind",
        "metadata-answers",
        _ENV,
        "    def close(self)",
        "    def get_metadata(self):\n        return 7\n\n    def close(self)",
        "warning",
    ),
    Fault(
        "a-step-before-reset-hangs",
        "step-before-reset",
        _ENV,
        "found = action",
        "time.sleep(3600 * (self._state.episode_id == 'none'))\n        found = action",
    ),
)
"""Faults that show when the code is imported or played with."""
