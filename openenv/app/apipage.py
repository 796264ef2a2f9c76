"""The page at `/docs`: an OpenAPI document as HTML that needs no script to be read.

In: the document of `openapi.py`. Out: one HTML document, whole; every address in it is relative. Scripts
add what needs them, from what stands in `data-` attributes: see `openenv/web/docs.js`. Whatever text comes
from an author is escaped by `markup.py`.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from typing import Any

from openenv.app.markup import Markup, join, prose, tag
from openenv.app.typetext import schema_id, schema_table, show_json, type_text

__all__ = ["page"]

Json = dict[str, Any]

_METHODS = ("get", "post", "put", "patch", "delete")
_PREFIX = "#/components/schemas/"


def page(document: Json, env_name: str, has_playground: bool) -> bytes:
    """The page of a document.

    Args:
        document: As `openapi.document` makes it.
        env_name: Name of the environment.
        has_playground: Whether `/web` is served, and so worth a link.
    """
    shown = _Page(document)
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{env_name}: API"),
        tag("link", rel="icon", href="data:,"),
        tag("link", rel="stylesheet", href="docs/docs.css"),
        tag("script", src="docs/docs.js", defer=True),
    )
    links = [tag("a", "openapi.json", href="openapi.json")]
    if has_playground:
        links.insert(0, tag("a", "Playground", href="web"))
    header = tag(
        "header",
        tag("h1", env_name, " ", tag("span", "API")),
        tag("nav", *links, aria_label="This server"),
    )
    body = tag(
        "body",
        tag("a", "Skip to the content", href="#content", class_="skip"),
        header,
        tag(
            "div",
            tag("nav", *shown.contents(), aria_label="Contents", class_="contents"),
            tag("main", *shown.sections(), id="content"),
            class_="layout",
        ),
    )
    return b"<!doctype html>\n" + tag("html", head, body, lang="en").encode()


class _Page:
    """Writes the parts of one page."""

    def __init__(self, document: Json) -> None:
        self._document = document
        self._schemas: Json = document["components"]["schemas"]

    def contents(self) -> Iterable[Markup]:
        """What there is, as lists of links."""
        http = [(f"op-{op['operationId']}", _title(method, path)) for method, path, op in self._operations()]
        websocket = [
            (f"message-{row['type']}", tag("code", row["type"]))
            for row in self._document["x-websocket"]["messages"]
        ]
        websocket += [
            ("ws-replies", Markup("Replies")),
            ("ws-errors", Markup("Error codes")),
            ("ws-close", Markup("Close codes")),
            ("ws-transcript", Markup("A session")),
        ]
        schemas = [(schema_id(name), tag("code", name)) for name in self._schemas]
        yield _linked("HTTP", "http", http)
        yield _linked("WebSocket", "websocket", websocket)
        yield _linked("JSON-RPC", "json-rpc", [])
        yield _linked("Schemas", "schemas", schemas)

    def sections(self) -> Iterable[Markup]:
        """Everything, in order."""
        yield self._start()
        yield self._http()
        yield self._websocket()
        yield self._json_rpc()
        yield self._all_schemas()

    def _operations(self) -> Iterable[tuple[str, str, Json]]:
        for path, methods in self._document["paths"].items():
            for method in _METHODS:
                if method in methods:
                    yield method.upper(), path, methods[method]

    def _resolve(self, reference: str) -> Any:
        return self._schemas.get(reference.removeprefix(_PREFIX), {})

    def _start(self) -> Markup:
        return tag(
            "section",
            tag("p", prose(self._document["info"]["description"]), class_="lead"),
            tag(
                "p",
                "In the lines below ",
                tag("code", "$URL"),
                " stands for the address of this server, ",
                tag("code", "http://localhost:8000", class_="base"),
                " for example.",
                class_="no-script",
            ),
            id="start",
            aria_label="Start",
        )

    # ---- HTTP --------------------------------------------------------------------------------

    def _http(self) -> Markup:
        parts: list[Markup] = []
        tags = {row["name"]: row.get("description", "") for row in self._document["tags"]}
        for name, text in tags.items():
            operations = [row for row in self._operations() if name in row[2]["tags"]]
            parts += [tag("h3", name), tag("p", prose(text))]
            parts += [self._operation(*row) for row in operations]
        return tag("section", tag("h2", "HTTP"), *parts, id="http")

    def _operation(self, method: str, path: str, operation: Json) -> Markup:
        content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        parts: list[Markup] = [tag("h4", _title(method, path)), tag("p", prose(operation["summary"]))]
        said = operation.get("description", "")
        if said and not self._said_by_tag(operation, said):
            parts.append(tag("p", prose(said)))
        if operation.get("parameters"):
            parts += [tag("h5", "Parameters"), self._parameters(operation["parameters"])]
        if content:
            required = operation["requestBody"]["required"]
            parts.append(
                tag("h5", "Request body", tag("small", f" JSON, {'required' if required else 'optional'}"))
            )
            parts.append(schema_table(content["schema"], self._resolve))
        if method in ("GET", "POST"):
            parts += [tag("h5", "Try it"), self._try(method, path, operation, content)]
        parts += [tag("h5", "Responses"), *map(self._response, operation["responses"].items())]
        return tag("article", *parts, id=f"op-{operation['operationId']}")

    def _said_by_tag(self, operation: Json, text: str) -> bool:
        """Whether the section's own introduction says it already."""
        told = {row["name"]: row.get("description", "") for row in self._document["tags"]}
        return any(text.strip() in told.get(name, "") for name in operation["tags"])

    def _parameters(self, parameters: list[Json]) -> Markup:
        fields = {row["name"]: {**row["schema"], "description": row["description"]} for row in parameters}
        required = [row["name"] for row in parameters if row["required"]]
        return schema_table({"properties": fields, "required": required}, self._resolve)

    def _try(self, method: str, path: str, operation: Json, content: Json) -> Markup:
        body = show_json(content["example"]) if "example" in content else "{}" if content else None
        filled = path
        for row in operation.get("parameters", ()):
            if row["in"] == "path":
                filled = filled.replace(f"{{{row['name']}}}", row["schema"]["enum"][0])
        line = f'curl "$URL{filled}"'
        if body is not None:
            flat = show_json(content.get("example", {}), None)
            line += f" -H 'content-type: application/json' -d {shlex.quote(flat)}"
        address = filled.lstrip("/")
        opened = tag("p", tag("a", "Open ", tag("code", filled), href=address)) if method == "GET" else None
        attributes = {"data_method": method, "data_path": address, "data_body": body}
        return tag("div", _code(line, "shell"), opened, class_="try", **attributes)

    def _response(self, row: tuple[str, Json]) -> Markup:
        status, response = row
        parts: list[Markup] = []
        for name, header in response.get("headers", {}).items():
            parts.append(tag("p", "Header ", tag("code", name), ": ", prose(header["description"])))
        for kind, content in response.get("content", {}).items():
            if status == "200":
                parts.append(tag("p", tag("code", kind)))
                parts.append(schema_table(content["schema"], self._resolve, received=True))
            else:
                parts.append(tag("p", tag("code", kind), ": ", type_text(content["schema"])))
            if "example" in content:
                parts.append(_code(show_json(content["example"]), "example"))
        summary = tag("summary", tag("b", status), " ", prose(response["description"]))
        return tag("details", summary, *parts, open=status == "200")

    # ---- WebSocket and JSON-RPC --------------------------------------------------------------

    def _websocket(self) -> Markup:
        websocket = self._document["x-websocket"]
        templates = {row["type"]: row.get("example", {"type": row["type"]}) for row in websocket["messages"]}
        errors = [
            (
                tag("code", row["code"]),
                prose(row["when"]),
                prose(row["do"]),
                row["session"],
                row.get("extra", ""),
            )
            for row in websocket["errors"]
        ]
        codes = [(tag("code", str(row["code"])), prose(row["when"])) for row in websocket["closeCodes"]]
        return tag(
            "section",
            tag("h2", "WebSocket ", tag("code", websocket["path"])),
            tag("p", prose(websocket["description"])),
            tag("div", class_="console", data_messages=show_json(templates, None)),
            tag("h3", "Messages"),
            *(
                self._message(row, "message", f"Answered by {row['answer']}.")
                for row in websocket["messages"]
            ),
            tag("h3", "Replies", id="ws-replies"),
            *(self._message(row, "reply", "") for row in websocket["replies"]),
            tag("h3", "Error codes", id="ws-errors"),
            tag("p", "The ", tag("code", "code"), " of an ", tag("code", "error"), " reply."),
            _table(("Code", "When", "What to do", "The session", "Beside it"), errors),
            tag("h3", "Close codes", id="ws-close"),
            _table(("Code", "When"), codes),
            tag("h3", "A session", id="ws-transcript"),
            tag("ol", *map(_turn, websocket["transcript"]), class_="transcript"),
            id="websocket",
        )

    def _message(self, row: Json, kind: str, answer: str) -> Markup:
        parts = [
            tag("h4", tag("code", row["type"])),
            tag("p", prose(row["summary"]), " ", prose(answer)),
            schema_table(row["schema"], self._resolve, received=kind == "reply"),
        ]
        if "example" in row:
            parts.append(_code(show_json(row["example"], None), "example"))
        return tag("article", *parts, id=f"{kind}-{row['type']}")

    def _json_rpc(self) -> Markup:
        rpc = self._document["x-json-rpc"]
        methods = [
            (tag("code", row["method"]), prose(row["params"]), prose(row["summary"]))
            for row in rpc["methods"]
        ]
        errors = [(tag("code", str(row["code"])), prose(row["when"])) for row in rpc["errors"]]
        return tag(
            "section",
            tag("h2", "JSON-RPC"),
            tag("p", prose(rpc["description"])),
            _table(("Method", "Parameters", "What it does"), methods),
            tag("h3", "Error codes of JSON-RPC"),
            _table(("Code", "When"), errors),
            id="json-rpc",
        )

    def _all_schemas(self) -> Markup:
        shown = [
            tag(
                "article",
                tag("h3", tag("code", name), _also(name, schema)),
                schema_table(schema, self._resolve),
                id=schema_id(name),
            )
            for name, schema in self._schemas.items()
        ]
        return tag("section", tag("h2", "Schemas"), *shown, id="schemas")


