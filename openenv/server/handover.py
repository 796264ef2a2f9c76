"""Connections that go from one worker to another, with the bytes that were read from them already.

In: a connection's descriptor, in one worker. Out: the same connection in another one, as if it had been
accepted there; its peer notices nothing. That is how new sessions go to the worker that holds fewest, and how
a request finds the worker that has its session.

Each worker slot has a pair of sockets, made before the fork: the worker of the slot reads one end, every
other process may write to the other. Records are whole (SOCK_SEQPACKET), and carry the descriptor with
SCM_RIGHTS (unix(7)); bytes too many for a record go along in a memory file. What was sent to a worker that
died before it read it waits in the pair, where the parent finds it.

It knows nothing about HTTP, sessions or loops. Limits: Linux; elsewhere there is nobody to hand over to.
"""

from __future__ import annotations

import array
import os
import socket
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from openenv.server.capacity import SharedCapacity
from openenv.session.pool import slot_of

__all__ = ["Given", "Handover", "Neighbours", "empty", "rescue"]

_HEAD = struct.Struct("!qB")  # generation of the place, or -1; whether the bytes are in a memory file
_INLINE_BYTES = 16 * 1024
_RECORD_BYTES = _HEAD.size + _INLINE_BYTES
_NO_PLACE = -1


@dataclass(slots=True)
class Given:
    """A connection that another worker gave.

    Attributes:
        connection: Its socket; whoever takes it closes it.
        data: What was read from it and not answered.
        place: Generation of the slot in which a place is held for it; None where none is.
    """

    connection: socket.socket
    data: bytes
    place: int | None


class Handover:
    """The pairs of all worker slots; made before the fork, used after it.

    Args:
        n_slots: Most worker processes alive at once, >= 1.
    """

    def __init__(self, n_slots: int) -> None:
        self._pairs = [
            socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
            for _ in range(n_slots)
        ]

    @staticmethod
    def is_possible() -> bool:
        """Whether this operating system can."""
        return sys.platform == "linux"

    def fileno(self, slot: int) -> int:
        """What the worker of a slot waits on."""
        return self._pairs[slot][0].fileno()

    def give(self, slot: int, descriptor: int, data: bytes, place: int | None) -> bool:
        """Give a connection to the worker of a slot; the caller's own descriptor stays open.

        Returns:
            False if that worker has too many waiting already.
        """
        descriptors = [descriptor]
        memory = -1
        if len(data) > _INLINE_BYTES:
            memory = _memory_file(data)
            descriptors.append(memory)
        head = _HEAD.pack(_NO_PLACE if place is None else place, memory >= 0)
        rights = array.array("i", descriptors)
        try:
            self._pairs[slot][1].sendmsg(
                [head, b"" if memory >= 0 else data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)]
            )
        except OSError:  # full, or out of what the kernel has for descriptors under way
            return False
        finally:
            if memory >= 0:
                os.close(memory)
        return True

    def take(self, slot: int) -> Iterator[Given]:
        """The connections that wait for the worker of a slot, until none is left."""
        own = self._pairs[slot][0]
        while True:
            try:
                record, ancillary, flags, _ = own.recvmsg(_RECORD_BYTES, socket.CMSG_SPACE(8))
            except BlockingIOError:
                return
            descriptors = array.array("i")
            for level, kind, rights in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    descriptors.frombytes(rights[: len(rights) - len(rights) % descriptors.itemsize])
            given = _given(record, list(descriptors), flags)
            if given is not None:
                yield given

    def close(self) -> None:
        """Close this process's ends."""
        for pair in self._pairs:
            for end in pair:
                end.close()


