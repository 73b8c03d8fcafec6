"""Growing memory on POSIX: a memfd, or a file in /dev/shm. The kernel gives storage to ranges, and takes it back."""

from __future__ import annotations

import os
import sys

from shmring.errors import NoSpace
from shmring.segment.names import SHARED_MEMORY
from shmring.segment.posix import mapping
from shmring.segment.posix import reserve as storage

assert sys.platform != "win32"


def unnamed(size: int) -> mapping.Segment:
    """Storage is taken as it is used: programs make many queues, and most stay small. NoSpace for what cannot fit."""
    memory = mapping.anonymous(size, transferable=True, reserve=False)
    try:
        storage.check_free(memory.fd, size, where(memory))
    except BaseException:
        memory.close()
        raise
    return memory


def where(memory: mapping.Segment) -> str:
    """The file system, or "memory" where it has none."""
    status = storage.file_system(memory.fd)
    return SHARED_MEMORY if status is not None and status.f_blocks else "memory"


def free_bytes(memory: mapping.Segment) -> int:
    """What can be had: of the file system, the machine, the container. Where nobody knows, as good as endless."""
    room = storage.least_room(memory.fd, where(memory))
    return room.free if room else sys.maxsize


def no_space(memory: mapping.Segment, needed: int) -> NoSpace:
    """The error that says what there is least of."""
    return storage.no_space(memory.fd, needed, where(memory))


def reserve(memory: mapping.Segment, offset: int, length: int) -> None:
    """NoSpace may leave a part reserved."""
    storage.reserve_range(memory.fd, offset, length, where(memory))


def map_range(memory: mapping.Segment, offset: int, length: int) -> mapping.Segment:
    """It may lie beyond what ``memory`` maps."""
    return type(memory)._map(os.dup(memory.fileno()), length, name=memory.name, path=memory.path, offset=offset)


def file(memory: mapping.Segment) -> int:
    """Its descriptor."""
    return memory.fd


def check_free(memory: mapping.Segment, needed: int) -> None:
    """NoSpace for what does not fit."""
    storage.check_free(memory.fd, needed, where(memory))
