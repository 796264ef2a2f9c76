"""The Hugging Face Hub, as far as deploying to a Space needs it.

In: names, files, settings. Out: what the Hub made of them, or a `HubError` of one line that says what to do.
It is the only module that knows the `huggingface_hub` package, and imports it when a `Hub` is made; versions
from 0.34 to 2.4 are known to work. It knows nothing about environments, manifests and the command line.

Secrets go to the Hub and nowhere else: texts of errors are searched for them before they are shown, and what
the library raised while it held them is not chained to our error.

Limits: one commit holds all that is pushed, up to what the Hub takes in one request (some hundred MB of text;
binary files go beside it, in pieces). An idle network is given up after `_TIMEOUT_S`; one that is gone within
half a minute, or some minutes in the middle of a binary file, because the library tries again.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from openenv.config import environ, huggingface_token
from openenv.errors import ConfigurationError, HubError

__all__ = ["Account", "Hub", "Pushed", "RemoteSpace", "check_repo_id", "subdomain"]

_SPACE = "space"
_TIMEOUT_S = 120.0
_MAX_ID_LENGTH = 96
_PART = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?")
_KEPT_REMOTE_FILES = frozenset({".gitattributes"})
_MISSING = 'this needs the huggingface_hub package; run: pip install "openenv-runtime[hub]"'


@dataclass(frozen=True, slots=True)
class Account:
    """Who is logged in.

    Attributes:
        name: The user's name.
        organizations: In whose names the user may write, too.
    """

    name: str
    organizations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RemoteSpace:
    """A Space as it is on the Hub.

    Attributes:
        repo_id: `namespace/name`.
        private: Whether only its owners see it.
        commit: The last commit's name, 40 hexadecimal digits.
        url: Where it is served, without a slash at the end.
        page: Its page on the Hub.
    """

    repo_id: str
    private: bool
    commit: str
    url: str
    page: str


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push left behind.

    Attributes:
        commit_url: Page of the commit; of the last one if there was nothing to do.
        pull_request_url: Page of the pull request, if that is what was asked for.
        is_new: False where the Space held the same files already.
    """

    commit_url: str
    pull_request_url: str | None
    is_new: bool


def check_repo_id(repo_id: str, where: str = "--repo-id") -> str:
    """Give a name back if the Hub can have a repository of that name.

    Args:
        repo_id: `name` or `namespace/name`.
        where: What it comes from, for the message.

    Raises:
        ConfigurationError: It cannot.
    """
    parts = repo_id.split("/")
    if len(parts) > 2:
        raise ConfigurationError(f"expected namespace/name as {where}, got {repo_id!r}; leave the rest out")
    for part in parts:
        if not _PART.fullmatch(part) or "--" in part or ".." in part or part.endswith(".git"):
            raise ConfigurationError(
                f"expected name or namespace/name as {where}, got {repo_id!r}; names are letters, digits and "
                f"single '-', '.' or '_' between them"
            )
    if len(repo_id) > _MAX_ID_LENGTH:
        raise ConfigurationError(
            f"expected at most {_MAX_ID_LENGTH} characters as {where}, got {len(repo_id)}; shorten it"
        )
    return repo_id


def subdomain(repo_id: str) -> str:
    """What a Space is called below hf.space and in the registry, where the Hub has not said it itself."""
    return re.sub(r"[^a-z0-9]+", "-", repo_id.lower()).strip("-")


