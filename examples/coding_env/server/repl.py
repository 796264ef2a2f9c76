# The interpreter of one session: reads code from a socket, runs it, answers. It is sent to a Python process
# as text, after walls.py, and trusts nobody: the code that it runs can reach everything in here. What it
# says is therefore believed by nobody either; interpreter.py checks the form of an answer and takes time,
# memory and deaths from the kernel alone. Whatever goes wrong in here ends the process, and a fresh one
# takes its place.

import ast
import builtins

# A private copy, so that code which replaces `len` or `repr` breaks itself and not this loop.
__builtins__ = dict(vars(builtins))

import io
import os
import struct
import sys
import types
from os import _exit, dup, dup2, getpid, read, write

REQUEST = struct.Struct(">16sI")  # nonce, bytes of code
ANSWER = struct.Struct(">16siqI")  # nonce, exit code, characters of the result or -1, bytes that follow
LAST_FRAMES = -200  # of a traceback; formatting a million of them would take the step's time


def read_exactly(control, count):
    """That many bytes, or None at the end of the connection."""
    parts = []
    while count:
        part = read(control, min(count, 1 << 16))
        if not part:
            return None
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def write_all(fd, data):
    """Write all of it."""
    view = memoryview(data)
    while view:
        view = view[write(fd, view) :]


class Session:
    """The variables of a session and the loop that adds to them."""

    def __init__(self, control, max_output):
        self.control = control
        self.max_output = max_output
        self.pid = getpid()
        self.count = 0
        self.sources = {}
        module = types.ModuleType("__main__")
        self.variables = vars(module)
        self.variables["__builtins__"] = builtins
        sys.modules["__main__"] = module
        # Out of the way of code that closes what it finds; put back before each step.
        self.streams = {1: dup(1), 2: dup(2)}
        for fd in self.streams.values():
            os.set_inheritable(fd, False)

    def serve(self):
        """Answer until the other end goes away."""
        while True:
            head = read_exactly(self.control, REQUEST.size)
            if head is None:
                return
            nonce, length = REQUEST.unpack(head)
            code = read_exactly(self.control, length)
            if code is None:
                return
            self.open_streams()
            exit_code, result = self.run(code.decode("utf-8", "surrogatepass"))
            if getpid() != self.pid:
                self.flush()
                _exit(exit_code & 255)  # the code forked, and this is the copy
            sys.settrace(None)
            sys.setprofile(None)
            self.flush()
            shown = b"" if result is None else result[: self.max_output].encode("utf-8", "backslashreplace")
            size = -1 if result is None else len(result)
            write_all(self.control, ANSWER.pack(nonce, exit_code, size, len(shown)) + shown)

    def open_streams(self):
        """Fresh stdout and stderr on the descriptors that they have always had, whatever became of them."""
        for fd, name in ((1, "stdout"), (2, "stderr")):
            dup2(self.streams[fd], fd)
            raw = io.FileIO(fd, "w", closefd=False)
            stream = io.TextIOWrapper(
                io.BufferedWriter(raw), "utf-8", "backslashreplace", "\n", line_buffering=True
            )
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)

    def flush(self):
        """Send what is still in buffers: the code's own streams, if it replaced ours, included."""
        for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
            try:
                stream.flush()
            except BaseException:  # closed, or not a stream at all: the code's own doing
                continue

    def run(self, code):
        """Exit code and repr of the last expression, or None."""
        self.count += 1
        name = f"<step {self.count}>"
        try:
            tree = ast.parse(code, name)
            last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
            body = compile(tree, name, "exec")
            value = None if last is None else compile(ast.Expression(last.value), name, "eval")
            self.sources[name] = code
        except BaseException as error:
            return self.explain(error, None)
        try:
            exec(body, self.variables)
            if value is not None:
                value = eval(value, self.variables)
            return 0, None if value is None else str.__str__(repr(value))
        except SystemExit as exit_:
            return self.exit_code_of(exit_.code)
        except BaseException as error:
            # Without this frame of ours.
            return self.explain(error, error.__traceback__ and error.__traceback__.tb_next)

    def exit_code_of(self, code):
        """As the interpreter itself would end, except that it goes on."""
        if code is None or isinstance(code, int):
            return (code or 0) & 255, None
        self.complain(f"{code}\n")
        return 1, None

    def explain(self, error, frames):
        """Write a traceback, with its lines of code, to stderr."""
        try:
            # Half of what an interpreter takes to start, and most sessions begin without a mistake.
            import linecache
            import traceback

            for name, code in self.sources.items():
                linecache.cache[name] = (len(code), None, code.splitlines(True), name)
            text = "".join(traceback.format_exception(type(error), error, frames, limit=LAST_FRAMES))
        except BaseException:  # its own __str__ raises, or there is no memory to say more
            text = f"{type(error).__name__}: it cannot be shown\n"
        self.complain(text)
        return 1, None

    def complain(self, text):
        """Write to the session's standard error, past whatever the code put in its place."""
        self.flush()
        dup2(self.streams[2], 2)
        write_all(2, text.encode("utf-8", "backslashreplace"))


def main(order):
    """Put up the walls, say which they are, and serve."""
    control = order["control"]
    facts = ["own process", "rlimits"]
    if order["parent"] is not None:
        die_with_parent(order["parent"])  # noqa: F821  (walls.py)
    yield_to_others(order["nice"])  # noqa: F821
    if order["user"] is not None:
        become(order["user"])  # noqa: F821
        facts.append("own user")
        if order["parent"] is not None:
            die_with_parent(order["parent"])  # noqa: F821  (changing user forgets it)
    limit(  # noqa: F821
        order["memory_bytes"], order["disk_bytes"], order["max_processes"], order["cpu_s"]
    )
    if order["sandbox"] != "none":
        forbid_new_privileges()  # noqa: F821
    if order["sandbox"] == "landlock":
        restrict_files(order["readable"], order["listable"], order["writable"])  # noqa: F821
        facts.append(f"Landlock {landlock_abi()}")  # noqa: F821
    if order["sandbox"] != "none":
        if restrict_system_calls(order["sandbox"] == "bwrap"):  # noqa: F821
            facts.append("seccomp")
        elif order["sandbox"] == "landlock":
            # Which leaves sockets, processes and signals to the filter.
            raise OSError(f"Landlock needs a seccomp filter, and there is none for {os.uname().machine}")
    os.chdir(order["folder"])
    sys.path[:] = [path for path in sys.path if path] + order["packages"]
    sys.argv[:] = [""]
    session = Session(control, order["max_output"])
    hello = ", ".join(facts).encode()
    write_all(control, ANSWER.pack(bytes(16), 0, len(hello), len(hello)) + hello)
    session.serve()


if __name__ == "__main__":
    try:
        main(ast.literal_eval(sys.argv[1]))
    except BaseException as error:
        # Nothing can be said on a channel that may be broken; the other end sees this one close.
        write_all(2, f"{type(error).__name__}: {error}\n".encode("utf-8", "backslashreplace"))
        _exit(70)
    _exit(0)
