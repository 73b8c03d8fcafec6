"""How much memory and how many descriptors rings can have: of /dev/shm, of the container, of this process."""

from __future__ import annotations

import math
import os
import resource
import stat
import sys
from collections.abc import Iterator

from shmring.admin.doctor.finding import Finding
from shmring.segment import descriptors
from shmring.segment.names import SHARED_MEMORY
from shmring.segment.posix import groups, limits, refusals, reserve
from shmring.segment.sizes import show_size

assert sys.platform == "linux"

_SMALL = 256 << 20
_LITTLE = 16 << 20  # less than a queue takes at first
_FEW_DESCRIPTORS = 256
_LARGER = f"in a container, start it with --shm-size=1g; else mount -o remount,size=1g {SHARED_MEMORY}"
_MOUNT = f"mount a tmpfs there: mount -t tmpfs -o mode=1777 tmpfs {SHARED_MEMORY}"


def space() -> Iterator[Finding]:
    """Of /dev/shm, where named rings are, and semaphores."""
    try:
        is_folder = stat.S_ISDIR(os.stat(SHARED_MEMORY).st_mode)
        status = os.statvfs(SHARED_MEMORY)
    except OSError as error:
        yield Finding("space", "problem", f"{SHARED_MEMORY}: {error.strerror}", _MOUNT)
        return
    if not is_folder:
        yield Finding("space", "problem", f"{SHARED_MEMORY} is no folder", _MOUNT)
        return
    yield _room(status)
    yield from _use(status)


def _room(status: os.statvfs_result) -> Finding:
    size, free = status.f_blocks * status.f_frsize, status.f_bavail * status.f_frsize
    text = f"{SHARED_MEMORY} has {show_size(free)} free of {show_size(size)}"
    if status.f_files and not status.f_favail:
        remedy = f"shmring clean, shmring ls; or mount -o remount,nr_inodes=1m {SHARED_MEMORY}"
        return Finding("space", "problem", f"{SHARED_MEMORY} takes no more files: its inodes are all in use", remedy)
    if size and size < _SMALL:
        return Finding("space", "problem", f"{text}: rings of more than that raise NoSpace", _LARGER)
    if size and free < size // 10:
        return Finding("space", "problem", f"{text}: nearly full", f"shmring clean, shmring ls; or {_LARGER}")
    return Finding("space", "ok", text)


def _use(status: os.statvfs_result) -> Iterator[Finding]:
    if status.f_flag & os.ST_RDONLY:
        remedy = f"mount -o remount,rw {SHARED_MEMORY} (as root)"
        yield Finding("space", "problem", f"{SHARED_MEMORY} is mounted read-only", remedy)
    elif not os.access(SHARED_MEMORY, os.R_OK | os.W_OK | os.X_OK):
        remedy = f"chmod 1777 {SHARED_MEMORY} (as root)"
        yield Finding("space", "problem", f"{SHARED_MEMORY} is not writable for you", remedy)
    try:
        fd = os.open(SHARED_MEMORY, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError:  # kernel.release() says why
        return
    try:
        if not reserve.in_memory(fd):
            text = f"{SHARED_MEMORY} is no tmpfs, so rings are written to a disk"
            yield Finding("space", "note", text, f"mount a tmpfs on {SHARED_MEMORY}")
    finally:
        os.close(fd)


def container_memory() -> Iterator[Finding]:
    """What control groups let this process have, and have left."""
    least = groups.least_left(math.inf)
    if not descriptors.has_proc():  # of which kernel.proc() speaks
        yield Finding("container memory", "ok", "not known without /proc")
        return
    if least is None:
        yield Finding("container memory", "ok", "no memory limit")
        return
    left, group = least
    text = f"{show_size(left)} are left of a limit of {show_size(group.limit or 0)}, shared memory included"
    where = f" ({group.folder})"
    remedy = "keep the sum of capacities well below the limit, or raise it (docker run --memory, MemoryMax=)"
    if left < _LITTLE:
        yield Finding("container memory", "problem", f"{text}: rings and queues raise NoSpace{where}", remedy)
    elif refusals.has_shared_memory() and _size_of_shared_memory() > (group.limit or 0):
        more = f"{text}, and {SHARED_MEMORY} is larger than the limit: whatever fills it past that has a process killed"
        yield Finding("container memory", "note", f"{more}{where}", remedy)
    else:
        yield Finding("container memory", "ok", f"{text}{where}")


def _size_of_shared_memory() -> int:
    status = os.statvfs(SHARED_MEMORY)
    return status.f_blocks * status.f_frsize


def process_limits() -> Iterator[Finding]:
    """Of this process: descriptors, length of files, address space, locked memory."""
    yield _descriptors()
    size = limits.of(resource.RLIMIT_FSIZE)
    if size is not None:
        finding = f"no file, and so no ring, may be larger than {show_size(size)}"
        yield Finding("limits", "problem" if size < _SMALL else "note", finding, "ulimit -f unlimited, LimitFSIZE=")
    for which, key, option in ((resource.RLIMIT_AS, "VmSize", "-v"), (resource.RLIMIT_DATA, "VmData", "-d")):
        most = limits.of(which)
        if most is not None:
            left = max(0, most - limits.used(key))
            finding = f"this process may map {show_size(left)} more of {show_size(most)}"
            yield Finding("limits", "problem" if left < _SMALL else "note", finding, f"ulimit {option} unlimited")
    locked = limits.of(resource.RLIMIT_MEMLOCK)
    if locked is not None and locked < 64 << 20:
        finding = f"segment.lock() can lock {show_size(locked)}"
        yield Finding("limits", "note", finding, "ulimit -l, LimitMEMLOCK=, where memory is to be locked")


def _descriptors() -> Finding:
    most = limits.of(resource.RLIMIT_NOFILE)
    if most is None:
        return Finding("limits", "ok", "unlimited descriptors")
    remedy = "ulimit -n 1024, LimitNOFILE="
    if most < _FEW_DESCRIPTORS:
        return Finding("limits", "problem", f"{most} descriptors; a ring takes two or three", remedy)
    try:
        in_use = len(os.listdir("/proc/self/fd"))
    except OSError:  # without /proc, of which kernel.proc() speaks
        return Finding("limits", "ok", f"{most} descriptors")
    if most - in_use < _FEW_DESCRIPTORS // 4:
        text = f"{in_use} of {most} descriptors are in use; a ring takes two or three"
        return Finding("limits", "problem", text, f"close what is not used; {remedy}")
    return Finding("limits", "ok", f"{in_use} of {most} descriptors are in use")
