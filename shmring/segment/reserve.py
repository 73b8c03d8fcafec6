"""Reserving storage, so that a full file system is an error here and not a SIGBUS at some later write."""

from __future__ import annotations

import errno
import os
import pathlib

from shmring.errors import NoSpace


def _available_memory() -> int | None:
    """Bytes of memory that can be had without swapping; None where the kernel does not say."""
    try:
        lines = pathlib.Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def free_bytes(fd: int | None) -> int | None:
    """What is free where this descriptor's file lives; for memory of no file system, what the machine has."""
    if fd is not None:
        status = os.fstatvfs(fd)
        if status.f_blocks:
            return status.f_bavail * status.f_frsize
    return _available_memory()


def check_free(fd: int | None, needed: int, path: str) -> None:
    """NoSpace at once for what cannot fit, before minutes go by and the machine is full."""
    free = free_bytes(fd)
    if free is not None and needed > free:
        raise NoSpace(needed, free, path)


def reserve_range(fd: int, offset: int, length: int, path: str) -> None:
    """Give a range of the file real storage, making the file longer if need be. NoSpace may leave a part reserved."""
    check_free(fd, length, path)
    while True:
        try:
            os.posix_fallocate(fd, offset, length)
            return
        except InterruptedError:
            continue
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.ENOMEM):
                raise NoSpace(length, free_bytes(fd) or 0, path) from None
            raise


def reserve(fd: int, size: int, path: str) -> None:
    """Give the file ``size`` bytes of real storage. Keeps what is there; NoSpace leaves the file as it was."""
    before = os.fstat(fd)
    check_free(fd, size - before.st_blocks * 512, path)
    while True:
        try:
            os.posix_fallocate(fd, 0, size)
            return
        except InterruptedError:
            continue
        except OSError as error:
            os.ftruncate(fd, before.st_size)
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise NoSpace(size, free_bytes(fd) or 0, path) from None
            if error.errno == errno.EFBIG:
                error.strerror = f"{size} bytes are more than a file may have here (see ulimit -f)"
            raise
