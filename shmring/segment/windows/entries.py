r"""Names on Windows: one small file for each, in a folder of the user's, which says what has that name.

A kernel object cannot be given a name, or lose it, after it was made, and it vanishes with its last handle. So the
memory of a named segment has an object name that nobody ever has again, and the name that people use is an *entry*, a
file in ``%LOCALAPPDATA%\shmring`` that says so. It appears in one step (written aside, then renamed to a name that must
be free), can be listed, and can be taken away while the memory lives on. A ring that persists, or has a path, is a file
itself, and stands there (at the path) in the place of an entry.

An entry whose processes have all been killed is stale: its object does not exist, and can never exist again. Whoever
comes across it removes it, by a handle to that very file, so that a successor of the same name is safe.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import pathlib
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from shmring.segment.names import check_name
from shmring.segment.windows import win32

if TYPE_CHECKING:
    from typing_extensions import Buffer

assert sys.platform == "win32"

T = TypeVar("T")

_MARK = b"shmring entry 1\n"
_LONGEST = 1024
_WRITTEN = re.compile(
    re.escape(_MARK) + rb"(Local\\shmring\.[!-~]{1,240})\n([1-9][0-9]{0,14})\n([0-9]{1,10})\n([A-Za-z0-9._-]{1,200})\n"
)
_PREFIX = "shmring."
_SHOWN = 120  # characters of a name that its file's name begins with; the rest is hashed, as paths have to be short
_BEING_MADE = 60.0  # seconds: younger drafts are left alone
_PATIENCE = 1.0  # seconds, for a file that somebody is deleting at this moment
_LONG_PATIENCE = 10.0  # where giving up would lose messages


@dataclass(frozen=True)
class Entry:
    """What has a name: a mapping object in a session, its length in bytes, and the whole name."""

    object: str
    size: int
    session: int
    name: str

    @property
    def sign_of_life(self) -> str:
        """The event that everybody holds who has this memory; seen from every session."""
        return "Global\\" + self.object.removeprefix("Local\\")

    @property
    def is_stale(self) -> bool:
        """Nobody has that memory, or ever will again."""
        if self.session != win32.session():
            return not win32.event_exists(self.sign_of_life)
        try:
            win32.close(win32.open_mapping(self.object, readonly=True))
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return False

    def _encoded(self) -> bytes:
        return _MARK + "\n".join([self.object, str(self.size), str(self.session), self.name, ""]).encode()


def fresh(name: str, size: int, *, kind: str) -> Entry:
    """An entry for memory yet to be made, under an object name that nobody ever had."""
    return Entry(f"Local\\shmring.{kind}.{name}.{os.urandom(8).hex()}", size, win32.session(), name)


def folder() -> pathlib.Path:
    """Where this user's entries are, and the rings that persist."""
    local = os.environ.get("LOCALAPPDATA") or os.path.expanduser("~\\AppData\\Local")
    where = pathlib.Path(local) / "shmring"
    where.mkdir(parents=True, exist_ok=True)
    return where


def path_of(name: str, kind: str) -> pathlib.Path:
    """The file that stands for a name. File names ignore case and are short, so there is a hash in it; and some names
    are devices there, with any ending (CON, NUL, COM1), so it does not begin with the name.
    """
    whole = hashlib.blake2b(check_name(name).encode(), digest_size=8).hexdigest()
    return folder() / f"{_PREFIX}{name[:_SHOWN]}.{whole}.{kind}"


def name_shown(path: pathlib.Path) -> str:
    """What such a file's own name says of the name that it stands for: all of it when that is short."""
    return path.name.removeprefix(_PREFIX).rsplit(".", 2)[0]


def aside(path: pathlib.Path, ending: str) -> pathlib.Path:
    """A name of its own in the same folder: for what is being made (new), or is on its way out (gone)."""
    return path.with_name(f"~{os.urandom(8).hex()}.shmring-{ending}")


def read(path: pathlib.Path) -> Entry | None:
    """The entry in that file; None when the file is something else, such as a ring. FileNotFoundError."""
    return _parsed(start_of(path, _LONGEST))


