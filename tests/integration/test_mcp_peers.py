"""Tools between strangers: stock MCP clients on our server, our client on the incumbent's, and its answers.

``mcp_peers/fast.py`` is written as the incumbent's users write. We serve it from the peer ``fastmcp``, with
the same FastMCP, and what we answer is compared with what the incumbent was recorded to say.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from openenv import CallToolAction, CallToolObservation, MCPToolClient
from openenv.errors import ConnectError, RemoteError
from tests.integration.mcp_peers import talk
from tests.integration.mcp_peers.record import CONVERSATIONS, TRANSCRIPT, target
from tests.support.peers import ROOT, peer
from tests.support.server import Server, serve, serve_incumbent

pytestmark = pytest.mark.peer

HERE = Path(__file__).parent / "mcp_peers"
NATIVE = "tests.integration.mcp_peers.native:app"


@contextmanager
def serve_fast(name: str) -> Iterator[Server]:
    """One of the FastMCP environments, on our server."""
    env = {"TEST_NATIVE": "1", "PYTHONPATH": str(ROOT)}
    with serve(target(name), env=env, python=peer("fastmcp")) as server:
        yield server


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_every_answer_about_tools_is_the_incumbents(name: str) -> None:
    """By step, by JSON-RPC over HTTP and on sockets, in sessions, with every kind of tool and failure; and
    what the Task API says.
    """
    with TRANSCRIPT.open(encoding="utf-8") as recorded:
        lines = [line for line in map(json.loads, recorded) if line["app"] == name]
    with serve_fast(name) as server:
        ours = talk.heard(server.url, *CONVERSATIONS[name])
    answers = [pair for part in CONVERSATIONS[name] for pair in ours[part]]
    assert len(answers) == len(lines) > 10
    for line, (asked, answer) in zip(lines, answers, strict=True):
        # As text: 1, 1.0 and true are equal to Python.
        assert json.dumps(asked) == json.dumps(line["asked"])
        wanted = _without_urls(line["answer"])
        assert json.dumps(answer) == json.dumps(wanted), f"{line['part']}: {json.dumps(asked)}"


def _without_urls(answer: Any) -> Any:
    """They name the installed pydantic's version, wire.md section 2."""
    data = answer.get("data") if isinstance(answer, dict) else None
    for error in data.get("errors", ()) if isinstance(data, dict) else ():
        error.pop("url", None)
    return answer


