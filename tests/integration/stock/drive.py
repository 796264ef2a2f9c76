"""Runs in the incumbent's own virtual environment and drives a server with its real client.

``python drive.py BASE_URL SCENARIO...``; the server serves ``tests/conformance/reference_native``.
Prints one JSON object: per scenario what was seen, or under ``error`` the traceback of a surprise. All
run in one process since importing the incumbent takes seconds.
"""
# ruff: noqa: PT017, PT018, RUF012 - no pytest there, and written as the incumbent's users write

import asyncio
import json
import sys
import traceback
from typing import Any

import openenv
from openenv.core import EnvClient, GenericEnvClient
from openenv.core.client_types import StepResult
from openenv.core.env_server.types import Action, Observation, State

N_STEPS = 1000


class EchoAction(Action):
    op: str = "echo"
    text: str = ""
    anything: Any = None


class EchoObservation(Observation):
    model_config = {"extra": "allow"}

    text: str = ""
    value: Any = None


class EchoState(State):
    episodes: int = 0
    last_op: str | None = None


class ReferenceClient(EnvClient[EchoAction, EchoObservation, EchoState]):
    """What an author of the incumbent's would write for the reference environment."""

    def _step_payload(self, action: EchoAction) -> dict[str, Any]:
        return action.model_dump(exclude_none=True)

    def _parse_result(self, payload: dict[str, Any]) -> StepResult[EchoObservation]:
        observation = EchoObservation(
            **payload["observation"], reward=payload.get("reward"), done=payload.get("done", False)
        )
        return StepResult(
            observation=observation,
            reward=payload.get("reward"),
            done=payload.get("done", False),
            metadata=payload.get("metadata"),
        )

    def _parse_state(self, payload: dict[str, Any]) -> EchoState:
        return EchoState(**payload)


def check_reset(result: Any, text: str) -> None:
    assert text == "ready", text
    assert result.reward is None, result
    assert result.done is False, result


def check_refusal(error: BaseException) -> None:
    assert "VALIDATION_ERROR" in str(error), error
    assert "Invalid message" in str(error), error


async def typed_async(url: str) -> dict[str, Any]:
    async with ReferenceClient(base_url=url) as client:
        result = await client.reset(seed=3, episode_id="stock", unknown="dropped")
        check_reset(result, result.observation.text)
        assert result.observation.value == [3, "stock", "easy"], result
        for number in range(N_STEPS):
            result = await client.step(EchoAction(text=f"t{number}", anything={"n": number}))
            assert result.observation.text == f"t{number}", result
            assert result.observation.value == {"n": number}, result
            assert result.reward == 1.0 and result.done is False, result
        state = await client.state()
        assert state.step_count == N_STEPS and state.episode_id == "stock", state
        try:
            await client.step(EchoAction(op="NOT VALID"))
        except RuntimeError as error:
            check_refusal(error)
        else:
            raise AssertionError("an invalid action was taken")
        try:
            await client.step(EchoAction(op="raise", text="key"))
        except RuntimeError as error:
            assert str(error) == "Server error: 'lost' (code: EXECUTION_ERROR)", error
        else:
            raise AssertionError("the environment's error did not arrive")
        result = await client.step(EchoAction(op="finish"))
        assert result.done is True and result.reward == 1 and result.metadata == {"why": "goal"}, result
        after = await client.state()
        return {"steps": after.step_count, "episodes": after.episodes, "last_op": after.last_op}


def typed_sync(url: str) -> dict[str, Any]:
    with ReferenceClient(base_url=url).sync() as client:
        check_reset(client.reset(), client.reset().observation.text)
        for number in range(N_STEPS):
            result = client.step(EchoAction(text=str(number)))
            assert result.observation.text == str(number), result
        try:
            client.step(EchoAction(op="NOT VALID"))
        except RuntimeError as error:
            check_refusal(error)
        else:
            raise AssertionError("an invalid action was taken")
        state = client.state()
        return {"steps": state.step_count, "episodes": state.episodes, "last_op": state.last_op}


