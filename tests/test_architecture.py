"""The drawing of `design.md` section 2, checked: floors, and one home for each thing that reaches outside.

Imports are read from the source, those inside functions included: what a module knows of is what counts, not
when. Imports for type checkers alone count for the floors, and not for cycles and homes: they reach nothing.
An `except Exception` that ends in a bare `raise` catches nothing and does not count.

Whatever departs from the drawing stands in `EXCEPTIONS`, with its reason, and a reason that is no longer
needed fails too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "openenv"

FLOORS: tuple[tuple[str, ...], ...] = (
    (
        *("errors", "version", "models", "codec", "config", "manifest", "web"),
        # schema's own parts: kinds of types, times and dates, checks, and their description.
        *("schema", "kinds", "compound", "temporal", "validation", "json_schema"),
    ),
    ("environment", "layout", "rubrics", "mcp", "tools"),
    ("protocol", "hub", "probe"),
    ("session", "containers"),
    ("app", "client"),
    ("server", "conformance"),
    ("cli", "core"),
)
"""Folders and root files of the package, from the ground up."""

DOORS = {
    "__init__": "the public names: it may know everything below the shell",
    "__main__": "hands over to the command line",
}

HOMES: dict[str, tuple[str, ...]] = {
    "orjson": ("codec",),
    "websockets": ("protocol",),
    "uvloop": ("server.serve",),
    "huggingface_hub": ("hub",),
    "pydantic": ("core.env_server.types",),
    "fastapi": ("app.delegate",),
    "starlette": ("app.delegate",),
    "yaml": (),
    "numpy": (),
    "sockets": ("server.listener", "server.handover", "client.blocking", "containers.provider"),
    "threads": ("session.runner", "client.blocking"),
    "processes": ("server.workers", "server.serve"),
    "subprocess": ("containers", "cli.engine"),
    "os.environ": ("config",),
    "print": ("cli",),
    "except Exception": ("session.runner", "app.app", "server.connection", "cli.main"),
}
"""What reaches outside, and the modules or folders that may."""

MODULES = {
    "socket": "sockets",
    "threading": "threads",
    "concurrent": "threads",
    "queue": "threads",
    "_thread": "threads",
    "signal": "processes",
    "multiprocessing": "processes",
    "subprocess": "subprocess",
    **{
        name: name
        for name in (
            *("orjson", "websockets", "uvloop", "huggingface_hub", "pydantic", "yaml", "numpy"),
            *("fastapi", "starlette"),
        )
    },
}
ATTRIBUTES = {
    ("os", "environ"): "os.environ",
    ("os", "environb"): "os.environ",
    ("os", "getenv"): "os.environ",
    ("os", "putenv"): "os.environ",
    ("os", "fork"): "processes",
    ("os", "kill"): "processes",
    ("os", "killpg"): "processes",
    ("os", "_exit"): "processes",
    ("os", "system"): "subprocess",
    ("os", "popen"): "subprocess",
    ("asyncio", "create_subprocess_exec"): "subprocess",
    ("asyncio", "create_subprocess_shell"): "subprocess",
    ("asyncio", "to_thread"): "threads",
    ("sys", "exit"): "print",
}
CALLS = {"print": "print", "input": "print", "exit": "print", "breakpoint": "print"}

EXCEPTIONS: dict[tuple[str, str], str] = {
    ("__main__", "print"): "a program ends with its exit code",
    (
        "app.app",
        "server",
    ): "`App.run`: an app that can serve itself has to reach the shell, when it is called",
    (
        "app.asgi",
        "except Exception",
    ): "an ASGI server wants to be told of a failed start, not to see it raised",
    (
        "server.asgi_calls",
        "except Exception",
    ): "an author's ASGI application may raise anything, which ends one request or WebSocket",
    (
        "cli.targets",
        "core",
    ): "what is served may use the incumbent's old name, which is known to `core` alone",
    ("models", "schema"): "a model loads, dumps and describes itself for those who know that from pydantic",
    ("app.routes.ws", "except Exception"): "a fault of ours ends one session, under any server",
    ("app.routes.control", "except Exception"): "author code may check an action while it is loaded",
    ("cli.targets", "except Exception"): "importing a target runs author code, which may raise anything",
    (
        "server.workers",
        "except Exception",
    ): "the first frame of a forked child: nothing may run on into the parent",
    ("session.nursery", "processes"): "forks and ends the processes of environments",
    ("session.nursery", "sockets"): "the pair to the worker, and what is passed over it",
    ("session.nursery", "except Exception"): "the first frames of forked processes",
    ("session.process", "processes"): "names the signal that says that processor time is used up",
    ("session.process", "sockets"): "makes the pair that leads to an environment's process",
    ("session.child", "processes"): "ends the process of an environment",
    ("session.child", "sockets"): "names the type of what it is given",
    ("session.child", "threads"): "an environment's loop runs beside its main thread",
    ("session.child", "except Exception"): "what author code raises goes back to who asked",
    ("server.health", "threads"): "counts the threads that there are",
    ("server.reload", "processes"): "names the signals that `server.workers` hands to it",
    ("server.serve", "sockets"): "names the type of what it is given",
    ("client.channel", "sockets"): "names the resolver's error, to say which part of connecting failed",
    ("client.aio", "sockets"): "connects without the turns and objects that a loop would add",
    ("client.transport", "sockets"): "names the type of what it is given",
    ("client.client", "threads"): "asks which thread it is on, so that a client is used one way",
    ("tools", "except Exception"): "what a tool raises is a result of the call, wherever it is called",
    ("mcp", "except Exception"): "what a tool raises is an observation, in a server or without one",
    (
        "core.env_server.page",
        "threads",
    ): "the environment of an author's page is bound to one thread, and is no session of the server's",
    ("mcp", "threads"): "a plain step on a running loop needs a loop of its own, on its own thread",
    (
        "client.sync",
        "threads",
    ): "a blocking call on a running loop needs a loop of its own, on its own thread",
    ("client.blocking", "except Exception"): "the keeper serves every idle client: a fault must not end it",
    ("client.sync", "except Exception"): "carries what that thread raised to its caller",
    ("client.client", "client.sync"): "`sync()` gives a client's blocking face, which is made of the client",
    ("client.aio", "threads"): "a provider's start blocks, and an event loop must not",
    ("client.launch", "threads"): "a provider's start blocks, and is waited for even when cancelled",
    ("containers.provider", "threads"): "a provider is stopped by one thread while another waits for it",
    ("containers.docker", "threads"): "a provider is stopped by one thread while another starts it",
    ("containers.command", "threads"): "names the event that ends a command early",
    ("containers.uv", "threads"): "reads what a server writes, so that its pipe is never full",
    ("containers.uv", "processes"): "ends the process group that it started",
    ("core.tools.local_python_executor", "except Exception"): "what a program raises is what came of it",
    ("core.tools.git_server_client", "subprocess"): "it runs git",
    ("core.tools.git_server_client", "os.environ"): "git runs with them, and settings of its own",
    ("conformance.play", "except Exception"): "an action's own checks are author code",
    ("conformance.play", "threads"): "author code may hang, and a check must come back",
    ("cli.validate", "subprocess"): "author code may exit or hang, so it is played with in another process",
    ("cli.validate", "processes"): "ends that process, and whatever it started",
    ("containers.owner", "processes"): "signal 0 asks whether a process is alive, where there is no /proc",
}
"""(module, thing or station it reaches) -> why it departs from the drawing."""


@dataclass(frozen=True, eq=False)
class Module:
    """One source file, by its dotted name within the package."""

    name: str
    is_folder: bool
    tree: ast.Module

    @property
    def station(self) -> str:
        """The folder or root file it belongs to."""
        return self.name.partition(".")[0]


@cache
def modules() -> tuple[Module, ...]:
    """Every module of the package. The template that `init` copies is an environment, not a part of it."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts[:2] == ("cli", "template"):
            continue
        is_folder = parts[-1] == "__init__" and len(parts) > 1
        name = ".".join(parts[:-1] if is_folder else parts)
        found.append(Module(name, is_folder, ast.parse(path.read_text("utf-8"), str(path))))
    return tuple(found)


