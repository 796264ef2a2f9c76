"""The programs: each is sent to a session as one step.

A program says ``ESCAPED`` where it got what it wanted. What every one must leave intact (the canaries, the
server, other sessions, the machine) is checked by the test, not here. Words in double braces are put in by
it: ``{{canary}}`` a file that everybody may read, ``{{outside}}`` a folder that everybody may write to,
``{{port}}`` a TCP port of the host that listens, ``{{pid}}`` the server, ``{{example}}`` its own files,
``{{mailbox}}`` a datagram socket of the host, ``{{seconds}}`` longer than the time limit.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["ATTACKS", "Attack"]

Look = Callable[[dict[str, Any]], bool]


@dataclass(frozen=True)
class Attack:
    """One program.

    Attributes:
        name: What it tries.
        code: The program.
        ends: Whether the observation is one that the session may answer with.
        spoils: Whether the variables are of no use afterwards, as they would be in any interpreter.
    """

    name: str
    code: str
    ends: Look
    spoils: bool = False


def anyhow(seen: dict[str, Any]) -> bool:
    """An answer, whichever: what counts is that nothing got out."""
    return True


def survives(seen: dict[str, Any]) -> bool:
    """The interpreter goes on."""
    return not seen["restarted"]


def runs(seen: dict[str, Any]) -> bool:
    """To its end, because each thing it tried was refused to it as an exception that it caught."""
    return bool(seen["exit_code"] == 0 and not seen["restarted"])


def is_lost(seen: dict[str, Any]) -> bool:
    """The interpreter is gone and the session says so."""
    return bool(seen["restarted"] and "[session]" in seen["stderr"])


def times_out(seen: dict[str, Any]) -> bool:
    """The time limit ends it."""
    return bool(seen["timed_out"] and is_lost(seen) and seen["exit_code"] == 124)


def is_stopped(seen: dict[str, Any]) -> bool:
    """By an exception or a limit, whichever comes first."""
    return bool(seen["exit_code"] != 0)


def is_cut(seen: dict[str, Any]) -> bool:
    """Output was cut, with the mark."""
    texts = (seen["stdout"], seen["stderr"], seen["result"] or "")
    return bool(seen["output_cut"] and any("characters cut]" in text for text in texts))


ATTACKS: list[Attack] = []


def attack(name: str, ends: Look, code: str, spoils: bool = False) -> None:
    """Add one."""
    ATTACKS.append(Attack(name, textwrap.dedent(code).strip() + "\n", ends, spoils))


ATTEMPT = """
def attempt(what, *args):
    try:
        got = what(*args)
    except (OSError, RuntimeError, ImportError, ValueError) as error:
        return type(error).__name__
    print("ESCAPED", what, got)
"""

# -- using things up ------------------------------------------------------------------------

attack("a fork bomb", is_stopped, "import os\nwhile True: os.fork()")
attack(
    "a fork bomb that goes on after errors",
    anyhow,
    """
    import os
    while True:
        try: os.fork()
        except OSError: pass
    """,
)
attack("a memory bomb in one piece", is_stopped, "x = bytearray(1 << 40)")
attack(
    "a memory bomb in small pieces", is_stopped, "x = []\nwhile True: x.append(bytearray(b'x' * (1 << 20)))"
)
attack(
    "a memory bomb in several processes",
    anyhow,
    """
    import os, time
    for _ in range(8):
        try:
            if os.fork() == 0: break
        except OSError: break
    x = []
    try:
        while True: x.append(bytearray(b"x" * (1 << 20)))
    except MemoryError:
        time.sleep({{seconds}})
    """,
)
attack(
    "memory that belongs to no process",
    anyhow,
    ATTEMPT
    + """
import ctypes, os
attempt(os.memfd_create, "x")
libc = ctypes.CDLL(None, use_errno=True)
if libc.shmget(0, 1 << 20, 0o1600) >= 0: print("ESCAPED shmget")
""",
)
attack(
    "a thread bomb",
    is_stopped,
    """
