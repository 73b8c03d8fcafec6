"""Making a queue, and finding one by its name."""

from __future__ import annotations

from shmring import _core, registry, segment
from shmring.errors import LayoutMismatch
from shmring.places import Place
from shmring.queues.control import Control
from shmring.registry import Wish
from shmring.ring import QUEUE, SLOTS_LIMIT
from shmring.segment import growing

_CODEC = QUEUE + "pickle"


def shape(memory: segment.Segment) -> tuple[int, int]:
    """Capacity and slots of the ring that begins here."""
    shot = _core.snapshot(memory, memory.fd)
    return shot["capacity"], shot["slots"]


def first_link_finished(memory: segment.Segment, at: int) -> bool:
    """Has this queue, whose first link ends there, gone on to others for good?"""
    control = Control(memory, at)
    try:
        return control.first > 0
    finally:
        control.close()


def found(place: Place | None, maxsize: int, capacity: int, max_bytes: int | None) -> segment.Segment:
    """A new queue's memory, or that of the one that has the name."""
    while True:
        if place is not None:
            try:
                memory = registry.wait_for_segment(place, 0)
            except FileNotFoundError:
                pass
            else:
                return checked(memory, place, maxsize)
        slots = maxsize if maxsize <= SLOTS_LIMIT else 0
        wish = Wish("mpmc", capacity, slots, 0o600, place is not None, _CODEC)
        if max_bytes is not None and max_bytes < wish.size:
            raise ValueError(
                f"max_bytes is {max_bytes}, and the first ring takes {wish.size} already; make capacity smaller, or "
                "max_bytes larger"
            )
        memory, _, _ = registry.new_segment(wish, place, grows=True)
        try:
            most = max(growing.free_bytes(memory) // 2, wish.size) if max_bytes is None else max_bytes
            Control.format(memory, wish.size, maxsize, most, capacity)
            if place is not None:
                registry.publish(memory, place)
            return memory
        except FileExistsError:
            memory.close()
        except BaseException:
            memory.close()
            raise


def checked(memory: segment.Segment, place: Place, maxsize: int) -> segment.Segment:
    """The first link of a queue that was found, mapped alone: its file has further ones behind. Closes the other."""
    with memory:
        stored = registry.codec_of(memory)
        if not stored.startswith(QUEUE):
            raise LayoutMismatch(
                f"{place.title} is no queue (its messages are {stored!r}); use Ring.attach, or another name"
            )
        at = _core.segment_size("mpmc", *shape(memory))
        control = Control(memory, at)
        bound = control.maxsize
        control.close()
        if maxsize and maxsize != bound:
            raise LayoutMismatch(
                f"the queue that is there has maxsize {bound}, not {maxsize}; leave it out, or unlink it first"
            )
        return growing.map_range(memory, 0, at)
