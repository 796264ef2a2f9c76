"""Clients of language models, as rubrics and environments ask for them: one prompt, or a talk with tools.

In: messages as OpenAI's API has them, tools as MCP has them. Out: text, and the tools that the model calls.
`OpenAIClient` speaks to what speaks OpenAI's chat completions, `AnthropicClient` to Anthropic's API.

Limits: the vendors' packages, ``openai`` and ``anthropic``, are the environment's own dependencies, and are
imported when a client of theirs is made. No streaming.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

__all__ = ["AnthropicClient", "LLMClient", "LLMResponse", "OpenAIClient", "ToolCall", "create_llm_client"]

Message = dict[str, Any]


@dataclass
class ToolCall:
    """A tool that a model calls.

    Attributes:
        id: What the result has to name.
        name: The tool's.
        args: Its arguments.
    """

    id: str
    name: str
    args: dict[str, Any]


@dataclass
class LLMResponse:
    """What a model answered.

    Attributes:
        content: Its text, "" if it wrote none.
        tool_calls: The tools that it calls, in its order.
    """

    content: str
    tool_calls: list[ToolCall] = field(default_factory=list)

    def to_message_dict(self) -> Message:
        """The assistant's message in OpenAI's form, to go on from."""
        message: Message = {"role": "assistant", "content": self.content}
        if self.tool_calls:
            message["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": json.dumps(call.args)},
                }
                for call in self.tool_calls
            ]
        return message


class LLMClient(ABC):
    """Something that completes prompts: subclass it and write `complete`.

    Args:
        endpoint: ``http`` or ``https`` URL of the service, with or without a port and a path.
        port: Its port, where the URL has none.
    """

    def __init__(self, endpoint: str, port: int | None) -> None:
        self.endpoint = endpoint
        self.port = port

    @abstractmethod
    async def complete(self, prompt: str, **kwargs: Any) -> str:
        """The model's answer to one prompt; `temperature` and `max_tokens` may be said anew."""

    async def complete_with_tools(
        self, messages: list[Message], tools: list[dict[str, Any]], **kwargs: Any
    ) -> LLMResponse:
        """The model's next turn.

        Args:
            messages: The talk so far, in OpenAI's form.
            tools: What it may call, each ``{"name", "description", "inputSchema"}``.
            **kwargs: `temperature` and `max_tokens`, said anew.
        """
        raise NotImplementedError(f"{type(self).__name__} does not support tool calling")

    @property
    def base_url(self) -> str:
        """The URL with its port.

        Raises:
            ValueError: It is no ``http`` URL, holds a password, a query or a fragment, or says another port.
        """
        return _base_url(self.endpoint, self.port)


class _VendorClient(LLMClient):
    """What the clients of both vendors have in common."""

    _package = ""
    _class_name = ""

    def __init__(
        self,
        endpoint: str,
        port: int | None,
        model: str,
        api_key: str | None = None,
        system_prompt: str | None = None,
        temperature: float = 0.0,
        max_tokens: int = 256,
    ) -> None:
        super().__init__(endpoint, port)
        self.model = model
        self.system_prompt = system_prompt
        self.temperature = temperature
        self.max_tokens = max_tokens
        name = type(self).__name__
        try:
            make = getattr(import_module(self._package), self._class_name)
        except ImportError as error:
            raise ImportError(f"{name} requires the {self._package!r} package") from error
        # Services of one's own want no key, and the packages want one.
        self._client = make(
            base_url=self._service_url(), api_key="not-needed" if api_key is None else api_key
        )

    def _service_url(self) -> str:
        return self.base_url


