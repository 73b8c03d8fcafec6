"""The file beside a ring that has its locks, where others may read the ring and not write to it.

Whoever may read a file can take shared locks on any of its bytes, and with them hold up everybody who comes, goes or
looks who lives. So where a ring's mode lets somebody read alone, its locks are on a file in the same folder,
which only those may open who may write to the ring. It has its name before the ring has, and loses it afterwards: a
ring that can be found has its locks. A process that is killed in between leaves the file, and ``clean`` removes it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import re
import stat
import sys

from shmring import _core
from shmring.errors import Corrupt, NotThere
from shmring.segment import descriptors
from shmring.segment.posix import refusals

assert sys.platform != "win32"

_NAME = re.compile(r"shmring-([0-9a-f]{16})\.locks")
_LONGEST = 64
_FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def writers(mode: int) -> int:
    """The mode of a file that those may open who may write by ``mode``, and nobody else."""
    return (mode & 0o222) | (mode & 0o222) << 1


def are_apart(mode: int) -> bool:
    """Does this mode let anybody read who may not write?"""
    return bool(mode & 0o444 & ~writers(mode))


def path_of(ring: pathlib.Path, identity: int) -> pathlib.Path:
    """Where the locks of the ring at that path are."""
    return pathlib.Path(_core.locks_path(str(ring), identity))


class LockFile:
    """One open descriptor of such a file."""

    def __init__(self, fd: int, path: pathlib.Path) -> None:
        self.path = path
        self._descriptor = descriptors.Descriptor(fd)

    @property
    def fd(self) -> int:
        """It, to be used at once. EBADF once somebody in this process has closed it."""
        return self._descriptor.number(str(self.path))

    @classmethod
    def make(cls, path: pathlib.Path, mode: int, ring: int, what: str) -> LockFile:
        """A new one, which has no name yet; a process killed now leaves nothing. Refusals in words."""
        folder = str(path.parent)
        try:
            fd = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, writers(mode))
        except OSError as error:
            raise refusals.in_folder(error, folder, what) from None
        try:
            os.fchmod(fd, writers(mode))  # whatever the umask
            os.pwrite(fd, _content(ring), 0)
            return cls(fd, path)
        except BaseException:
            os.close(fd)
            raise

    @classmethod
    def open(cls, path: pathlib.Path, ring: int | None, what: str) -> LockFile:
        """That of the ring behind this descriptor (None: of any). NotThere; Corrupt for what is another's."""
        try:
            fd = os.open(path, _FLAGS)
        except FileNotFoundError:
            raise NotThere(errno.ENOENT, f"there is no {path}, which has the locks of {what}") from None
        except PermissionError as error:
            words = f"{path}, which has the locks of {what}, admits only those who could write to it as it was made"
            raise PermissionError(error.errno, f"{words}: was its mode changed since? Make it anew") from None
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
                raise _replaced(path, what) from None
            raise
        try:
            found = os.fstat(fd)
            mine = ring is None or found.st_uid in (0, os.fstat(ring).st_uid)
            if not stat.S_ISREG(found.st_mode) or not mine:
                raise _replaced(path, what)
            if ring is not None and os.pread(fd, _LONGEST, 0) != _content(ring):  # a header can name any
                raise _replaced(path, what)
            return cls(fd, path)
        except BaseException:
            os.close(fd)
            raise

    def give_name(self) -> None:
        """Link it to its name, if that has not happened yet. Corrupt where another file stands there."""
        try:
            os.link(f"/proc/self/fd/{self.fd}", self.path, src_dir_fd=self.fd, follow_symlinks=True)
        except FileExistsError:
            if not self._has_name():
                raise _replaced(self.path, "a new ring") from None

    def _has_name(self) -> bool:
        try:
            there = os.stat(self.path, follow_symlinks=False)
        except FileNotFoundError:
            return False
        mine = os.fstat(self.fd)
        return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)

    def remove_name(self) -> None:
        """Unlink the name, if it still leads to this file."""
        if self._has_name():
            self.path.unlink(missing_ok=True)

    def copy(self) -> LockFile:
        """Another descriptor of it, closed on its own."""
        return LockFile(os.dup(self.fd), self.path)

    def close(self) -> None:
        """Close the descriptor; may be called again."""
        self._descriptor.close()


def _content(ring: int) -> bytes:
    """Which file has its locks there: so no header leads to the locks of another ring."""
    return b"inode %d\n" % os.fstat(ring).st_ino


def _replaced(path: pathlib.Path, what: str) -> Corrupt:
    words = f"{path}, which has the locks of {what}, is not its own: somebody has replaced it; remove both"
    return Corrupt(words)


def identities(folder: pathlib.Path) -> set[int]:
    """The rings for which there are such files in a folder."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
        return {int(found[1], 16) for found in map(_NAME.fullmatch, names) if found}
    return set()
