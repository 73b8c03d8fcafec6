"""Places on Windows: a name is an entry for memory of the page file, or the file of a ring that persists (entries.py).

Memory that is not in a file is gone with the last process that has it. So ``persist=True`` puts a ring into a file, in
the folder of the entries, and ``path=`` where it says; and the last to leave a ring that is not empty moves it into a
file (keep). Only when that one is killed are the messages gone with it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import sys
from collections.abc import Iterator
from typing import Any

from shmring import _core
from shmring.errors import Corrupt, NotThere
from shmring.names.places.place import Place, Status
from shmring.segment.windows import entries, mapping, win32

assert sys.platform == "win32"

ENDS_WITH_PROCESSES = True
_KIND = "ring"
_BLOCK = 65536
_NAME_AT, _NAME_ROOM = 112, 256  # of the header of a ring, see LAYOUT.md


def place(name: str, noun: str = "ring") -> Place:
    """Where a ring of that name is; ValueError for what is no name."""
    return Place(entries.path_of(name, _KIND), name, noun)


def make(where: Place, size: int, *, mode: int, in_file: bool) -> mapping.Segment:
    """A segment without a name; ``in_file`` for one that is to outlive its processes, or to grow.

    NoSpace; NotImplementedError for a mode that admits others.
    """
    mapping.check_mode(mode)
    if where.name is not None and not in_file:
        return mapping.make(entries.fresh(where.name, size, kind=_KIND), name=where.name)
    if os.path.isdir(where.path):
        raise IsADirectoryError(errno.EISDIR, f"{where.title} cannot be made: this is a folder; name a file in it")
    try:
        return mapping.file(entries.aside(where.path, "new"), size, create=True, draft=True)
    except FileNotFoundError:
        raise FileNotFoundError(errno.ENOENT, f"there is no folder {where.path.parent} for {where.title}") from None


def check_locks(memory: mapping.Segment, where: Place | None) -> None:
    """Tokens are named events here, and need no file system."""


def keep_locks_apart(memory: mapping.Segment, where: Place, identity: int, mode: int) -> bool:
    """Locks are on names of their own; False."""
    return False


def remove_lock_file(identity: int, *, only_look: bool) -> bool:
    """There is none."""
    return False


def lock_identities() -> set[int]:
    """There are none."""
    return set()


def give_name(memory: mapping.Segment, where: Place) -> None:
    """Name it, in one step. FileExistsError when something stands there; a stale entry does not."""
    while True:
        try:
            if memory.entry is not None:
                entries.publish(memory.entry, where.path)
            else:
                memory.rename(where.path)
            return
        except FileExistsError:
            try:
                entries.live(where.path)
            except FileNotFoundError:
                continue
            raise


def open_place(where: Place) -> mapping.Segment:
    """Map what stands there; links are not followed. NotThere, also for a stale entry; NotReady if empty."""
    with _not_there_told(where):
        return _open(where)


@contextlib.contextmanager
def _not_there_told(where: Place) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:  # nothing else that is needed can be missing here
        raise NotThere(errno.ENOENT, f"there is no {where.title}") from None


def _open(where: Place) -> mapping.Segment:
    if where.name is None:
        return mapping.file(where.path)
    while True:
        entry = entries.read(where.path)
        if entry is None:
            memory = mapping.file(where.path)
            if not entries.is_entry(memory):
                return memory
            memory.close()  # the file that was there has given way to an entry meanwhile
            continue
        try:
            return mapping.of_entry(entry, name=where.name)
        except FileNotFoundError:
            if entries.read(where.path) == entry:
                raise


def still_there(memory: mapping.Segment, where: Place) -> bool:
    """Does the name still lead to this very segment?"""
    try:
        if memory.entry is not None:
            return entries.read(where.path) == memory.entry
        return memory.is_at(where.path)
    except FileNotFoundError:
        return False


def remove_name(memory: mapping.Segment, where: Place) -> None:
    """Take the name away if it still leads to this segment."""
    if memory.entry is not None:
        entries.remove(memory.entry, where.path)
    elif still_there(memory, where):
        memory.move_away()


def remove_anything(where: Place) -> None:
    """Delete whatever is there. NotThere; PermissionError while somebody has it mapped."""
    with _not_there_told(where):
        where.path.unlink()


def keep(memory: mapping.Segment, where: Place, *, at_end: bool = False) -> None:
    """Put memory that nobody else has, with messages in it, into a file under its name. Under the lifecycle lock.

    ``at_end`` of this process its own attachments do not count: in the file they are those of a dead one. Who may yet
    attach to it finds that as well.
    """
    if memory.entry is None:
        return
    locks = _core.locks_open(memory.fd)
    try:
        living, claimed, undelivered = _core.count_living(memory, locks, memory._file)
        others = any(each["alive"] is not False and each["pid"] != os.getpid() for each in _attachments(memory))
    except Corrupt:
        return
    finally:
        _core.locks_close(locks)
    is_needed = others if at_end else living or claimed
    if is_needed or not undelivered or not still_there(memory, where):
        return
    draft = entries.aside(where.path, "new")
    with mapping.file(draft, len(memory), create=True, reserve=False, draft=True) as copy:
        with memoryview(memory) as source:
            for begin in range(0, len(memory), _BLOCK):
                block = bytes(source[begin : begin + _BLOCK])
                if block.strip(b"\0"):  # what nobody wrote to takes no room on the disk
                    copy[begin : begin + len(block)] = block
        # In one step, so that nobody finds the name free; first, so that nobody finds it leading to what is retired.
        try:
            copy.rename(where.path, replace=True)
        except PermissionError as error:
            raise PermissionError(
                errno.EACCES,
                f"{where.title} holds {undelivered} undelivered message(s), which cannot be kept while another program "
                f"has {where.path} open; have it leave that folder alone, or use persist=True",
            ) from error
        _core.retire(memory)  # whoever has just opened it looks again


def _attachments(memory: mapping.Segment) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = _core.snapshot(memory, memory.fd, memory.fd)["attachments"]
    return found


def is_held(memory: mapping.Segment) -> bool:
    """Does any process use it? Memory of the page file exists because somebody does."""
    if memory.entry is not None:
        return True
    if _core.check(memory) not in ("ready", "retired"):
        return False
    locks = _core.locks_open(memory.fd)
    try:
        living, claimed, _ = _core.count_living(memory, locks, memory._file)
        return living > 0 or claimed
    finally:
        _core.locks_close(locks)


def _name_in(path: pathlib.Path) -> str | None:
    entry = entries.read(path)
    if entry is not None:
        return entry.name
    header = entries.start_of(path, _NAME_AT + _NAME_ROOM)
    in_header = header[_NAME_AT:].rstrip(b"\0").decode("ascii", "replace")
    for name in (in_header, entries.name_shown(path)):  # the latter is all there is where the file is no ring
        with contextlib.suppress(ValueError):
            if entries.path_of(name, _KIND).name == path.name:
                return name
    return None


def names() -> list[str]:
    """Of the rings there are, sorted."""
    found = []
    for path in entries.all_of(_KIND):
        with contextlib.suppress(OSError):
            name = _name_in(path)
            if name is not None:
                found.append(name)
    return sorted(found)


def sweep(*, only_look: bool) -> list[str]:
    """Names that lead nowhere, since every process that had the ring was killed; removed unless only_look."""
    return entries.sweep(only_look=only_look)


def status(memory: mapping.Segment) -> Status:
    """Of a segment that is mapped, whatever its name leads to by now."""
    if memory.path is None:
        return Status(0o600, 0, 0.0, len(memory))
    return Status(0o600, 0, win32.file_changed(memory._file), win32.file_size(memory._file))


def status_of(where: Place) -> Status:
    """Of what stands at a place. NotThere."""
    with _not_there_told(where):
        found = os.stat(where.path)
    return Status(0o600, 0, found.st_mtime, found.st_size)


def owner_of(memory: mapping.Segment) -> int:
    """Always this user's: nobody else's can be opened."""
    return 0


def user_id(owner: int | str | None) -> int | None:
    """None; ValueError or TypeError for anything else, as a ring admits the user who made it and nobody else."""
    if owner is None:
        return None
    if isinstance(owner, bool) or not isinstance(owner, (int, str)) or (isinstance(owner, int) and owner < 0):
        raise TypeError(f"owner is {owner!r}; it is a user's name or number, or None for yourself")
    raise ValueError(f"owner is {owner!r}; on Windows a ring is its maker's alone, so there is no such user to trust")


def user_name(uid: int) -> str:
    """Users have no numbers here."""
    return str(uid)


def may_remove_file(where: Place) -> bool:
    """Whoever finds it may."""
    return True


def may_remove(memory: mapping.Segment, where: Place) -> bool:
    """What could be opened is this user's."""
    return True


def trusted(uid: int) -> bool:
    """Whatever could be opened is this user's."""
    return True


def owner_is_known(memory: mapping.Segment) -> bool:
    """It is this user's."""
    return True