import threading, time
while True: threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
""",
)
attack("endless output", is_lost, "import os\nwhile True: os.write(1, b'x' * 65536)")
attack("endless small output", is_stopped, "while True: print('x', flush=True)")
attack(
    "endless output from many processes",
    anyhow,
    """
import os
for _ in range(5):
    try: os.fork()
    except OSError: break
while True: os.write(2, b"y" * 65536)
""",
)
attack("an endless loop", times_out, "while True: pass")
attack("an endless loop in C", times_out, "sum(range(10**12))")
attack("a regular expression that never ends", times_out, "import re\nre.match(r'(a+)+$', 'a' * 60 + 'b')")
attack("a number without end", is_stopped, "import sys\nsys.set_int_max_str_digits(0)\nx = str(7 ** 10**8)")
attack("a sleep", times_out, "import time\ntime.sleep({{seconds}})")
attack(
    "filling the disk with one file",
    runs,
    """
try:
    with open("big", "wb") as file:
        while True: file.write(b"x" * (1 << 20))
except OSError: pass
""",
)
attack(
    "filling the disk with many files",
    anyhow,
    """
import itertools
try:
    for i in itertools.count():
        with open(f"f{i}", "wb") as file: file.write(b"x" * (1 << 20))
except OSError: pass
""",
)
attack(
    "using up inodes",
    anyhow,
    """
import itertools
try:
    for i in itertools.count(): open(f"f{i}", "w").close()
except OSError: pass
""",
)
attack(
    "filling other places that can be written",
    anyhow,
    """
import os
for place in ("/", "/dev", "/dev/shm", "/run", "/var/tmp", "/root", "/etc", "/usr"):
    try:
        with open(os.path.join(place, "attack"), "wb") as file:
            for _ in range(40): file.write(b"x" * (1 << 20))
        print("ESCAPED", place)
    except OSError: pass
    finally:
        try: os.remove(os.path.join(place, "attack"))
        except OSError: pass
""",
)
attack(
    "folders within folders",
    anyhow,
    """
import os
try:
    for _ in range(3000):
        os.mkdir("d"); os.chdir("d")
except OSError: pass
os.chdir("/")
""",
)
attack(
    "a folder that nobody may enter",
    runs,
    """
import os
os.makedirs("locked/inner")
open("locked/inner/file", "w").close()
os.mkdir("closed", 0)
old = os.umask(0o777)
os.mkdir("dark")
os.umask(old)
""",
)
attack(
    "using up descriptors",
    runs,
    """
import os
try:
    while True: os.pipe()
except OSError: pass
""",
)
attack(
    "inotify, epoll and timers by the thousand",
    anyhow,
    """
import ctypes, select
libc = ctypes.CDLL(None, use_errno=True)
if libc.inotify_init() >= 0: print("ESCAPED inotify")
x = []
try:
    while True: x.append(select.epoll())
except OSError: pass
x.clear()
""",
)

# -- signals and processes --------------------------------------------------------------------

attack(
    "ignoring every signal",
    times_out,
    """
import signal
for number in signal.valid_signals():
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
while True: pass
""",
)
attack(
    "killing process 1, the parent and everybody",
    anyhow,
    """
import os, signal
for pid in (1, os.getppid(), {{pid}}, -{{pid}}, -1):
    for number in (signal.SIGTERM, signal.SIGSTOP, signal.SIGKILL):
        try: os.kill(pid, number)
        except OSError: pass
""",
)
attack(
    "signals by way of a file's owner",
    survives,
    ATTEMPT
    + """
import fcntl, os
r, w = os.pipe()
def own(): fcntl.fcntl(r, 10, 9); fcntl.fcntl(r, 8, {{pid}})
try: own()
except OSError: pass
""",
)
attack("killing itself", is_lost, "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
attack("stopping itself", times_out, "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)")
attack(
    "an alarm that goes off between steps",
    survives,
    """
