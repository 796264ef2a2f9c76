"""Where the server listens: TCP ports, unix sockets, certificates and the limit on open files.

In: the host, port, unix path and certificate files of a `Config`. Out: bound and listening sockets, an
`ssl.SSLContext`, or a `ConfigurationError` that says what is in the way. It knows nothing about loops,
processes or HTTP.

A port is *claimed* once, by the first process, and *opened* by each process that serves on it. On Linux
each worker opens a socket of its own with SO_REUSEPORT, so that the kernel shares out the connections;
elsewhere SO_REUSEPORT does not share them out, and all workers accept from one socket.

References: socket(7), unix(7), and the kernel's notes on SO_REUSEPORT (Linux 3.9).
"""

from __future__ import annotations

import errno
import os
import resource
import socket
import ssl
import stat
import sys
from dataclasses import dataclass, field

from openenv.config import Config
from openenv.errors import ConfigurationError

__all__ = ["Claim", "Doors", "Sockets", "claim", "raise_open_files_limit", "tls_context"]

_OWN_SOCKET_PER_WORKER = sys.platform == "linux"
_ANY_HOSTS = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}

# A host that is gone is found after three minutes of silence: no pong is demanded, HTTP connections get no
# ping. What is accepted inherits this.
_KEEP_ALIVE = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 20), ("TCP_KEEPCNT", 6))

Sockets = list[socket.socket]


@dataclass(slots=True)
class Claim:
    """Addresses that are ours: bound, and not yet listening.

    Attributes:
        host: As asked for.
        port: The port bound, never 0; 0 only for a unix socket.
        uds: Path of the unix socket, or None.
    """

    host: str
    port: int
    uds: str | None
    _backlog: int
    _bound: list[socket.socket]
    _shared: bool
    _uds_inode: tuple[int, int] | None = None
    _listening: bool = field(default=False)

    @property
    def is_shared(self) -> bool:
        """Whether all workers accept from the same sockets."""
        return self._shared

    def open(self) -> Sockets:
        """Give the sockets that a worker accepts from; those of its own do not listen before it serves.

        Raises:
            ConfigurationError: The port can no longer be bound.
        """
        if self._shared:
            self.listen()
            return self._bound
        # The bound sockets stay open beside these: they hold the port while workers come and go.
        return [_bind_again(bound) for bound in self._bound]

    def listen(self) -> None:
        """Start listening on the sockets that all workers share; does nothing where each has its own."""
        if self._shared and not self._listening:
            for bound in self._bound:
                bound.listen(self._backlog)
            self._listening = True

    def close(self) -> None:
        """Give the addresses back; a unix socket's file goes too, if it is still ours."""
        for bound in self._bound:
            bound.close()
        if self.uds is not None and self._uds_inode == _inode(self.uds):
            os.unlink(self.uds)

    def url(self, scheme: str) -> str:
        """The address a person can open: `http://127.0.0.1:8000` for 0.0.0.0, or `unix:PATH`."""
        if self.uds is not None:
            return f"unix:{self.uds}"
        host = _ANY_HOSTS.get(self.host, f"[{self.host}]" if ":" in self.host else self.host)
        return f"{scheme}://{host}:{self.port}"


class Doors:
    """The listening sockets of each worker slot, which the parent holds as well.

    A worker that takes another's place accepts from the same sockets: closing them would reset the
    connections that wait there to be accepted, or that are still shaking hands. And what waits for a worker
    that dies is not lost with it.

    Args:
        addresses: Where to listen.
    """

    def __init__(self, addresses: Claim) -> None:
        self._addresses = addresses
        self._by_slot: dict[int, Sockets] = {}
        self._orphaned: list[Sockets] = []

    def prepare(self, slot: int, replaced: int | None) -> None:
        """Have sockets ready for a worker; in the parent, before it is forked.

        Args:
            slot: Its slot.
            replaced: The slot of the worker whose sockets it takes over, if that is still there.
        """
        if self._addresses.is_shared:
            return
        sockets = None if replaced is None else self._by_slot.get(replaced)
        if sockets is None:
            try:
                sockets = self._orphaned.pop() if self._orphaned else self._addresses.open()
            except ConfigurationError:
                return  # the worker tries, and says why it cannot
        self._by_slot[slot] = sockets

    def enter(self, slot: int) -> Sockets:
        """Give a worker its sockets, and close those of the others; once, after its fork.

        Raises:
            ConfigurationError: The port can no longer be bound.
        """
        own = self._by_slot.get(slot)
        for sockets in (*self._by_slot.values(), *self._orphaned):
            if sockets is not own:
                _close(sockets)
        return self._addresses.open() if own is None else own

    def leave(self, slot: int) -> Sockets:
        """The sockets of a worker that is gone, where nobody took them over; they are the caller's."""
        sockets = self._by_slot.pop(slot, [])
        return [] if any(sockets is others for others in self._by_slot.values()) else sockets

    def keep(self, sockets: Sockets) -> None:
        """Have sockets wait for the next worker that starts."""
        self._orphaned.append(sockets)

    def close(self) -> None:
        """Close the parent's own: from now on each worker's are closed when it closes them."""
        for sockets in (*self._by_slot.values(), *self._orphaned):
            _close(sockets)
        self._by_slot.clear()
        self._orphaned.clear()


def _close(sockets: Sockets) -> None:
    for listening in sockets:
        listening.close()


