"""Growing memory on Windows: a file, as memory of the page file cannot grow.

It lies in the folder of the entries, is marked as temporary, so that Windows writes it to the disk only for want of
memory, and goes with the last process that has it mapped; when that one is killed, with the next that makes one. A
file that anybody has mapped can neither be shortened nor get holes, so its ranges are used again. All of a range has
storage, also what was only extended: a ring for one large message takes twice its room, beyond ``max_bytes`` too.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import sys
import time
from collections.abc import Callable
from typing import Any

from shmring.errors import NoSpace
from shmring.segment.machine import check_machine, machine
from shmring.segment.windows import entries, mapping, win32

assert sys.platform == "win32"

_ENDING = "grows"
_BEING_MADE = 60.0  # seconds: younger files may not be mapped yet


class _Unnamed(mapping.Segment):
    """A range of a file that has no name for people."""

    def _close_handles(self) -> None:
        super()._close_handles()
        if self.path is not None:
            with contextlib.suppress(OSError):  # somebody has it mapped
                os.unlink(self.path)

    def __reduce__(self) -> tuple[Callable[..., mapping.Segment], tuple[Any, ...]]:
        return _from_transfer, (self.path, len(self), mapping.inherited(self.fd), machine())


def _from_transfer(path: str, size: int, inherited: int | None, origin: str) -> mapping.Segment:
    check_machine(origin, "memory without a name")
    try:
        return _map(_Unnamed, win32.open_file(path), path, 0, size)
    finally:
        if inherited is not None:  # has kept the file there until now
            win32.close(inherited)


def _map(kind: type[mapping.Segment], file: int, path: str | None, offset: int, length: int) -> mapping.Segment:
    """Map a range; the mapping owns the file's handle, which is closed on failure too."""
    try:
        mapping = win32.create_mapping(None, offset + length, file=file)
    except BaseException:
        win32.close(file)
        raise
    return kind._map(mapping, length, file=file, path=path, offset=offset)


def unnamed(size: int) -> mapping.Segment:
    """All of it is reserved."""
    folder = entries.folder()
    for path in folder.glob(f"~*.shmring-{_ENDING}"):  # of those who were killed
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _BEING_MADE:
                path.unlink()
    where = str(entries.aside(folder / "queue", _ENDING))
    file = win32.open_file(where, create=True, temporary=True)
    try:
        mapping.reserve(file, size, where)
    except BaseException:
        with contextlib.suppress(OSError):
            win32.delete(file)
        win32.close(file)
        raise
    return _map(_Unnamed, file, where, 0, size)


def where(memory: mapping.Segment) -> str:
    """The file's folder."""
    return str(pathlib.Path(str(memory.path)).parent)


def free_bytes(memory: mapping.Segment) -> int:
    """What is free on its disk."""
    return shutil.disk_usage(where(memory)).free


def no_space(memory: mapping.Segment, needed: int) -> NoSpace:
    """The error for what does not fit."""
    return NoSpace(needed, free_bytes(memory), where(memory))


def reserve(memory: mapping.Segment, offset: int, length: int) -> None:
    """All of a file has storage, as it is no sparse one: NoSpace."""
    if offset + length > win32.file_size(memory._file):
        mapping.reserve(memory._file, offset + length, str(memory.path))


def map_range(memory: mapping.Segment, offset: int, length: int) -> mapping.Segment:
    """It may lie beyond what ``memory`` maps."""
    return _map(type(memory), win32.duplicate(memory._file), memory.path, offset, length)


def file(memory: mapping.Segment) -> int:
    """Its handle."""
    return memory._file


def check_free(memory: mapping.Segment, needed: int) -> None:
    """NoSpace for what does not fit."""
    if needed > free_bytes(memory):
        raise no_space(memory, needed)