def floor_of(station: str) -> int | None:
    """The floor of a folder or root file, counted from 0."""
    return next((number for number, floor in enumerate(FLOORS) if station in floor), None)


def imported_names(module: Module, with_types: bool = True) -> Iterator[tuple[str, int]]:
    """Absolute dotted names that a module imports, wherever in it, with the line."""
    for node in nodes(module, with_types):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = ["openenv", *module.name.split(".")]
                package = package[: len(package) - node.level + module.is_folder]
                base = ".".join([*package, *([base] if base else [])])
            for alias in node.names:
                yield f"{base}.{alias.name}", node.lineno
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                yield node.args[0].value, node.lineno


@cache
def nodes(module: Module, with_types: bool) -> tuple[ast.AST, ...]:
    """Every node of a module, or every node but those for type checkers alone."""
    waiting: list[ast.AST] = [module.tree]
    found = []
    while waiting:
        node = waiting.pop()
        found.append(node)
        if isinstance(node, ast.If) and not with_types and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)
    return tuple(found)


def own_imports(module: Module, with_types: bool = True) -> Iterator[tuple[str, int]]:
    """Dotted names within the package that a module imports; "" for the package itself."""
    for name, line in imported_names(module, with_types):
        top, _, rest = name.partition(".")
        if top == "openenv":
            yield rest, line


def things_reached(module: Module) -> Iterator[tuple[str, int]]:
    """Which of the things in `HOMES` a module touches, with the line."""
    for name, line in imported_names(module, with_types=False):
        thing = MODULES.get(name.partition(".")[0]) or ATTRIBUTES.get(tuple(name.rsplit(".", 1)))  # type: ignore[arg-type]
        if thing is not None:
            yield thing, line
    for node in nodes(module, False):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            thing = ATTRIBUTES.get((node.value.id, node.attr))
            if thing is not None:
                yield thing, node.lineno
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CALLS:
            yield CALLS[node.func.id], node.lineno
        elif isinstance(node, ast.ExceptHandler) and _catches_everything(node):
            yield "except Exception", node.lineno


