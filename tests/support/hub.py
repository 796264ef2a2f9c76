"""A stand-in for the Hugging Face Hub: the part of its HTTP API that a push of a Space needs, on 127.0.0.1.

In: requests of the real ``huggingface_hub`` client (0.34 to 2.4 have been seen to be content) under
``HF_ENDPOINT``. Out: Spaces in memory with every commit, what was asked, and faults on demand.

It keeps what the Hub keeps and refuses what the Hub refuses where a client can tell: tokens, names, front
matter, `parentCommit`, LFS objects that are named in a commit and were never uploaded. Binary and large
files are LFS files, as on the Hub; uploads go by ``basic``, or by ``multipart`` above ``part_bytes``, or by
Xet (see `tests.support.xet`). It knows nothing about models, data sets, builds and quotas.

Reference: the client's own source, which is what documents this API.
"""

from __future__ import annotations

import base64
import fnmatch
import hashlib
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

from tests.support.xet import XetStore

TOKEN = "hf_StandInTokenThatMayDoEverything"

_COLOURS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
_SDKS = {"gradio", "streamlit", "docker", "static"}
_NAME = re.compile(r"(?!.*(--|\.\.))(?!.*\.git$)[A-Za-z0-9_](?:[\w.-]{0,94}[A-Za-z0-9_])?")
_LFS_BYTES = 10 * 1024 * 1024
_GITATTRIBUTES = (
    "\n".join(
        f"*.{ending} filter=lfs diff=lfs merge=lfs -text"
        for ending in ("bin", "gz", "npy", "npz", "pt", "tar", "zip")
    ).encode()
    + b"\n"
)


@dataclass(frozen=True)
class Commit:
    """One commit, whole.

    Attributes:
        oid: 40 hexadecimal digits.
        title: First line of the message.
        description: The rest of it.
        files: Path to content, the files that LFS or Xet hold included.
        lfs: The paths whose content is not in git itself.
        parent: The commit before, or None.
    """

    oid: str
    title: str
    description: str
    files: Mapping[str, bytes]
    lfs: frozenset[str] = frozenset()
    parent: str | None = None


@dataclass
class Space:
    """One Space.

    Attributes:
        repo_id: ``namespace/name``.
        private: Who may see it.
        sdk: ``docker`` for all of ours.
        hardware: What it runs on.
        variables: Public settings.
        secrets: Settings that the Hub never shows.
        commits: The main branch, oldest first.
        pull_requests: What was proposed, oldest first; none is ever merged.
        objects: LFS objects by the sha256 of their content.
    """

    repo_id: str
    private: bool = False
    sdk: str = "docker"
    hardware: str = "cpu-basic"
    variables: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    commits: list[Commit] = field(default_factory=list)
    pull_requests: list[Commit] = field(default_factory=list)
    objects: dict[str, bytes] = field(default_factory=dict)

    @property
    def head(self) -> Commit:
        """The last commit of the main branch."""
        return self.commits[-1]

    @property
    def files(self) -> Mapping[str, bytes]:
        """The files of the main branch."""
        return self.head.files

    @property
    def subdomain(self) -> str:
        """Under hf.space."""
        return re.sub(r"[^a-z0-9]+", "-", self.repo_id.lower()).strip("-")


@dataclass(frozen=True)
class Asked:
    """One request as it came.

    Attributes:
        method: Of HTTP.
        path: Without the query.
        query: Parameters.
        body: All of it, or what came of it.
        user_agent: Which says the client's version.
        authorization: The header, or an empty string.
        status: What was answered; 0 where the connection was cut.
    """

    method: str
    path: str
    query: Mapping[str, str]
    body: bytes
    user_agent: str
    authorization: str
    status: int

    def __str__(self) -> str:
        return f"{self.method} {self.path} -> {self.status}"


@dataclass
class _Fault:
    method: str
    pattern: str
    times: int | None
    status: int = 0
    message: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    after_bytes: int | None = None
    for_good: bool = False

    def fits(self, method: str, path: str) -> bool:
        is_meant = re.fullmatch(self.method, method) and re.search(self.pattern, path)
        return self.times != 0 and is_meant is not None