class OpenAIClient(_VendorClient):
    """Asks a service with OpenAI's chat completions: OpenAI, vLLM, TGI, Ollama ...

    Args:
        endpoint: URL of the service; ``/v1`` is added where it has no path.
        port: Its port, where the URL has none.
        model: The model's name.
        api_key: The service's key, None where it wants none.
        system_prompt: Said first to every prompt of `complete`.
        temperature: Of sampling.
        max_tokens: The longest answer, in tokens.
        use_max_completion_tokens: Send the limit under the name that reasoning models want, and no
            temperature, which they refuse.
    """

    _package = "openai"
    _class_name = "AsyncOpenAI"

    def __init__(
        self,
        endpoint: str,
        port: int | None,
        model: str,
        api_key: str | None = None,
        system_prompt: str | None = None,
        temperature: float = 0.0,
        max_tokens: int = 256,
        use_max_completion_tokens: bool = False,
    ) -> None:
        super().__init__(endpoint, port, model, api_key, system_prompt, temperature, max_tokens)
        self._reasons = use_max_completion_tokens

    async def complete(self, prompt: str, **kwargs: Any) -> str:
        """The answer's text, "" if there is none."""
        messages = [{"role": "system", "content": self.system_prompt}] if self.system_prompt else []
        messages.append({"role": "user", "content": prompt})
        answer = await self._client.chat.completions.create(**self._request(messages, kwargs))
        return answer.choices[0].message.content or ""

    async def complete_with_tools(
        self, messages: list[Message], tools: list[dict[str, Any]], **kwargs: Any
    ) -> LLMResponse:
        """See `LLMClient.complete_with_tools`."""
        request = self._request(messages, kwargs)
        if tools:
            request["tools"] = [{"type": "function", "function": _described(t, "parameters")} for t in tools]
        message = (await self._client.chat.completions.create(**request)).choices[0].message
        calls = [
            ToolCall(id=call.id, name=call.function.name, args=json.loads(call.function.arguments))
            for call in message.tool_calls or ()
        ]
        return LLMResponse(content=message.content or "", tool_calls=calls)

    def _service_url(self) -> str:
        url = self.base_url
        return url if urlsplit(url).path else f"{url}/v1"

    def _request(self, messages: list[Message], said: dict[str, Any]) -> dict[str, Any]:
        limit = said.get("max_tokens", self.max_tokens)
        request: dict[str, Any] = {"model": self.model, "messages": messages}
        if self._reasons:
            return {**request, "max_completion_tokens": limit}
        return {**request, "max_tokens": limit, "temperature": said.get("temperature", self.temperature)}


class AnthropicClient(_VendorClient):
    """Asks Anthropic's messages API.

    Args:
        endpoint: URL of the service.
        port: Its port, where the URL has none.
        model: The model's name.
        api_key: The service's key.
        system_prompt: Said first, where the messages have no system message.
        temperature: Of sampling.
        max_tokens: The longest answer, in tokens.
    """

    _package = "anthropic"
    _class_name = "AsyncAnthropic"

    async def complete(self, prompt: str, **kwargs: Any) -> str:
        """The answer's text, "" if there is none."""
        request = self._request("", [{"role": "user", "content": prompt}], kwargs)
        answer = await self._client.messages.create(**request)
        return "".join(block.text for block in answer.content if block.type == "text")

    async def complete_with_tools(
        self, messages: list[Message], tools: list[dict[str, Any]], **kwargs: Any
    ) -> LLMResponse:
        """See `LLMClient.complete_with_tools`."""
        request = self._request(*_anthropic_messages(messages), kwargs)
        if tools:
            request["tools"] = [_described(tool, "input_schema") for tool in tools]
        blocks = (await self._client.messages.create(**request)).content
        return LLMResponse(
            content="".join(block.text for block in blocks if block.type == "text"),
            tool_calls=[
                ToolCall(id=block.id, name=block.name, args=block.input)
                for block in blocks
                if block.type == "tool_use"
            ],
        )

    def _request(self, system: str, messages: list[Message], said: dict[str, Any]) -> dict[str, Any]:
        request: dict[str, Any] = {
            "model": self.model,
            "messages": messages,
            "temperature": said.get("temperature", self.temperature),
            "max_tokens": said.get("max_tokens", self.max_tokens),
        }
        system = system or self.system_prompt or ""
        return {**request, "system": system} if system else request


_SERVICES: dict[str, tuple[str, type[_VendorClient]]] = {
    "openai": ("https://api.openai.com", OpenAIClient),
    "anthropic": ("https://api.anthropic.com", AnthropicClient),
}
_REASONING_MODELS = ("gpt-5-mini", "o1", "o3", "o4-mini")
"""How the names of models begin that know ``max_completion_tokens`` alone."""