import signal
def handler(*_): raise SystemExit("from the alarm")
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
""",
)
attack(
    "a daemon by double fork",
    anyhow,
    """
import os, time
try:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for fd in range(3): os.close(fd)
            time.sleep(1000)
        os._exit(0)
    os.wait()
except OSError: pass
""",
)
attack(
    "a daemon that keeps the pipes",
    anyhow,
    """
import subprocess, sys
try: subprocess.Popen(["sleep", "1000"], start_new_session=True)
except OSError: pass
print("left")
""",
)
attack(
    "a fork that returns twice",
    anyhow,
    """
import os
try: os.fork()
except OSError: pass
"both"
""",
)
attack(
    "threads that never end",
    survives,
    """
import threading
def spin():
    while True: pass
for _ in range(3): threading.Thread(target=spin, daemon=True).start()
threading.Thread(target=spin).start()
""",
)
attack(
    "ptrace and reading another's memory",
    runs,
    """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
for pid in (1, {{pid}}):
    if libc.ptrace(16, pid, 0, 0) == 0: print("ESCAPED ptrace", pid)
    if libc.syscall(310, pid, None, 0, None, 0, 0) >= 0: print("ESCAPED process_vm_readv", pid)
if libc.ptrace(0, 0, 0, 0) == 0: print("ESCAPED traceme")
""",
)
attack(
    "raising its own limits",
    runs,
    ATTEMPT
    + """
import os, resource
for which in ("AS", "NPROC", "FSIZE", "CPU", "NOFILE", "CORE"):
    number = getattr(resource, f"RLIMIT_{which}")
    soft, hard = resource.getrlimit(number)
    if hard == resource.RLIM_INFINITY: continue
    attempt(resource.setrlimit, number, (hard + 1, hard + 1))
    attempt(resource.prlimit, {{pid}}, number, (0, 0))
attempt(os.nice, -5)
attempt(os.setpriority, os.PRIO_PROCESS, {{pid}}, 19)
""",
)
attack(
    "becoming somebody else",
    runs,
    ATTEMPT
    + """
import os
attempt(os.setuid, 0); attempt(os.setgid, 0); attempt(os.setgroups, [0])
attempt(os.setresuid, 0, 0, 0); attempt(os.chroot, "/tmp")
if 0 in (os.getuid(), os.geteuid()): print("ESCAPED", os.getresuid())
""",
)

# -- files, variables, network ----------------------------------------------------------------

attack(
    "reading secrets",
    runs,
    ATTEMPT
    + """
for path in ("{{canary}}", "/etc/shadow", "/etc/passwd", "/root/.ssh/id_rsa", "/root/.bashrc",
             "/proc/{{pid}}/environ", "/proc/{{pid}}/mem", "/proc/{{pid}}/cmdline", "/var/run/docker.sock"):
    attempt(lambda: open(path, "rb").read(100))
""",
)
attack(
    "reading every process's variables",
    runs,
    """
import glob
for path in glob.glob("/proc/[0-9]*/environ") + ["/proc/self/environ"]:
    try: print(open(path, "rb").read())
    except OSError: pass
""",
)
attack("its own variables", runs, "import os\nprint(dict(os.environ))")
attack(
    "out by /proc",
    runs,
    ATTEMPT
    + """
import os
for pid in (1, {{pid}}, "self"):
    for way in ("root", "cwd", "exe"):
        attempt(lambda: open(f"/proc/{pid}/{way}{{canary}}", "rb").read())
    attempt(lambda: os.listdir(f"/proc/{pid}/root{os.path.dirname('{{canary}}')}"))
    for fd in range(40): attempt(lambda: open(f"/proc/{pid}/fd/{fd}/../../{{canary}}", "rb").read())
for path in ("sys/kernel/core_pattern", "sysrq-trigger", "sys/vm/overcommit_memory"):
    attempt(lambda: open(f"/proc/{path}", "w").write("1"))
""",
)
attack(
    "out by symbolic links",
    runs,
    ATTEMPT
    + """
