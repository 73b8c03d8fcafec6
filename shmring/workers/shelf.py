"""Memory for received messages, used again."""

from __future__ import annotations

import collections

_WORTH_KEEPING = 128 * 1024
_LOOK_AT = 4

Raw = bytes | bytearray | memoryview


class Shelf:
    """Memory for messages of which their receiver is to own a copy; for one thread.

    Fresh memory for a large message costs more than the copy, in page faults. So up to ``limit`` bytes of it are kept
    here while the message's arrays live, and used again when nobody looks at them any more.
    """

    def __init__(self, limit: int) -> None:
        self._left = limit
        self._kept: collections.deque[bytearray] = collections.deque()

    def copy(self, view: memoryview) -> Raw:
        """The message in writable memory of its own."""
        if view.nbytes < _WORTH_KEEPING:
            return bytearray(view)
        for _ in range(min(len(self._kept), _LOOK_AT)):
            kept = self._kept.popleft()
            if not _is_free(kept):
                self._kept.append(kept)
            elif view.nbytes <= len(kept) <= 2 * view.nbytes:
                self._kept.append(kept)
                room = memoryview(kept)[: view.nbytes]
                room[:] = view
                return room
            else:
                self._left += len(kept)
        fresh = bytearray(view)
        if len(fresh) <= self._left:
            self._left -= len(fresh)
            self._kept.append(fresh)
        return memoryview(fresh)  # and no bytearray, which could be free the next moment


def _is_free(memory: bytearray) -> bool:
    """Is nobody looking at it? Its size cannot change while somebody does."""
    try:
        memory.append(memory.pop())
    except BufferError:
        return False
    return True