class _Refusal(Exception):
    def __init__(self, status: int, message: str, code: str = "", body: object = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.body = status, message, code, body


@dataclass(frozen=True)
class _Request:
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


_Reply = tuple[int, object, Mapping[str, str]]


class HubStandIn:
    """The Hub while the context is open.

    Args:
        user: Whose token ``token`` is.
        orgs: Organisations in whose name the user may write.
        part_bytes: LFS objects larger than this are uploaded in parts of this size; None: never.

    Attributes:
        url: For ``HF_ENDPOINT``.
        token: The only token that is known; it belongs to ``user``.
        spaces: By repo id.
        asked: Every request so far, in order of arrival.
    """

    def __init__(
        self, user: str = "author", orgs: Sequence[str] = (), *, part_bytes: int | None = None
    ) -> None:
        self.user = user
        self.orgs = tuple(orgs)
        self.token = TOKEN
        self.part_bytes = part_bytes
        self.spaces: dict[str, Space] = {}
        self.asked: list[Asked] = []
        self.xet = XetStore()
        self._faults: list[_Fault] = []
        self._parts: dict[str, dict[int, bytes]] = {}
        self._lock = threading.RLock()
        self._faulty: list[BaseException] = []
        self._server = _Server(("127.0.0.1", 0), self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> HubStandIn:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        assert not self._faulty, f"the stand-in itself failed: {self._faulty!r}"

    # -- what a test says -------------------------------------------------------------------

    @property
    def environment(self) -> dict[str, str]:
        """Variables under which the real client speaks with this Hub, as its user, and leaves no traces."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_TOKEN": self.token,
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
            "NO_PROXY": "127.0.0.1",
        }

    def make(self, repo_id: str, files: Mapping[str, bytes] | None = None, **settings: Any) -> Space:
        """A Space that is there already, with one commit."""
        space = Space(repo_id, **settings)
        self.spaces[repo_id] = space
        self._commit(space, "initial commit", "", {".gitattributes": _GITATTRIBUTES, **(files or {})})
        return space

    def fail(
        self,
        method: str,
        pattern: str,
        status: int,
        message: str = "no",
        *,
        times: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Answer requests with an error from now on.

        Args:
            method: Of HTTP.
            pattern: Regular expression, searched in the path.
            status: 400 to 599.
            message: What the Hub says, in the body and in ``X-Error-Message``.
            times: How often; None: always.
            headers: Further ones.
        """
        self._faults.append(_Fault(method, pattern, times, status, message, headers or {}))

    def cut(
        self,
        method: str,
        pattern: str,
        *,
        after_bytes: int | None = 0,
        times: int | None = None,
        for_good: bool = False,
    ) -> None:
        """Reset the connection of requests from now on.

        Args:
            method: Of HTTP.
            pattern: Regular expression, searched in the path.
            after_bytes: When so many bytes of the body have come; None: when all of it has been done and the
                answer is what gets lost.
            times: How often; None: always.
            for_good: Whether every request after the first of these is reset, too, whatever it is.
        """
        self._faults.append(_Fault(method, pattern, times, after_bytes=after_bytes, for_good=for_good))

    def heal(self) -> None:
        """End all faults."""
        self._faults.clear()

    def export(self, folder: Path, repo_id: str, *, pointers: bool = False) -> str:
        """Write a Space as a git repository, commit by commit, such that ``git+file://`` can be installed.

        Args:
            folder: Made if need be; must be empty.
            repo_id: Of the Space.
            pointers: Whether LFS files are the small texts that git itself holds, which is what a clone
                without git-lfs sees. By default they are there, as they are in a Space's own build.

        Returns:
            The ``git+file://`` URL of the repository.
        """
        folder.mkdir(parents=True, exist_ok=True)
        _git(folder, "init", "-q", "-b", "main")
        for commit in self.spaces[repo_id].commits:
            for path in folder.iterdir():
                if path.name != ".git":
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            for name, content in commit.files.items():
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(_pointer(content) if pointers and name in commit.lfs else content)
            _git(folder, "add", "-f", "--all", ".")
            _git(folder, "commit", "-q", "--allow-empty", "-m", commit.title)
        return f"git+file://{folder.resolve()}"

    # -- what the server does ---------------------------------------------------------------

    def answer(self, request: _Request) -> _Reply:
        """The answer to one request."""
        with self._lock:
            try:
                for method, pattern, open_to_all, handler in _ROUTES:
                    match = re.fullmatch(pattern, request.path)
                    if match is not None and method == request.method:
                        if not open_to_all:
                            self._authenticate(request)
                        return handler(self, request, *(unquote(group or "") for group in match.groups()))
                raise _Refusal(404, "Sorry, we can't find the page you are looking for.")
            except _Refusal as refusal:
                headers = {"X-Error-Message": refusal.message}
                if refusal.code:
                    headers["X-Error-Code"] = refusal.code
                return refusal.status, refusal.body or {"error": refusal.message}, headers

    def fault(self, method: str, path: str) -> _Fault | None:
        """What is to go wrong with a request, if anything."""
        with self._lock:
            for fault in self._faults:
                if fault.fits(method, path):
                    if fault.times is not None:
                        fault.times -= 1
                    if fault.for_good:
                        self._faults = [_Fault(".*", "", None, after_bytes=0)]
                    return fault
        return None

    def note(self, asked: Asked) -> None:
        """Write down a request."""
        with self._lock:
            self.asked.append(asked)

    def broke(self, error: BaseException) -> None:
        """Write down a fault of the stand-in itself; the test fails with it at the end."""
        self._faulty.append(error)

    def _authenticate(self, request: _Request) -> None:
        if request.headers.get("authorization") != f"Bearer {self.token}":
            raise _Refusal(401, "Invalid credentials in Authorization header")

    def _space(self, repo_id: str) -> Space:
        if repo_id not in self.spaces:
            raise _Refusal(404, "Repository not found", "RepoNotFound")
        return self.spaces[repo_id]

    def _may_write(self, repo_id: str, what: str) -> None:
        namespace = repo_id.partition("/")[0]
        if namespace != self.user and namespace not in self.orgs:
            raise _Refusal(403, f'You don\'t have the rights to {what} under the namespace "{namespace}"')

    def _commit(
        self,
        space: Space,
        title: str,
        description: str,
        files: Mapping[str, bytes],
        lfs: frozenset[str] = frozenset(),
        proposed: bool = False,
    ) -> Commit:
        parent = space.commits[-1].oid if space.commits else None
        text = json.dumps([parent, title, description, len(self.asked), *sorted(files)]).encode()
        commit = Commit(hashlib.sha1(text).hexdigest(), title, description, dict(files), lfs, parent)
        (space.pull_requests if proposed else space.commits).append(commit)
        return commit

    def whoami(self, request: _Request) -> _Reply:
        """Who the token belongs to."""
        body = {
            "type": "user",
            "id": "0123456789abcdef01234567",
            "name": self.user,
            "fullname": self.user.title(),
            "orgs": [{"type": "org", "id": "0", "name": org, "roleInOrg": "admin"} for org in self.orgs],
            "auth": {"type": "access_token", "accessToken": {"displayName": "test", "role": "write"}},
        }
        return 200, body, {}

    def create(self, request: _Request) -> _Reply:
        """Make a Space."""
        asked = request.json()
        repo_id = f"{asked.get('organization') or self.user}/{asked['name']}"
        if not _NAME.fullmatch(asked["name"]):
            raise _Refusal(400, f"Invalid repo name: {asked['name']}")
        assert asked["type"] == "space", f"only Spaces are made here, got {asked['type']}"
        self._may_write(repo_id, "create a space")
        url = f"{self.url}/spaces/{repo_id}"
        if repo_id in self.spaces:
            message = "You already created this space repo"
            raise _Refusal(409, message, body={"error": message, "url": url})
        self.make(
            repo_id,
            private=asked.get("visibility", "public") == "private" or bool(asked.get("private")),
            sdk=asked["sdk"],
            hardware=asked.get("hardware") or "cpu-basic",
            variables={item["key"]: item["value"] for item in asked.get("variables") or ()},
            secrets={item["key"]: item["value"] for item in asked.get("secrets") or ()},
        )
        return 200, {"url": url, "name": repo_id, "id": "0"}, {}

    def delete(self, request: _Request) -> _Reply:
        """Remove a Space."""
        asked = request.json()
        repo_id = f"{asked.get('organization') or self.user}/{asked['name']}"
        self._may_write(repo_id, "delete a space")
        del self.spaces[self._space(repo_id).repo_id]
        return 200, "OK", {}

    def validate_yaml(self, request: _Request) -> _Reply:
        """Check a README's front matter, as a Space's is checked."""
        match = re.match(
            r"---[ \t]*\r?\n(.*?)^---[ \t]*$", request.json()["content"], re.DOTALL | re.MULTILINE
        )
        if match is None:
            return 200, {"errors": [], "warnings": [{"message": "empty or missing yaml metadata"}]}, {}
        errors = []
        try:
            card = yaml.safe_load(match[1])
        except yaml.YAMLError as error:
            card, errors = {}, [f"YAML: {error}"]
        if not isinstance(card, dict):
            card, errors = {}, ["metadata is not a mapping"]
        for key, allowed in (("sdk", _SDKS), ("colorFrom", _COLOURS), ("colorTo", _COLOURS)):
            if key in card and card[key] not in allowed:
                errors.append(f'"{key}" must be one of [{", ".join(sorted(allowed))}]')
        if "app_port" in card and not (isinstance(card["app_port"], int) and 0 < card["app_port"] < 65536):
            errors.append('"app_port" must be a port')
        if len(str(card.get("short_description", ""))) > 60:
            errors.append('"short_description" length must be less than or equal to 60 characters long')
        body = {"errors": [{"message": text} for text in errors], "warnings": []}
        return (400 if errors else 200), body, {}

    def info(self, request: _Request, repo_id: str, revision: str = "") -> _Reply:
        """Describe a Space."""
        space = self._space(repo_id)
        if revision not in ("", "main", space.head.oid):
            raise _Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        body = {
            "id": repo_id,
            "author": repo_id.partition("/")[0],
            "sha": space.head.oid,
            "private": space.private,
            "sdk": space.sdk,
            "subdomain": space.subdomain,
            "host": f"https://{space.subdomain}.hf.space",
            "siblings": [{"rfilename": name} for name in space.files],
            "runtime": {"stage": "BUILDING", "hardware": {"current": None, "requested": space.hardware}},
            "xetEnabled": True,
        }
        return 200, body, {}

    def tree(self, request: _Request, repo_id: str, revision: str, below: str = "") -> _Reply:
        """List the files of the main branch."""
        space = self._space(repo_id)
        entries = []
        for name, content in sorted(space.files.items()):
            entry: dict[str, Any] = {"type": "file", "path": name, "size": len(content), "oid": _oid(content)}
            if name in space.head.lfs:
                digest = hashlib.sha256(content).hexdigest()
                entry["lfs"] = {"oid": digest, "size": len(content), "pointerSize": len(_pointer(content))}
            if not below or name.startswith(f"{below}/"):
                entries.append(entry)
        return 200, entries, {}

    def commits(self, request: _Request, repo_id: str, revision: str) -> _Reply:
        """List the commits of the main branch, the last one first."""
        listed = [
            {
                "id": commit.oid,
                "title": commit.title,
                "message": commit.description,
                "authors": [{"user": self.user}],
                "date": "2026-01-01T00:00:00.000Z",
            }
            for commit in reversed(self._space(repo_id).commits)
        ]
        return 200, listed, {}

    def resolve(self, request: _Request, repo_id: str, revision: str, name: str) -> _Reply:
        """Give a file's content."""
        files = self._space(repo_id).files
        if name not in files:
            raise _Refusal(404, "Entry not found", "EntryNotFound")
        return 200, files[name], {"X-Repo-Commit": self._space(repo_id).head.oid}

    def preupload(self, request: _Request, repo_id: str, revision: str) -> _Reply:
        """Say of each file how it is to be uploaded, whether it is ignored, and what is there now."""
        space = self._space(repo_id)
        if not request.query.get("create_pr"):
            self._may_write(repo_id, "push")
        asked = request.json()
        ignored = _patterns(asked.get("gitIgnore", ""))
        files = []
        for file in asked["files"]:
            name, size = file["path"], file["size"]
            binary = b"\0" in base64.b64decode(file["sample"])
            large = size > _LFS_BYTES or binary or _is_tracked(space.files.get(".gitattributes", b""), name)
            current = space.files.get(name)
            oid = None
            if current is not None:
                oid = hashlib.sha256(current).hexdigest() if name in space.head.lfs else _oid(current)
            files.append(
                {
                    "path": name,
                    "uploadMode": "lfs" if large else "regular",
                    "shouldIgnore": any(_is_ignored(name, pattern) for pattern in ignored),
                    **({"oid": oid} if oid else {}),
                }
            )
        return 200, {"files": files}, {}

    def lfs_batch(self, request: _Request, repo_id: str) -> _Reply:
        """Say where LFS objects are to be uploaded."""
        space = self._space(repo_id)
        asked = request.json()
        objects = []
        for item in asked["objects"]:
            oid, size = item["oid"], item["size"]
            entry: dict[str, Any] = {"oid": oid, "size": size}
            base = f"{self.url}/lfs/{repo_id}/{oid}"
            if oid not in space.objects:
                upload: dict[str, Any] = {"href": base}
                if self.part_bytes is not None and size > self.part_bytes:
                    upload = {"href": f"{base}/complete", "header": {"chunk_size": str(self.part_bytes)}}
                    for number in range(1, -(-size // self.part_bytes) + 1):
                        upload["header"][f"{number:05d}"] = f"{base}/{number}"
                entry["actions"] = {"upload": upload, "verify": {"href": f"{base}/verify"}}
            objects.append(entry)
        return 200, {"transfer": "multipart" if self.part_bytes else "basic", "objects": objects}, {}

    def lfs_put(self, request: _Request, repo_id: str, oid: str) -> _Reply:
        """Take an LFS object as a whole."""
        return self._store(repo_id, oid, request.body)

    def lfs_part(self, request: _Request, repo_id: str, oid: str, number: str) -> _Reply:
        """Take a part of an LFS object."""
        self._parts.setdefault(oid, {})[int(number)] = request.body
        return 200, b"", {"ETag": f'"{hashlib.md5(request.body).hexdigest()}"'}

    def lfs_complete(self, request: _Request, repo_id: str, oid: str) -> _Reply:
        """Put an LFS object together."""
        parts = self._parts.pop(oid)
        named = {part["partNumber"]: part["etag"] for part in request.json()["parts"]}
        etags = {number: f'"{hashlib.md5(part).hexdigest()}"' for number, part in parts.items()}
        if named != etags:
            raise _Refusal(400, "parts do not fit")
        return self._store(repo_id, oid, b"".join(parts[number] for number in sorted(parts)))

    def lfs_verify(self, request: _Request, repo_id: str, oid: str) -> _Reply:
        """Say whether an LFS object is there."""
        held = self._space(repo_id).objects.get(oid)
        if held is None or len(held) != request.json()["size"]:
            raise _Refusal(404, "object not found")
        return 200, {}, {}

    def _store(self, repo_id: str, oid: str, content: bytes) -> _Reply:
        if hashlib.sha256(content).hexdigest() != oid:
            raise _Refusal(400, "content does not fit its sha256")
        self._space(repo_id).objects[oid] = content
        return 200, b"", {}

    def commit(self, request: _Request, repo_id: str, revision: str) -> _Reply:
        """Take a commit, whole or not at all."""
        space = self._space(repo_id)
        proposed = bool(request.query.get("create_pr"))
        if not proposed:
            self._may_write(repo_id, "push")
        files, lfs = dict(space.files), set(space.head.lfs)
        title = description = ""
        for line in request.body.splitlines():
            item = json.loads(line)
            value = item["value"]
            name = value.get("path", "")
            if item["key"] == "header":
                title, description = value["summary"], value["description"]
                if value.get("parentCommit") not in (None, space.head.oid):
                    raise _Refusal(412, "A commit has happened since. Please refresh and try again.")
            elif item["key"] == "file":
                files[name] = base64.b64decode(value["content"], validate=True)
                lfs.discard(name)
                if b"\0" in files[name]:
                    raise _Refusal(400, f"binary files go to LFS or Xet: {name}")
            elif item["key"] == "lfsFile":
                held = space.objects.get(value["oid"])
                content = self.xet.files.get(value["oid"]) if held is None else held
                if content is None:
                    raise _Refusal(400, f"LFS pointer pointed to a file that does not exist: {value['oid']}")
                files[name] = content
                lfs.add(name)
            elif item["key"] in ("deletedFile", "deletedFolder"):
                gone = [path for path in files if path == name or path.startswith(f"{name.rstrip('/')}/")]
                if not gone:
                    raise _Refusal(404, "A file with this name doesn't exist", "EntryNotFound")
                for path in gone:
                    del files[path]
                    lfs.discard(path)
            else:
                raise _Refusal(400, f"unknown key {item['key']}")
        if not title:
            raise _Refusal(400, "a commit needs a summary")
        done = self._commit(space, title, description, files, frozenset(lfs), proposed)
        body = {
            "success": True,
            "commitOid": done.oid,
            "commitUrl": f"{self.url}/spaces/{repo_id}/commit/{done.oid}",
            "hookOutput": "",
        }
        if proposed:
            body["pullRequestUrl"] = f"{self.url}/spaces/{repo_id}/discussions/{len(space.pull_requests)}"
        return 200, body, {}

    def duplicate(self, request: _Request, repo_id: str) -> _Reply:
        """Copy a Space."""
        source = self._space(repo_id)
        asked = request.json()
        target = asked["repository"]
        self._may_write(target, "create a space")
        url = f"{self.url}/spaces/{target}"
        if target in self.spaces:
            message = "You already created this space repo"
            raise _Refusal(409, message, body={"error": message, "url": url})
        said = asked.get("visibility", {True: "private", False: "public"}.get(asked.get("private")))
        private = source.private if said is None else said == "private"
        variables = {item["key"]: item["value"] for item in asked.get("variables") or ()}
        made = Space(
            target,
            private,
            source.sdk,
            asked.get("hardware") or source.hardware,
            {**source.variables, **variables},
            {item["key"]: item["value"] for item in asked.get("secrets") or ()},
            list(source.commits),
        )
        self.spaces[target] = made
        return 200, {"url": url, "name": target}, {}

    def variables(self, request: _Request, repo_id: str) -> _Reply:
        """Set or list variables."""
        space = self._space(repo_id)
        if request.method == "POST":
            self._may_write(repo_id, "set variables")
            space.variables[request.json()["key"]] = request.json()["value"]
        shown = {key: {"key": key, "value": value} for key, value in space.variables.items()}
        return 200, shown, {}

    def secrets(self, request: _Request, repo_id: str) -> _Reply:
        """Set a secret."""
        self._may_write(repo_id, "set secrets")
        self._space(repo_id).secrets[request.json()["key"]] = request.json()["value"]
        return 200, {}, {}

    def hardware(self, request: _Request, repo_id: str) -> _Reply:
        """Ask for hardware."""
        self._may_write(repo_id, "change hardware")
        self._space(repo_id).hardware = request.json()["flavor"]
        current = {"current": "cpu-basic", "requested": self._space(repo_id).hardware}
        return 200, {"stage": "BUILDING", "hardware": current, "sleepTimeSeconds": None}, {}

    def xet_token(self, request: _Request, repo_id: str, revision: str = "") -> _Reply:
        """Give a token for the Xet store, which lives here too."""
        self._space(repo_id)
        if not request.query.get("create_pr"):
            self._may_write(repo_id, "push")
        expiry, token, cas = 4_000_000_000, "xet-stand-in", f"{self.url}/cas"
        body = {"accessToken": token, "exp": expiry, "casUrl": cas}
        headers = {"X-Xet-Cas-Url": cas, "X-Xet-Access-Token": token, "X-Xet-Token-Expiration": str(expiry)}
        return 200, body, headers

    def cas(self, request: _Request, path: str) -> _Reply:
        """The Xet store itself."""
        status, body = self.xet.answer(request.method, path, request.body)
        return status, body, {}


_ID = r"([^/]+/[^/]+)"
_ROUTES: tuple[tuple[str, str, bool, Callable[..., _Reply]], ...] = (
    ("GET", r"/api/whoami-v2", False, HubStandIn.whoami),
    ("POST", r"/api/repos/create", False, HubStandIn.create),
    ("DELETE", r"/api/repos/delete", False, HubStandIn.delete),
    ("POST", r"/api/validate-yaml", True, HubStandIn.validate_yaml),
    ("GET", rf"/api/spaces/{_ID}", False, HubStandIn.info),
    ("GET", rf"/api/spaces/{_ID}/revision/([^/]+)", False, HubStandIn.info),
    ("GET", rf"/api/spaces/{_ID}/tree/([^/]+)(?:/(.+))?", False, HubStandIn.tree),
    ("GET", rf"/api/spaces/{_ID}/commits/([^/]+)", False, HubStandIn.commits),
    ("GET", rf"/spaces/{_ID}/resolve/([^/]+)/(.+)", False, HubStandIn.resolve),
    ("POST", rf"/api/spaces/{_ID}/preupload/([^/]+)", False, HubStandIn.preupload),
    ("POST", rf"/api/spaces/{_ID}/commit/([^/]+)", False, HubStandIn.commit),
    ("POST", rf"/spaces/{_ID}\.git/info/lfs/objects/batch", False, HubStandIn.lfs_batch),
    # Signed URLs of another host on the Hub: no token is sent there.
    ("PUT", rf"/lfs/{_ID}/([0-9a-f]{{64}})", True, HubStandIn.lfs_put),
    ("PUT", rf"/lfs/{_ID}/([0-9a-f]{{64}})/([0-9]+)", True, HubStandIn.lfs_part),
    ("POST", rf"/lfs/{_ID}/([0-9a-f]{{64}})/complete", True, HubStandIn.lfs_complete),
    ("POST", rf"/lfs/{_ID}/([0-9a-f]{{64}})/verify", False, HubStandIn.lfs_verify),
    ("POST", rf"/api/spaces/{_ID}/duplicate", False, HubStandIn.duplicate),
    ("GET", rf"/api/spaces/{_ID}/variables", False, HubStandIn.variables),
    ("POST", rf"/api/spaces/{_ID}/variables", False, HubStandIn.variables),
    ("POST", rf"/api/spaces/{_ID}/secrets", False, HubStandIn.secrets),
    ("POST", rf"/api/spaces/{_ID}/hardware", False, HubStandIn.hardware),
    ("GET", rf"/api/spaces/{_ID}/xet-write-token(?:/([^/]+))?", False, HubStandIn.xet_token),
    *((method, r"/cas(/.+)", True, HubStandIn.cas) for method in ("GET", "HEAD", "POST")),
)
"""Method, path, whether it needs no token, and what answers."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], hub: HubStandIn) -> None:
        self.hub = hub
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no fault of anybody; all else was written down by the handler."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        path = url.path
        fault = self.server.hub.fault(self.command, unquote(path))
        if fault is not None and fault.after_bytes is not None:
            self._note(path, url.query, self._read(fault.after_bytes), 0)
            self._reset()
            return
        body = self._read()
        if fault is not None and fault.status:
            headers = {"X-Error-Message": fault.message, **fault.headers}
            reply: _Reply = (fault.status, {"error": fault.message}, headers)
        else:
            query = {key: values[-1] for key, values in parse_qs(url.query).items()}
            sent = {key.lower(): value for key, value in self.headers.items()}
            try:
                reply = self.server.hub.answer(_Request(self.command, path, query, sent, body))
            except Exception as error:
                self.server.hub.broke(error)
                reply = (500, {"error": repr(error)}, {})
        lost = fault is not None and not fault.status
        self._note(path, url.query, body, 0 if lost else reply[0])
        if lost:
            self._reset()
        else:
            self._send(*reply)

    do_POST = do_PUT = do_DELETE = do_HEAD = do_GET  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: requests are in `asked`."""

    def _read(self, at_most: int | None = None) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return self._read_chunks(at_most)
        length = int(self.headers.get("Content-Length") or 0)
        return self.rfile.read(length if at_most is None else min(length, at_most))

    def _read_chunks(self, at_most: int | None) -> bytes:
        body = b""
        while at_most is None or len(body) < at_most:
            size = int(self.rfile.readline().partition(b";")[0], 16)
            body += self.rfile.read(size)
            self.rfile.readline()
            if not size:
                break
        return body

    def _send(self, status: int, body: object, headers: Mapping[str, str]) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header(
            "Content-Type", "application/octet-stream" if content is body else "application/json"
        )
        self.send_header("Content-Length", str(len(content)))
        self.send_header("X-Request-Id", "Root=1-stand-in")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _reset(self) -> None:
        # No linger: the peer gets a reset, as from a network that is gone.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def _note(self, path: str, query: str, body: bytes, status: int) -> None:
        parameters = {key: values[-1] for key, values in parse_qs(query).items()}
        agent = self.headers.get("User-Agent", "")
        secret = self.headers.get("Authorization", "")
        self.server.hub.note(Asked(self.command, unquote(path), parameters, body, agent, secret, status))


def _oid(content: bytes) -> str:
    """The name git gives to a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _pointer(content: bytes) -> bytes:
    """What git holds of an LFS file (git-lfs, docs/spec.md)."""
    digest = hashlib.sha256(content).hexdigest()
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(content)}\n".encode()


def _is_tracked(gitattributes: bytes, name: str) -> bool:
    rules = [line.split() for line in gitattributes.decode().splitlines() if "filter=lfs" in line]
    return any(fnmatch.fnmatch(name.rpartition("/")[2], rule[0]) for rule in rules)


def _patterns(gitignore: str) -> list[str]:
    lines = (line.strip() for line in gitignore.splitlines())
    return [line for line in lines if line and not line.startswith(("#", "!"))]


def _is_ignored(name: str, pattern: str) -> bool:
    """Good enough to see that a client was told: by the name of a file, or of a folder it is in."""
    parts = name.split("/")
    bare = pattern.strip("/")
    return fnmatch.fnmatch(name, bare) or any(fnmatch.fnmatch(part, bare) for part in parts)


def _git(folder: Path, *arguments: str) -> None:
    """Git as on a machine where nobody set anything."""
    settings = {"user.name": "test", "user.email": "test@localhost", "core.autocrlf": "false"}
    lfs = {"filter.lfs.clean": "cat", "filter.lfs.smudge": "cat", "filter.lfs.process": ""}
    words = [word for item in {**settings, **lfs}.items() for word in ("-c", "=".join(item))]
    clean = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    subprocess.run(
        ["git", *words, *arguments],
        cwd=folder,
        env={**clean, "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull},
        check=True,
        capture_output=True,
    )