import os
os.symlink("{{canary}}", "link"); os.symlink("{{outside}}", "folder"); os.symlink("/", "slash")
attempt(lambda: open("link").read()); attempt(lambda: open("link", "w"))
attempt(lambda: open("folder/planted", "w")); attempt(lambda: open("slash{{canary}}").read())
attempt(os.link, "{{canary}}", "hard"); attempt(os.listdir, "folder")
""",
)
attack(
    "writing outside",
    runs,
    ATTEMPT
    + """
import os
attempt(lambda: open("{{outside}}/planted", "w")); attempt(os.remove, "{{canary}}")
attempt(os.rename, "{{canary}}", "mine"); attempt(os.truncate, "{{canary}}", 0)
attempt(os.mkdir, "{{outside}}/planted.d"); attempt(os.chmod, "{{canary}}", 0)
attempt(os.utime, "{{canary}}", (1, 1)); attempt(os.mkfifo, "{{outside}}/fifo")
attempt(os.chown, "{{canary}}", os.getuid(), os.getgid())
""",
)
attack(
    "deleting its interpreter's files",
    runs,
    """
import os, shutil, sys
shutil.rmtree(os.path.dirname(os.__file__) + "/json", ignore_errors=True)
for path in (sys.executable, os.__file__):
    for way in (os.remove, lambda p: open(p, "w")):
        try:
            way(path)
            print("ESCAPED", path)
        except OSError: pass
""",
)
attack(
    "reading the server's packages",
    runs,
    ATTEMPT
    + """
import os, sys
library = os.path.dirname(os.__file__)
for root in (library + "/site-packages", library + "/dist-packages", "/usr/lib/python3/dist-packages",
             "/usr/local/lib/python3.11/dist-packages", "/usr/local/lib/python3.12/site-packages",
             "/opt/venv/lib/python3.11/site-packages", "/app", "{{example}}", "{{example}}/.."):
    for path in ("openenv/__init__.py", "coding_env/server/app.py", "server/app.py", "pip/__init__.py"):
        attempt(lambda: open(f"{root}/{path}").readline())
def load(): import openenv
attempt(load)
""",
)
attack(
    "sockets to the host",
    runs,
    ATTEMPT
    + """
import socket
attempt(lambda: socket.create_connection(("127.0.0.1", {{port}}), 1))
attempt(lambda: socket.create_connection(("169.254.169.254", 80), 0.3))
attempt(lambda: socket.getaddrinfo("example.com", 80))
for family, kind, protocol in ((16, 3, 0), (17, 3, 0), (38, 5, 0), (40, 1, 0), (2, 3, 1)):
    attempt(socket.socket, family, kind, protocol)
def abstract():
    s = socket.socket(socket.AF_UNIX); s.settimeout(1); s.connect("\\0/tmp/.X11-unix/X0")
attempt(abstract)
""",
)
attack(
    "datagrams to the machine's own sockets",
    runs,
    ATTEMPT
    + """
import socket
def send(kind):
    one, other = socket.socketpair(socket.AF_UNIX, kind)
    one.sendto(b"from the sandbox", "{{mailbox}}")
def connect(kind):
    one, other = socket.socketpair(socket.AF_UNIX, kind)
    one.connect("{{mailbox}}"); one.send(b"from the sandbox")
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET): attempt(connect, kind)
# Packets in sequence ignore an address.
attempt(send, socket.SOCK_STREAM); attempt(send, socket.SOCK_DGRAM)
""",
)
attack(
    "capabilities that were left over",
    runs,
    """
import ctypes, struct
# capget, version 3: effective, permitted and inheritable, twice 32 bits each.
head, sets = ctypes.create_string_buffer(struct.pack("Ii", 0x20080522, 0)), ctypes.create_string_buffer(24)
libc = ctypes.CDLL(None, use_errno=True)
if libc.syscall(125, head, sets) != 0: print("ESCAPED capget")
low = struct.unpack("6I", sets.raw)
if any(low[i] for i in (0, 1, 3, 4)): print("ESCAPED", low)
if libc.prctl(39, 0, 0, 0, 0) != 1: print("ESCAPED no_new_privs")
if libc.prctl(21, 0, 0, 0, 0) != 2: print("ESCAPED seccomp")
if any(libc.prctl(47, 1, cap, 0, 0) == 1 for cap in range(41)): print("ESCAPED ambient")
""",
)
attack(
    "mounts and namespaces",
    runs,
    """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
