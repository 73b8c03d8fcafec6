"""Places on Linux: a named ring is the file ``/dev/shm/shmring.NAME``, with nothing beside it that could go stale."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import pathlib
import pwd
import stat
import sys

from shmring import _core
from shmring.errors import Corrupt, LayoutMismatch, NotReady, NotThere
from shmring.names.places.place import Place, Status
from shmring.segment import descriptors
from shmring.segment.names import SHARED_MEMORY, check_name
from shmring.segment.posix import lock_files, locks, mapping, refusals

assert sys.platform == "linux"

_SHARED_MEMORY = pathlib.Path(SHARED_MEMORY)
ENDS_WITH_PROCESSES = False
_PREFIX = "shmring."
_LARGEST = 1 << 44  # bytes; more than a ring of the largest capacity has, or a queue's file
_FILE_TYPES = {
    stat.S_IFLNK: "symbolic link",
    stat.S_IFDIR: "directory",
    stat.S_IFSOCK: "socket",
    stat.S_IFIFO: "pipe",
}


def place(name: str, noun: str = "ring") -> Place:
    """Where a ring of that name is; ValueError for what is no name."""
    return Place(_SHARED_MEMORY / (_PREFIX + check_name(name)), name, noun)


def make(where: Place, size: int, *, mode: int, in_file: bool) -> mapping.Segment:
    """A reserved segment without a name; a process killed now leaves nothing. All are files here.

    NoSpace; other refusals in words.
    """
    try:
        os.lstat(where.path)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:  # or giving it that name would say so, when all else is done
            raise refusals.in_folder(error, str(where.path.parent), where.title) from None
    return mapping.unnamed(where.path.parent, size, mode=mode, title=where.title)


def keep_locks_apart(memory: mapping.Segment, where: Place, identity: int, mode: int) -> bool:
    """Give it a file for its locks where the mode lets others read alone; False where it needs none."""
    if not lock_files.are_apart(mode):
        return False
    memory.locks = lock_files.LockFile.make(lock_files.path_of(where.path, identity), mode, memory.fd, where.title)
    return True


def give_name(memory: mapping.Segment, where: Place) -> None:
    """Link it to its name, atomically. FileExistsError when something stands there."""
    try:
        if memory.locks is not None:
            memory.locks.give_name()
        # A directory descriptor, ignored beside an absolute path, makes this linkat with AT_SYMLINK_FOLLOW.
        os.link(f"/proc/self/fd/{memory.fd}", where.path, src_dir_fd=memory.fd, follow_symlinks=True)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno == errno.ENOENT and not descriptors.has_proc():
            raise descriptors.no_proc() from None
        raise refusals.in_folder(error, str(where.path.parent), where.title) from None


def check_locks(memory: mapping.Segment, where: Place | None) -> None:
    """OSError where this segment cannot have the locks by which the kernel says who lives."""
    refused = locks.refusal(memory._locks_fd, take=where is not None and where.name is None)  # file systems differ
    if refused is not None:
        on = "this machine" if where is None else f"the file system of {where.path}"
        raise descriptors.Shortage(refused.errno, locks.words(refused, on))


def open_place(where: Place) -> mapping.Segment:
    """Map what stands there. NotThere; NotReady for an empty file; symbolic links are not followed."""
    memory = _open(where)
    try:
        _open_locks(memory, where)
    except BaseException:
        memory.close()
        raise
    return memory


def _open_locks(memory: mapping.Segment, where: Place) -> None:
    """The file beside it, if it is a ring that has one. NotThere; Corrupt where the ring is there without it."""
    try:
        _, _, identity, flags, _ = _core.describe(memory)
    except (Corrupt, LayoutMismatch, NotReady):  # it is told where it is used
        return
    if not flags & _core.FLAG_LOCKS_APART:
        return
    try:
        path = lock_files.path_of(where.path, identity)
        memory.locks = lock_files.LockFile.open(path, memory.fd, where.title)
    except NotThere as error:
        if not still_there(memory, where):  # removed meanwhile, and then its locks
            raise NotThere(errno.ENOENT, f"there is no {where.title}") from None
        words = f"{error.strerror}: somebody has removed it; close the {where.noun} everywhere, and remove it"
        raise Corrupt(words) from None


def _open(where: Place) -> mapping.Segment:
    if where.name is None:
        return mapping.file(where.path)
    try:
        return mapping.attach_named(f"/{_PREFIX}{where.name}", name=where.name)
    except (OSError, ValueError):
        check_regular(where)
        check_size(where)
        raise


def check_regular(where: Place) -> None:
    """LayoutMismatch for a symbolic link, a directory, a socket: whatever is no file."""
    try:
        mode = os.lstat(where.path).st_mode
    except OSError:  # gone, or out of reach: what was tried before has failed for a reason of its own
        return
    if not stat.S_ISREG(mode):
        raise LayoutMismatch(
            f"{where.path} is no {where.noun} but a {_FILE_TYPES.get(stat.S_IFMT(mode), 'device')}, which somebody "
            "may have planted; remove it, or use another name"
        )


def check_size(where: Place) -> None:
    """Corrupt for a file of more bytes than any ring has, which cost nothing where none was written."""
    try:
        size = os.lstat(where.path).st_size
    except OSError:  # as in check_regular
        return
    if size > _LARGEST:
        raise Corrupt(
            f"{where.path} is no {where.noun}: it has {size} bytes, where a {where.noun} has at most {_LARGEST}, and "
            "somebody may have planted it; remove it (shmring rm), or use another name"
        )


def still_there(memory: mapping.Segment, where: Place) -> bool:
    """Does the name still lead to this very segment?"""
    try:
        there = os.stat(where.path, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return False
    mine = os.fstat(memory.fd)
    return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)


def remove_name(memory: mapping.Segment, where: Place) -> None:
    """Unlink the name if it still leads to this segment. Under the lifecycle lock, so that no other remover races."""
    if still_there(memory, where):
        where.path.unlink(missing_ok=True)
    if memory.locks is not None:
        memory.locks.remove_name()


def may_remove(memory: mapping.Segment, where: Place) -> bool:
    """May this user take its name away? In a folder with the sticky bit only the owners of both may, and root."""
    return _may_remove(owner_of(memory), where)


def may_remove_file(where: Place) -> bool:
    """The same for what stands at a place and cannot be mapped. NotThere."""
    return _may_remove(status_of(where).owner_uid, where)


def _may_remove(owner: int, where: Place) -> bool:
    if os.geteuid() in (0, owner):
        return True
    folder = where.path.parent
    found = os.stat(folder)
    sticky = found.st_mode & stat.S_ISVTX and found.st_uid != os.geteuid()
    return not sticky and os.access(folder, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids)


def remove_anything(where: Place) -> None:
    """Unlink whatever is there. NotThere."""
    try:
        where.path.unlink()
    except FileNotFoundError:
        raise NotThere(errno.ENOENT, f"there is no {where.title}") from None
    except PermissionError as error:
        owner = user_name(status_of(where).owner_uid)
        words = f"{where.path} stays: it belongs to user {owner}, who alone, or root, may remove it"
        raise PermissionError(error.errno, words) from None


def keep(memory: mapping.Segment, where: Place, *, at_end: bool = False) -> None:
    """It stays as it is: shared memory that has a name needs no process."""


def is_held(memory: mapping.Segment) -> bool:
    """Does any process hold any lock on this segment? True for every live ring, of whatever layout."""
    try:
        return locks.are_held(memory._locks_fd)  # by another description than this one, which has none
    except OSError as error:  # and not PermissionError, which is what a file of somebody else is
        raise descriptors.Shortage(error.errno, locks.words(error, "this machine")) from None


def names() -> list[str]:
    """Of the rings there are, and of what looks like them, sorted. None where there is no shared memory."""
    found = []
    try:
        with os.scandir(_SHARED_MEMORY) as entries:
            for entry in entries:
                with contextlib.suppress(ValueError, FileNotFoundError):
                    if entry.name.startswith(_PREFIX) and entry.is_file(follow_symlinks=False):
                        found.append(check_name(entry.name.removeprefix(_PREFIX)))
    except OSError as error:
        if not refusals.has_shared_memory():
            return []
        raise refusals.in_folder(error, SHARED_MEMORY, "the list of rings") from None
    return sorted(found)


def remove_lock_file(identity: int, *, only_look: bool) -> bool:
    """Remove the file of locks of a ring that is gone, unless a process has locks on it, or it is another user's."""
    path = lock_files.path_of(_SHARED_MEMORY / _PREFIX, identity)
    with contextlib.suppress(NotThere, PermissionError, Corrupt):  # gone meanwhile, or those of others
        found = lock_files.LockFile.open(path, None, "a ring")
        try:
            if os.geteuid() not in (0, os.fstat(found.fd).st_uid) or locks.are_held(found.fd):
                return False
            if not only_look:
                found.remove_name()
            return True
        finally:
            found.close()
    return False


