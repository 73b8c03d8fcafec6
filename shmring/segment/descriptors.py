"""What every ring needs beside memory and may be refused: descriptors, /proc to open its file again, locks on it.

In words that help, where the system says a number.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator

if sys.platform != "win32":
    from shmring.segment.posix import refusals
if sys.platform == "linux":
    from shmring.segment.posix import locks

_WHOSE = {
    errno.EMFILE: "this process has {open} open and may have {limit}: close what is not used any more, or allow more "
    "with `ulimit -n` in the shell, or resource.setrlimit(resource.RLIMIT_NOFILE, ...) here",
    errno.ENFILE: "the whole machine has as many open as it may: close some, or allow more with `sysctl fs.file-max`",
}
_MY_DESCRIPTORS = "/proc/self/fd"
CLOSED_UNDER_US = (
    "somebody in this process closed the descriptors of {of} (os.closerange, the start of a daemon); what needs none "
    "goes on, for the rest close it and attach again"
)
NO_PROC = (
    f"there is no {_MY_DESCRIPTORS}, through which a ring opens its memory again for the locks that tell who lives; "
    "mount /proc of this process's pid namespace (mount -t proc proc /proc, in a chroot too)"
)
_REFUSED_LOCKS = (errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EACCES, errno.ENOLCK, errno.EOPNOTSUPP)


class Shortage(OSError):
    """This machine or process lacks what every ring needs; nothing is wrong with the one at hand.

    Not a FileNotFoundError where /proc is missing: nobody is to take it for a ring that is not there.
    """


class Descriptor:
    """A descriptor that is ours, and is closed only while it is: programs close descriptors that are not theirs.

    (Daemons close all that there are.) Its number may be another file by then, which device and inode tell.
    """

    def __init__(self, fd: int) -> None:
        found = os.fstat(fd)
        self._fd, self._file = fd, (found.st_dev, found.st_ino)

    def number(self, of: str) -> int:
        """It, to be used at once. EBADF for one that somebody has closed, whatever has its number now."""
        try:
            found = os.fstat(self._fd)
        except OSError as error:
            if error.errno != errno.EBADF:
                raise
        else:
            if (found.st_dev, found.st_ino) == self._file:
                return self._fd
        raise OSError(errno.EBADF, f"{os.strerror(errno.EBADF)}: {CLOSED_UNDER_US.format(of=of)}")

    def close(self) -> None:
        """Close it unless that has happened; may be called again."""
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        try:
            found = os.fstat(fd)
            if (found.st_dev, found.st_ino) == self._file:
                os.close(fd)
        except OSError as error:
            if error.errno != errno.EBADF:
                raise


def has_proc() -> bool:
    """Is /proc there, and this process in it?"""
    assert sys.platform != "win32"
    return refusals.is_folder(_MY_DESCRIPTORS)


def no_proc() -> Shortage:
    """What to raise where /proc is missing."""
    return Shortage(errno.ENOENT, NO_PROC)


def is_shortage(error: OSError) -> bool:
    """Is it a want of this machine or process, and so nothing that is wrong with what was to be opened?"""
    return explained(error) is not None


@contextlib.contextmanager
def shortage_explained() -> Iterator[None]:
    """A with block, or a decorator, in which a shortage is told in words."""
    try:
        yield
    except OSError as error:
        told = explained(error)
        if told is None or told is error:
            raise
        try:
            raise told from error
        finally:
            del told  # else its traceback keeps it, and all that was half made, until garbage is collected


@contextlib.contextmanager
def watch_explained() -> Iterator[None]:
    """A with block in which want of what a wait in an event loop takes is told in words."""
    try:
        yield
    except OSError as error:
        told = explained(error)
        if told is None:
            told = Shortage(
                error.errno,
                f"{error.strerror}: a wait in an event loop takes an eventfd and a thread of this process; allow them "
                "(ulimit -u, the sandbox), or wait in a thread of your own: asyncio.to_thread",
            )
        try:
            raise told from error
        finally:
            del told  # as above


def explained(error: OSError) -> Shortage | None:
    """A shortage in words: itself if it has them already; None for what has another reason."""
    if isinstance(error, Shortage):
        return error
    number = error.errno
    if sys.platform == "win32" or number is None:  # handles do not run out there, and there is no /proc
        return None
    if number in _WHOSE:
        return Shortage(number, f"no file descriptor is left: {_WHOSE[number].format(**_counts())}")
    if not _is_bare(error):
        return None
    if number == errno.ENOENT and not has_proc():
        return no_proc()
    if sys.platform == "linux" and number in _REFUSED_LOCKS and (refusal := _refusal_everywhere()):
        return Shortage(number, locks.words(refusal, "this machine")) if refusal.errno == number else None
    return None


def _is_bare(error: OSError) -> bool:
    """Does it say no more than its number, or only that a file in /proc was concerned? So does the core."""
    concerned = "" if error.filename is None else str(error.filename)
    return error.strerror == os.strerror(error.errno or 0) and (not concerned or concerned.startswith("/proc/"))


def _refusal_everywhere() -> OSError | None:
    """Are locks refused in memory as well, which no file system has a say in?"""
    assert sys.platform == "linux"
    try:
        fd = os.memfd_create("shmring", os.MFD_CLOEXEC)
    except OSError:  # refused, too, or for want of descriptors: then this says nothing of locks
        return None
    try:
        return locks.refusal(fd)
    finally:
        os.close(fd)


def _counts() -> dict[str, object]:
    assert sys.platform != "win32"
    import resource

    from shmring.segment.posix import limits

    limit = limits.of(resource.RLIMIT_NOFILE)
    try:
        return {"open": len(os.listdir(_MY_DESCRIPTORS)) - 1, "limit": limit}
    except OSError as error:  # that takes one, too: then all are in use
        return {"open": limit if error.errno in _WHOSE else "an unknown number", "limit": limit}
