# What the interpreter puts up around itself before it runs a line of anybody's: limits, a user of its own,
# Landlock (https://docs.kernel.org/userspace-api/landlock.html) and a seccomp filter. This file is sent to
# the interpreter as text, ahead of repl.py, so it imports nothing but the standard library.
#
# Every function raises OSError where the kernel refuses. Whoever calls them ends the process then: a wall
# that is not there must not be mistaken for one that is.

import ctypes
import os
import resource
import struct

_libc = ctypes.CDLL(None, use_errno=True)

# landlock_create_ruleset(2) and its two companions have one number on all architectures.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_ALL_OF_ABI = {3: 0x7FFF, 4: 0x7FFF, 5: 0xFFFF}
_FILE_RIGHTS = _EXECUTE | _WRITE_FILE | _READ_FILE | 0x4000 | 0x8000
LANDLOCK_ABI_NEEDED = 3  # Linux 6.2: the first that also forbids truncate()

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP = 1, 38, 22
_SIGKILL = 9

# x86-64 numbers. Refused in every sandbox: what reaches into other processes or the kernel, what makes memory
# that belongs to no process, and what outlives the processes.
_REFUSED = {
    "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "process_madvise": 440,
    "process_mrelease": 448, "kcmp": 312, "pidfd_getfd": 438, "migrate_pages": 256, "move_pages": 279,
    "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161, "open_tree": 428, "move_mount": 429,
    "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433, "mount_setattr": 442,
    "unshare": 272, "setns": 308, "name_to_handle_at": 303, "open_by_handle_at": 304,
    "add_key": 248, "request_key": 249, "keyctl": 250,
    "bpf": 321, "perf_event_open": 298, "userfaultfd": 323,
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427,
    "memfd_create": 319, "memfd_secret": 447,
    "shmget": 29, "semget": 64, "msgget": 68, "mq_open": 240,
    "inotify_init": 253, "inotify_init1": 294, "fanotify_init": 300,
    "init_module": 175, "finit_module": 313, "delete_module": 176, "kexec_load": 246, "kexec_file_load": 320,
    "reboot": 169, "swapon": 167, "swapoff": 168, "acct": 163, "quotactl": 179, "syslog": 103,
    "settimeofday": 164, "clock_settime": 227, "clock_adjtime": 305, "adjtimex": 159,
    "sethostname": 170, "setdomainname": 171, "iopl": 172, "ioperm": 173, "modify_ldt": 154,
    "personality": 135, "vhangup": 153, "lookup_dcookie": 212, "uselib": 134, "ustat": 136, "sysfs": 139,
}  # fmt: skip
# Refused besides where the session has no namespaces of its own: whatever would reach processes or files of
# the same user, since Landlock does not watch over attributes of files.
_REFUSED_ALONE = {
    "fork": 57, "vfork": 58, "tkill": 200, "rt_sigqueueinfo": 129, "rt_tgsigqueueinfo": 297,
    "pidfd_open": 434, "pidfd_send_signal": 424,
    "socket": 41, "connect": 42, "bind": 49, "listen": 50, "accept": 43, "accept4": 288,
    "shmat": 30, "shmctl": 31, "semop": 65, "semctl": 66, "semtimedop": 220,
    "msgsnd": 69, "msgrcv": 70, "msgctl": 71,
    "setpriority": 141, "ioprio_set": 251, "sched_setparam": 142, "sched_setscheduler": 144,
    "sched_setaffinity": 203, "sched_setattr": 314,
    "truncate": 76, "chmod": 90, "fchmodat": 268, "fchmodat2": 452, "chown": 92, "fchown": 93, "lchown": 94,
    "fchownat": 260, "utime": 132, "utimes": 235, "futimesat": 261, "utimensat": 280,
    "setxattr": 188, "lsetxattr": 189, "fsetxattr": 190, "setxattrat": 463,
    "removexattr": 197, "lremovexattr": 198, "fremovexattr": 199, "removexattrat": 466,
}  # fmt: skip

_AUDIT_ARCH_X86_64 = 0xC000003E
_X32 = 0x40000000
_CLONE, _CLONE3, _SOCKET, _SOCKETPAIR, _IOCTL, _PRCTL, _KILL, _TGKILL, _FCNTL, _PRLIMIT = (
    56, 435, 41, 53, 16, 157, 62, 234, 72, 302
)  # fmt: skip
_CLONE_THREAD = 0x10000
_CLONE_NEW_ANYTHING = 0x7E020000
_SIGNAL_REQUESTS = (8, 10, 15)  # F_SETOWN, F_SETSIG, F_SETOWN_EX: signals by way of a file
_TERMINAL_REQUESTS = (0x5412, 0x541C, 0x8901, 0x8902)  # TIOCSTI, TIOCLINUX, FIOSETOWN, SIOCSPGRP
# A pair of streams goes nowhere else. Datagrams could be addressed to any socket of the machine's file
# system.
_STREAMS = (1, 0x801, 0x80001, 0x80801)  # SOCK_STREAM with or without SOCK_NONBLOCK and SOCK_CLOEXEC
_FAMILIES = (1, 2, 10)  # AF_UNIX, AF_INET, AF_INET6: they end at the session's own loopback

_ALLOW, _KILL_PROCESS, _EPERM, _ENOSYS = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCH, _FIRST, _SECOND = 0, 4, 16, 24  # offsets in struct seccomp_data, low halves


def _checked(result):
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


def landlock_abi():
    """The kernel's version of Landlock, or 0 where there is none (or a container's filter hides it)."""
    return max(0, _libc.syscall(_CREATE_RULESET, None, 0, 1))