def lock_identities() -> set[int]:
    """The rings for which there are files of locks."""
    return lock_files.identities(_SHARED_MEMORY)


def sweep(*, only_look: bool) -> list[str]:
    """Names that lead nowhere; there are none, since a name is the segment itself."""
    return []


def _status(found: os.stat_result) -> Status:
    return Status(stat.S_IMODE(found.st_mode), found.st_uid, found.st_ctime, found.st_size)


def status(memory: mapping.Segment) -> Status:
    """Of a segment that is mapped."""
    return _status(os.fstat(memory.fd))


def status_of(where: Place) -> Status:
    """Of what stands at a place. NotThere."""
    try:
        return _status(os.stat(where.path))
    except FileNotFoundError:
        raise NotThere(errno.ENOENT, f"there is no {where.title}") from None


def owner_of(memory: mapping.Segment) -> int:
    """The number of the user whose it is."""
    return os.fstat(memory.fd).st_uid


def user_id(owner: int | str | None) -> int | None:
    """The number of a user given by number or name; ValueError or TypeError when there is none."""
    if owner is None or (isinstance(owner, int) and not isinstance(owner, bool) and owner >= 0):
        return owner
    if not isinstance(owner, str):
        raise TypeError(f"owner is {owner!r}; it is a user's name or number, or None for yourself and root")
    try:
        return pwd.getpwnam(owner).pw_uid
    except KeyError:
        raise ValueError(f"owner is {owner!r}; this machine knows no such user") from None


