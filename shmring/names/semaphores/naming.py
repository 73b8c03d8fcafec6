"""What the semaphores of a ring are called, everywhere."""

from __future__ import annotations

import sys

_PREFIX = "/sr-" if sys.platform == "darwin" else "/shmring-"  # names there have at most 30 characters


def names(kind: str, identity: int) -> tuple[str, str, str] | None:
    """What the core is told; None for kinds without semaphores."""
    if kind != "semaphore":
        return None
    stem = f"{_PREFIX}{identity:016x}"
    return f"{stem}.mutex", f"{stem}.full", f"{stem}.empty"
