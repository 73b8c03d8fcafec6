"""A look at what the processes of a queue share beside its links; core/queue/queue.h says what it means."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from shmring import _core

if TYPE_CHECKING:
    from shmring.queues.chain import Chain

_PAUSE = 0.0005


class Control:
    """The control block of a queue, for whoever looks into one: tests, a debugger."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    @property
    def buried(self) -> int:
        """Links below it have no storage, and nobody in them."""
        return self._chain._links[0]

    @property
    def first(self) -> int:
        """Index of the oldest link that is not finished."""
        return self._chain._links[1]

    @property
    def last(self) -> int:
        """Index of the newest link."""
        return self._chain._links[2]

    @property
    def max_bytes(self) -> int:
        """The most memory that its links may have together."""
        return self._chain._max_bytes

    @contextlib.contextmanager
    def lock(self, patience: float | None = None) -> Iterator[bool]:
        """Alone among all who link and finish, until the with block ends or the process does; False: not in time."""
        chain = self._chain
        byte = _core.segment_size("mpmc", chain.capacity, chain.slots or 0)
        give_up = None if patience is None else time.monotonic() + patience
        locks = _core.locks_open(chain._segment._locks_fd)
        try:
            while not (held := _core.locks_take(locks, byte)):
                if give_up is not None and time.monotonic() >= give_up:
                    break
                time.sleep(_PAUSE)
            yield held
        finally:
            _core.locks_close(locks)