def start_of(path: pathlib.Path, length: int) -> bytes:
    """The first bytes of a file, read without being in the way of who renames or deletes it. FileNotFoundError."""
    handle = open_file(path)
    try:
        return win32.read_start(handle, length)
    finally:
        win32.close(handle)


def open_file(path: pathlib.Path) -> int:
    """A handle by which to look at a file. FileNotFoundError; PermissionError."""
    return _patiently(lambda: win32.open_file(str(path), readonly=True), _PATIENCE)


def _patiently(attempt: Callable[[], T], patience: float) -> T:
    """Try again while it is refused: somebody may be deleting or reading the file at this moment."""
    give_up = time.monotonic() + patience
    while True:
        try:
            return attempt()
        except PermissionError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.001)


def is_entry(content: Buffer) -> bool:
    """Is it an entry that a file begins with?"""
    with memoryview(content) as view:
        return _parsed(bytes(view[:_LONGEST])) is not None


def _parsed(content: bytes) -> Entry | None:
    """None for anything that this module would not have written: a file may be damaged, and its folder is anybody's."""
    found = _WRITTEN.fullmatch(content)
    if found is None:
        return None
    name_of_object, size, session, name = (part.decode() for part in found.groups())
    return Entry(name_of_object, int(size), int(session), name)


def publish(entry: Entry, path: pathlib.Path) -> None:
    """Give the memory its name. FileExistsError when something has it."""
    draft = aside(path, "new")
    draft.write_bytes(entry._encoded())
    try:
        move(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def move(source: pathlib.Path, target: pathlib.Path) -> None:
    """Rename; FileExistsError when the target is there."""
    give_up = time.monotonic() + _PATIENCE
    while True:
        try:
            os.rename(source, target)
            return
        except FileExistsError:
            raise
        except PermissionError:
            if time.monotonic() > give_up:
                raise FileExistsError(errno.EEXIST, f"{target} is in use") from None
            time.sleep(0.001)


def replace(file: int, path: pathlib.Path) -> None:
    """Rename an open file to that path, in one step, whatever stands there. PermissionError."""
    _patiently(lambda: win32.rename(file, str(path), replace=True), _LONG_PATIENCE)


def remove(entry: Entry, path: pathlib.Path) -> bool:
    """Take that very entry away, and never its successor; False when it is gone already. PermissionError."""

    def attempt() -> bool:
        handle = win32.open_file(str(path), to_delete=True)
        try:
            there = _parsed(win32.read_start(handle, _LONGEST)) == entry
            if there:
                win32.delete(handle)
            return there
        finally:
            win32.close(handle)

    try:
        return _patiently(attempt, _PATIENCE)
    except FileNotFoundError:
        return False


def live(path: pathlib.Path) -> Entry | None:
    """As :func:`read`, but a stale entry is removed, and then there is none: FileNotFoundError."""
    entry = read(path)
    if entry is not None and entry.is_stale:
        remove(entry, path)
        raise FileNotFoundError(errno.ENOENT, f"the processes that had {entry.name!r} have all ended")
    return entry


def clear_away(where: pathlib.Path) -> None:
    """Delete files in that folder whose names were taken away; those that somebody has mapped still are the last's."""
    for path in where.glob("~*.shmring-gone"):
        with contextlib.suppress(OSError):
            path.unlink()


def all_of(kind: str) -> list[pathlib.Path]:
    """The files that stand for names of that kind."""
    return sorted(folder().glob(f"{_PREFIX}*.{kind}"))


def sweep(*, only_look: bool = False) -> list[str]:
    """Remove stale entries, and files that killed processes left half made or half removed: the names of the former."""
    names = []
    if not only_look:
        clear_away(folder())
    for path in folder().iterdir():
        with contextlib.suppress(OSError):
            if path.name.startswith("~"):
                if not only_look and time.time() - path.stat().st_mtime > _BEING_MADE:
                    path.unlink()
                continue
            entry = read(path)
            if entry is not None and entry.is_stale and (only_look or remove(entry, path)):
                names.append(entry.name)
    return sorted(names)