if libc.mount(b"none", b"/tmp", b"tmpfs", 0, None) == 0: print("ESCAPED mount")
if libc.umount2(b"/proc", 2) == 0: print("ESCAPED umount")
for flag in (0x10000000, 0x20000, 0x40000000, 0x20000000):
    if libc.unshare(flag) == 0: print("ESCAPED unshare", hex(flag))
if libc.syscall(56, 0x10000000 | 17, 0, 0, 0, 0) >= 0: print("ESCAPED clone")
if libc.setns(0, 0) == 0: print("ESCAPED setns")
""",
)
attack(
    "keys, bpf, io_uring and other doors of the kernel",
    runs,
    """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
for number in (248, 249, 250, 321, 298, 323, 425, 313, 246, 169, 304, 438):
    if libc.syscall(number, 0, 0, 0, 0, 0) >= 0: print("ESCAPED", number)
if libc.syscall(0x40000000 | 39) >= 0: print("ESCAPED x32")
""",
)
attack(
    "system calls of another architecture",
    is_lost,
    """
import ctypes, mmap
code = b"\\xb8\\x14\\x00\\x00\\x00\\xcd\\x80\\xc3"  # mov eax, 20 (getpid); int 0x80; ret
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(code)
run = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
print("ESCAPED", run())
""",
)
attack(
    "a terminal to type into",
    runs,
    """
import fcntl, os
for path in ("/dev/tty", "/dev/console", "/dev/tty0", "/dev/mem", "/dev/kmsg", "/dev/sda", "/dev/vda"):
    try: print("ESCAPED", path, os.open(path, os.O_RDWR))
    except OSError: pass
for fd in range(10):
    try:
        fcntl.ioctl(fd, 0x5412, b"x")
        print("ESCAPED TIOCSTI")
    except OSError: pass
""",
)
attack(
    "device nodes",
    runs,
    ATTEMPT
    + """
import os, stat
attempt(os.mknod, "disk", 0o666 | stat.S_IFBLK, os.makedev(8, 0))
attempt(os.mknod, "mem", 0o666 | stat.S_IFCHR, os.makedev(1, 1))
""",
)

# -- the channel and the interpreter itself ---------------------------------------------------

attack("closing stdout and stderr", survives, "import os, sys\nsys.stdout.close()\nos.close(1)\nos.close(2)")
attack("closing every descriptor", is_lost, "import os\nos.closerange(0, 256)")
attack(
    "garbage on every descriptor",
    anyhow,
    """
import os
for fd in range(3, 64):
    try: os.write(fd, b"\\xff" * 4096)
    except OSError: pass
""",
)
attack(
    "forged answers",
    anyhow,
    """
import os, struct
for fd in range(3, 64):
    for nonce in (bytes(16), b"A" * 16):
        try: os.write(fd, struct.pack(">16siqI", nonce, 0, 6, 6) + b"forged")
        except OSError: pass
"never forged"
""",
)
attack(
    "a forged answer with the right nonce, and one more",
    anyhow,
    """
import gc, os, struct, sys
frame = sys._getframe()
while frame:
    nonce, control = frame.f_locals.get("nonce"), getattr(frame.f_locals.get("self"), "control", None)
    if nonce and control is not None:
        for _ in range(2): os.write(control, struct.pack(">16siqI", nonce, 0, 2**40, 2**31) + b"x" * 100000)
    frame = frame.f_back
""",
)
attack(
    "an endless forged answer",
    anyhow,
    """
