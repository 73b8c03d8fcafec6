"""POSIX semaphores. They stay until they are unlinked, so somebody must know whether anybody still uses them.

An anonymous ring has no file whose locks could tell; so whoever has the semaphores open also holds a lock on one of
them, which the kernel drops with the process.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import pathlib
import re
import sys
import time

import posix_ipc

from shmring.semaphores.naming import names

assert sys.platform != "win32"

_FOLDER = pathlib.Path("/dev/shm")  # where Linux keeps them, as sem.NAME
_FILE = re.compile(r"sem\.shmring-([0-9a-f]{16})\.(?:mutex|full|empty)")
_BEING_MADE = 60.0  # seconds: younger ones are left alone


def _file(identity: int) -> pathlib.Path:
    return _FOLDER / f"sem.shmring-{identity:016x}.mutex"


class Hold:
    """Says that somebody uses these semaphores, until it is closed or its process has ended."""

    def __init__(self, identity: int) -> None:
        """FileNotFoundError when they are gone."""
        self._fd = os.open(_file(identity), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_SH)
            if not os.fstat(self._fd).st_nlink:  # removed between the opening and the locking
                raise FileNotFoundError(f"the semaphores of ring {identity:016x} were removed")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go; may be called again."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def make(identity: int, *, empty: int, mode: int) -> Hold:
    """Create all three: mutex 1, full 0, empty as given."""
    wanted = names("semaphore", identity)
    assert wanted is not None
    while True:
        try:
            for name, value in zip(wanted, (1, 0, empty), strict=True):
                posix_ipc.Semaphore(name, posix_ipc.O_CREX, mode=mode, initial_value=value).close()
                os.chmod(_FOLDER / f"sem.{name[1:]}", mode)  # as asked for, whatever the umask
            return Hold(identity)
        except FileNotFoundError:
            remove("semaphore", identity)  # somebody cleaned up while we were stopped for a minute: again
        except BaseException as error:
            remove("semaphore", identity)
            if isinstance(error, OSError) and error.errno is None:  # posix_ipc's own words for it
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE)) from None
            raise


def remove(kind: str, identity: int) -> None:
    """Unlink a ring's semaphores; those who have them open go on using them."""
    for name in names(kind, identity) or ():
        with contextlib.suppress(posix_ipc.ExistentialError):
            posix_ipc.unlink_semaphore(name)


def identities() -> set[int]:
    """The rings whose semaphores there are."""
    with os.scandir(_FOLDER) as entries:
        names_of_files = [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
    return {int(found[1], 16) for found in map(_FILE.fullmatch, names_of_files) if found}


def remove_if_unused(identity: int, *, only_look: bool = False) -> bool:
    """Unlink them unless somebody holds them or they are in the making. PermissionError for those of others."""
    path = _file(identity)
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:  # their maker, or a cleaner, died halfway
        if not only_look:
            remove("semaphore", identity)
        return True
    try:
        if time.time() - os.fstat(fd).st_ctime < _BEING_MADE:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        if not only_look:
            remove("semaphore", identity)
        return True
    finally:
        os.close(fd)
