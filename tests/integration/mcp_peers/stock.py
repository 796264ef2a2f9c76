"""Runs in the peer ``fastmcp`` and drives a server's ``/mcp`` with the clients of FastMCP and the MCP SDK.

``python stock.py URL`` prints what each saw as one JSON object. The server serves ``native:app``.
"""

import asyncio
import json
import sys
from typing import Any

from fastmcp import Client
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import McpError


async def with_fastmcp(url: str) -> dict[str, Any]:
    async with Client(url) as client:
        assert client.initialize_result is not None
        seen: dict[str, Any] = {
            "server": client.initialize_result.serverInfo.name,
            "tools": {tool.name: tool.inputSchema for tool in await client.list_tools()},
            "pings": await client.ping(),
        }
        seen["price"] = (await client.call_tool("price", {"item": "egg", "pieces": 2})).data
        place = (await client.call_tool("where", {"item": "egg"})).data
        seen["where"] = [place.x, place.y]
        for word in ("a", "b"):
            seen["words"] = (await client.call_tool("remember", {"word": word})).data
        prices = [client.call_tool("price", {"item": "egg", "pieces": n}) for n in range(1, 5)]
        seen["at once"] = [result.data for result in await asyncio.gather(*prices)]
        seen["failures"] = []
        for name, arguments in (("price", {"item": "gold"}), ("price", {}), ("zz", {})):
            result = await client.call_tool(name, arguments, raise_on_error=False)
            seen["failures"].append([result.is_error, result.content[0].text])
        return seen


async def with_sdk(url: str) -> dict[str, Any]:
    async with (
        streamable_http_client(url) as (read, write, session_id),
        ClientSession(read, write) as session,
    ):
        initialized = await session.initialize()
        seen: dict[str, Any] = {
            "version": initialized.protocolVersion,
            "has session": session_id() is not None,
            "tools": [tool.name for tool in (await session.list_tools()).tools],
        }
        # The SDK checks structured results against the tool's output schema.
        result = await session.call_tool("where", {"item": "egg"})
        seen["where"] = [result.isError, result.structuredContent]
        for word in ("a", "b"):
            result = await session.call_tool("remember", {"word": word})
        seen["words"] = result.structuredContent
        try:
            await session.list_resources()
        except McpError as error:
            seen["resources"] = error.error.code
        return seen


async def at_once(url: str, n_clients: int = 8) -> list[Any]:
    """Many clients, a session each."""

    async def one(number: int) -> Any:
        async with Client(url) as client:
            for _ in range(3):
                result = await client.call_tool("remember", {"word": str(number)})
            return result.data

    return await asyncio.gather(*(one(number) for number in range(n_clients)))


async def main(url: str) -> None:
    seen = {"fastmcp": await with_fastmcp(url), "sdk": await with_sdk(url), "at once": await at_once(url)}
    print(json.dumps(seen))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
