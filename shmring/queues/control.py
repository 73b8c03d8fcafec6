"""What the processes of one queue share beside its links: which links there are, where, and what its tasks are.

A queue is one file (a memfd, or a name in /dev/shm; on Windows a temporary file), in this order::

    link 0      a ring as in core/LAYOUT.md; everybody stays attached to it, which says that the queue is in use
    control     32 KiB, below
    link 1 ...  further rings, each at the offset that its entry in the table says; never two in one place
            (where memory cannot be given back, room_for gives a place again, once nobody is attached or attaching)

Control, in words of 8 bytes (offsets from its start):

====== ============= ===================================================================================
0      magic         once, last store of the birth: "SHMRQUE" and the version, 1
8      maxsize       once; 0: no bound
16     max_bytes     once: what all links together may take
24     capacity      once: of link 0, and of every link that is not made for more
128    first         index of the oldest link that is not finished; only rises, under the lock
256    last          index of the newest link; only rises, under the lock; its entry is written before
384    buried        links below it have no memory left at all; only rises, under the lock
512    done          event: joiners park here; task_done notifies
1024   pending[256]  for each attachment of link 0: tasks that it got less those that it said were done
4096   table[1792]   entry of link i at i modulo 1792: offset in the file; length, with bit 0 set for a *single*
====== ============= ===================================================================================

The *lock* is the kernel's, on the file's byte at control's start: it is gone with its holder.

A link is *open*, then *shut* (the ring's own shutdown, draining), then *finished* (nothing ready, claimed or taken),
for ever. To link, under the lock: reserve and format the next ring behind the last; shut the last; write its entry;
raise ``last``. To finish, under the lock: raise ``first``; give the memory behind the ring's entries back to the
system, and when nobody is attached to it any more, the rest. So at every moment:

- only ``last`` may be open, and if it is not, anybody may link the next, so a death between two of these steps leaves
  room for whoever comes next, and what it had reserved lies behind the last entry, where the next linker frees it;
- what is in a link was claimed before anything in the next was, so the order is that of the claims;
- a finished link is shut, so whoever still has it open finds that out, and goes where ``first`` or ``last`` is.

A *single* is a link made for one large message: it is put into it before it is linked, and it is shut from the start.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from shmring import _core, segment
from shmring.errors import Corrupt
from shmring.segment import growing
from shmring.segment.descriptors import shortage_explained

SIZE = 32768
LINKS = 1792
SLOTS = _core.ATTACHMENTS
_MAGIC = int.from_bytes(b"SHMRQUE\1", "little")
_MAXSIZE, _MAX_BYTES, _CAPACITY = 8, 16, 24
_FIRST, _LAST, _BURIED, _DONE, _PENDING, _TABLE = 128, 256, 384, 512, 1024, 4096
KEPT = 4096 + SLOTS * 128  # of a finished link: header and attachment entries, which say that it is shut
_PAUSE = 0.0005
_ATTACHING, _APART = 64, 128  # bytes from the start that are locked while attaching to a link, one for each slot


class Control:
    """The control block of a queue, mapped."""

    def __init__(self, root: segment.Segment, at: int) -> None:
        """Behind link 0, which ends there."""
        self._root, self.at = root, at
        if len(root) < at + SIZE or self._load(0) != _MAGIC:
            raise Corrupt("what stands behind this queue's first ring is not its control block; remove the queue")
        self.maxsize, self.max_bytes, self.capacity = map(self._load, (_MAXSIZE, _MAX_BYTES, _CAPACITY))

    @staticmethod
    def format(root: segment.Segment, at: int, maxsize: int, max_bytes: int, capacity: int) -> None:
        """Give a queue that nobody else knows its control block. NoSpace."""
        growing.reserve(root, at, SIZE)
        with growing.map_range(root, at, SIZE) as memory:
            for offset, value in ((_MAXSIZE, maxsize), (_MAX_BYTES, max_bytes), (_CAPACITY, capacity)):
                _core.word_store(memory, offset, value)
            _core.word_store(memory, _TABLE + 8, at)  # link 0 begins the file and ends here
            _core.word_store(memory, 0, _MAGIC)

    def _load(self, offset: int) -> int:
        return _core.word_load(self._root, self.at + offset)

    def _store(self, offset: int, value: int) -> None:
        _core.word_store(self._root, self.at + offset, value)

    # --- links ---

    @property
    def first(self) -> int:
        """Index of the oldest link that is not finished."""
        return self._load(_FIRST)

    @property
    def last(self) -> int:
        """Index of the newest link."""
        return self._load(_LAST)

    def entry(self, index: int) -> tuple[int, int, bool]:
        """Offset, length and whether it is a single, of a link."""
        where = _TABLE + index % LINKS * 16
        offset, length = self._load(where), self._load(where + 8)
        return offset, length & ~1, bool(length & 1)

    def reserved(self) -> int:
        """Bytes of all links that are not finished. A single's are what its message needs."""
        total = 0
        for index in range(self.first, self.last + 1):
            _, length, single = self.entry(index)
            total += length // 2 + KEPT if single else length
        return total

    def end(self) -> int:
        """What lies behind this has no link."""
        offset, length, _ = self.entry(self.last)
        return max(offset + length, self.at + SIZE)

    def room_for(self, length: int) -> int | None:
        """Where the next link, so long, is to begin; None for nowhere now. Under the lock."""
        oldest = max(1, self._load(_BURIED))
        if growing.GIVES_BACK:
            return self.end()
        if self.last + 1 - oldest >= LINKS:  # those that are finished and not buried still have their places
            return None
        ranges = sorted(self.entry(index)[:2] for index in range(oldest, self.last + 1))
        begin = self.at + SIZE
        if not self._is_anybody_attaching():
            for offset, taken in ranges:
                if offset - begin >= length:
                    return begin
                begin = max(begin, offset + taken)
        return max([begin, *(offset + taken for offset, taken in ranges)])

    @contextlib.contextmanager
    def attaching(self, slot: int) -> Iterator[None]:
        """While it lasts, no place is used again; so a link that is not finished now is what will be found there.

        ``slot`` is this process's entry in link 0.
        """
        if growing.GIVES_BACK:
            yield
            return
        locks = _core.locks_open(self._root.fd)
        try:
            while not _core.locks_take(locks, self.at + _ATTACHING + _APART * slot):  # somebody looks at it right now
                time.sleep(_PAUSE)
            yield
        finally:
            _core.locks_close(locks)

    def _is_anybody_attaching(self) -> bool:
        locks = _core.locks_open(self._root.fd)
        try:
            return _core.locks_seen(locks, self.at + _ATTACHING, _APART * SLOTS)
        finally:
            _core.locks_close(locks)

    @contextlib.contextmanager
    def lock(self, patience: float | None = None) -> Iterator[bool]:
        """Alone among all processes and threads, until the with block ends or the process does; False: not in time."""
        give_up = None if patience is None else time.monotonic() + patience
        with shortage_explained():
            locks = _core.locks_open(self._root.fd)
        held = False
        try:
            while not (held := _core.locks_take(locks, self.at)):
                if give_up is not None and time.monotonic() >= give_up:
                    break
                time.sleep(_PAUSE)
            yield held
        finally:
            if held:
                _core.locks_drop(locks, self.at)
            _core.locks_close(locks)

    def publish(self, offset: int, length: int, single: bool) -> None:
        """The next link is there. Under the lock."""
        index = self.last + 1
        where = _TABLE + index % LINKS * 16
        self._store(where, offset)
        self._store(where + 8, length | single)
        self._store(_LAST, index)

    def clear_behind(self) -> None:
        """Free what a linker that died had reserved behind the last link. Under the lock."""
        growing.cut(self._root, self.end())

    def finish(self, memory: segment.Segment) -> None:
        """The first link, mapped here, is finished: its memory is free. Under the lock."""
        _, length, _ = self.entry(self.first)
        self._store(_FIRST, self.first + 1)
        growing.give_back(memory, KEPT, length - KEPT)  # behind link 0, this mapping has control

    def bury(self) -> None:
        """Free what is left of finished links to which nobody is attached. Under the lock."""
        index = max(1, self._load(_BURIED), self.last - LINKS + 1)  # link 0 stays
        while index < self.first:
            offset, length, _ = self.entry(index)
            if length:
                with growing.map_range(self._root, offset, KEPT) as memory:
                    locks = _core.locks_open(self._root.fd)
                    try:
                        if _core.locks_seen(locks, offset, KEPT):
                            break
                        growing.give_back(memory, 0, KEPT)
                    finally:
                        _core.locks_close(locks)
            index += 1
        self._store(_BURIED, index)

    # --- tasks ---

    def pending(self, slot: int) -> int:
        """Tasks that this attachment got and has not done."""
        return self._load(_PENDING + 8 * slot)

    def add_pending(self, slot: int, amount: int) -> None:
        """It got one, or has done one."""
        _core.word_add(self._root, self.at + _PENDING + 8 * slot, amount)

    def all_pending(self) -> int:
        """The sum over all attachments there ever were."""
        return _core.word_sum(self._root, self.at + _PENDING, SLOTS)

    def announce_joiner(self) -> int:
        """A ticket; look at the tasks, then wait with it."""
        return _core.event_announce(self._root, self.at + _DONE)

    def wait_for_tasks(self, ticket: int, timeout: float) -> None:
        """Sleep until a task is done, or so long; serves signals."""
        _core.event_park(self._root, self.at + _DONE, ticket, timeout)

    def notify_joiners(self) -> None:
        """A task is done."""
        _core.event_notify(self._root, self.at + _DONE)