def _also(name: str, schema: Json) -> Markup | None:
    """The author's own name of a class, where it plays a role under another."""
    title = schema.get("title")
    return tag("small", f" {title}") if title and title != name else None


def _title(method: str, path: str) -> Markup:
    return join([tag("span", method, class_=f"method {method.lower()}"), " ", tag("code", path)])


def _linked(title: str, target: str, rows: list[tuple[str, Markup]]) -> Markup:
    items = [tag("li", tag("a", text, href=f"#{place}")) for place, text in rows]
    return join(
        [
            tag("p", tag("a", title, href=f"#{target}"), class_="part"),
            tag("ul", *items) if items else None,
        ]
    )


def _code(text: str, kind: str) -> Markup:
    # A region that may scroll has to be reachable with the keyboard.
    return tag("pre", tag("code", text), class_=f"code {kind}", tabindex="0")


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Markup:
    titles = tag("tr", *(tag("th", name, scope="col") for name in head))
    written = [
        tag(
            "tr",
            tag("th", row[0], scope="row"),
            *(tag("td", cell, data_label=name) for name, cell in zip(head[1:], row[1:], strict=True)),
        )
        for row in rows
    ]
    return tag("table", tag("thead", titles), tag("tbody", *written), class_="list")


def _turn(turn: Json) -> Markup:
    who = turn["from"]
    said = tag("code", show_json(turn["message"], None))
    return tag("li", tag("b", who), " ", said, class_=who)