def user_name(uid: int) -> str:
    """A user's name in quotes, or the number where there is none."""
    try:
        return f"{pwd.getpwuid(uid).pw_name!r}"
    except KeyError:
        return str(uid)


def trusted(uid: int) -> bool:
    """This user, or root."""
    return uid in (0, os.geteuid())


def owner_is_known(memory: mapping.Segment) -> bool:
    """Is the owner's number that user's own, and not the one that stands for every user without a number here?

    The kernel compares the users themselves when a descriptor asks for O_NOATIME, which is its owner's right.
    """
    if owner_of(memory) != _overflow_uid() or _every_user_has_a_number():
        return True
    flags = fcntl.fcntl(memory.fd, fcntl.F_GETFL)
    try:
        fcntl.fcntl(memory.fd, fcntl.F_SETFL, flags | os.O_NOATIME)
    except PermissionError:
        return False
    fcntl.fcntl(memory.fd, fcntl.F_SETFL, flags)
    return True


def _overflow_uid() -> int:
    try:
        return int(pathlib.Path("/proc/sys/kernel/overflowuid").read_text())
    except OSError:  # no /proc; hardly a machine has another
        return 65534


def _every_user_has_a_number() -> bool:
    """Does this process's user namespace have a number for every user of the machine?"""
    try:
        lines = pathlib.Path("/proc/self/uid_map").read_text().splitlines()
    except OSError:
        return False
    return sum(int(line.split()[2]) for line in lines) >= 2**32 - 1