class Neighbours:
    """The other workers of the server, as one of them sees it.

    Args:
        capacity: Says who serves and who holds how many sessions; entered.
        handover: The way there.
    """

    def __init__(self, capacity: SharedCapacity, handover: Handover) -> None:
        self.slot = capacity.slot
        self._capacity = capacity
        self._handover = handover

    def fileno(self) -> int:
        """Readable when a neighbour gave a connection."""
        return self._handover.fileno(self.slot)

    def worker_of(self, session_id: str) -> int | None:
        """The slot of the neighbour that made a session; None where that is nobody who is there."""
        slot = slot_of(session_id)
        return slot if slot is not None and self._capacity.is_alive(slot) else None

    def assign(self) -> int | None:
        """Take a place for whoever should have the next session; see `SharedCapacity.assign`."""
        return self._capacity.assign()

    def emptier(self) -> int | None:
        """A neighbour that holds noticeably fewer sessions than this worker, if there is one."""
        least = self._capacity.least_loaded()
        if least is None or self._capacity.is_near(self.slot, least):
            return None
        return least

    def keep(self, slot: int) -> None:
        """Have a place that was taken for another worker after all."""
        self._capacity.move(slot, self.slot)

    def give(self, slot: int, descriptor: int, data: bytes, has_place: bool) -> bool:
        """Give a connection, and the place that is held for it; see `Handover.give`."""
        place = self._capacity.generation(slot) if has_place else None
        return self._handover.give(slot, descriptor, data, place)

    def take(self) -> Iterator[tuple[Given, bool]]:
        """What was given, each with whether a place is held for it here."""
        for given in self._handover.take(self.slot):
            yield given, given.place == self._capacity.generation(self.slot)

    def serve(self, serving: bool) -> None:
        """Say whether this worker takes new sessions."""
        self._capacity.serve(serving)

    def give_unread(self, descriptor: int, n_connections: int) -> bool:
        """Give a connection that nobody read from to a worker that has noticeably fewer, if there is one.

        Args:
            n_connections: How many this worker has.
        """
        slot = self._capacity.assign_connection(n_connections)
        return slot != self.slot and self._handover.give(slot, descriptor, b"", None)

    def count(self, n_connections: int) -> None:
        """Say how many connections this worker has."""
        self._capacity.count_connections(n_connections)

    @property
    def others_serve(self) -> bool:
        """Whether another worker takes new sessions."""
        return self._capacity.least_loaded() not in (None, self.slot)

    def pass_on(self, descriptor: int, data: bytes = b"") -> bool:
        """Give a connection to a worker that serves, as this one no longer does; see `Handover.give`."""
        target = self._capacity.least_loaded()
        return target not in (None, self.slot) and self._handover.give(target, descriptor, data, None)


def rescue(capacity: SharedCapacity, handover: Handover, slot: int) -> None:
    """Find another worker for what waits for one that is gone; for the parent."""
    for given in handover.take(slot):
        target = capacity.least_loaded()
        if target is not None:
            handover.give(target, given.connection.fileno(), given.data, None)
        given.connection.close()


def empty(capacity: SharedCapacity, handover: Handover, listening: list[socket.socket]) -> bool:
    """Find workers for the connections that wait to be accepted, and close the sockets; for the parent.

    Returns:
        False, and nothing is done, where no worker serves.
    """
    for queue in listening:
        while (target := capacity.least_loaded()) is not None:
            try:
                connection, _ = queue.accept()
            except OSError:
                queue.close()
                break
            with connection:
                handover.give(target, connection.fileno(), b"", None)
        else:
            return False
    return True


def _memory_file(data: bytes) -> int:
    descriptor = os.memfd_create("openenv-handover")
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _given(record: bytes, descriptors: list[int], flags: int) -> Given | None:
    """What a record says; None, and everything closed, where descriptors were lost on the way."""
    place, is_elsewhere = _HEAD.unpack_from(record)
    if flags & socket.MSG_CTRUNC or len(descriptors) != 1 + is_elsewhere:
        for descriptor in descriptors:  # this process has as many open as it may
            os.close(descriptor)
        return None
    data = record[_HEAD.size :]
    if is_elsewhere:
        memory = descriptors[1]
        with open(memory, "rb") as file:
            file.seek(0)
            data = file.read()
    connection = socket.socket(fileno=descriptors[0])
    connection.setblocking(False)
    return Given(connection, data, None if place == _NO_PLACE else place)
