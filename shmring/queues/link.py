"""One link of a queue: a ring at an offset of the queue's file, and what memory it takes."""

from __future__ import annotations

import contextlib
from typing import Any

from shmring import _core, codecs, registry, segment
from shmring.attachment import Manner
from shmring.queues.account import why_needed
from shmring.queues.control import KEPT, Control
from shmring.registry import Wish
from shmring.ring import Ring
from shmring.segment import growing

_PAGE = 4096


class Gone(Exception):
    """This link was finished before we were attached to it."""


class Link(Ring):
    """One ring of a queue."""

    _noun = "queue"
    single: bool = False
    index: int = 0
    _name_of_queue: str | None = None

    def _belongs(self, root: Root, index: int, single: bool) -> None:
        self._name_of_queue, self.index, self.single = root.name, index, single

    @property
    def name(self) -> str | None:
        """The queue's name, which errors tell; None for an anonymous one."""
        return self._name_of_queue if self._name_of_queue is not None else super().name

    @classmethod
    def _codec_for(cls, stored: str, manner: Manner) -> codecs.Codec | None:
        return manner.codec if not isinstance(manner.codec, str) else codecs.find(manner.codec)


class Root(Link):
    """Link 0. A queue with a name goes with the last process that leaves it empty."""

    control: Control | None = None

    def _complete_close(self) -> None:
        with contextlib.ExitStack() as stack:
            control = self.control
            if control is not None and self._place is not None:
                with contextlib.suppress(OSError):  # for want of descriptors, or another user's: the name stays
                    if stack.enter_context(control.lock(patience=1.0)):
                        registry.unlink_at(self._place, self._identity, lambda: self._is_needed(control))
            super()._complete_close()

    def _is_needed(self, control: Control) -> bool:
        return why_needed(self._segment, control, self._slot) is not None


def length_of(parts: Any) -> int:
    """Bytes of a message, as a codec made it."""
    if isinstance(parts, (list, tuple)):
        return sum(memoryview(part).nbytes for part in parts)
    return memoryview(parts).nbytes


def _pages(length: int) -> int:
    return -(-length // _PAGE) * _PAGE


def single_bytes(length: int) -> int:
    """What a link for one message takes, at most."""
    return _pages(length) + KEPT + 4 * _PAGE


def new_memory(root: segment.Segment, offset: int, wish: Wish, only: int | None) -> segment.Segment:
    """Reserve and map a further link of the root's file: all of it, or for ``only`` one message. NoSpace."""
    if only is None:
        growing.reserve(root, offset, wish.size)
    else:  # nothing follows the one message: its word, and room for it, are enough
        growing.extend(root, offset + wish.size)
        growing.reserve(root, offset, KEPT + 8)
        arena = _pages(KEPT + 8 * -(-wish.capacity // _core.GRANULE))
        growing.reserve(root, offset + arena, min(only + _PAGE, wish.size - arena))
    memory = growing.map_range(root, offset, wish.size)
    growing.clean(memory)
    return memory