@pytest.fixture(scope="module", params=[1, 4], ids=["one worker", "four workers"])
def stock(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What stock clients saw of our server."""
    with serve(NATIVE, workers=request.param) as server:
        done = subprocess.run(
            [str(peer("fastmcp")), str(HERE / "stock.py"), f"{server.url}/mcp"],
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, f"{done.stderr}\n--- server ---\n{server.log}"
    seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return seen


def test_fastmcps_client_lists_and_calls_our_tools(stock: dict[str, Any]) -> None:
    """Values as the tools gave them, failures as errors, and one session for all of it."""
    seen = stock["fastmcp"]
    assert (seen["server"], seen["pings"], list(seen["tools"])) == (
        "Shop",
        True,
        ["price", "where", "remember"],
    )
    assert seen["tools"]["price"]["required"] == ["item"]
    assert (seen["price"], seen["where"], seen["words"]) == (5.0, [3, 0], ["a", "b"])
    assert seen["at once"] == [2.5, 5.0, 7.5, 10.0]
    assert seen["failures"] == [
        [True, "Error calling tool 'price': not for sale"],
        [True, "Invalid arguments for tool 'price': Field required at item"],
        [True, "Unknown tool: 'zz'"],
    ]


def test_the_sdks_client_lists_and_calls_our_tools(stock: dict[str, Any]) -> None:
    """Results fit the output schemas that it checks them against."""
    assert stock["sdk"] == {
        "version": "2025-11-25",
        "has session": True,
        "tools": ["price", "where", "remember"],
        "where": [False, {"x": 3, "y": 0}],
        "words": {"result": ["a", "b"]},
        "resources": -32601,
    }


def test_each_stock_client_has_an_environment_of_its_own(stock: dict[str, Any]) -> None:
    """Eight at once, three words each."""
    assert stock["at once"] == [[str(number)] * 3 for number in range(8)]


@pytest.fixture(scope="module", params=["ours", "the incumbent's"])
def shop(request: pytest.FixtureRequest) -> Iterator[Server]:
    """The same environment on either server."""
    serving = serve_fast("app") if request.param == "ours" else serve_incumbent(target("app"))
    with serving as server:
        yield server


@pytest.mark.parametrize("mode", ["production", "simulation"])
def test_our_client_uses_tools_in_the_session_that_it_resets(shop: Server, mode: str) -> None:
    """What a tool changed is there for the next call and the next step."""

    async def main() -> None:
        async with MCPToolClient(shop.url, mode=mode) as client:
            result = await client.reset(seed=3)
            assert result.metadata == {"seed": 3}
            names = [entry.name for entry in await client.list_tools()]
            assert names[:3] == ["price", "buy", "basket"]
            assert await client.list_tools() is await client.list_tools()
            assert await client.call_tool("price", item="egg", pieces=2) == 5.0
            assert await client.call_tool("buy", item={"name": "egg"}) == {"name": "egg", "pieces": 1}
            result = await client.step(CallToolAction(tool_name="basket"))
            assert isinstance(result.observation, CallToolObservation)
            assert result.observation.result["data"] == ["egg"]
            assert (await client.state()).step_count == {"production": 1, "simulation": 4}[mode]
            assert [await client.has_tool("price"), await client.has_tool("zz")] == [True, False]
            for name, text in (("fail", "because"), ("zz", "Unknown tool")):
                with pytest.raises(RemoteError, match=f"Tool '{name}' failed: .*{text}"):
                    await client.call_tool(name)
            prices = [client.call_tool("price", item="egg", pieces=n) for n in range(3)]
            assert await asyncio.gather(*prices) == [0.0, 2.5, 5.0]
            await client.reset()
            assert await client.call_tool("basket") == []

    asyncio.run(main())


@pytest.mark.parametrize("mode", ["production", "simulation"])
def test_our_client_uses_tools_without_a_loop(shop: Server, mode: str) -> None:
    """With `.sync()`, inside a running loop or not, and as a plain context manager."""

    def use() -> None:
        with MCPToolClient(shop.url, mode=mode).sync() as client:
            assert client.call_tool("price", item="egg") == 2.5
            assert client.get_tool("price").description == "What something costs."
        with MCPToolClient(shop.url, mode=mode) as plain:
            assert plain.call_tool("price", item="egg") == 2.5  # type: ignore[attr-defined]

    async def inside() -> None:
        use()

    use()
    asyncio.run(inside())


def test_our_client_gives_its_session_back(shop: Server) -> None:
    """More clients one after another than the server has places."""
    for _ in range(6):
        with MCPToolClient(shop.url).sync() as client:
            client.reset()
            assert client.call_tool("basket") == []
            with_another = client.new_session()
            assert with_another.call_tool("basket") == []


def test_a_server_that_is_not_there_is_said() -> None:
    """By the call that needed it."""
    with pytest.raises(ConnectError, match="connection refused"):
        MCPToolClient("http://127.0.0.1:9").sync().call_tool("basket")


def test_a_session_is_found_by_every_worker() -> None:
    """Requests come on connections of their own, and any of the four may get them."""
    with serve(NATIVE, workers=4) as server:
        for number in range(12):
            with MCPToolClient(server.url).sync() as client:
                client.reset(seed=number)
                assert client.call_tool("remember", word="a") == ["a"]
                result = client.step(CallToolAction(tool_name="remember", arguments={"word": "b"}))
                assert (result.observation.result["data"], result.reward) == (["a", "b"], 1.0)
                assert client.call_tool("remember", word="c") == ["a", "b", "c"]
