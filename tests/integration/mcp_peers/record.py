"""Record what the incumbent answers about tools: ``python -m tests.integration.mcp_peers.record``.

It writes ``transcript.jsonl``, one question and its answer a line, which `test_mcp_peers` holds our server
against. Each conversation is recorded twice, and nothing is kept that was not answered the same.
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.integration.mcp_peers import talk
from tests.support.server import serve_incumbent

TRANSCRIPT = Path(__file__).parent / "transcript.jsonl"
PACKAGE = "tests.integration.mcp_peers"
CONVERSATIONS: dict[str, tuple[str, ...]] = {
    "app": ("step", "post", "session", "socket"),
    "base": ("step",),
    "only_sync": ("step",),
    "styled": ("step", "post", "session"),
    "narrow": ("few",),
    "tasked:app": ("tasks",),
    "tasked:few": ("tasks",),
}
"""Which parts of the conversation are had with which environment."""


def target(name: str) -> str:
    """``module:attribute`` of an environment; they are in ``fast.py`` unless they say otherwise."""
    return f"{PACKAGE}.{name if ':' in name else f'fast:{name}'}"


def main() -> None:
    lines = []
    for name, parts in CONVERSATIONS.items():
        answers = []
        for _ in range(2):
            with serve_incumbent(target(name)) as incumbent:
                answers.append(talk.heard(incumbent.url, *parts))
        if json.dumps(answers[0]) != json.dumps(answers[1]):
            raise SystemExit(f"{name} does not answer the same every time")
        lines += [
            {"app": name, "part": part, "asked": asked, "answer": answer}
            for part in parts
            for asked, answer in answers[0][part]
        ]
    with TRANSCRIPT.open("w", encoding="utf-8") as out:
        out.writelines(json.dumps(line) + "\n" for line in lines)


if __name__ == "__main__":
    main()