async def generic_async(url: str) -> dict[str, Any]:
    async with GenericEnvClient(base_url=url) as client:
        result = await client.reset()
        check_reset(result, result.observation["text"])
        for number in range(N_STEPS):
            result = await client.step({"op": "echo", "text": str(number)})
            assert result.observation["text"] == str(number), result
        try:
            await client.step({"op": "echo", "colour": 1})
        except RuntimeError as error:
            check_refusal(error)
        else:
            raise AssertionError("an invalid action was taken")
        state = await client.state()
        return {"steps": state["step_count"], "episodes": state["episodes"], "last_op": state["last_op"]}


def generic_sync(url: str) -> dict[str, Any]:
    with GenericEnvClient(base_url=url).sync() as client:
        result = client.reset(seed=1)
        check_reset(result, result.observation["text"])
        for number in range(N_STEPS):
            result = client.step({"op": "echo", "text": str(number)})
            assert result.observation["text"] == str(number), result
        try:
            client.step({})
        except RuntimeError as error:
            check_refusal(error)
        else:
            raise AssertionError("an invalid action was taken")
        state = client.state()
        return {"steps": state["step_count"], "episodes": state["episodes"], "last_op": state["last_op"]}


async def reconnect_async(url: str) -> dict[str, Any]:
    """With capacity 1: whoever closes may come back at once, and is never refused."""
    sessions = 0
    for number in range(50):
        client = GenericEnvClient(base_url=url)
        result = await client.reset(episode_id=f"again-{number}")
        assert result.observation["value"] == [None, f"again-{number}", "easy"], result
        await client.step({"op": "echo"})
        await client.close()
        sessions += 1
    client = GenericEnvClient(base_url=url)
    for _ in range(25):
        # The same client object, closed and used again.
        await client.connect()
        state = await client.state()
        assert state["step_count"] == 0, "a new connection is a new session"
        await client.step({"op": "echo"})
        await client.disconnect()
        sessions += 1
    await client.close()
    return {"sessions": sessions}


def reconnect_sync(url: str) -> dict[str, Any]:
    sessions = 0
    for number in range(50):
        with GenericEnvClient(base_url=url).sync() as client:
            client.reset(episode_id=f"again-{number}")
            client.step({"op": "echo"})
            sessions += 1
    return {"sessions": sessions}


async def refused(url: str) -> dict[str, Any]:
    """With capacity 1: the second client hears why it cannot come in, the first goes on."""
    async with GenericEnvClient(base_url=url) as first:
        await first.reset()
        second = GenericEnvClient(base_url=url)
        try:
            await second.reset()
        except RuntimeError as error:
            refusal = str(error)
        else:
            raise AssertionError("two sessions where one was allowed")
        await second.close()
        await first.step({"op": "echo"})
    async with GenericEnvClient(base_url=url) as third:
        await third.reset()
    return {"refusal": refusal}


async def large(url: str) -> dict[str, Any]:
    """Messages beyond every small buffer, both ways."""
    async with GenericEnvClient(base_url=url) as client:
        text = "\u2603" * 700_000
        result = await client.step({"op": "echo", "text": text})
        assert result.observation["text"] == text
        result = await client.step({"op": "large", "anything": 20_000_000})
        return {"received": len(result.observation["text"])}


def play(scenario: str, url: str) -> dict[str, Any]:
    try:
        driven = globals()[scenario](url)
        return asyncio.run(driven) if asyncio.iscoroutine(driven) else driven
    except Exception:
        return {"error": traceback.format_exc()}


def main() -> None:
    url, *scenarios = sys.argv[1:]
    # The incumbent, not this repository, whose package has the same name.
    assert "site-packages" in openenv.__file__, openenv.__file__
    print(json.dumps({scenario: play(scenario, url) for scenario in scenarios}))


if __name__ == "__main__":
    main()
