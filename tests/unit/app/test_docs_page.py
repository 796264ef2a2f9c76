"""`/docs`: what its HTML holds, for people without scripts and against authors with bad intentions."""

from __future__ import annotations

import asyncio
from html.parser import HTMLParser
from typing import Any

import pytest

from openenv.app.apipage import page
from openenv.app.app import ROUTES, create_app
from openenv.app.markup import Markup, prose, tag
from openenv.app.openapi import document
from openenv.app.typetext import schema_table, type_text
from openenv.models import Action, Observation, field
from tests.support import envs
from tests.support.typed_envs import ENVIRONMENTS
from tests.support.worker import Worker

EVIL = "<script>danger()</script><img src=x onerror=danger()> \"' &amp; `</code><b>`"


class EvilAction(Action):
    __doc__ = EVIL
    word: str = field(default=EVIL, description=EVIL, title=EVIL, examples=[EVIL], pattern=f"^{EVIL}$")


class EvilObservation(Observation):
    __doc__ = EVIL
    told: str = field(default=EVIL, description=EVIL)


class Elements(HTMLParser):
    """The elements of a document, with their attributes; fails where they are not nested."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        assert len(attributes) == len(dict(attributes))
        self.found.append((name, dict(attributes)))
        if name not in ("meta", "link", "br", "input"):
            self._open.append(name)

    def handle_endtag(self, name: str) -> None:
        assert self._open.pop() == name

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def values(self, attribute: str) -> list[str]:
        """The values of an attribute, wherever it stands."""
        return [str(attributes[attribute]) for _, attributes in self.found if attribute in attributes]


def shown(env: Any, name: str = "env", **types: Any) -> str:
    """The page of an environment."""
    definition = create_app(env, **types).definition
    return page(document(definition, [route for route in ROUTES if route.public]), name, True).decode()


async def get(worker: Worker, path: str, *headers: str) -> tuple[int, dict[str, str], str]:
    """Status, headers and body of a GET."""
    transport = worker.connect()
    lines = "\r\n".join([f"GET {path} HTTP/1.1", "Host: x", *headers])
    transport.protocol.data_received(f"{lines}\r\n\r\n".encode())
    head, _, body = (await transport.until(b"\r\n\r\n")).partition(b"\r\n\r\n")
    status, *fields = head.decode().split("\r\n")
    return int(status.split()[1]), dict(line.split(": ", 1) for line in fields), body.decode()


def asked(path: str, *headers: str, **knobs: Any) -> tuple[int, dict[str, str], str]:
    """The same of a worker made for it."""

    async def main() -> tuple[int, dict[str, str], str]:
        async with Worker(envs.LoopEnv, **knobs) as worker:
            return await get(worker, path, *headers)

    return asyncio.run(main())


@pytest.mark.parametrize("env", ENVIRONMENTS, ids=lambda env: env.__name__)
def test_the_page_is_well_formed_and_its_links_lead_somewhere(env: Any) -> None:
    """Elements are nested, ids are unique, and each link to a place on the page has that place."""
    elements = Elements(shown(env))
    ids = elements.values("id")
    assert len(ids) == len(set(ids))
    targets = [href.removeprefix("#") for href in elements.values("href") if href.startswith("#")]
    assert set(targets) <= set(ids)


def test_everything_is_told_without_scripts() -> None:
    """Each route with its statuses, each field with what it takes, each message, code and method."""
    definition = create_app(envs.LoopEnv).definition
    described = document(definition, [route for route in ROUTES if route.public])
    text = "".join(Elements(shown(envs.LoopEnv)).text)
    for path, methods in described["paths"].items():
        assert path in text
        for operation in methods.values():
            assert operation["summary"].replace("`", "") in text
    for schema in described["components"]["schemas"].values():
        assert all(name in text for name in schema.get("properties", {}))
    for row in described["x-websocket"]["errors"] + described["x-websocket"]["closeCodes"]:
        assert str(row["code"]) in text
    for row in described["x-json-rpc"]["methods"]:
        assert row["method"] in text
    assert "number ≥ 0" in text  # NoteAction.wait_s
    assert "Each HTTP call has a fresh environment" in text


def test_what_authors_write_stays_text() -> None:
    """In names, descriptions, defaults, examples, titles and patterns."""
    elements = Elements(shown(envs.LoopEnv, EVIL, action_cls=EvilAction, observation_cls=EvilObservation))
    scripts = [attributes for name, attributes in elements.found if name == "script"]
    assert [attributes.get("src") for attributes in scripts] == ["docs/docs.js"]
    assert "img" not in [name for name, _ in elements.found]
    assert not [key for _, attributes in elements.found for key in attributes if key.startswith("on")]
    assert "<script>danger()</script>" in " ".join(elements.text)


def test_every_address_is_relative() -> None:
    """So the page works behind any path prefix and asks nobody else."""
    elements = Elements(shown(envs.LoopEnv))
    addresses = elements.values("href") + elements.values("src") + elements.values("data-path")
    assert addresses
    for address in addresses:
        assert not address.startswith(("/", "http:", "https:", "//"))


def test_nothing_is_inline() -> None:
    """The policy forbids inline scripts and styles, so there are none to be blocked."""
    elements = Elements(shown(envs.LoopEnv))
    assert elements.values("style") == []
    assert not [name for name, _ in elements.found if name == "style"]


@pytest.mark.parametrize("path", ["/docs", "/docs/docs.css", "/docs/docs.js"])
def test_the_page_and_its_parts_are_guarded(path: str) -> None:
    """A policy without exceptions, no sniffing, no cookie."""
    status, headers, body = asked(path)
    assert status == 200
    assert body
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert "set-cookie" not in headers


def test_a_page_that_is_known_is_not_sent_again() -> None:
    """304 for who has it."""
    _, headers, _ = asked("/docs")
    status, _, body = asked("/docs", f"If-None-Match: {headers['etag']}")
    assert (status, body) == (304, "")


@pytest.mark.parametrize(("path", "location"), [("/redoc", "docs"), ("/docs/", "../docs")])
def test_other_addresses_lead_to_the_page(path: str, location: str) -> None:
    """Relatively, so that they do so behind a prefix too."""
    status, headers, _ = asked(path)
    assert (status, headers["location"]) == (307, location)


def test_the_page_is_there_without_the_playground() -> None:
    """`ENABLE_WEB_INTERFACE` is about `/web` alone; then nothing links to it."""
    status, _, body = asked("/docs", web_interface=False)
    assert status == 200
    assert "web" not in Elements(body).values("href")
    assert "web" in Elements(asked("/docs")[2]).values("href")


def test_production_mode_shows_what_it_serves() -> None:
    """And not what it does not."""
    _, _, body = asked("/docs", mode="production")
    assert "op-step" not in Elements(body).values("id")
    assert "op-health" in Elements(body).values("id")


def words(schema: Any) -> str:
    """What `type_text` says, without its markup."""
    return "".join(Elements(type_text(schema)).text)


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({}, "anything"),
        ({"type": "integer", "minimum": 0, "maximum": 9}, "integer 0 … 9"),
        ({"type": "number", "exclusiveMinimum": 0}, "number > 0"),
        ({"type": "number", "maximum": 2, "multipleOf": 0.5}, "number ≤ 2, a multiple of 0.5"),
        ({"type": "string", "minLength": 1, "maxLength": 5}, "string, 1 … 5 characters"),
        ({"type": "string", "maxLength": 5, "pattern": "^a"}, "string, at most 5 characters matching ^a"),
        ({"type": "string", "format": "date-time"}, "string (date-time)"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "integer or null"),
        ({"enum": ["a", 1, None]}, '"a", 1 or null'),
        ({"const": True}, "true"),
        ({"type": ["string", "null"]}, "string or null"),
        (
            {"type": "array", "items": {"type": "integer"}, "minItems": 2},
            "array of integer, at least 2 items",
        ),
        (
            {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
            "array of string, all different",
        ),
        (
            {"type": "array", "prefixItems": [{"type": "integer"}, {}], "minItems": 2, "maxItems": 2},
            "array [integer, anything]",
        ),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, "object of integer"),
        ({"$ref": "#/components/schemas/Point"}, "Point"),
        (
            {
                "oneOf": [{"$ref": "#/$defs/A"}, {"$ref": "#/$defs/B"}],
                "discriminator": {"propertyName": "kind"},
            },
            "A or B, told apart by kind",
        ),
    ],
)
def test_a_type_is_said_in_words(schema: Any, text: str) -> None:
    """With every limit that it has."""
    assert words(schema) == text


def test_nested_fields_are_rows_of_their_own() -> None:
    """By their path."""
    inner = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}
    schema = {"type": "object", "properties": {"at": inner, "all": {"type": "array", "items": inner}}}
    text = Elements(schema_table(schema, lambda reference: {})).text
    assert [word for word in text if word.startswith(("at", "all"))] == ["at", "at.x", "all", "all[].x"]


def test_markup_escapes_what_it_did_not_make() -> None:
    """Children, attributes and prose."""
    assert tag("p", "<b>", Markup("<i></i>"), title='"') == '<p title="&quot;">&lt;b&gt;<i></i></p>'
    assert prose("a `<b>` <c>") == "a <code>&lt;b&gt;</code> &lt;c&gt;"
