"""Serves environments one after another, each in a process of its own, with what is common imported once.

Run as a script by the interpreter of one stack (the incumbent's, or ours). It knows neither: what it is told
on standard input is ``serve WAY FOLDER MODULE ATTRIBUTE PORT LOG`` or ``stop``, a line each, and each is
answered by a line. A child is forked for each `serve`, so that importing FastAPI, pydantic and FastMCP, which
takes seconds, is done once and no environment sees another.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any


def main() -> None:
    """Obey until standard input ends."""
    for name in sys.argv[1:]:
        try:
            importlib.import_module(name)
        except ImportError as error:
            print(f"warning: {error}", file=sys.stderr)
    gc.freeze()
    child = 0
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        if child:
            _end(child)
            child = 0
        if order["do"] == "serve":
            child = os.fork()
            if not child:
                _serve(order)
        print("done", flush=True)
    if child:
        _end(child)


def _end(child: int) -> None:
    os.kill(child, signal.SIGTERM)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if os.waitpid(child, os.WNOHANG)[0]:
            return
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def _serve(order: dict[str, Any]) -> None:
    """In the child: serve, and never come back."""
    code = 1
    try:
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        folder = Path(order["folder"])
        os.chdir(folder)
        port = str(order["port"])
        if order["way"] == "openenv":
            from openenv.cli.main import main as openenv

            target = str(folder) if order["manifest"] else f"{order['module']}:{order['attribute']}"
            code = openenv(["serve", target, "--host", "127.0.0.1", "--port", port, "--log-level", "info"])
        else:
            import uvicorn

            app = getattr(_import(folder, order["module"]), order["attribute"])
            uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning", ws="websockets-sansio")
            code = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code or 0)


def _import(folder: Path, name: str) -> Any:
    """As an environment's own Dockerfile or tests would: from its folder, else as a package beside it."""
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module(name)
    except ImportError as error:
        if "relative import" not in str(error) and error.name not in (folder.name, name.partition(".")[0]):
            raise
    for loaded in [key for key in sys.modules if key.partition(".")[0] == name.partition(".")[0]]:
        del sys.modules[loaded]
    sys.path[0] = str(folder.parent)
    return importlib.import_module(f"{folder.name}.{name}")


if __name__ == "__main__":
    main()
