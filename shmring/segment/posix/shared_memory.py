"""Named shared memory of Linux: the files of /dev/shm, which is what shm_open opens, with the kernel's own words."""

from __future__ import annotations

import errno
import os
import sys

from shmring.errors import NotThere
from shmring.segment.names import SHARED_MEMORY
from shmring.segment.posix import refusals

assert sys.platform != "win32"

_INSTEAD = "use segment.file, or segment.anonymous"
_ALWAYS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # for a pipe that somebody has put there


def create(full: str, name: str, mode: int) -> int:
    """A descriptor of a new one. FileExistsError."""
    try:
        return os.open(SHARED_MEMORY + full, os.O_RDWR | os.O_CREAT | os.O_EXCL | _ALWAYS, mode)
    except FileExistsError:
        raise FileExistsError(
            errno.EEXIST, f"segment {name!r} exists; attach it, or segment.unlink({name!r}) first"
        ) from None
    except OSError as error:
        raise refusals.in_folder(error, SHARED_MEMORY, f"segment {name!r}", instead=_INSTEAD) from None


def open(full: str, name: str, *, readonly: bool = False) -> int:
    """A descriptor of one that exists. NotThere; FileNotFoundError for no /dev/shm; PermissionError."""
    try:
        return os.open(SHARED_MEMORY + full, (os.O_RDONLY if readonly else os.O_RDWR) | _ALWAYS)
    except FileNotFoundError as error:
        if not refusals.has_shared_memory():
            raise refusals.in_folder(error, SHARED_MEMORY, f"shared memory {name!r}") from None
        raise NotThere(
            errno.ENOENT, f"there is no shared memory named {name!r}; create it first, or check the spelling"
        ) from None
    except PermissionError:
        raise refusals.closed(SHARED_MEMORY + full, f"shared memory {name!r}") from None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            what = f"{SHARED_MEMORY}{full} is no shared memory, but a link, a folder or a socket"
            raise OSError(error.errno, f"{what}; remove it, or use another name") from None
        raise refusals.in_folder(error, SHARED_MEMORY, f"shared memory {name!r}") from None


def unlink(full: str) -> None:
    """Take the name away. NotThere; FileNotFoundError for no /dev/shm; PermissionError."""
    try:
        os.unlink(SHARED_MEMORY + full)
    except FileNotFoundError as error:
        if not refusals.has_shared_memory():
            raise refusals.in_folder(error, SHARED_MEMORY, "named shared memory") from None
        raise NotThere(errno.ENOENT, f"there is no shared memory {full[1:]!r}") from None
    except OSError as error:
        raise refusals.in_folder(error, SHARED_MEMORY, f"shared memory {full[1:]!r}") from None
