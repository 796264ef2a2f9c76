"""A manifest is read as YAML would read it, or refused with the line and what to do."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from openenv.errors import ManifestError
from openenv.manifest import Manifest, dump, parse

FULL = """\
# An environment.
---
spec_version: 1
name: my_env   # not the package's version
type: space
runtime: fastapi
app: server.app:app
port: 8000
version: 0.10
description: "Says \\"hello\\": #1\\u00e9"
validation:
  reward:
    range: [0.0, 1.0]
    oracle_tolerance: .5
  resources: {cpu: 1.0, memory_mb: 1024, note: 'it''s'}
  types:
    tags: [demo, "two words"]
steps:
- name: one
  wait: 3
- two
-
  - nested
  - ~
empty:
text: |
  first
    second

  third
folded: >-
  one
  two

  three
"""


def test_a_full_manifest_is_read_with_its_unknown_keys_kept() -> None:
    """Known keys become attributes; the rest is kept as it stands, in order."""
    manifest = parse(FULL)
    assert (manifest.spec_version, manifest.name, manifest.port) == (1, "my_env", 8000)
    assert manifest.app == "server.app:app"
    assert manifest.description == 'Says "hello": #1é'
    expected = yaml.safe_load(FULL)
    assert list(manifest.extra) == ["validation", "steps", "empty", "text", "folded"]
    assert dict(manifest.extra) == {key: expected[key] for key in manifest.extra}


def test_a_version_keeps_its_trailing_zero() -> None:
    """0.10 is a version, not the number 0.1."""
    assert parse("version: 0.10").version == "0.10"
    assert parse('version: "1.0.0"').version == "1.0.0"


def test_the_guides_own_manifest_needs_no_app() -> None:
    """Name, version and description are all that the guide shows; the app has a usual place."""
    manifest = parse('name: my_env\nversion: "1.0.0"\ndescription: My custom environment\n')
    assert manifest.app == "server.app:app"
    assert manifest.port is None
    assert manifest.description == "My custom environment"


def test_an_empty_manifest_is_all_defaults() -> None:
    """A file with comments only says nothing."""
    assert parse("") == parse("# nothing\n---\n") == Manifest()


def test_manifests_written_for_something_else_as_well_are_read() -> None:
    """Existing environments give a mapping as `runtime`, and numbers as texts; neither says how to serve."""
    manifest = parse(
        'spec_version: "1.0"\nport: "7860"\nversion: 1.0\nruntime:\n  framework: FastAPI\ntype:\n'
    )
    assert (manifest.spec_version, manifest.port, manifest.version) == (1, 7860, "1.0")
    assert (manifest.runtime, manifest.type) == ("fastapi", "space")
    assert manifest.extra == {"runtime": {"framework": "FastAPI"}}
    assert parse(dump(manifest)) == manifest


REFUSED = [
    ("name: a\nname: b\n", "line 2: 'name' is given twice"),
    ("name\n", "line 1: expected 'key: value', got 'name'"),
    ("- a\n- b\n", "line 1: expected 'key: value'"),
    ("name: a\n  port: 1\n", "line 1: .* holds a ': '"),
    ("name: a\n\tport: 1\n", "line 2: a tab"),
    ("name: [a, b\n", "line 1: '\\[' is opened and never closed"),
    ('name: "a\n', "line 1: '\"' is opened and never closed"),
    ('name: "a" b\n', "line 1: expected the end of the line"),
    ('name: "\\q"\n', "line 1: unknown escape"),
    ("x: &anchor 1\n", "line 1: anchors, aliases and tags are not supported"),
    ("x: !!python/object a\n", "line 1: anchors, aliases and tags"),
    ("x: @a\n", "line 1: a value cannot start with '@'"),
    ("a: 1\n---\nb: 2\n", "line 2: expected 'key: value', got a second document"),
    ("x: {a: 1 b: 2}\n", "line 1: "),
    ("x: [1 2, 3}\n", "line 1: "),
    ("port: eighty\n", "expected a whole number from 0 to 65535 as 'port', got 'eighty'"),
    ("port: 70000\n", "from 0 to 65535 as 'port', got 70000"),
    ("port: true\n", "as 'port', got True"),
    ("name: [a]\n", "expected text as 'name'"),
    ("app: server.app\n", "expected 'module:attribute' as 'app', got 'server.app'"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_what_cannot_be_read_is_refused_in_one_line(text: str, message: str) -> None:
    """The message names the file and, for a fault of form, the line."""
    with pytest.raises(ManifestError, match=message) as caught:
        parse(text, "some/openenv.yaml")
    assert str(caught.value).startswith("some/openenv.yaml")
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_nesting_without_end_is_refused() -> None:
    """The reader is not a way to overflow the stack."""
    for text in ("x: " + "[" * 5000 + "]" * 5000, "\n".join("  " * n + "a:" for n in range(500)) + " 1"):
        with pytest.raises(ManifestError, match="nested too deeply"):
            parse(text)


SAME_AS_PYYAML = [
    "a: 1\nb: -2\nc: +3\nd: 1.5\ne: .5\nf: 1.0e+3\n",
    "a: true\nb: False\nc: null\nd: ~\ne:\nf: Null\n",
    "a: 'x'\nb: 'it''s'\nc: \"tab\\there\"\nd: \"\\x41\\u00e9\\U0001F600\"\n",
    "a: x y z\nb: http://host:80/p#q\nc: a#b\nd: a - b\ne: 'a: b'\n",
    "a:\n  b:\n    c: 1\n  d: 2\ne: 3\n",
    "a:\n- 1\n- 2\nb:\n  - x\n  - y: 1\n    z: 2\n  - - 1\n    - 2\n",
    "a: [1, two, 'three', [4], {five: 5}]\nb: {}\nc: []\n",
    "a: [1,\n  2,   # two\n  3]\nb: {x: 1,\n    y: 2}\n",
    "a: |\n  one\n  two\nb: |-\n  one\nc: |+\n  one\n\nd: 1\n",
    "a: >\n  one\n  two\n\n  three\nb: >-\n  x\n  y\n",
    "a: |\n    four\n      six\n    four\nb: 1\n",
    "a: first\n  second\n  third\nb: 1\n",
    "\"quoted key\": 1\n'other': 2\nkey with blanks: 3\n",
    "a: 1 # comment\n# comment\n\n  # comment\nb: 2\n",
    "%YAML 1.1\n---\na: 1\n...\n",
    "a: ''\nb: \"\"\n",
    "a:\n  - name: x\n    args: [1]\n\n  - name: y\n",
    "a: -\n",
    "a: -x\nb: a's\nc: [it's, b]\n",
    "a: {b: {c: [1, {d: e}]}, f: g}\n",
]


@pytest.mark.parametrize("text", SAME_AS_PYYAML)
def test_what_is_read_is_what_pyyaml_reads(text: str) -> None:
    """PyYAML is the second opinion; its values decide."""
    try:
        expected = yaml.safe_load(text)
    except yaml.YAMLError:
        with pytest.raises(ManifestError):
            parse(text)
        return
    assert dict(parse(text).extra) == expected


TEXTS = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | TEXTS | st.floats(-1e6, 1e6).map(float),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(name=st.none() | TEXTS.filter(bool), extra=st.dictionaries(TEXTS.filter(bool), VALUES, max_size=3))
def test_a_written_manifest_is_read_back_as_it_was(name: str | None, extra: dict[str, Any]) -> None:
    """`parse(dump(m)) == m`, whatever its texts hold."""
    reserved = {"spec_version", "name", "type", "runtime", "app", "port", "version", "description"}
    extra = {key: value for key, value in extra.items() if key not in reserved}
    manifest = Manifest(name=name, port=8000, extra=extra)
    assert parse(dump(manifest)) == manifest


@settings(max_examples=300, deadline=None)
@given(st.text("ab:- \n#'\"[]{},|>&*0.\\", max_size=40))
def test_any_text_is_a_manifest_or_a_manifest_error(text: str) -> None:
    """Nothing else comes out; what both read as a mapping of texts and numbers, both read alike."""
    try:
        ours = parse(text)
    except ManifestError:
        return
    try:
        theirs = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):
        # PyYAML is stricter in places where nothing hangs on it.
        return
    if isinstance(theirs, dict) and all(isinstance(key, str) for key in theirs):
        assert set(ours.extra) == set(theirs)
        assert not isinstance(theirs, datetime.date)
