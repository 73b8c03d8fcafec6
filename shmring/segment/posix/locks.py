"""Locks of open file descriptions, by which the kernel says who lives: may this file have them, and does it?"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import sys

assert sys.platform == "linux"

_FAR = 1 << 62  # a byte that no ring has
_FLOCK = "hhqqi"  # struct flock: type, whence, start, length (0: to the end), pid


def _fcntl(fd: int, command: int, kind: int, start: int, length: int) -> int:
    """The type of the lock that is in the way, or the one asked for."""
    asked = struct.pack(_FLOCK, kind, os.SEEK_SET, start, length, 0)
    return int(struct.unpack_from("h", fcntl.fcntl(fd, command, asked))[0])


def refusal(fd: int, *, take: bool = True) -> OSError | None:
    """Why this file cannot be locked, or None if it can. ``take`` a byte, and let it go; else only the latter.

    Without ``take`` nobody who looks for locks at this moment sees one; a network file system may then say too little.
    """
    try:
        for kind in (fcntl.F_WRLCK, fcntl.F_UNLCK) if take else (fcntl.F_UNLCK,):
            _fcntl(fd, fcntl.F_OFD_SETLK, kind, _FAR, 1)
    except OSError as error:
        # EAGAIN: somebody has the byte, so they work. EACCES is a refusal on Linux, of AppArmor or SELinux.
        return None if error.errno == errno.EAGAIN else error
    return None


def words(error: OSError, where: str) -> str:
    """What a refusal means, and what to do."""
    return (
        f"{where} refuses locks of open file descriptions (fcntl F_OFD_SETLK: {error.strerror}), by which rings tell "
        "who lives; rings need a file system, and a kernel or sandbox, that has them (gVisor and some seccomp and "
        "AppArmor profiles do not: allow them there, or use another runtime)"
    )


def are_held(fd: int) -> bool:
    """Does anybody hold a lock on this file, other than by this very open file description?"""
    return _fcntl(fd, fcntl.F_OFD_GETLK, fcntl.F_WRLCK, 0, 0) != fcntl.F_UNLCK
