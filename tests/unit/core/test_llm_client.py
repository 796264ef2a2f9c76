"""Clients of language models: what they send to the vendors' packages, and what they make of the answers."""

from __future__ import annotations

import asyncio
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from openenv.core.llm_client import (
    AnthropicClient,
    LLMClient,
    LLMResponse,
    OpenAIClient,
    ToolCall,
    create_llm_client,
)
from openenv.core.rubrics import LLMJudge

TOOL = {"name": "look", "description": "Look.", "inputSchema": {"properties": {"at": {"type": "string"}}}}


class Vendor:
    """In place of a vendor's client: keeps what it is asked, and answers what it was given."""

    def __init__(self, **made_with: Any) -> None:
        self.made_with = made_with
        self.asked: list[dict[str, Any]] = []
        self.answer: Any = None
        self.chat = SimpleNamespace(completions=self)
        self.messages = self

    async def create(self, **request: Any) -> Any:
        """One request."""
        self.asked.append(request)
        return self.answer


@pytest.fixture(autouse=True)
def vendors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Packages under the vendors' names."""
    for package, name in (("openai", "AsyncOpenAI"), ("anthropic", "AsyncAnthropic")):
        module = ModuleType(package)
        setattr(module, name, Vendor)
        monkeypatch.setitem(sys.modules, package, module)


def openai_answer(content: str | None, calls: tuple[tuple[str, str, str], ...] = ()) -> Any:
    """An answer in OpenAI's form."""
    made = [SimpleNamespace(id=i, function=SimpleNamespace(name=n, arguments=a)) for i, n, a in calls]
    return SimpleNamespace(
        choices=[SimpleNamespace(message=SimpleNamespace(content=content, tool_calls=made))]
    )


def test_a_prompt_is_asked_after_the_system_prompt() -> None:
    """With the limits of the client, unless the call says others."""
    client = OpenAIClient("http://localhost", 8000, "m", system_prompt="Be brief.")
    client._client.answer = openai_answer("four")
    assert asyncio.run(client.complete("2 + 2?", max_tokens=5)) == "four"
    assert client._client.asked == [
        {
            "model": "m",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "2 + 2?"},
            ],
            "max_tokens": 5,
            "temperature": 0.0,
        }
    ]


def test_an_answer_without_text_is_empty() -> None:
    """The packages say None."""
    client = OpenAIClient("http://localhost", 8000, "m")
    client._client.answer = openai_answer(None)
    assert asyncio.run(client.complete("?")) == ""


def test_reasoning_models_get_their_limit_under_another_name() -> None:
    """And no temperature, which they refuse."""
    client: Any = create_llm_client("OpenAI", "o3-mini", "key")
    client._client.answer = openai_answer("x")
    asyncio.run(client.complete("?"))
    assert client._client.asked[0].keys() == {"model", "messages", "max_completion_tokens"}
    assert client._client.made_with == {"base_url": "https://api.openai.com:443/v1", "api_key": "key"}


def test_tools_of_mcp_become_functions() -> None:
    """And what the model calls comes back as calls."""
    client = OpenAIClient("http://localhost:8000/v1", None, "m")
    client._client.answer = openai_answer(None, (("c1", "look", '{"at": "it"}'),))
    answer = asyncio.run(client.complete_with_tools([{"role": "user", "content": "?"}], [TOOL]))
    assert answer == LLMResponse("", [ToolCall("c1", "look", {"at": "it"})])
    function = client._client.asked[0]["tools"][0]["function"]
    assert function["parameters"] == {"type": "object", "properties": {"at": {"type": "string"}}}
    said = answer.to_message_dict()
    assert said["tool_calls"][0]["function"] == {"name": "look", "arguments": '{"at": "it"}'}


def test_a_talk_is_put_into_anthropics_form() -> None:
    """The system's words stand apart; results of one turn's tools stand in one turn."""
    call = {"id": "c1", "function": {"name": "look", "arguments": '{"at": "it"}'}}
    client = AnthropicClient("https://api.anthropic.com", 443, "m", "key")
    client._client.answer = SimpleNamespace(
        content=[
            SimpleNamespace(type="text", text="Well. "),
            SimpleNamespace(type="tool_use", id="c3", name="look", input={"at": "that"}),
        ]
    )
    answer = asyncio.run(
        client.complete_with_tools(
            [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "?"},
                {"role": "assistant", "content": "Hm.", "tool_calls": [call, {**call, "id": "c2"}]},
                {"role": "tool", "tool_call_id": "c1", "content": "one"},
                {"role": "tool", "tool_call_id": "c2", "content": "two"},
            ],
            [TOOL],
        )
    )
    assert answer == LLMResponse("Well. ", [ToolCall("c3", "look", {"at": "that"})])
    asked = client._client.asked[0]
    assert asked["system"] == "Be brief."
    assert [turn["role"] for turn in asked["messages"]] == ["user", "assistant", "user"]
    assert [block["type"] for block in asked["messages"][1]["content"]] == ["text", "tool_use", "tool_use"]
    assert [block["tool_use_id"] for block in asked["messages"][2]["content"]] == ["c1", "c2"]
    assert asked["tools"][0].keys() == {"name", "description", "input_schema"}


@pytest.mark.parametrize(
    ("endpoint", "port", "url"),
    [
        ("http://localhost", 8000, "http://localhost:8000"),
        ("http://localhost:8000/", None, "http://localhost:8000"),
        ("https://host:9/gateway/v1/", 9, "https://host:9/gateway/v1"),
    ],
)
def test_the_port_is_added_where_the_url_has_none(endpoint: str, port: int | None, url: str) -> None:
    """And the path stays."""
    assert OpenAIClient(endpoint, port, "m").base_url == url


@pytest.mark.parametrize(
    ("endpoint", "port"),
    [
        ("localhost:8000", None),
        ("ftp://host", None),
        ("http://name:secret@host", None),
        ("http://host?key=secret", None),
        ("http://host:1", 2),
        ("http://host", 70000),
    ],
)
def test_an_endpoint_that_is_none_is_refused(endpoint: str, port: int | None) -> None:
    """Without showing what may be a password."""
    with pytest.raises(ValueError, match="Invalid endpoint URL") as caught:
        OpenAIClient(endpoint, port, "m")
    assert "secret" not in str(caught.value)


def test_an_unknown_provider_is_refused() -> None:
    """With those that there are."""
    with pytest.raises(ValueError, match=r"'acme'.*anthropic.*openai"):
        create_llm_client("acme", "m", "key")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the environment's dependency, not ours."""
    monkeypatch.setitem(sys.modules, "anthropic", None)
    with pytest.raises(ImportError, match="AnthropicClient requires the 'anthropic' package"):
        create_llm_client("anthropic", "m", "key")


def test_a_judge_asks_a_client_of_ones_own() -> None:
    """`LLMClient` is what rubrics are written against."""

    class Fixed(LLMClient):
        async def complete(self, prompt: str, **kwargs: Any) -> str:
            return "0.5, I say"

    judge = LLMJudge("Rate {action}", Fixed("http://localhost", 1))
    assert asyncio.run(judge(1, 2)) == 0.5
    with pytest.raises(NotImplementedError, match="Fixed does not support tool calling"):
        asyncio.run(Fixed("http://localhost", 1).complete_with_tools([], []))
