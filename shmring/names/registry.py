"""Names: how unrelated processes find one ring, and how it comes and goes.

Where rings stand, and what a name is there, is the platform's (places).

Birth: the segment is made without a name, reserved, formatted and attached, and then gets its name in one step.
So a name always leads to a whole ring with a living creator, and a crash at any point of create leaves nothing.
Death: the last to leave an empty ring unlinks it, under the ring's lifecycle lock; so does whoever finds a leftover.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import errno
import os
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from shmring import _core, diagnosis, segment
from shmring.errors import Corrupt, LayoutMismatch, NotReady, NotThere
from shmring.names import places, semaphores
from shmring.names.places import Place, trust
from shmring.segment import growing
from shmring.segment.descriptors import shortage_explained
from shmring.segment.names import check_path, printable

FLAG_PERSIST, FLAG_NAMED, FLAG_OVERWRITE, FLAG_QUEUE = 1, 2, 4, 8
FLAG_LOCKS_APART = _core.FLAG_LOCKS_APART

T = TypeVar("T")


class Reason(enum.Enum):
    """Why a ring is kept; in words once a person is told, which have what Kept says."""

    ATTACHED = "{count} attachment(s) are alive"
    CLAIMED = "a process that was forked or sent it is alive, and may yet attach"
    UNDELIVERED = "it holds {count} undelivered message(s)"
    PERSISTENT = "it is persistent"
    OF_ANOTHER_USER = "it belongs to user {detail}, who alone, or root, may remove it (`shmring clean`, `shmring rm`)"
    UNUSABLE = "what is there is no usable ring ({detail}); remove {path} if it is yours"
    DAMAGED = "what is there is a damaged ring; remove {path} if it is yours"
    HELD_UP = "{detail}"


@dataclasses.dataclass(frozen=True)
class Kept:
    """A ring that may not be removed, and why."""

    reason: Reason
    count: int = 0
    detail: str = ""
    path: str = ""

    @property
    def is_in_use(self) -> bool:
        """By a living process: then it is not removed by force either."""
        return self.reason in (Reason.ATTACHED, Reason.CLAIMED)

    def __str__(self) -> str:
        return self.reason.value.format(count=self.count, detail=self.detail, path=self.path)


def place_of(name: str | None, path: str | os.PathLike[str] | None, noun: str = "ring") -> Place:
    """The place that a name or a path means; ValueError for both, neither or a bad one."""
    if (name is None) == (path is None):
        raise ValueError(f"name is {name!r} and path is {path!r}; give exactly one of them")
    if name is not None:
        return places.place(name, noun)
    assert path is not None
    return Place(pathlib.Path(check_path(path)), None, noun)


@dataclasses.dataclass(frozen=True)
class Wish:
    """What a ring is to be: checked values for the core."""

    kind: str
    capacity: int
    slots: int
    mode: int
    persist: bool
    codec: str = "bytes"
    overwrite: bool = False
    queue: bool = False  # the first ring of one, with the control block behind it, in memory that grows

    @property
    def ring_size(self) -> int:
        return _core.segment_size(self.kind, self.capacity, self.slots)

    @property
    def size(self) -> int:
        return self.ring_size + (_core.CONTROL_BYTES if self.queue else 0)


def new_segment(wish: Wish, place: Place | None) -> tuple[segment.Segment, int, semaphores.Hold | None]:
    """A formatted segment without a name yet, its identity, and a hold on its semaphores if it has any.

    NoSpace when it cannot be reserved.
    """
    identity = int.from_bytes(os.urandom(8), "little") >> 1 | 1
    name = place.name if place and place.name else ""
    if place is None:
        memory = growing.unnamed(wish.size) if wish.queue else segment.anonymous(wish.size, transferable=True)
    else:
        memory = places.make(place, wish.size, mode=wish.mode, in_file=wish.persist or wish.queue)
    try:
        apart = place is not None and places.keep_locks_apart(memory, place, identity, wish.mode)
        places.check_locks(memory, place)
        flags = FLAG_LOCKS_APART if apart else 0
        flags |= (FLAG_PERSIST if wish.persist else 0) | (FLAG_NAMED if place else 0)
        flags |= (FLAG_OVERWRITE if wish.overwrite else 0) | (FLAG_QUEUE if wish.queue else 0)
        _core.format(
            memory,
            kind=wish.kind,
            capacity=wish.capacity,
            slots=wish.slots,
            name=name,
            codec=wish.codec,
            flags=flags,
            mode=wish.mode,
            identity=identity,
        )
        hold = None
        if wish.kind == "semaphore":
            granules = max(2, -(-wish.capacity // _core.GRANULE))
            hold = semaphores.make(identity, empty=min(wish.slots or granules, 2**31 - 1), mode=wish.mode)
    except BaseException:
        memory.close()
        raise
    return memory, identity, hold


def publish(memory: segment.Segment, place: Place) -> None:
    """Give the segment its name, atomically. FileExistsError when a ring is there that is in use or not empty."""
    while True:
        try:
            places.give_name(memory, place)
            return
        except FileExistsError:
            kept = reclaim(place)
            if kept is not None:
                raise FileExistsError(
                    errno.EEXIST, f"{place.title} exists: {kept}; attach it, use open, or unlink it first"
                ) from None


@contextlib.contextmanager
def mapped(place: Place) -> Iterator[segment.Segment]:
    """What stands at a place, for the length of a with block. Raises as open_segment."""
    memory = open_segment(place)
    try:
        yield memory
    finally:
        memory.close()


open_segment = places.open
still_there = places.still_there
remove_name = places.remove_name
is_held = places.is_held
keep = places.keep
user_id = places.user_id


def _title(place: Place | None) -> str:
    return "the anonymous ring" if place is None else place.title


class _StandsStill(NotReady):
    """Somebody has held the lifecycle lock for long: is stopped, most likely."""


@contextlib.contextmanager
def _lifecycle(memory: segment.Segment, place: Place | None) -> Iterator[int]:
    """Hold the lifecycle lock of a ring; yields the locks that hold it."""
    places.check_locks(memory, place)  # or a refusal would be taken for somebody who has it
    with shortage_explained():
        locks = _core.locks_open(memory._locks_fd)
    try:
        give_up = time.monotonic() + 10
        while not _core.locks_take(locks, _core.LIFECYCLE_BYTE):
            if time.monotonic() > give_up:
                raise _StandsStill(diagnosis.held_up_at_the_door(_title(place)))
            time.sleep(0.0005)
        yield locks
    finally:
        _core.locks_close(locks)


def remove_by_force(place: Place) -> bool:
    """Remove whatever is nobody's: persistent, with messages in it, damaged. False when somebody is in the way."""
    try:
        memory = open_segment(place)
    except NotThere:
        return True
    except (NotReady, Corrupt):  # empty, or an entry that leads to less than it says
        with contextlib.suppress(NotThere):
            places.remove_anything(place)
        return True
    with memory:
        if is_held(memory):
            return False
        try:
            if _core.check(memory) in ("ready", "retired"):
                unlink_mapped(memory, place)
            else:
                remove_name(memory, place)
        except NotThere:
            return True
        except _StandsStill:
            return False
    return True