def _catches_everything(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    if isinstance(last, ast.Raise) and last.exc is None:
        return False
    if handler.type is None:
        return True
    names = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(isinstance(name, ast.Name) and name.id in ("Exception", "BaseException") for name in names)


def lives_in(module: Module, homes: tuple[str, ...]) -> bool:
    """Whether a module is, or is in, one of the homes."""
    return any(module.name == home or module.name.startswith(f"{home}.") for home in homes)


def floor_faults() -> Iterator[tuple[str, str, str]]:
    """(module, what it imports, complaint) for each import that goes up or across."""
    for module in modules():
        if module.station in DOORS or module.station == "core":
            continue
        own = floor_of(module.station)
        for target, line in own_imports(module):
            station = target.partition(".")[0]
            there = floor_of(station)
            where = f"openenv/{module.name.replace('.', '/')}, line {line}"
            if there is None or station == "core":
                what = "core" if station == "core" else "the package root"
                yield module.name, station, f"{where} imports {what}, which nobody may"
            elif own is not None and there > own:
                yield (
                    module.name,
                    station,
                    f"{where} imports {target} from floor {there}, above its own {own}",
                )
            elif there == own and station != module.station and not _are_root_files(module.station, station):
                yield module.name, station, f"{where} imports {target}: stations of one floor are strangers"


def _are_root_files(*stations: str) -> bool:
    return all((PACKAGE / f"{station}.py").is_file() for station in stations)


def home_faults() -> Iterator[tuple[str, str, str]]:
    """(module, thing, complaint) for each reach outside that is not made from the thing's home."""
    for module in modules():
        for thing, line in things_reached(module):
            if not lives_in(module, HOMES[thing]):
                homes = " and ".join(HOMES[thing]) or "nowhere"
                where = f"openenv/{module.name.replace('.', '/')}, line {line}"
                yield module.name, thing, f"{where}: {thing} belongs in {homes}"


def unexcused(faults: Iterator[tuple[str, str, str]]) -> list[str]:
    """The complaints for which `EXCEPTIONS` has no reason."""
    return sorted({text for module, what, text in faults if (module, what) not in EXCEPTIONS})


def test_every_module_has_a_floor() -> None:
    """A file that the drawing does not know is one that nobody placed."""
    stations = {module.station for module in modules()}
    assert {name for name in stations if floor_of(name) is None} <= set(DOORS)


def test_imports_go_down() -> None:
    """A module imports from lower floors and its own folder; nobody imports the root or `core`."""
    assert unexcused(floor_faults()) == []


def test_each_thing_that_reaches_outside_has_one_home() -> None:
    """Sockets, threads, processes, the environment, print and the rest are where the table says."""
    assert unexcused(home_faults()) == []


def test_every_exception_is_still_needed() -> None:
    """The table of departures holds no memories."""
    found = {(module, what) for module, what, _ in (*floor_faults(), *home_faults())}
    names = {module.name for module in modules()}
    found |= {
        (module.name, _module_in(target, names)) for module in modules() for target, _ in own_imports(module)
    }
    assert sorted(set(EXCEPTIONS) - found) == []


def test_there_is_no_import_cycle() -> None:
    """Modules can be understood one after the other, from the ground up."""
    names = {module.name for module in modules()}
    graph = {module.name: _targets(module, names) for module in modules()}
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, f"import cycle: {' -> '.join([*above[above.index(name) :], name])}"
        if name not in done and name in graph:
            for target in graph[name]:
                if target != name:
                    visit(target, (*above, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def _targets(module: Module, names: set[str]) -> list[str]:
    found = {_module_in(target, names) for target, _ in own_imports(module, with_types=False)} - {None}
    return sorted(
        name
        for name in found
        if name is not None
        and (module.name, name) not in EXCEPTIONS
        and (module.name, name.partition(".")[0]) not in EXCEPTIONS
    )


def _module_in(target: str, names: set[str]) -> str | None:
    """The module that an imported dotted name is, or is in."""
    while target and target not in names:
        target = target.rpartition(".")[0]
    return target or None


@pytest.mark.parametrize("name", ["manager", "helper", "util", "utils", "common", "misc", "helpers"])
def test_no_name_says_nothing(name: str) -> None:
    """Words that `design.md` section 5 keeps out of names."""
    assert name not in words_in_names()


@cache
def words_in_names() -> frozenset[str]:
    """Every word in the name of a module, class or function."""
    definitions = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    named = {
        node.name for module in modules() for node in nodes(module, True) if isinstance(node, definitions)
    }
    # The names in `core` are the incumbent's.
    named |= {part for module in modules() if module.station != "core" for part in module.name.split(".")}
    return frozenset(word for name in named for word in _words(name))


def _words(name: str) -> set[str]:
    spaced = "".join(f"_{char.lower()}" if char.isupper() else char for char in name)
    return set(spaced.split("_"))
