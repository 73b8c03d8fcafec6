"""What a killed contestant leaves in shared memory, and how to tell that it is nobody's."""

from __future__ import annotations

import contextlib
import glob
import os
import pathlib
import shutil

_SHARED_MEMORY = pathlib.Path("/dev/shm")


def remove_leftovers(tag: str, litter: tuple[str, ...]) -> list[str]:
    """Remove shared memory that has the tag in its name, or that matches a glob, is ours and mapped by nobody.

    A folder goes with all that is in it, unless any of that is mapped.
    """
    mine = [str(path) for path in _SHARED_MEMORY.iterdir() if tag in path.name] if _SHARED_MEMORY.is_dir() else []
    theirs = [path for pattern in litter for path in glob.glob(pattern) if _is_ours(path)]
    in_use = _mapped() if theirs else set()
    removed = []
    for path in [*mine, *(path for path in theirs if not _holds_any(path, in_use))]:
        with contextlib.suppress(OSError):
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path)
            else:
                os.unlink(path)
            removed.append(path)
    return removed


def _holds_any(path: str, files: set[str]) -> bool:
    return any(file == path or file.startswith(path + "/") for file in files)


def _is_ours(path: str) -> bool:
    try:
        return os.lstat(path).st_uid == os.getuid()
    except FileNotFoundError:
        return False


def _mapped() -> set[str]:
    """Every file in shared memory that a living process of ours has mapped or open."""
    found: set[str] = set()
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            for line in (process / "maps").read_text().splitlines():
                if str(_SHARED_MEMORY) in line:
                    found.add(line.split(maxsplit=5)[5])
        with contextlib.suppress(OSError):
            for descriptor in (process / "fd").iterdir():
                with contextlib.suppress(OSError):
                    found.add(os.readlink(descriptor))
    return found