def hold_semaphores(memory: segment.Segment, place: Place | None, identity: int) -> semaphores.Hold:
    """Say that somebody uses a ring's semaphores; they are made again if they are gone, and nobody is attached.

    A ring in a file outlives a restart of the machine, and semaphores do not. NotThere when the ring went as well;
    Corrupt when others use it with semaphores that nobody can find any more.
    """
    with contextlib.suppress(NotThere):
        return semaphores.Hold(identity)
    with _lifecycle(memory, place) as locks:
        with contextlib.suppress(NotThere):
            return semaphores.Hold(identity)
        if _core.check(memory) != "ready":
            raise NotThere(errno.ENOENT, f"{_title(place)} was removed while it was being attached")
        living, *_ = _core.count_living(memory, locks, growing.file(memory))
        if living:
            raise Corrupt(
                f"the semaphores of {_title(place)} were removed, and {living} attachment(s) still use them (or they "
                "are another container's); let those close the ring, or share their /dev/shm (docker run --ipc), then "
                "attach again"
            )
        semaphores.remove("semaphore", identity)  # what is left of them
        # Their counts are topped up from the ring itself, at the first look that finds them too small.
        return semaphores.make(identity, empty=0, mode=places.status(memory).mode)


def semaphores_went(memory: segment.Segment, place: Place | None) -> Exception:
    """The error for semaphores that were there just now: the ring went with them, or somebody removed them."""
    if place is None or _core.check(memory) != "ready":
        return NotThere(errno.ENOENT, f"{_title(place)} was removed while it was being attached")
    return Corrupt(f"the semaphores of {_title(place)} were removed by somebody else; close it everywhere, and attach")


