"""What can go wrong, as exceptions. Each also derives from what a Python programmer already catches.

::

    ShmringError
    ├── Full (queue.Full)               no room in time
    ├── Empty (queue.Empty)             no message in time
    ├── ShutDown (queue.ShutDown)       the ring was shut down (the base where Python has it, from 3.13)
    ├── Closed (ValueError)             you closed it
    ├── PeerDied (BrokenPipeError)      every counterpart is dead
    ├── Busy (RuntimeError)             somebody has the role, or the endpoint is in use
    ├── MessageTooLong (ValueError)     longer than half the capacity
    ├── NoSpace (OSError, ENOSPC)       the memory cannot be reserved
    ├── LayoutMismatch (ValueError)     not a ring, another layout version, or another ring than asked for
    ├── Overwritten (RuntimeError)      what was borrowed was overwritten meanwhile
    ├── Corrupt (ValueError)            shared memory holds what no program of ours writes
    ├── DecodeError (ValueError)        a message that this process cannot turn back into an object
    ├── NotReady (TimeoutError)         half made, and not finished in time
    ├── StageError (RuntimeError)       an item on which a stage of a pipeline failed
    └── WorkerDied (BrokenProcessPool)  the worker that ran this task died (in shmring.workers)

FileExistsError, FileNotFoundError and PermissionError are Python's own.
"""

from __future__ import annotations

import dataclasses
import errno
import queue
import sys
from typing import Any, Literal


class ShmringError(Exception):
    """The root of every error of shmring's own.

    >>> with shmring.Ring.create() as ring:
    ...     try:
    ...         ring.get(timeout=0)
    ...     except shmring.ShmringError as error:
    ...         print(type(error).__name__)
    Empty
    """


class Full(ShmringError, queue.Full):
    """There was no room for the message in time."""


class Empty(ShmringError, queue.Empty):
    """No message came in time."""


if sys.version_info >= (3, 13):
    from queue import ShutDown as _QueueShutDown
else:
    _QueueShutDown = Exception


class ShutDown(ShmringError, _QueueShutDown):
    """It was shut down: nothing more is taken, or nothing is left to receive."""


class Closed(ShmringError, ValueError):
    """It is closed in this process, or the record at hand is not this process's any more."""


@dataclasses.dataclass(frozen=True)
class DeadPeer:
    """A counterpart that died; in :attr:`PeerDied.peers`.

    ``when`` its death was found and ``last_active`` it was seen are seconds since the epoch. It is seen when it waits,
    takes a role, and every few hundred messages.

    >>> shmring.DeadPeer(pid=4711, role="producer", when=1700000000.0).role
    'producer'
    """

    pid: int
    role: str
    when: float
    last_active: float = 0.0


class PeerDied(ShmringError, BrokenPipeError):
    """Every counterpart has died, and everything that they had committed was delivered. ``peers`` names them."""

    peers: tuple[DeadPeer, ...]

    def __init__(self, message: str = "", peers: tuple[DeadPeer, ...] = ()) -> None:
        super().__init__(message)
        self.errno = errno.EPIPE
        self.peers = peers

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.peers)


class Busy(ShmringError, RuntimeError):
    """The role has a holder, the endpoint is in use by an open claim, borrow or another thread, or all places are
    taken.
    """


class MessageTooLong(ShmringError, ValueError):
    """The message is longer than the ring, topic or latest value takes."""


Limit = Literal["room", "inodes", "quota", "group", "memory", "file size", "address space", "queue"]

_LESS = "ask for less, remove what is not used (shmring ls)"
# What ran out, and what to do about it.
_LIMITS: dict[Limit, tuple[str, str]] = {
    "room": (
        "{needed} bytes are needed and {free} are free on {path}",
        f"{_LESS}, or give that file system more room",
    ),
    "inodes": (
        "no file can be made on {path}: its inodes are all in use",
        "remove files there, or mount it with a larger nr_inodes",
    ),
    "quota": (
        "{needed} bytes are needed, and the disk quota of this user or project on {path} does not allow them",
        "remove what is not used, or have the quota raised",
    ),
    "group": (
        "{needed} bytes are needed and {free} are left of this container's (control group's) memory limit, {path}",
        f"{_LESS}, or raise the limit (docker run --memory, resources.limits.memory, MemoryMax=)",
    ),
    "memory": (
        "{needed} bytes are needed and {free} can be had of this machine's memory",
        f"{_LESS}, or end programs that use much of it",
    ),
    "file size": (
        "{needed} bytes are needed, and this process may make a file only {free} bytes longer on {path}",
        "ask for less, or raise the limit on the size of a file (ulimit -f, LimitFSIZE=)",
    ),
    "address space": (
        "{needed} bytes are needed and this process may map {free} more",
        "ask for less, or raise {path}",
    ),
    "queue": (
        "{needed} bytes are needed and {free} are left of {path}",
        "split the message, or make the queue with a larger max_bytes",
    ),
}


class NoSpace(ShmringError, OSError):
    """The memory cannot be reserved: ``needed`` and ``free`` are bytes, ``path`` is where, ``limit`` what ran out.

    ``limit`` is "room" or "inodes" (of a file system), "quota", "group" (the memory limit of a container, or of
    another control group), "memory" (of the machine), "file size", "address space" (of this process) or "queue".
    """

    def __init__(self, needed: int, free: int, path: str, limit: Limit = "room") -> None:
        what, remedy = (text.format(needed=needed, free=free, path=path) for text in _LIMITS[limit])
        if limit == "room" and path.startswith("/dev/shm"):
            remedy += ": in a container, start it with a larger --shm-size"
        super().__init__(errno.ENOSPC, f"{what}; {remedy}")
        self.needed = needed
        self.free = free
        self.path = path
        self.limit = limit

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.needed, self.free, self.path, self.limit)


class LayoutMismatch(ShmringError, ValueError):
    """What is there is no ring, one of another layout version, or another than was asked for."""


class Overwritten(ShmringError, RuntimeError):
    """A borrowed message was overwritten while it was looked at: throw away what was made of it."""


class Corrupt(ShmringError, ValueError):
    """Shared memory holds what no shmring program writes, or lacks pages: it was damaged or truncated."""


class DecodeError(ShmringError, ValueError):
    """The codec cannot read a message, which was handed back: it is still the next one, for a process that can read it.

    ``ring.skip(error)`` takes it out of the ring, as bytes. ``__cause__`` is what the codec raised; ``position``,
    ``length`` (in bytes) and ``identity`` (of the ring) tell which message it is.
    """

    def __init__(self, message: str, position: int = 0, length: int = 0, identity: int = 0) -> None:
        super().__init__(message)
        self.position = position
        self.length = length
        self.identity = identity

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.position, self.length, self.identity)


class NotReady(ShmringError, TimeoutError):
    """It exists, but the process that makes it has not finished; or one that is stopped holds it up."""


class NotThere(FileNotFoundError):
    """No ring has that name, or the one that had it was removed while this process attached: look again, or make one.

    Not public: users catch FileNotFoundError. Any other ENOENT (no /proc, no /dev/shm) is no NotThere, and lasts.
    """


class StageError(ShmringError, RuntimeError):
    """A stage of a pipeline failed. ``stage`` is its name, ``item`` what it was given; the cause says why."""

    def __init__(self, message: str = "", stage: str = "", item: Any = None) -> None:
        super().__init__(message)
        self.stage = stage
        self.item = item

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.stage, self.item)
