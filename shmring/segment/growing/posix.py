"""Growing memory on POSIX: a memfd, or a file in /dev/shm. The kernel gives storage to ranges, and takes it back."""

from __future__ import annotations

import mmap
import os
import sys

from shmring.segment import posix
from shmring.segment import reserve as storage

assert sys.platform != "win32"

GIVES_BACK = True


def unnamed(size: int) -> posix.Segment:
    """Storage is taken as it is used: programs make many queues, and most stay small."""
    return posix.anonymous(size, transferable=True, reserve=False)


def where(memory: posix.Segment) -> str:
    """The file system."""
    return "/dev/shm"


def size(memory: posix.Segment) -> int:
    """The file's length."""
    return os.fstat(memory.fd).st_size


def free_bytes(memory: posix.Segment) -> int:
    """What is free there."""
    return storage.free_bytes(memory.fd) or 0


def reserve(memory: posix.Segment, offset: int, length: int) -> None:
    """NoSpace may leave a part reserved."""
    storage.reserve_range(memory.fd, offset, length, where(memory))


def extend(memory: posix.Segment, end: int) -> None:
    """A sparse end."""
    os.ftruncate(memory.fd, end)


def map_range(memory: posix.Segment, offset: int, length: int) -> posix.Segment:
    """It may lie beyond what ``memory`` maps."""
    return type(memory)._map(os.dup(memory.fileno()), length, name=memory.name, path=memory.path, offset=offset)


def clean(mapping: posix.Segment) -> None:
    """Ranges are never used again."""


def cut(memory: posix.Segment, end: int) -> None:
    """Shorten the file, if it is longer."""
    if os.fstat(memory.fd).st_size > end:
        os.ftruncate(memory.fd, end)


def give_back(mapping: posix.Segment, offset: int, length: int) -> None:
    """Punch a hole."""
    mapping.madvise(mmap.MADV_REMOVE, offset, length)
