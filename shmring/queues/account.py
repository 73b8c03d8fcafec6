"""The tasks of a JoinableQueue: how many are not done, as anybody can see who has its file mapped."""

from __future__ import annotations

from typing import Self

from shmring import _core, segment
from shmring.errors import Corrupt, NotReady, ShmringError
from shmring.queues.control import SIZE, Control
from shmring.segment import growing


class Account:
    """What join and task_done look at. Needs no attachment, so it can outlive one."""

    def __init__(self, memory: segment.Segment, control: Control, slot: int) -> None:
        self.control = control
        self._memory, self._slot = memory, slot

    @classmethod
    def apart(cls, memory: segment.Segment, at: int, slot: int) -> Self:
        """In a mapping of its own, until close()."""
        own = growing.map_range(memory, 0, at + SIZE)
        return cls(own, Control(own, at), slot)

    def close(self) -> None:
        """Unmap; only for one that is apart."""
        self._memory.close()

    def unfinished(self) -> int:
        """Those in the queue first: a task is counted as pending before it leaves it."""
        return in_flight(self._memory, self.control) + self.control.all_pending()

    def task_done(self) -> None:
        """ValueError when every task was done."""
        if self.control.pending(self._slot) < 1 and self.unfinished() < 1:
            raise ValueError("task_done() called too many times")
        self.control.add_pending(self._slot, -1)
        self.control.notify_joiners()


def why_needed(memory: segment.Segment, control: Control, but: int | None = None) -> str | None:
    """Why a queue may not go, seen from outside: living attachments (``but`` for one slot), messages. None: it may."""
    shot = _core.snapshot(memory, memory.fd)
    living = sum(entry["alive"] is not False and entry["slot"] != but for entry in shot["attachments"])
    if living:
        return f"{living} attachment(s) are alive"
    undelivered = in_flight(memory, control)
    return f"it holds {undelivered} undelivered message(s)" if undelivered else None


def in_flight(memory: segment.Segment, control: Control) -> int:
    """Messages in all links of a queue, waiting or taken or being put, seen from outside."""
    while True:
        index, found = control.first, 0
        try:
            while index <= control.last:
                held = _held_in(memory, control, index)
                if index >= control.first:  # or it was finished as we looked, and we may have seen its successor there
                    found += held
                index += 1
        except ShmringError as error:
            if index >= control.first:
                if isinstance(error, NotReady):  # a link is made before it is one
                    raise Corrupt("the queue's memory was truncated by somebody else; remove the queue") from None
                raise
            continue  # it was finished as we looked, and its memory freed
        return found


def _held_in(memory: segment.Segment, control: Control, index: int) -> int:
    offset, length, _ = control.entry(index)
    with growing.map_range(memory, offset, length) as link:
        totals = _core.snapshot(link, memory.fd)["totals"]
    return int(totals["messages"] + totals["claimed"] + totals["taken"])