import os, stat, sys
sockets = []
for fd in range(3, 64):
    try:
        if stat.S_ISSOCK(os.fstat(fd).st_mode): sockets.append(fd)
    except OSError: pass
while sockets: os.write(sockets[0], b"\\0" * 65536)
""",
)
attack(
    "eating the requests",
    is_lost,
    """
import os, stat, threading
def eat(fd):
    while True: os.read(fd, 1)
for fd in range(3, 64):
    try:
        if stat.S_ISSOCK(os.fstat(fd).st_mode):
            os.shutdown = None
            import socket
            s = socket.socket(fileno=os.dup(fd), family=1, type=1); s.shutdown(socket.SHUT_RDWR)
    except OSError: pass
""",
)
attack(
    "dup2 games",
    survives,
    """
import os
null = os.open("/dev/null", os.O_RDWR)
for fd in (0, 1, 2): os.dup2(null, fd)
print("nowhere")
""",
)
attack(
    "replacing builtins and modules",
    survives,
    """
import builtins, sys, os, ast, io
for name in ("print", "len", "repr", "exec", "eval", "compile", "isinstance", "BaseException", "int", "str"):
    setattr(builtins, name, None)
sys.modules.clear()
os.write = os.read = os.dup2 = None
""",
    spoils=True,
)
attack(
    "tracing, atexit and finalizers",
    anyhow,
    """
import atexit, sys, threading
def spin(*_):
    while True: pass
atexit.register(spin)
class Last:
    def __del__(self): spin()
last = Last()
def trace(*_): raise RuntimeError("from the tracer")
sys.settrace(trace); sys.setprofile(trace); threading.settrace(trace)
""",
)
attack(
    "a repr that never ends",
    times_out,
    """
class Endless:
    def __repr__(self):
        while True: pass
Endless()
""",
)
attack(
    "a repr that lies",
    survives,
    """
class Liar(str):
    def __len__(self): return -5
    def __getitem__(self, key): raise KeyboardInterrupt
    def encode(self, *_): raise SystemExit
class Thing:
    def __repr__(self): return Liar("thing")
Thing()
""",
)
attack("a huge repr", is_cut, "'x' * 10_000_000")
attack(
    "a huge traceback",
    is_cut,
    """
import sys
sys.setrecursionlimit(5_000)
def f(n, text): return g(n + 1, text)
def g(n, text): return f(n + 1, text)
f(0, "x")
""",
)
attack(
    "an exception that cannot be shown",
    is_stopped,
    """
class Worst(BaseException):
    def __str__(self): raise self
    __repr__ = __str__
    @property
    def __traceback__(self): raise self
    @property
    def __cause__(self): raise self
raise Worst
""",
)
attack(
    "recursion without a floor",
    is_stopped,
    """
import sys
sys.setrecursionlimit(10**9)
def f(): return [*map(lambda _: f(), [0])]
f()
""",
)
attack("a crash in C", is_lost, "import ctypes\nctypes.string_at(0)")
attack("leaving at once", is_lost, "import os\nos._exit(0)")
attack("becoming another program", is_lost, "import os\nos.execv('/bin/sh', ['sh', '-c', 'exit 3'])")
attack("becoming a program that stays", is_lost, "import os\nos.execv('/bin/sleep', ['sleep', '1000'])")
attack(
    "binary output", runs, "import os\nos.write(1, bytes(range(256)) * 4)\nos.write(2, b'\\xff\\xfe\\0\\0')"
)
attack(
    "half characters", runs, "import sys\nprint('\\ud800 \\udfff')\nsys.stderr.write('\\udc80')\n'\\ud800'"
)
attack("source that is no source", is_stopped, "x = '\0'\n((((((((((")
attack("source that is too deep", is_stopped, "(" * 5000 + ")" * 5000)
attack(
    "a result that ends whoever unpickles it",
    runs,
    """
import os, pickle
class Evil:
    def __reduce__(self): return (os._exit, (9,))
    def __repr__(self): return repr(pickle.dumps(self))
Evil()
""",
)