def create_llm_client(
    provider: str,
    model: str,
    api_key: str,
    *,
    system_prompt: str | None = None,
    temperature: float = 0.0,
    max_tokens: int = 4096,
) -> LLMClient:
    """A client of a vendor's own service.

    Args:
        provider: ``openai`` or ``anthropic``.
        model: The model's name.
        api_key: The vendor's key.
        system_prompt: Said first.
        temperature: Of sampling.
        max_tokens: The longest answer, in tokens.

    Raises:
        ValueError: Another provider.
        ImportError: The vendor's package is not installed.
    """
    if provider.lower() not in _SERVICES:
        raise ValueError(f"Unsupported provider: {provider!r}. Supported: {sorted(_SERVICES)}")
    url, cls = _SERVICES[provider.lower()]
    reasons = cls is OpenAIClient and model.startswith(_REASONING_MODELS)
    more: dict[str, Any] = {"use_max_completion_tokens": True} if reasons else {}
    made: LLMClient = cls(
        url,
        443,
        model,
        api_key=api_key,
        system_prompt=system_prompt,
        temperature=temperature,
        max_tokens=max_tokens,
        **more,
    )
    return made


def _base_url(endpoint: str, port: int | None) -> str:
    url = urlsplit(endpoint)
    # The URL is not shown: a password may stand in it.
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError("Invalid endpoint URL: expected http://HOST or https://HOST")
    if url.username is not None or url.password is not None or url.query or url.fragment:
        raise ValueError(
            "Invalid endpoint URL: it must not hold a login, a query or a fragment; a key is given as api_key"
        )
    said = url.port
    if port is not None and not 1 <= port <= 65535:
        raise ValueError(f"Invalid endpoint URL: port {port} is out of range 1-65535")
    if said is not None and port not in (None, said):
        raise ValueError(f"Invalid endpoint URL: it already specifies port {said}, not {port}")
    host = url.netloc if said is not None or port is None else f"{url.netloc}:{port}"
    return f"{url.scheme}://{host}{url.path.rstrip('/')}"


def _described(tool: dict[str, Any], schema_key: str) -> dict[str, Any]:
    """An MCP tool as the vendors want it; they differ in what they call its schema."""
    return {
        "name": tool["name"],
        "description": tool.get("description", ""),
        schema_key: _object_schema(tool.get("inputSchema")),
    }


def _object_schema(schema: Any) -> dict[str, Any]:
    """The schema as one of an object, which is what the vendors' APIs take."""
    empty: dict[str, Any] = {"type": "object", "properties": {}, "required": []}
    if not isinstance(schema, dict):
        return empty
    if "allOf" in schema:
        parts = [part for part in schema["allOf"] if isinstance(part, dict)]
        for part in parts:
            empty["properties"] |= part.get("properties", {})
            empty["required"] += part.get("required", ())
        return empty
    for key in ("oneOf", "anyOf"):
        if key in schema:
            return next((p for p in schema[key] if isinstance(p, dict) and p.get("type") == "object"), empty)
    made = {"type": "object", **schema}
    return {"properties": {}, **made} if made["type"] == "object" else made


def _anthropic_messages(messages: Sequence[Message]) -> tuple[str, list[Message]]:
    """The system's text, and the rest in Anthropic's form: results of tools are turns of the user's."""
    system: list[str] = []
    turns: list[Message] = []
    for message in messages:
        role = message["role"]
        if role == "system":
            system.append(message["content"])
        elif role == "user":
            turns.append({"role": "user", "content": message["content"]})
        elif role == "assistant":
            turns.append({"role": "assistant", "content": _assistant_content(message)})
        elif role == "tool":
            result = {
                "type": "tool_result",
                "tool_use_id": message["tool_call_id"],
                "content": message["content"],
            }
            # All results of one turn have to stand in one.
            if turns and turns[-1]["role"] == "user" and isinstance(turns[-1]["content"], list):
                turns[-1]["content"].append(result)
            else:
                turns.append({"role": "user", "content": [result]})
    return "\n\n".join(system), turns


def _assistant_content(message: Message) -> Any:
    if not message.get("tool_calls"):
        return message.get("content", "")
    content: list[Message] = []
    if message.get("content"):
        content.append({"type": "text", "text": message["content"]})
    for call in message["tool_calls"]:
        given = call["function"]["arguments"]
        content.append(
            {
                "type": "tool_use",
                "id": call["id"],
                "name": call["function"]["name"],
                "input": json.loads(given) if isinstance(given, str) else given,
            }
        )
    return content
