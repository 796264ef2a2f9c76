"""Runs in the incumbent's own virtual environment and plays one episode with its generic client.

``python play.py BASE_URL PLAN``; PLAN is ``{"reset": {...}, "actions": [{...}, ...]}`` as JSON. Prints one
JSON list: what the reset and each step gave, until the episode is over, and the state at the end.
"""

import asyncio
import json
import sys
from typing import Any

from openenv.core import GenericEnvClient


def seen(result: Any) -> dict[str, Any]:
    return {"observation": result.observation, "reward": result.reward, "done": result.done}


async def play(url: str, plan: dict[str, Any]) -> list[dict[str, Any]]:
    async with GenericEnvClient(base_url=url) as client:
        results = [seen(await client.reset(**plan["reset"]))]
        for action in plan["actions"]:
            if results[-1]["done"]:
                break
            results.append(seen(await client.step(action)))
        return [*results, {"state": await client.state()}]


print(json.dumps(asyncio.run(play(sys.argv[1], json.loads(sys.argv[2])))))