def claim(config: Config, *, share: bool) -> Claim:
    """Bind what the configuration names.

    Args:
        config: Its host, port, uds and backlog.
        share: Whether several processes will listen there.

    Raises:
        ConfigurationError: The address is taken, is not one of this machine, or may not be used.
    """
    if config.uds is not None:
        return _claim_uds(config.uds, config.backlog)
    own_sockets = share and _OWN_SOCKET_PER_WORKER
    bound: list[socket.socket] = []
    port = config.port
    skipped: OSError | None = None
    for family, address in _addresses(config.host, port):
        try:
            one = _bind(family, (address, port, *((0, 0) if family == socket.AF_INET6 else ())))
        except OSError as error:
            # `localhost` names ::1 on machines that have no IPv6.
            if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                skipped = error
                continue
            for other in bound:
                other.close()
            raise _bind_refusal(error, config.host, port) from error
        port = one.getsockname()[1]
        if own_sockets:
            # Only now: a bind with SO_REUSEPORT would join a stranger's port instead of failing.
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.append(one)
    if not bound:
        raise _bind_refusal(skipped or OSError(errno.EADDRNOTAVAIL, ""), config.host, port)
    return Claim(config.host, port, None, config.backlog, bound, not own_sockets)


def _addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, str]]:
    try:
        infos = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
        )
    except (socket.gaierror, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigurationError(
            f"cannot listen on host {host!r}: {reason}; give --host an address or a name of this machine"
        ) from error
    found = [(family, str(address[0])) for family, _, _, _, address in infos]
    return list(dict.fromkeys(found))


def _bind(family: socket.AddressFamily, address: tuple[object, ...]) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _keep_alive(bound)
        if family == socket.AF_INET6:
            # `::` means every address of the machine, IPv4 ones too; a single one means itself.
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if address[0] == "::" else 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    bound.setblocking(False)
    return bound


def _bind_again(claimed: socket.socket) -> socket.socket:
    address = claimed.getsockname()
    own = socket.socket(claimed.family, socket.SOCK_STREAM)
    try:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        _keep_alive(own)
        if claimed.family == socket.AF_INET6:
            v6only = claimed.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
            own.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
        own.bind(address)
    except OSError as error:
        own.close()
        raise _bind_refusal(error, str(address[0]), int(address[1])) from error
    own.setblocking(False)
    return own


def _keep_alive(listening: socket.socket) -> None:
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEP_ALIVE:
        option = getattr(socket, name, None)
        if option is not None:  # not every system has all three
            listening.setsockopt(socket.IPPROTO_TCP, option, value)


def _bind_refusal(error: OSError, host: str, port: int) -> ConfigurationError:
    where = f"{host}:{port}"
    match error.errno:
        case errno.EADDRINUSE:
            text = (
                f"port {port} on {host} is already in use; stop what uses it, or choose another with --port "
                "(0 takes a free one)"
            )
        case errno.EACCES:
            text = f"may not listen on {where}: permission denied; choose a port above 1023 with --port"
        case errno.EADDRNOTAVAIL:
            text = f"cannot listen on {where}: not an address of this machine; choose one with --host"
        case _:
            text = f"cannot listen on {where}: {error.strerror or error}; choose another --host or --port"
    return ConfigurationError(text)


def _claim_uds(path: str, backlog: int) -> Claim:
    _remove_stale(path)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bound.bind(path)
    except (OSError, ValueError) as error:
        bound.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigurationError(
            f"cannot listen on unix socket {path!r}: {reason}; give --uds a short path in a folder that "
            "exists and that you may write to"
        ) from error
    bound.setblocking(False)
    return Claim("", 0, path, backlog, [bound], True, _inode(path))


def _remove_stale(path: str) -> None:
    """Remove a socket file that nobody listens on any more."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigurationError(f"cannot listen on unix socket {path!r}: a file that is no socket is there")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except OSError:
            return
    raise ConfigurationError(
        f"unix socket {path!r} is already in use; stop the server that listens there, or choose another --uds"
    )


def _inode(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def tls_context(config: Config) -> ssl.SSLContext | None:
    """The server's side of TLS from the certificate files, or None where none are named.

    Raises:
        ConfigurationError: A file is missing, unreadable, not PEM, or the key is not the certificate's.
    """
    if config.ssl_certfile is None:
        return None
    for flag, path in (("--ssl-certfile", config.ssl_certfile), ("--ssl-keyfile", config.ssl_keyfile)):
        if path is not None and not os.path.isfile(path):
            raise ConfigurationError(f"{flag} {path!r} does not exist; give it the path of a PEM file")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(config.ssl_certfile, config.ssl_keyfile, password=_no_password)
    except (ssl.SSLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
        raise ConfigurationError(
            f"cannot use certificate {config.ssl_certfile!r} with key "
            f"{config.ssl_keyfile or config.ssl_certfile!r}: {reason}; give --ssl-certfile and --ssl-keyfile "
            "an unencrypted PEM pair that belongs together"
        ) from error
    return context


def _no_password() -> str:
    # Without this OpenSSL asks on the terminal, and a server in a container hangs.
    raise ValueError("the key is encrypted")


def raise_open_files_limit() -> int:
    """Raise this process's soft limit on open files to the hard one, and give what it is now.

    The usual soft limit of 1,024 ends a server at about a thousand sessions.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):
            return soft
    return hard