class Hub:
    """The Hub, as the user whose token is on this machine.

    Args:
        progress: Whether uploads may draw bars on standard error.
        secrets: Values that no message may ever hold; the token is one of them by itself.

    Raises:
        HubError: `huggingface_hub` is not installed, or nobody is logged in.
    """

    def __init__(self, progress: bool = False, secrets: Sequence[str] = ()) -> None:
        self._library = _imported("huggingface_hub")
        token = huggingface_token()
        if token is None:
            raise HubError(
                "not logged in to the Hugging Face Hub; run 'hf auth login', or set HF_TOKEN to a token with "
                "write access from https://huggingface.co/settings/tokens"
            )
        values = {token, *secrets, *(" ".join(secret.split()) for secret in secrets)} - {""}
        # The longest first, so that none is left half shown by another that is a part of it.
        self._hidden = sorted(values, key=len, reverse=True)
        self._api: Any = self._library.HfApi(endpoint=environ().get("HF_ENDPOINT") or None, token=token)
        self.endpoint: str = self._api.endpoint
        if not self.endpoint.startswith(("http://", "https://")):
            raise ConfigurationError(f"expected an http or https URL as HF_ENDPOINT, got {self.endpoint!r}")
        # Its notices of every retry would be lines on standard error that say nothing to do.
        self._library.logging.set_verbosity_error()
        utils = _imported("huggingface_hub.utils")
        with warnings.catch_warnings():
            # HF_HUB_DISABLE_PROGRESS_BARS is the user's word, and comes first.
            warnings.simplefilter("ignore")
            (utils.enable_progress_bars if progress else utils.disable_progress_bars)()
        errors = _imported("huggingface_hub.errors")
        self._status_error: type[Exception] = errors.HfHubHTTPError
        self._not_found: type[Exception] = errors.RepositoryNotFoundError
        # Versions of the library stand on different HTTP libraries; their errors are its errors' bases.
        bases = (base for base in self._status_error.__mro__ if issubclass(base, Exception))
        network = tuple(base for base in bases if base is not Exception)
        self._errors = (*network, RuntimeError, ValueError)

    def page(self, repo_id: str) -> str:
        """The Space's page."""
        return f"{self.endpoint}/spaces/{repo_id}"

    def account(self) -> Account:
        """Ask who the token belongs to.

        Raises:
            HubError: The token is not accepted, or the Hub cannot be reached.
        """
        with self._asking("asking who is logged in"):
            answer = self._api.whoami()
        names = tuple(item["name"] for item in answer.get("orgs", ()) if "name" in item)
        return Account(answer["name"], names)

    def find(self, repo_id: str) -> RemoteSpace | None:
        """Look at a Space; None where there is none that this user may see.

        Raises:
            HubError: The Hub refuses, or cannot be reached.
        """
        with self._asking(f"looking for {repo_id}"):
            try:
                info = self._api.space_info(repo_id)
            except self._not_found:
                return None
        url = info.host or f"https://{info.subdomain or subdomain(repo_id)}.hf.space"
        return RemoteSpace(repo_id, bool(info.private), info.sha or "", url.rstrip("/"), self.page(repo_id))

    def create(
        self,
        repo_id: str,
        *,
        private: bool = False,
        hardware: str | None = None,
        variables: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
    ) -> None:
        """Make a Space of the docker kind, with its settings; it holds no files yet.

        Args:
            repo_id: `namespace/name`.
            private: Whether only its owners see it, whatever the namespace's default is.
            hardware: The Hub's word for it, as `cpu-basic`; None for the free one.
            variables: Public settings.
            secrets: Settings that are never shown.

        Raises:
            HubError: It exists, the token may not, it is not paid for, or the Hub cannot be reached.
        """
        settings = {"space_hardware": hardware, "space_variables": variables, "space_secrets": secrets}
        with self._asking(f"creating {repo_id}", confidential=True):
            self._api.create_repo(
                repo_id, repo_type=_SPACE, space_sdk="docker", private=private or None, **_said(settings)
            )

    def remove(self, repo_id: str) -> None:
        """Remove a Space and all that is in it.

        Raises:
            HubError: The Hub refuses, or cannot be reached.
        """
        with self._asking(f"removing {repo_id}"):
            self._api.delete_repo(repo_id, repo_type=_SPACE, missing_ok=True)

    def commit(
        self,
        space: RemoteSpace,
        files: Mapping[str, Path],
        message: str,
        *,
        delete: Sequence[str] = (),
        create_pr: bool = False,
    ) -> Pushed:
        """Upload files in one commit: either all of them are there afterwards, or none.

        Files that are there already and are not named stay. A `.gitignore` among the files decides nothing.

        Args:
            space: As it was found; a commit that somebody made since then is not overwritten.
            files: Path in the repository, with slashes, to the file on this machine.
            message: Title of the commit.
            delete: Patterns (`*` also matches slashes; a folder ends in one) of files to be removed in the
                same commit, except `.gitattributes` and those that are uploaded.
            create_pr: Propose the commit as a pull request.

        Raises:
            HubError: The Hub refuses, or cannot be reached. If the connection is lost after all had been
                sent, the Hub is asked whether the commit arrived.
        """
        try:
            return self._upload(space, files, message, delete, create_pr)
        except HubError as error:
            if create_pr:
                raise
            try:
                arrived = self._arrived(space, message)
            except HubError:
                raise HubError(
                    f"{error}; whether the commit arrived could not be seen, and pushing twice is harmless"
                ) from error
            if arrived is None:
                raise HubError(f"{error}; nothing was pushed") from error
            return Pushed(f"{self.page(space.repo_id)}/commit/{arrived}", None, True)

    def _upload(
        self,
        space: RemoteSpace,
        files: Mapping[str, Path],
        message: str,
        delete: Sequence[str],
        create_pr: bool,
    ) -> Pushed:
        repo_id = space.repo_id
        add = self._library.CommitOperationAdd
        operations = [add(path_in_repo=name, path_or_fileobj=str(path)) for name, path in files.items()]
        with self._asking(f"uploading to {repo_id}"):
            deletions = self._deletions(repo_id, files, delete)
            # Asked beforehand and with no patterns, because the Hub would leave out, and not say so, whatever
            # the .gitignore among the files names; what is not to be uploaded has been left out already.
            self._api.preupload_lfs_files(
                repo_id,
                operations,
                repo_type=_SPACE,
                create_pr=create_pr,
                free_memory=False,
                gitignore_content="",
            )
        with self._asking(f"committing to {repo_id}"):
            done = self._api.create_commit(
                repo_id,
                [*deletions, *operations],
                commit_message=message,
                repo_type=_SPACE,
                create_pr=create_pr,
                parent_commit=space.commit or None,
            )
        return Pushed(str(done.commit_url), done.pr_url, done.oid != space.commit)

    def configure(
        self,
        repo_id: str,
        *,
        hardware: str | None = None,
        variables: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
    ) -> None:
        """Change settings of a Space that exists; those that are not named stay.

        Raises:
            HubError: The Hub refuses, or cannot be reached; it says which setting it was. Those before it are
                set.
        """
        for key, value in (variables or {}).items():
            with self._asking(f"setting variable {key} of {repo_id}", confidential=True):
                self._api.add_space_variable(repo_id, key, value)
        for key, value in (secrets or {}).items():
            with self._asking(f"setting secret {key} of {repo_id}", confidential=True):
                self._api.add_space_secret(repo_id, key, value)
        if hardware is not None:
            with self._asking(f"asking for {hardware} for {repo_id}"):
                self._api.request_space_hardware(repo_id, hardware)

    def duplicate(
        self,
        source: str,
        target: str,
        *,
        private: bool = False,
        hardware: str | None = None,
        variables: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
    ) -> None:
        """Copy a Space: its files, and its variables; its secrets are not copied.

        Args:
            source: `namespace/name` of any Space that this user may see.
            target: `namespace/name` of the copy.
            private: Whether only its owners see the copy; a copy of a private Space is private anyway.
            hardware: The Hub's word for it; None for the free one, whatever the source runs on.
            variables: Public settings, in place of the source's of the same name.
            secrets: Settings that are never shown.

        Raises:
            HubError: There is no such source, the target exists, the token may not, it is not paid for, or
                the Hub cannot be reached.
        """
        # The Hub wants the hardware said, or refuses.
        settings = _said({"hardware": hardware or "cpu-basic", "variables": variables, "secrets": secrets})
        # False would publish the copy of a private Space.
        shown = private or None
        with self._asking(f"copying {source} to {target}", confidential=True):
            if hasattr(self._api, "duplicate_repo"):
                named = {f"space_{key}": value for key, value in settings.items()}
                self._api.duplicate_repo(source, target, repo_type=_SPACE, private=shown, **named)
            else:
                self._api.duplicate_space(source, target, private=shown, **settings)

    def _deletions(self, repo_id: str, files: Mapping[str, Path], patterns: Sequence[str]) -> list[Any]:
        if not patterns:
            return []
        globs = [f"{pattern}*" if pattern.endswith("/") else pattern for pattern in patterns]
        there = self._api.list_repo_files(repo_id, repo_type=_SPACE)
        gone = (name for name in there if any(fnmatchcase(name, glob) for glob in globs))
        delete = self._library.CommitOperationDelete
        return [
            delete(path_in_repo=name, is_folder=False)
            for name in gone
            if name not in files and name not in _KEPT_REMOTE_FILES
        ]

    def _arrived(self, space: RemoteSpace, message: str) -> str | None:
        """The name of the commit that was made although its answer was lost, or None."""
        there = self.find(space.repo_id)
        if there is None or there.commit == space.commit:
            return None
        with self._asking("looking whether the commit arrived"):
            last, *before = self._api.list_repo_commits(space.repo_id, repo_type=_SPACE)
        is_ours = last.title == message and bool(before) and before[0].commit_id == space.commit
        return str(last.commit_id) if is_ours else None

    @contextmanager
    def _asking(self, doing: str, confidential: bool = False) -> Iterator[None]:
        """Turn what the library raises into one line; `confidential` keeps it out of tracebacks as well."""
        # Made anew after every failure, so it has to be told every time; older versions have no such thing.
        with suppress(AttributeError):
            self._library.get_session().timeout = _TIMEOUT_S
        try:
            with warnings.catch_warnings():
                # The library's remarks on itself are for those who call it.
                warnings.simplefilter("ignore")
                yield
        except self._errors as error:
            root: BaseException = error
            while isinstance(root, RuntimeError) and root.__cause__ is not None:
                root = root.__cause__
            response = getattr(root, "response", None)
            if isinstance(root, self._status_error) and response is not None:
                text = self._refusal(doing, int(response.status_code), _words_of(root))
            else:
                text = self._failure(doing, root)
            raise HubError(self._without_secrets(text)) from (None if confidential else error)

    def _refusal(self, doing: str, status: int, words: str) -> str:
        tokens = f"{self.endpoint}/settings/tokens"
        said = f" ({words})" if words else ""
        if status == 401:
            return (
                f"{doing}: the Hub does not accept the token from HF_TOKEN or 'hf auth login'{said}; make "
                f"one with write access at {tokens} and run 'hf auth login'"
            )
        if status == 403:
            return (
                f"{doing}: the Hub does not allow it{said}; check the namespace, and that the token has "
                f"write access there: {tokens}"
            )
        if status == 402:
            return (
                f"{doing}: the Hub wants it paid for{said}; see {self.endpoint}/settings/billing, or ask for "
                f"less with --hardware"
            )
        if status == 404:
            return f"{doing}: the Hub does not know it{said}; check the name, and that your token may see it"
        if status == 409:
            return f"{doing}: it exists already{said}; choose another name with --repo-id"
        if status == 412:
            return f"{doing}: somebody else has pushed in between{said}; run the same command again"
        if status in (413, 429, 507):
            return (
                f"{doing}: a limit of the Hub is reached{said}; wait for an hour, or see what takes the room "
                f"at {self.endpoint}/settings/billing, then run the same command again"
            )
        if status >= 500:
            return f"{doing}: the Hub has trouble of its own, status {status}{said}; try again later"
        return f"{doing}: the Hub refuses, status {status}{said}"

    def _failure(self, doing: str, error: BaseException) -> str:
        words = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, ValueError) or (isinstance(error, OSError) and error.filename is not None):
            return f"{doing}: {words.rstrip('.')}"
        return (
            f"{doing}: the connection to {self.endpoint} failed ({words}); check the network and "
            f"HF_ENDPOINT, then run the same command again"
        )

    def _without_secrets(self, text: str) -> str:
        for value in self._hidden:
            text = text.replace(value, "***")
        return text


def _imported(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError as error:
        raise HubError(_MISSING) from error


def _said(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that were given, in the Hub's form."""
    return {
        key: [{"key": name, "value": text} for name, text in value.items()]
        if isinstance(value, Mapping)
        else value
        for key, value in settings.items()
        if value
    }


def _words_of(error: BaseException) -> str:
    """What the Hub itself said, in one line without a full stop."""
    words = getattr(error, "server_message", None) or ""
    lines = dict.fromkeys(line.strip() for line in str(words).splitlines() if line.strip())
    return "; ".join(lines).rstrip(".")