def unlink_mapped(memory: segment.Segment, place: Place, is_needed: Callable[[], bool] = lambda: False) -> None:
    """Retire a ring and remove its name and semaphores, whatever is in it.

    ``is_needed`` may object. It is asked while nobody can attach: who attached before is seen, who comes after finds
    the ring retired.
    """
    with _lifecycle(memory, place):
        if is_needed():
            return
        if whose := _whose_to_remove(memory, place):
            raise PermissionError(errno.EPERM, f"{place.title} stays: {whose}")
        kind, _, identity, *_ = _core.describe(memory)
        _core.retire(memory)
        remove_name(memory, place)
        semaphores.remove(kind, identity)


def reclaim(place: Place, *, only_look: bool = False) -> Kept | None:
    """Remove a ring that is nobody's: no living attachment, nothing undelivered, not persistent.

    None when the place is free now (with ``only_look``: could be), else why it is not.
    """
    try:
        with mapped(place) as memory:
            state = _core.check(memory)
            if state not in ("ready", "retired"):
                return Kept(Reason.UNUSABLE, detail=state, path=str(place.path))
            with _lifecycle(memory, place) as locks:
                if not still_there(memory, place):
                    return None
                kept = _why_kept(memory, locks) or _whose_to_remove(memory, place)
                if kept is None and not only_look:
                    kind, _, identity, *_ = _core.describe(memory)
                    _core.retire(memory)
                    remove_name(memory, place)
                    semaphores.remove(kind, identity)
                return kept
    except NotThere:
        return None
    except _StandsStill as error:
        return Kept(Reason.HELD_UP, detail=str(error))
    except NotReady:
        return Kept(Reason.UNUSABLE, detail="incomplete", path=str(place.path))
    except Corrupt:
        return Kept(Reason.DAMAGED, path=str(place.path))


def _whose_to_remove(memory: segment.Segment, place: Place) -> Kept | None:
    """Whose right it is to remove it, when it is not this user's; None when it is. It is not retired then, or its name
    would stand in the way.
    """
    if places.may_remove(memory, place):
        return None
    return Kept(Reason.OF_ANOTHER_USER, detail=places.user_name(places.owner_of(memory)))


def settle(memory: segment.Segment, place: Place) -> None:
    """What nobody awaits any more is removed if it is nobody's; else it is kept, as by the last to leave."""
    if reclaim(place) is None or not places.ENDS_WITH_PROCESSES:
        return
    with _lifecycle(memory, place):
        keep(memory, place)


def keep_at_end(memory: segment.Segment, place: Place) -> None:
    """Keep what this process cannot leave in good order, at its end, if it is the last that has it."""
    if places.ENDS_WITH_PROCESSES:
        with _lifecycle(memory, place):
            keep(memory, place, at_end=True)


def _why_kept(memory: segment.Segment, locks: int) -> Kept | None:
    """Why a ring may not be removed; None when it may. Under its lifecycle lock."""
    if _core.check(memory) == "retired":  # whoever removed it was killed before its name was gone
        return None
    living, claimed, undelivered = _core.count_living(memory, locks, growing.file(memory))
    if living:
        return Kept(Reason.ATTACHED, living)
    if claimed:
        return Kept(Reason.CLAIMED)
    if undelivered:
        return Kept(Reason.UNDELIVERED, undelivered)
    return Kept(Reason.PERSISTENT) if _core.describe(memory)[3] & FLAG_PERSIST else None


def attach(place: Place, timeout: float | None, owner: int | None, on: Callable[[segment.Segment], T]) -> T:
    """What ``on`` makes of a ring's memory: it attaches, and owns it then. Waits as :func:`wait_for_segment`.

    Once more when the ring was removed between the opening and the attaching, which it says by NotThere.
    """
    give_up, last = _deadline(timeout), False
    while True:
        memory = wait_for_segment(place, timeout, owner, give_up)
        try:
            return on(memory)
        except NotThere:
            memory.close()
            if last:
                raise
            last = _is_past(give_up)
        except BaseException:
            memory.close()
            raise


def _deadline(timeout: float | None) -> float | None:
    return None if timeout is None else time.monotonic() + timeout


def _is_past(give_up: float | None) -> bool:
    return give_up is not None and time.monotonic() >= give_up


