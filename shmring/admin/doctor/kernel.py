"""What the kernel, or a sandbox in front of it, has to allow: each is tried, and nothing is changed."""

from __future__ import annotations

import errno
import os
import platform
import sys
from collections.abc import Iterator

from shmring.admin.doctor.finding import Finding
from shmring.segment import anonymous, descriptors
from shmring.segment.names import SHARED_MEMORY
from shmring.segment.posix import locks, refusals

assert sys.platform == "linux"

_FUTEX_WAITV = 449  # everywhere
_MEMBARRIER_QUERY, _GLOBAL_EXPEDITED = 0, 0b110
_NUMBERS = {  # of futex and membarrier
    "x86_64": (202, 324),
    "aarch64": (98, 283),
    "riscv64": (98, 283),
    "loongarch64": (98, 283),
}


def release() -> Iterator[Finding]:
    """Which system this is, and whether named rings can begin as they do."""
    system = f"{os.uname().sysname} {os.uname().release}, Python {platform.python_version()}"
    if not refusals.has_shared_memory():  # memory.space says so
        yield Finding("kernel", "ok", system)
        return
    try:
        os.close(os.open(SHARED_MEMORY, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except OSError as error:
        yield _told("kernel", refusals.in_folder(error, SHARED_MEMORY, "a named ring"))
    else:
        yield Finding("kernel", "ok", system)


def _told(subject: str, error: OSError) -> Finding:
    """A refusal in our words, which end with the remedy."""
    text = str(error.strerror or error)
    for mark in (": ", "; "):
        found, _, remedy = text.rpartition(mark)
        if found:
            return Finding(subject, "problem", found, remedy)
    return Finding(subject, "problem", text, "see the kernel's log, and what sandbox this runs in")


def proc() -> Iterator[Finding]:
    """Every attachment opens its memory again through it."""
    if descriptors.has_proc():
        yield Finding("/proc", "ok", "mounted")
    else:
        found, _, remedy = descriptors.NO_PROC.partition("; ")
        yield Finding("/proc", "problem", found, remedy)


def locks_of_files() -> Iterator[Finding]:
    """By which the kernel says who lives, and that nobody else does."""
    where = SHARED_MEMORY
    try:
        fd = os.open(where, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError:  # of which release() and memory.space() speak
        where, fd = "this machine", os.memfd_create("shmring", os.MFD_CLOEXEC)
    try:
        refused = locks.refusal(fd)
    finally:
        os.close(fd)
    if refused is None:
        yield Finding("locks", "ok", "those of open file descriptions are granted")
        return
    found, _, remedy = locks.words(refused, where).partition("; ")
    yield Finding("locks", "problem", f"{found} ({errno.errorcode.get(refused.errno or 0)})", remedy)


def anonymous_memory() -> Iterator[Finding]:
    """Of which rings without a name and queues are made."""
    try:
        anonymous(4096, transferable=True).close()
    except OSError as error:
        yield _told("anonymous memory", error)
    else:
        yield Finding("anonymous memory", "ok", "memfd_create is allowed")


def system_calls() -> Iterator[Finding]:
    """What waiting is made of."""
    numbers = _NUMBERS.get(platform.machine())
    try:
        import ctypes
    except ImportError:  # a Python that was built without it
        numbers = None
    if numbers is None or sys.maxsize < 2**32:
        yield Finding("system calls", "ok", f"not looked at on {platform.machine()}")
        return
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long

    def refusal(number: int, *arguments: object) -> int:
        return ctypes.get_errno() if call(ctypes.c_long(number), *arguments) < 0 else 0

    word = ctypes.c_uint32(0)
    wait = refusal(numbers[0], ctypes.byref(word), 0, 1, None, None, 0)  # FUTEX_WAIT for another value than it has
    if wait != errno.EAGAIN:
        text = f"futexes are refused ({os.strerror(wait)}), on which every wait sleeps"
        yield Finding("system calls", "problem", text, "allow futex(2) in the sandbox")
        return
    notes = []
    try:
        os.close(os.eventfd(0, os.EFD_CLOEXEC))
    except OSError as error:
        notes.append(
            f"eventfd(2) ({error.strerror}), without which nothing waits in an event loop: aget, aput and such"
        )
    known = call(ctypes.c_long(numbers[1]), _MEMBARRIER_QUERY, 0, 0)
    if known < 0 or known & _GLOBAL_EXPEDITED != _GLOBAL_EXPEDITED:
        notes.append("membarrier(2), without which each put and get has a full fence")
    if refusal(_FUTEX_WAITV, None, 0, 0, None, 0) != errno.EINVAL:
        notes.append("futex_waitv(2), without which an event loop needs a thread for each ring that it waits for")
    if notes:
        remedy = "Linux 5.16 or later, and a sandbox that allows them; all else works without"
        yield Finding("system calls", "note", f"there is no {', and no '.join(notes)}", remedy)
    else:
        yield Finding("system calls", "ok", "futex, futex_waitv and membarrier are allowed")
