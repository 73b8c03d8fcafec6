"""Reserving storage, so that its want is an error here, and not a SIGBUS or a killed process at some later write."""

from __future__ import annotations

import errno
import fcntl
import math
import mmap
import os
import resource
import sys
from collections.abc import Iterator
from typing import NamedTuple

from shmring.errors import Limit, NoSpace
from shmring.segment.posix import groups, limits

assert sys.platform != "win32"

_STEP = 1 << 20  # of memory that is reserved at a time: a signal makes the kernel begin a step again
_ASK_AGAIN = 64 * _STEP


class Room(NamedTuple):
    """How many bytes more there are of what a reservation takes, of which, and where."""

    free: int
    limit: Limit
    where: str


def file_system(fd: int) -> os.statvfs_result | None:
    """What the file system says of itself; None where a sandbox does not let it: then it bounds nothing here."""
    try:
        return os.fstatvfs(fd)
    except OSError:
        return None


def in_memory(fd: int) -> bool:
    """Do pages of this file stay in memory until it goes? Huge pages do, but were set aside before."""
    status = file_system(fd)
    if sys.platform != "linux" or (status is not None and status.f_bsize != mmap.PAGESIZE):
        return False
    if status is not None and not status.f_blocks:  # a memfd, or ramfs
        return True
    try:
        fcntl.fcntl(fd, fcntl.F_GET_SEALS)
    except OSError:  # EINVAL, of all that is no tmpfs; should a sandbox refuse to say, it is not asked for more
        return False
    return True


def _of_machine(enough: float) -> int | None:
    """What can be had of memory and swap; None when that is enough, or nobody knows."""
    unused = os.sysconf("SC_AVPHYS_PAGES") * mmap.PAGESIZE
    if unused >= enough:
        return None
    known = groups.machine_memory()
    if "MemAvailable" in known:
        free = known["MemAvailable"] + known.get("SwapFree", 0)
        return free if free < enough else None
    return unused if enough == math.inf and unused > 0 else None  # without /proc/meminfo: not less than that


def _rooms(fd: int | None, path: str, enough: float) -> Iterator[Room]:
    """Each thing that there may be less of than ``enough``."""
    status = None if fd is None else file_system(fd)
    if status is not None and status.f_blocks:
        yield Room(status.f_bavail * status.f_frsize, "room", path)
    if fd is None or in_memory(fd):
        if (free := _of_machine(enough)) is not None:
            yield Room(free, "memory", path)
        if (found := groups.least_left(enough)) is not None:
            yield Room(found[0], "group", found[1].folder)


def least_room(fd: int | None, path: str) -> Room | None:
    """What there is least of, for this descriptor's file; with None, for memory without one. None: nobody knows."""
    rooms = [*_rooms(fd, path, math.inf)]
    if fd is not None and (longest := limits.of(resource.RLIMIT_FSIZE)) is not None:
        rooms.append(Room(max(0, longest - os.fstat(fd).st_size), "file size", path))
    return min(rooms, default=None)


def check_free(fd: int | None, needed: int, path: str) -> None:
    """NoSpace at once for what cannot fit, before minutes go by and the machine, or the container, is full."""
    least = min(_rooms(fd, path, needed), default=None)
    if least is not None and least.free < needed:
        raise NoSpace(needed, least.free, least.where, least.limit)


def _check_end(end: int, needed: int, path: str) -> None:
    """NoSpace for a file longer than this process may have them: before a signal says so, which ends some programs."""
    longest = limits.of(resource.RLIMIT_FSIZE)
    if longest is not None and end > longest:
        raise NoSpace(needed, max(0, longest - (end - needed)), path, "file size")


def no_space(fd: int | None, needed: int, path: str) -> NoSpace:
    """The error for a reservation that was not even tried."""
    least = least_room(fd, path) or Room(0, "room", path)
    return NoSpace(needed, least.free, least.where, least.limit)


def reserve_range(fd: int, offset: int, length: int, path: str) -> None:
    """Give a range of the file real storage, making the file longer if need be. NoSpace may leave a part reserved."""
    _check_end(offset + length, length, path)
    check_free(fd, length, path)
    _allocate(fd, offset, length, path)


def reserve(fd: int, size: int, path: str) -> None:
    """Give the file ``size`` bytes of real storage. Keeps what is there; an error leaves the file as it was."""
    before = os.fstat(fd)
    _check_end(size, size - before.st_size, path)
    check_free(fd, size - before.st_blocks * 512, path)
    try:
        _allocate(fd, 0, size, path)
    except BaseException:
        os.ftruncate(fd, before.st_size)
        raise


def lengthen(fd: int, size: int, path: str) -> None:
    """Make a file so long, without storage. NoSpace for more than a file may have."""
    _check_end(size, max(0, size - os.fstat(fd).st_size), path)
    try:
        os.ftruncate(fd, size)
    except OSError as error:
        raise _refused(error, fd, size, path) from None


def _allocate(fd: int, offset: int, length: int, path: str) -> None:
    step = _STEP if in_memory(fd) else max(1, length)
    for done in range(0, length, step):
        if done and done % _ASK_AGAIN == 0:
            check_free(fd, length - done, path)  # others take some, too
        try:
            os.posix_fallocate(fd, offset + done, min(step, length - done))
        except OSError as error:
            raise _refused(error, fd, length, path) from None


_RAN_OUT: dict[int, tuple[Limit, ...]] = {
    errno.ENOSPC: ("room",),
    errno.EDQUOT: ("quota",),
    errno.ENOMEM: ("memory", "group"),
    errno.EFBIG: ("file size",),
}


def _refused(error: OSError, fd: int, needed: int, path: str) -> OSError:
    """What that means here; an errno of which nothing is known is passed on, with what was tried."""
    number = error.errno or errno.EIO
    ran_out = _RAN_OUT.get(number)
    if ran_out is None:
        text = f"{error.strerror}: {needed} bytes could not be reserved on {path}; see `shmring doctor`"
        return OSError(number, text)
    known = [room for room in _rooms(fd, path, math.inf) if room.limit in ran_out]
    least = min(known, default=Room(0, ran_out[0], path))
    return NoSpace(needed, least.free, least.where, least.limit)
