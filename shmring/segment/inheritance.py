"""What goes along to a child that multiprocessing, or multiprocess, is starting right now: a descriptor or a handle."""

from __future__ import annotations

import os
import sys
from typing import Any

if sys.platform == "win32":
    from shmring.segment.windows import win32


def _starting() -> tuple[str, Any] | None:
    """The package that is starting a child, and what stands for that child; None while none is."""
    for package in ("multiprocessing", "multiprocess"):
        context = sys.modules.get(f"{package}.context")
        child = context.get_spawning_popen() if context is not None else None
        if child is not None:
            return package, child
    return None


def is_starting() -> bool:
    """Is what is pickled now for a child that is being started?"""
    return _starting() is not None


def sent_along(number: int) -> Any:
    """For the pickle: the child's own copy of a descriptor or handle, which it has from its beginning."""
    found = _starting()
    assert found is not None
    package, child = found
    if sys.platform == "win32":
        return int(child.duplicate_for_child(number))
    return sys.modules[f"{package}.reduction"].DupFd(number)


def taken(inherited: Any) -> int:
    """In the child: the descriptor or handle, now the caller's to close."""
    return int(inherited) if sys.platform == "win32" else int(inherited.detach())


def close(inherited: Any) -> None:
    """In the child: it is not needed any more."""
    if sys.platform == "win32":
        win32.close(taken(inherited))
    else:
        os.close(taken(inherited))