def wait_for_segment(
    place: Place, timeout: float | None, owner: int | None = None, give_up: float | None = None
) -> segment.Segment:
    """Map a ring, waiting up to ``timeout`` seconds (None: for ever) for it to appear and be ready.

    ``give_up``: when that is over, if it has begun before. NotThere when it did not appear; PermissionError when it
    belongs to another user than ``owner`` (None: this one, or root).
    """
    give_up = _deadline(timeout) if give_up is None else give_up
    pause = 0.0005
    while True:
        problem: Exception
        try:
            memory = open_segment(place)
        except (NotThere, NotReady) as error:
            problem = error
        else:
            try:
                trust.check_owner(memory, place, owner)
                state = _core.check(memory)
                if state == "ready":
                    places.check_locks(memory, place)
                    return memory
            except BaseException:
                memory.close()
                raise
            moved = state == "retired" and not still_there(memory, place)
            whose = _whose_to_remove(memory, place) if state == "retired" else None
            memory.close()
            if moved:
                continue  # another one may stand there already
            if state not in ("incomplete", "retired"):
                raise _unusable(place, state)
            problem = NotThere() if state == "retired" else NotReady()
            if whose:
                problem = PermissionError(errno.EPERM, f"{place.title} is over, and its name was left behind: {whose}")
        if _is_past(give_up):
            try:
                raise missing(place, problem, timeout) from None
            finally:
                del problem  # it has this frame, and that the caller's: a cycle, which would keep what the caller makes
        time.sleep(pause)
        pause = min(0.02, pause * 1.5)


def _unusable(place: Place, state: str) -> BaseException:
    known = diagnosis.diagnose(None, state, "get", 0, False)
    return type(known)(f"{place.title} ({place.path}): {known}")


def missing(place: Place, problem: Exception, timeout: float | None) -> Exception:
    """The error for a ring that did not appear in time, or not whole."""
    waited = f" within {timeout} s" if timeout else ""
    if isinstance(problem, NotReady):
        return NotReady(
            f"{place.title} ({place.path}) is half made and did not become ready{waited}; its creator has not "
            "finished, or it is no ring: wait longer, or remove it"
        )
    if isinstance(problem, NotThere):
        what = f"no {place.title} appeared{waited}" if waited else f"there is no {place.title}"
        return NotThere(errno.ENOENT, f"{what}; create it, wait with timeout=, or see shmring.list()")
    return problem


def named_places() -> list[Place]:
    """Where there are named rings, or what looks like them, sorted by name."""
    return [places.place(name) for name in places.names()]


def unlink(name: str | None = None, *, path: str | os.PathLike[str] | None = None) -> None:
    """Remove a ring's name, whatever is in it. Processes that are attached go on; none can attach any more.

    Waits:
        Never for messages; up to ten seconds for another process that joins or leaves the ring.
    Raises:
        FileNotFoundError: There is none.
        PermissionError: It is another user's to remove.
        NotReady: Another process has stood in the way for ten seconds: it is stopped, most likely.
        LayoutMismatch: What stands at that path is no ring.
        ValueError: The name does not fit.
    """
    unlink_at(place_of(name, path))


def codec_of(memory: segment.Segment) -> str:
    """The name of the codec that a ring's creator stored."""
    return printable(_core.describe(memory)[4].decode("ascii", "backslashreplace")) or "bytes"


@shortage_explained()
def unlink_at(place: Place, identity: int | None = None, is_needed: Callable[[], bool] = lambda: False) -> None:
    """Remove what is at a place; with an identity only that very ring, and FileNotFoundError for another one."""
    try:
        memory = open_segment(place)
    except (NotReady, Corrupt):
        if identity is None:
            places.remove_anything(place)
            return
        raise missing(place, NotThere(), None) from None
    except NotThere as error:
        raise missing(place, error, None) from None
    with memory:
        usable = _core.check(memory) in ("ready", "retired")
        if identity is not None and not (usable and _core.describe(memory)[2] == identity):
            raise NotThere(errno.ENOENT, f"{place.title} is gone already; what has its name now is another one")
        if not usable:
            if place.name is None:
                raise LayoutMismatch(f"{place.path} is not a ring, so it is not removed; use os.unlink if you mean it")
            places.remove_anything(place)
            return
        unlink_mapped(memory, place, is_needed)


def get_include() -> str:
    """Return the folder of the C core, for programs that attach to rings from C: headers, library and LAYOUT.md.

    Include ``shmring.h``, which says how, with ``-I`` and this folder, and link ``-lshmring`` with ``-L`` and this
    folder. examples/consumer.c is such a program.
    """
    return str(pathlib.Path(_core.__file__).with_name("core"))