def seccomp_program(has_namespaces, pid):
    """The filter, in classic BPF, as bytes. Only for x86-64."""

    def op(code, value, then=0, otherwise=0):
        return struct.pack("<HBBI", code, then, otherwise, value)

    def only(number, field, accepted):
        # The call `number` is refused unless this argument is one of `accepted`.
        checks = [op(_EQUAL, value, len(accepted) - at) for at, value in enumerate(accepted)]
        body = [op(_LOAD, field), *checks, op(_RETURN, _EPERM), op(_RETURN, _ALLOW)]
        return [op(_EQUAL, number, 0, len(body)), *body]

    def never(number, field, refused):
        checks = [op(_EQUAL, value, len(refused) - at) for at, value in enumerate(refused)]
        body = [op(_LOAD, field), *checks, op(_RETURN, _ALLOW), op(_RETURN, _EPERM)]
        return [op(_EQUAL, number, 0, len(body)), *body]

    program = [
        op(_LOAD, _ARCH), op(_EQUAL, _AUDIT_ARCH_X86_64, 1), op(_RETURN, _KILL_PROCESS),
        op(_LOAD, _NUMBER), op(_AT_LEAST, _X32, 0, 1), op(_RETURN, _ENOSYS),
        # Its flags are in memory, where a filter cannot look. The C library falls back to clone.
        op(_EQUAL, _CLONE3, 0, 1), op(_RETURN, _ENOSYS),
    ]  # fmt: skip
    refused = set(_REFUSED.values()) | (set() if has_namespaces else set(_REFUSED_ALONE.values()))
    for number in sorted(refused):
        program += [op(_EQUAL, number, 0, 1), op(_RETURN, _EPERM)]
    clone = [op(_LOAD, _FIRST), op(_ANY_BIT, _CLONE_NEW_ANYTHING, 0, 1), op(_RETURN, _EPERM)]
    if not has_namespaces:
        clone += [op(_ANY_BIT, _CLONE_THREAD, 1), op(_RETURN, _EPERM)]
    program += [op(_EQUAL, _CLONE, 0, len(clone) + 1), *clone, op(_RETURN, _ALLOW)]
    program += never(_IOCTL, _SECOND, _TERMINAL_REQUESTS)
    program += never(_PRCTL, _FIRST, (_PR_SET_PDEATHSIG,))
    if has_namespaces:
        program += only(_SOCKET, _FIRST, _FAMILIES)
    else:
        program += only(_KILL, _FIRST, (pid,)) + only(_TGKILL, _FIRST, (pid,))
        program += only(_PRLIMIT, _FIRST, (0, pid)) + never(_FCNTL, _SECOND, _SIGNAL_REQUESTS)
        program += only(_SOCKETPAIR, _SECOND, _STREAMS)
    return b"".join([*program, op(_RETURN, _ALLOW)])


def forbid_new_privileges():
    """No program run from here on gets rights that this one has not: no setuid, no capabilities."""
    _checked(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def die_with_parent(parent):
    """Have the kernel end this process when the thread that started it ends."""
    _checked(_libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0))
    if os.getppid() != parent:
        os._exit(1)


def restrict_system_calls(has_namespaces):
    """Put the filter on this process and all that it will start. False where this machine has none."""
    if os.uname().machine != "x86_64":
        return False
    program = seccomp_program(has_namespaces, os.getpid())
    text = ctypes.create_string_buffer(program, len(program))

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]

    filter_ = Program(len(program) // 8, ctypes.addressof(text))
    _checked(_libc.prctl(_PR_SET_SECCOMP, 2, ctypes.byref(filter_), 0, 0))
    return True


def restrict_files(readable, listable, writable):
    """Leave of the file system what is below `readable` (read, run), `listable` (names) and `writable`."""
    abi = landlock_abi()
    if abi < LANDLOCK_ABI_NEEDED:
        raise OSError(f"Landlock version {LANDLOCK_ABI_NEEDED} is needed, the kernel has {abi}")
    everything = _ALL_OF_ABI[min(abi, 5)]
    attributes = struct.pack("<QQQ", everything, 3, 3)[: 8 if abi < 4 else 16 if abi < 6 else 24]
    ruleset = _checked(_libc.syscall(_CREATE_RULESET, attributes, len(attributes), 0))
    try:
        for rights, paths in (
            (_EXECUTE | _READ_FILE | _READ_DIR, readable),
            (_READ_DIR, listable),
            (everything, writable),
        ):
            for path in paths:
                _allow(ruleset, path, rights & everything)
        _checked(_libc.syscall(_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)


def _allow(ruleset, path, rights):
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not os.path.isdir(path):
            rights &= _FILE_RIGHTS
        if rights:
            _checked(_libc.syscall(_ADD_RULE, ruleset, 1, struct.pack("<Qi", rights, fd), 0))
    finally:
        os.close(fd)


def become(user):
    """Give up root for a user and group of this number, and with it every capability."""
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def limit(memory_bytes, disk_bytes, max_processes, cpu_s):
    """Set the limits that each process has. `max_processes` None leaves their number alone."""
    limits = {
        "RLIMIT_AS": memory_bytes,
        "RLIMIT_FSIZE": disk_bytes,
        "RLIMIT_NPROC": max_processes,
        "RLIMIT_CPU": cpu_s,
        "RLIMIT_NOFILE": 256,
        "RLIMIT_CORE": 0,
        "RLIMIT_MEMLOCK": 65536,
        "RLIMIT_MSGQUEUE": 0,
        "RLIMIT_SIGPENDING": 256,
    }
    for name, value in limits.items():
        which = getattr(resource, name, None)
        if value is None or which is None:
            continue
        hard = resource.getrlimit(which)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (value, value))


def yield_to_others(nice):
    """Run behind other work, and be the first to go when the machine is out of memory."""
    os.nice(nice)
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")
    except OSError:
        pass  # a limit of the container's, or no /proc: the session's own memory limit stands
