"""Named semaphores of the Windows kernel: made by whoever comes first, gone with the last, so nothing is left over.

Whoever uses them holds a handle. A ring in a file can outlive them; whoever opens it then makes them anew, with counts
of zero, which the core raises to what is in the ring (sr_semaphore_top_up).
"""

from __future__ import annotations

import sys

from shmring.names.semaphores.naming import names
from shmring.segment.windows import win32

assert sys.platform == "win32"


class Hold:
    """Handles on all three, so that they are there, until it is closed or its process has ended."""

    def __init__(self, identity: int, *, empty: int = 0) -> None:
        wanted = names("semaphore", identity)
        assert wanted is not None
        self._handles: list[int] = []
        try:
            for name, value in zip(wanted, (1, 0, empty), strict=True):
                self._handles.append(win32.hold_semaphore("Global\\" + name.removeprefix("/"), value))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go; may be called again."""
        while self._handles:
            win32.close(self._handles.pop())


def make(identity: int, *, empty: int, mode: int) -> Hold:
    """Create all three: mutex 1, full 0, empty as given."""
    return Hold(identity, empty=empty)


def remove(kind: str, identity: int) -> None:
    """Nothing to do: they go with their last handle."""


def identities() -> set[int]:
    """The rings whose semaphores have been left over: none."""
    return set()


def are_truncated(identity: int) -> bool:
    """They have no files."""
    return False


def remove_if_unused(identity: int, *, only_look: bool = False, however_young: bool = False) -> bool:
    """Nothing to do."""
    return False
