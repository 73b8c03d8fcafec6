"""What a Windows machine is asked about: the folder of names, memory, the session, large pages, cores."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator

from shmring.admin.doctor.finding import Finding
from shmring.segment.sizes import show_size
from shmring.segment.windows import entries, win32

assert sys.platform == "win32"

_LITTLE = 256 << 20


def _kernel() -> Iterator[Finding]:
    build = sys.getwindowsversion()
    text = f"Windows {platform.release()} (build {build.build}), Python {sys.version.split()[0]}"
    if build[:2] < (10, 0):
        yield Finding("kernel", "problem", text, "Windows 10 or later")
    else:
        yield Finding("kernel", "ok", text)


def _names() -> Iterator[Finding]:
    try:
        where = entries.folder()
        draft = entries.aside(where / "doctor", "new")
        draft.touch()
        draft.unlink()
    except OSError as error:
        text = f"names cannot be made: {error}"
        yield Finding("names", "problem", text, "let this user write to %LOCALAPPDATA%\\shmring")
        return
    yield Finding("names", "ok", f"{where}, {show_size(shutil.disk_usage(where).free)} free for rings that persist")


def _space() -> Iterator[Finding]:
    free = win32.available_memory()
    text = f"{show_size(free)} of memory and page files can be had"
    if free < _LITTLE:
        yield Finding(
            "space", "problem", f"{text}: larger rings raise NoSpace", "a larger page file, or fewer programs"
        )
    else:
        yield Finding("space", "ok", text)


def _session() -> Iterator[Finding]:
    number = win32.session()
    if number == 0:
        text = "session 0, where services run: rings of a desktop's session are not seen, unless they are files"
        yield Finding("session", "note", text, "between sessions use path= or persist=True")
    else:
        yield Finding("session", "ok", f"session {number}")


def _pages() -> Iterator[Finding]:
    size = win32.large_page()
    if not size:
        yield Finding("huge pages", "note", "this machine has none", "none is needed for rings below hundreds of MiB")
    elif win32.may_lock_memory():
        yield Finding("huge pages", "ok", f"large pages of {show_size(size)} may be used")
    else:
        text = f"large pages of {show_size(size)} may not be used by this user"
        yield Finding(
            "huge pages", "note", text, 'grant "Lock pages in memory" under Local Security Policy, log in again'
        )


def _cores() -> Iterator[Finding]:
    count = os.cpu_count() or 1
    if count == 1:
        yield Finding("cores", "note", "1: nobody spins, every wait is a kernel's wake", "two cores or more")
    else:
        yield Finding("cores", "ok", str(count))


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (_kernel, _names, _space, _session, _cores, _pages)
