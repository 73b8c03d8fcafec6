"""Making a queue, and finding one by its name."""

from __future__ import annotations

from shmring import _core, registry, segment
from shmring.errors import Corrupt, LayoutMismatch, NotReady
from shmring.places import Place
from shmring.queues.account import why_needed
from shmring.queues.control import SIZE, Control
from shmring.registry import Wish
from shmring.ring import QUEUE, SLOTS_LIMIT
from shmring.segment import growing

PLAIN = QUEUE + "pickle"
JOINABLE = QUEUE + "joinable"  # pickle as well; whoever gets counts tasks
_FACES = {PLAIN: "Queue or SimpleQueue", JOINABLE: "JoinableQueue"}


def shape(memory: segment.Segment) -> tuple[int, int]:
    """Capacity and slots of the ring that begins here."""
    shot = _core.snapshot(memory, memory.fd)
    return shot["capacity"], shot["slots"]


def first_link_finished(memory: segment.Segment, at: int) -> bool:
    """Has this queue, whose first link ends there, gone on to others for good?"""
    return Control(memory, at).first > 0


def found(place: Place | None, maxsize: int, capacity: int, max_bytes: int | None, stored: str) -> segment.Segment:
    """A new queue's memory, or that of the one that has the name."""
    while True:
        if place is not None:
            try:
                memory = registry.wait_for_segment(place, 0)
            except FileNotFoundError:
                pass
            else:
                return checked(memory, place, maxsize, stored)
        slots = maxsize if maxsize <= SLOTS_LIMIT else 0
        wish = Wish("mpmc", capacity, slots, 0o600, place is not None, stored)
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
            return beginning(memory)
        except FileExistsError:
            continue
        finally:
            memory.close()


def is_queue(memory: segment.Segment) -> bool:
    """Is what is mapped the file of a queue?"""
    return _core.check(memory) in ("ready", "retired") and registry.codec_of(memory).startswith(QUEUE)


def reclaim(place: Place, *, only_look: bool = False) -> str | None:
    """Remove a queue that is nobody's; as :func:`shmring.registry.reclaim` does for a ring."""
    try:
        with registry.mapped(place) as whole, beginning(whole) as memory:
            control = Control(memory, len(memory) - SIZE)
            kept: str | None = None

            def is_needed() -> bool:
                nonlocal kept
                kept = why_needed(memory, control)
                return only_look or kept is not None

            with control.lock(patience=1.0) as held:
                if not held:
                    return "another process has held this queue's lock for 1 s; is it stopped?"
                registry.unlink_mapped(whole, place, is_needed)
            return kept
    except FileNotFoundError:
        return None
    except NotReady as error:  # somebody stands still inside the lifecycle lock
        return str(error)
    except Corrupt:
        return f"what is there is a damaged queue; remove {place.path} if it is yours"


def checked(memory: segment.Segment, place: Place, maxsize: int, wanted: str) -> segment.Segment:
    """The beginning of a queue that was found: its first link and control. Its file has further links behind.

    Closes the other.
    """
    with memory:
        stored = registry.codec_of(memory)
        if not stored.startswith(QUEUE):
            raise LayoutMismatch(
                f"{place.title} is no queue (its messages are {stored!r}); use Ring.attach, or another name"
            )
        if stored != wanted:
            there = _FACES.get(stored, f"queue of another version ({stored!r})")
            raise LayoutMismatch(
                f"{place.title} is a {there}, and not a {_FACES[wanted]}, which counts tasks otherwise; use "
                f"{there.split()[0]}(name=...) everywhere, or another name"
            )
        return _checked(beginning(memory), maxsize)


def beginning(memory: segment.Segment) -> segment.Segment:
    """The part of a queue's file that everybody maps for as long as they have it: link 0 and control."""
    length = _core.segment_size("mpmc", *shape(memory)) + SIZE
    there = growing.size(memory)
    if there < length:
        raise Corrupt(f"this queue's file has {there} bytes, and its beginning takes {length}; remove the queue")
    return growing.map_range(memory, 0, length)


def _checked(found: segment.Segment, maxsize: int) -> segment.Segment:
    try:
        bound = Control(found, len(found) - SIZE).maxsize
        if maxsize and maxsize != bound:
            raise LayoutMismatch(
                f"the queue that is there has maxsize {bound}, not {maxsize}; leave it out, or unlink it first"
            )
    except BaseException:
        found.close()
        raise
    return found
