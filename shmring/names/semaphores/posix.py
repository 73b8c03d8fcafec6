"""POSIX semaphores. They stay until they are unlinked, so somebody must know whether anybody still uses them.

An anonymous ring has no file whose locks could tell; so whoever has the semaphores open also holds a lock on one of
them, which the kernel drops with the process. Linux keeps them in /dev/shm, as sem.NAME.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import pathlib
import re
import sys
import time

import posix_ipc

from shmring.errors import NotReady, NotThere
from shmring.names.semaphores.naming import names
from shmring.segment.names import SHARED_MEMORY
from shmring.segment.posix import lock_files, mapping, refusals

assert sys.platform != "win32"

_FOLDER = pathlib.Path(SHARED_MEMORY)
_FILE = re.compile(r"sem\.shmring-([0-9a-f]{16})\.(?:mutex|full|empty)")
_PATIENCE = 10.0  # seconds
_BEING_MADE = 60.0  # seconds: younger ones are left alone
_WHAT = "the POSIX semaphores of a ring of kind 'semaphore'"
_OTHER_KIND = "use another kind, such as 'mpmc', which needs none"


def _path(name: str) -> pathlib.Path:
    return _FOLDER / f"sem.{name[1:]}"


def _files(identity: int) -> list[pathlib.Path]:
    return [_path(name) for name in names("semaphore", identity) or ()]


def _open(path: pathlib.Path) -> int:
    """NotThere when it is gone; OSError in words for all else."""
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError as error:
        if not refusals.has_shared_memory():
            raise _refused(error) from None
        raise NotThere(errno.ENOENT, f"there is no {path}: the semaphores of this ring were removed") from None


def _refused(error: OSError) -> OSError:
    return refusals.in_folder(error, SHARED_MEMORY, _WHAT, instead=_OTHER_KIND)


def _is_there(path: pathlib.Path) -> bool:
    try:
        os.stat(path)
    except FileNotFoundError:
        return False
    return True


class Hold:
    """Says that somebody uses these semaphores, until it is closed or its process has ended.

    It is a mapping of one of them, which keeps the lock of the description that it was made through, without a
    descriptor that others could close.
    """

    def __init__(self, identity: int) -> None:
        """NotThere when they are gone."""
        first, *others = _files(identity)
        fd = _open(first)
        try:
            _lock(fd)
            # Removed between the opening and the locking, or some of them.
            if not os.fstat(fd).st_nlink or not all(map(_is_there, others)):
                raise NotThere(errno.ENOENT, f"the semaphores of ring {identity:016x} were removed")
            self._mapping = mapping.map_file(mmap.mmap, fd, 1, readonly=True)
        finally:
            os.close(fd)

    def close(self) -> None:
        """Let go; may be called again."""
        self._mapping.close()


def _lock(fd: int) -> None:
    """NotReady where somebody keeps it for himself, which who cleans up does for a moment."""
    give_up = time.monotonic() + _PATIENCE
    while not _is_locked(fd):
        if time.monotonic() > give_up:
            raise NotReady(
                f"another process has locked {_WHAT} for {_PATIENCE:g} s, which takes microseconds: it is stopped, or "
                "stands in the way on purpose; end it, or remove the ring"
            )
        time.sleep(0.0005)


def _is_locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
    except OSError as error:
        text = f"{error.strerror}: {SHARED_MEMORY} refuses the lock (flock) that says who uses {_WHAT}"
        raise OSError(error.errno, f"{text}; {_OTHER_KIND}") from None


def make(identity: int, *, empty: int, mode: int) -> Hold:
    """Create all three: mutex 1, full 0, empty as given. OSError in words where that cannot be.

    Whoever may not write to the ring may not open them: a reader could lock them as well.
    """
    mode = lock_files.writers(mode)
    wanted = names("semaphore", identity)
    assert wanted is not None
    while True:
        began = time.monotonic()
        try:
            for name, value in zip(wanted, (1, 0, empty), strict=True):
                _create(name, value, mode)
            return Hold(identity)
        except NotThere:
            remove("semaphore", identity)
            if time.monotonic() - began < _BEING_MADE:  # nobody cleans up what is so young
                for name in wanted:
                    with contextlib.suppress(posix_ipc.Error):  # wherever they are
                        posix_ipc.unlink_semaphore(name)
                raise OSError(
                    errno.ENOSYS,
                    f"this C library does not keep {_WHAT} in {SHARED_MEMORY} as sem.NAME, or somebody removed them "
                    f"at once; {_OTHER_KIND}",
                ) from None
        except BaseException:
            with contextlib.suppress(OSError):  # it would hide why
                remove("semaphore", identity)
            raise


def _create(name: str, value: int, mode: int) -> None:
    try:
        posix_ipc.Semaphore(name, posix_ipc.O_CREX, mode=mode, initial_value=value).close()
        try:
            os.chmod(_path(name), mode)  # as asked for, whatever the umask
        except FileNotFoundError:
            raise NotThere(errno.ENOENT, f"there is no {_path(name)}") from None
    except NotThere:
        raise
    except (OSError, posix_ipc.Error, MemoryError, ValueError) as error:
        raise _refused(_with_number(error)) from None


def _with_number(error: Exception) -> OSError:
    """What posix_ipc meant: most of its exceptions have no errno."""
    if isinstance(error, OSError) and error.errno is not None:
        return error
    if isinstance(error, posix_ipc.ExistentialError):  # of either; a C library that may not look says that they exist
        number = errno.EIO if refusals.has_shared_memory() else errno.ENOENT
    elif isinstance(error, posix_ipc.PermissionsError):
        number = errno.EACCES
    elif isinstance(error, MemoryError):
        number = errno.ENOMEM
    elif isinstance(error, OSError):  # its own words for EMFILE and ENFILE
        number = errno.ENFILE if "system limit" in str(error) else errno.EMFILE
    else:
        return OSError(errno.EINVAL, str(error))
    return OSError(number, os.strerror(number))


def remove(kind: str, identity: int) -> None:
    """Unlink a ring's semaphores; those who have them open go on using them. PermissionError for those of others."""
    if kind == "semaphore":
        for path in _files(identity):
            path.unlink(missing_ok=True)


def identities() -> set[int]:
    """The rings whose semaphores there are."""
    try:
        with os.scandir(_FOLDER) as entries:
            names_of_files = [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
    except OSError as error:
        if not refusals.has_shared_memory():
            return set()
        raise refusals.in_folder(error, SHARED_MEMORY, "the list of semaphores") from None
    return {int(found[1], 16) for found in map(_FILE.fullmatch, names_of_files) if found}


def are_truncated(identity: int) -> bool:
    """Has any of a ring's semaphores lost its file, or the bytes in it?"""
    for path in _files(identity):
        try:
            if not os.stat(path, follow_symlinks=False).st_size:
                return True
        except FileNotFoundError:
            return True
    return False


def remove_if_unused(identity: int, *, only_look: bool = False, however_young: bool = False) -> bool:
    """Unlink them unless somebody holds them or they are in the making. PermissionError for those of others.

    ``however_young``: nobody can be making them.
    """
    try:
        fd = _open(_files(identity)[0])
    except NotThere:  # their maker, or a cleaner, died halfway
        if not only_look:
            remove("semaphore", identity)
        return True
    try:
        if not however_young and time.time() - os.fstat(fd).st_ctime < _BEING_MADE:
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
