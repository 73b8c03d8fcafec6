"""Making a queue, and finding one by its name."""

from __future__ import annotations

from shmring import _core, segment
from shmring.errors import Corrupt, LayoutMismatch, NotThere
from shmring.names import registry
from shmring.names.places import Place, trust
from shmring.names.registry import FLAG_QUEUE, Wish
from shmring.ring import QUEUE, SLOTS_LIMIT
from shmring.segment import growing

PLAIN = QUEUE + "pickle"
JOINABLE = QUEUE + "joinable"  # pickle as well; whoever gets counts tasks
_FACES = {PLAIN: "Queue or SimpleQueue", JOINABLE: "JoinableQueue"}


def found(place: Place | None, maxsize: int, capacity: int, max_bytes: int | None, stored: str) -> segment.Segment:
    """A new queue's memory, or that of the one that has the name: its beginning, which everybody has mapped."""
    while True:
        if place is not None:
            try:
                memory = registry.wait_for_segment(place, 0)
            except NotThere:
                pass
            else:
                return checked(memory, place, maxsize, stored)
        try:
            return _made(place, maxsize, capacity, max_bytes, stored)
        except FileExistsError:
            continue


def _made(place: Place | None, maxsize: int, capacity: int, max_bytes: int | None, stored: str) -> segment.Segment:
    slots = min(maxsize, SLOTS_LIMIT)
    wish = Wish("mpmc", capacity, slots, 0o600, False, stored, queue=True)
    if max_bytes is not None and max_bytes < wish.ring_size:
        raise ValueError(
            f"max_bytes is {max_bytes}, and the first ring takes {wish.ring_size} already; make capacity smaller, or "
            "max_bytes larger"
        )
    memory, _, _ = registry.new_segment(wish, place)
    try:
        if place is None:  # of its arena, as it is used: programs make many queues, and most stay small
            growing.reserve(memory, 0, _core.arena_offset("mpmc", capacity, slots))
            growing.reserve(memory, wish.ring_size, _core.CONTROL_BYTES)
        most = max(growing.free_bytes(memory) // 2, wish.ring_size) if max_bytes is None else max_bytes
        _core.format_queue(memory, maxsize, most, capacity, place is not None)
        if place is not None:
            registry.publish(memory, place)
    except BaseException:
        memory.close()
        raise
    return memory


def checked(memory: segment.Segment, place: Place, maxsize: int, wanted: str) -> segment.Segment:
    """The beginning of a queue that was found, of whose file further links may be mapped here. Closes the other."""
    with memory:
        stored = registry.codec_of(memory)
        kind, slots, _, flags, _ = _core.describe(memory)
        if not flags & FLAG_QUEUE:
            raise LayoutMismatch(
                f"{place.title} is no queue (its messages are {stored!r}); use Ring.attach, or another name"
            )
        if stored != wanted:
            there = _FACES.get(stored, f"queue of another version ({stored!r})")
            raise LayoutMismatch(
                f"{place.title} is a {there}, and not a {_FACES[wanted]}, which counts tasks otherwise; use "
                f"{there.split()[0]}(name=...) everywhere, or another name"
            )
        trust.check_runs_code(memory, place, stored, "queue")
        bound, _, capacity = _core.describe_queue(memory)
        if maxsize and maxsize != bound:
            raise LayoutMismatch(
                f"the queue that is there has maxsize {bound}, not {maxsize}; leave it out, or unlink it first"
            )
        length = _core.segment_size(kind, capacity, slots) + _core.CONTROL_BYTES
        if len(memory) < length:
            raise Corrupt(f"this queue's file has {len(memory)} bytes, and its beginning takes {length}; remove it")
        return growing.map_range(memory, 0, length)
