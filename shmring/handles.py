"""Handles on their way to other processes, and what keeps the memory until they have arrived.

While a child is being started (spawn, a fork server), a descriptor goes along that shares the lock of those who may yet
attach: the kernel keeps that for as long as the child has it. A handle that travels in a message, or in a task, has no
child to go along with. Its sender counts it in the segment, under a lock of its own, and whoever gets it counts down;
while one is awaited and the sender lives, the ring stays, whether the sender has closed it or not.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import os
import sys
from collections.abc import Callable
from typing import Any

from shmring import _core
from shmring.segment import Segment, inheritance

_on_their_way: set[Sender] = set()  # of attachments that have closed


@dataclasses.dataclass(frozen=True)
class Luggage:
    """What goes along with a handle."""

    inherited: tuple[Any, ...] = ()  # a shared lock, and on Windows the memory, in a child that is being started
    index: int = 0
    number: int = 0  # of the sender; 0: it does not count

    def unpack(self, memory: Segment) -> None:
        """The handle has arrived, and is attached."""
        for each in self.inherited:
            inheritance.close(each)
        if self.number:
            _core.sent_arrived(memory, self.index, self.number)
        _sweep()  # it may have been sent from here


class Sender:
    """What an attachment whose handles are sent has to keep, until the last of them has arrived."""

    def __init__(self, memory: Segment, settle: Callable[[Segment], object]) -> None:
        """``settle`` removes or keeps what it was, if that is nobody's any more."""
        self.memory = memory.view()  # what a handle of memory without a name leads to
        self._settle = settle
        self._pid = os.getpid()
        self._along: int | None = None
        self._locks: int | None = None
        self._number = (0, 0)

    def pack(self) -> Luggage:
        """For one more handle."""
        _sweep()
        if inheritance.is_starting():
            if self._along is None:
                self._along = _core.locks_open(self.memory._locks_fd)
                _core.locks_share(self._along, _core.CLAIM_BYTE)
            along = [_core.locks_descriptor(self._along)]
            if sys.platform == "win32":  # where memory is gone with its last handle
                along.append(self.memory.fd)
            return Luggage(tuple(map(inheritance.sent_along, along)))
        if self._locks is None:
            self._locks = _core.locks_open(self.memory._locks_fd)
            self._number = _core.sent_open(self.memory, self._locks) or (0, 0)
        if self._number[1]:
            _core.sent_note(self.memory, *self._number)
        return Luggage((), *self._number)

    @property
    def is_mine(self) -> bool:
        """Not that of the process which this one was forked from."""
        return self._pid == os.getpid()

    def is_awaited(self) -> bool:
        """Is a handle on its way?"""
        return self._number[1] != 0 and _core.sent_is_awaited(self.memory, *self._number)

    def leave(self) -> None:
        """The attachment closes; what is still on its way keeps this here."""
        if self._along is not None:
            _core.locks_close(self._along)
            self._along = None
        _on_their_way.add(self)
        _sweep()

    def abandon(self) -> None:
        """What has not arrived by now is lost."""
        self._close_locks()
        with contextlib.suppress(Exception):  # at exit there is nobody left to tell
            self._settle(self.memory)
        self.memory.close()

    def close(self) -> None:
        """Nothing is awaited any more; or, in a forked child: it is awaited by the parent."""
        self._close_locks()
        self.memory.close()

    def _close_locks(self) -> None:
        for locks in (self._along, self._locks):
            if locks is not None:
                _core.locks_close(locks)
        self._along = self._locks = None


def _sweep() -> None:
    for sender in [*_on_their_way]:
        if not sender.is_awaited():
            _on_their_way.discard(sender)
            sender.close()


def _abandon_all() -> None:
    while _on_their_way:
        _on_their_way.pop().abandon()


def _forget_in_child() -> None:
    while _on_their_way:
        _on_their_way.pop().close()


atexit.register(_abandon_all)
if sys.platform != "win32":
    os.register_at_fork(after_in_child=_forget_in_child)
