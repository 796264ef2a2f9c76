"""The Python blocks of the guide, ``deploying-an-environment.md``, and how a block is run.

In: nothing, or a block's text. Out: blocks by name, with other addresses in them; the names that a block
leaves behind. The guide is not part of this repository but lies beside it where the team works, so its
blocks are kept here too; a test compares them wherever the guide itself is there.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
from collections.abc import Callable
from typing import Any

from tests.support.peers import ROOT

GUIDE = ROOT.parent / "shared" / "deploying-an-environment.md"

_URLS = re.compile(r"https?://(?:openenv-echo-env\.hf\.space|localhost:800[01])(?=[\"/])")
_IMAGE = '"<local_docker_image>"'
_REPOSITORY = '"openenv/echo-env"'


def guide_blocks() -> list[str]:
    """The Python blocks of the guide itself, in order."""
    return python_blocks(GUIDE.read_text("utf-8"))


def python_blocks(text: str) -> list[str]:
    """The Python blocks of any page in Markdown, in order."""
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def substituted(block: str, url: str, image: str = "none", repo_id: str = "none/none") -> str:
    """A block with other URLs, another image and another repository in it, and nothing else."""
    block = _URLS.sub(url, block)
    return block.replace(_IMAGE, f'"{image}"').replace(_REPOSITORY, f'"{repo_id}"')


def without(block: str, unwanted: Callable[[ast.stmt], bool]) -> str:
    """A block with the lines of some statements left out; all others stay as they are."""
    lines = block.splitlines(keepends=True)
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.stmt) and unwanted(node):
            assert node.end_lineno is not None
            lines[node.lineno - 1 : node.end_lineno] = [""] * (node.end_lineno - node.lineno + 1)
    return "".join(lines)


def starts_a_container(statement: ast.stmt) -> bool:
    """Whether a statement makes a client whose server is started for it, or is the block that uses one."""
    if isinstance(statement, ast.AsyncWith):
        return isinstance(statement.items[0].context_expr, ast.Name)
    return (
        isinstance(statement, ast.Assign)
        and isinstance(statement.value, ast.Await)
        and ("EchoEnv.from_" in ast.unparse(statement.value))
    )


def run(block: str) -> dict[str, Any]:
    """Run a block as a program; one that awaits outside a function as notebooks do, on a loop of its own.

    Returns:
        What it leaves behind, by name.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    code = compile(block, "<guide>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    if code.co_flags & inspect.CO_COROUTINE:
        asyncio.run(eval(code, names))
    else:
        exec(code, names)
    return names


COPIES = {
    "server": """\
from echo_env import EchoEnv, EchoAction

# Connect directly to the running Space (WebSocket under the hood)
# Async (recommended):
async with EchoEnv(base_url="https://openenv-echo-env.hf.space") as client:
    result = await client.reset()
    result = await client.step(EchoAction(message="Hello"))

# Sync (using .sync() wrapper):
with EchoEnv(base_url="https://openenv-echo-env.hf.space").sync() as client:
    result = client.reset()
    result = client.step(EchoAction(message="Hello"))
""",
    "repository": """\
from envs.echo_env import EchoEnv, EchoAction, EchoObservation

# Now you have typed classes for the environment
action = EchoAction(message="Hello")
""",
    "workflow": """\
import asyncio
from echo_env import EchoEnv, EchoAction

async def main():
    # Development: connect to remote Space
    async with EchoEnv(base_url="https://openenv-echo-env.hf.space") as client:
        result = await client.reset()

    # Production: run locally for speed
    # docker run -d -p 8001:8000 registry.hf.space/openenv-echo-env:latest
    async with EchoEnv(base_url="http://localhost:8001") as client:
        result = await client.reset()

    # Or let the client manage Docker for you
    client = await EchoEnv.from_env("openenv/echo-env")  # Auto-pulls and runs
    async with client:
        result = await client.reset()

asyncio.run(main())

# For sync usage, use the .sync() wrapper:
with EchoEnv(base_url="http://localhost:8001").sync() as client:
    result = client.reset()
""",
    "connect": """\
import asyncio
from echo_env import EchoEnv, EchoAction

async def main():
    # Async usage (recommended)
    async with EchoEnv(base_url="http://localhost:8000") as client:
        result = await client.reset()
        result = await client.step(EchoAction(message="Hello"))
        print(result.observation)

    # From Docker image
    client = await EchoEnv.from_docker_image("<local_docker_image>")
    async with client:
        result = await client.reset()
        print(result.observation)

asyncio.run(main())

# Sync usage (using .sync() wrapper)
with EchoEnv(base_url="http://localhost:8000").sync() as client:
    result = client.reset()
    result = client.step(EchoAction(message="Hello"))
    print(result.observation)
""",
    "demo": """\
import asyncio
from echo_env import EchoEnv, EchoAction

# Async (recommended)
async def main():
    async with EchoEnv(base_url="http://localhost:8000") as env:
        result = await env.reset()
        print(result.observation)
        result = await env.step(EchoAction(message="Hello"))
        print(result.observation)

asyncio.run(main())

# Sync (using .sync() wrapper)
with EchoEnv(base_url="http://localhost:8000").sync() as env:
    result = env.reset()
    print(result.observation)
    result = env.step(EchoAction(message="Hello"))
    print(result.observation)
""",
}
"""The guide's blocks, by where they stand in it."""
