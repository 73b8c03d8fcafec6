"""Names: how unrelated processes find one ring, and how it comes and goes.

A ring's entry in the registry is its segment: on Linux the file ``/dev/shm/shmring.NAME``, whose header carries the
whole name. There is nothing beside it that could go stale.

Birth: the segment is made without a name, reserved, formatted and attached, and then linked to its name in one step.
So a name always leads to a whole ring with a living creator, and a crash at any point of create leaves nothing.
Death: the last to leave an empty ring unlinks it, under the ring's lifecycle lock; so does whoever finds a leftover.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import os
import pathlib
import pwd
import secrets
import time
from collections.abc import Iterator
from typing import TypeVar

from shmring import _core, diagnosis, segment, semaphores
from shmring.errors import Corrupt, LayoutMismatch, NotReady
from shmring.segment.names import check_name

_SHARED_MEMORY = pathlib.Path("/dev/shm")
_PREFIX = "shmring."
_LIFECYCLE_BYTE = 0
FLAG_PERSIST, FLAG_NAMED, FLAG_OVERWRITE = 1, 2, 4

assert diagnosis  # imported for its effect: it gives the core its words
T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a ring lives: under a name, or at a path of the file system."""

    path: pathlib.Path
    name: str | None
    noun: str = "ring"  # in messages to people

    @property
    def title(self) -> str:
        return f"{self.noun} {self.name!r}" if self.name is not None else f"{self.noun} at {str(self.path)!r}"


def place_of(name: str | None, path: str | os.PathLike[str] | None, noun: str = "ring") -> Place:
    """The place that a name or a path means; ValueError for both, neither or a bad name."""
    if (name is None) == (path is None):
        raise ValueError(f"name is {name!r} and path is {path!r}; give exactly one of them")
    if name is not None:
        return Place(_SHARED_MEMORY / (_PREFIX + check_name(name)), name, noun)
    assert path is not None
    return Place(pathlib.Path(os.path.abspath(path)), None, noun)


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

    @property
    def size(self) -> int:
        return _core.segment_size(self.kind, self.capacity, self.slots)


def new_segment(
    wish: Wish, place: Place | None, *, reserve: bool = True
) -> tuple[segment.Segment, int, semaphores.Hold | None]:
    """A formatted segment without a name yet, its identity, and a hold on its semaphores if it has any.

    NoSpace when it cannot be reserved. ``reserve=False`` leaves memory without a place to be taken as it is used.
    """
    identity = secrets.randbits(63) | 1
    name = place.name if place and place.name else ""
    if place is None:
        memory = segment.anonymous(wish.size, transferable=True, reserve=reserve)
    else:
        memory = segment.unnamed(place.path.parent, wish.size, mode=wish.mode, title=place.title)
    try:
        flags = (FLAG_PERSIST if wish.persist else 0) | (FLAG_NAMED if place else 0)
        flags |= FLAG_OVERWRITE if wish.overwrite else 0
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
            # A directory descriptor, ignored beside an absolute path, makes this linkat with AT_SYMLINK_FOLLOW.
            os.link(f"/proc/self/fd/{memory.fd}", place.path, src_dir_fd=memory.fd, follow_symlinks=True)
            return
        except FileExistsError:
            reason = reclaim(place)
            if reason is not None:
                raise FileExistsError(
                    errno.EEXIST, f"{place.title} exists: {reason}; attach it, use open, or unlink it first"
                ) from None


@contextlib.contextmanager
def mapped(place: Place) -> Iterator[segment.Segment]:
    """What stands at a place, for the length of a with block. Raises as open_segment."""
    memory = open_segment(place)
    try:
        yield memory
    finally:
        memory.close()


def open_segment(place: Place) -> segment.Segment:
    """Map what stands at a place. FileNotFoundError; NotReady for an empty file; symbolic links are not followed."""
    if place.name is not None:
        return segment.attach_named(f"/{_PREFIX}{place.name}", name=place.name)
    return segment.file(place.path)


@contextlib.contextmanager
def _lifecycle(memory: segment.Segment) -> Iterator[int]:
    """Hold the lifecycle lock of a ring; yields the token that holds it."""
    token = _core.token_open(memory.fd)
    try:
        give_up = time.monotonic() + 10
        while not _core.token_lock(token, _LIFECYCLE_BYTE):
            if time.monotonic() > give_up:
                raise NotReady("another process has held this ring's lifecycle lock for 10 s; is it stopped?")
            time.sleep(0.0005)
        yield token
    finally:
        _core.token_close(token)


def still_there(memory: segment.Segment, place: Place) -> bool:
    """Does the name still lead to this very segment?"""
    try:
        there = os.stat(place.path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    mine = os.fstat(memory.fd)
    return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)


def remove_name(memory: segment.Segment, place: Place) -> None:
    """Unlink the name if it still leads to this segment. Under the lifecycle lock, so that no other remover races."""
    if still_there(memory, place):
        place.path.unlink(missing_ok=True)


def is_held(memory: segment.Segment) -> bool:
    """Does any process hold any lock on this segment? True for every live ring, of whatever layout."""
    with open(f"/proc/self/fd/{memory.fd}", "r+b", buffering=0) as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # conflicts with the locks that tell of life
        except (BlockingIOError, PermissionError):
            return True
        fcntl.lockf(file, fcntl.LOCK_UN)
        return False


def remove_by_force(place: Place) -> str | None:
    """Remove whatever is nobody's: persistent, with messages in it, damaged. None when gone, else who is in the way."""
    try:
        with mapped(place) as memory:
            if is_held(memory):
                return "it is in use"
            if _core.check(memory) in ("ready", "retired"):
                unlink_mapped(memory, place)
            else:
                remove_name(memory, place)
            return None
    except FileNotFoundError:
        return None
    except NotReady:
        place.path.unlink(missing_ok=True)
        return None


def unlink_mapped(memory: segment.Segment, place: Place) -> None:
    """Retire a ring and remove its name and semaphores, whatever is in it."""
    with _lifecycle(memory):
        kind, _, identity, *_ = _core.describe(memory)
        _core.retire(memory)
        remove_name(memory, place)
        semaphores.remove(kind, identity)


def reclaim(place: Place, *, only_look: bool = False) -> str | None:
    """Remove a ring that is nobody's: no living attachment, nothing undelivered, not persistent.

    None when the place is free now (with ``only_look``: could be), else why it is not.
    """
    try:
        with mapped(place) as memory:
            state = _core.check(memory)
            if state not in ("ready", "retired"):
                return f"what is there is no usable ring ({state}); remove {place.path} if it is yours"
            with _lifecycle(memory) as token:
                if not still_there(memory, place):
                    return None
                kind, _, identity, flags, _ = _core.describe(memory)
                living, undelivered = _core.count_living(memory, token)
                if living:
                    return f"{living} attachment(s) are alive"
                if undelivered:
                    return f"it holds {undelivered} undelivered message(s)"
                if flags & FLAG_PERSIST:
                    return "it is persistent"
                if only_look:
                    return None
                _core.retire(memory)
                remove_name(memory, place)
                semaphores.remove(kind, identity)
                return None
    except FileNotFoundError:
        return None
    except NotReady:
        return f"what is there is no usable ring (incomplete); remove {place.path} if it is yours"
    except Corrupt:
        return f"what is there is a damaged ring; remove {place.path} if it is yours"


def user_id(owner: int | str | None) -> int | None:
    """The number of a user given by number or name; ValueError or TypeError when there is none."""
    if owner is None or (isinstance(owner, int) and not isinstance(owner, bool) and owner >= 0):
        return owner
    if not isinstance(owner, str):
        raise TypeError(f"owner is {owner!r}; it is a user's name or number, or None for yourself and root")
    try:
        return pwd.getpwnam(owner).pw_uid
    except KeyError:
        raise ValueError(f"owner is {owner!r}; this machine knows no such user") from None


def _user_name(uid: int) -> str:
    try:
        return f"{pwd.getpwuid(uid).pw_name!r}"
    except KeyError:
        return str(uid)


def check_owner(memory: segment.Segment, place: Place, owner: int | None) -> None:
    """PermissionError for a ring that a stranger may have planted under this name, for us to put messages into."""
    found = os.fstat(memory.fd).st_uid
    if found == owner or (owner is None and is_mine(memory)):
        return
    wanted = "you or root" if owner is None else f"user {_user_name(owner)}"
    raise PermissionError(
        errno.EACCES,
        f"{place.title} belongs to user {_user_name(found)}, not to {wanted}: somebody may have planted it. If you "
        f"trust that user, pass owner={_user_name(found)}",
    )


def is_mine(memory: segment.Segment) -> bool:
    """Does it belong to this user, or to root, who needs no ring to do us harm?"""
    return os.fstat(memory.fd).st_uid in (0, os.geteuid())


def wait_for_segment(place: Place, timeout: float | None, owner: int | None = None) -> segment.Segment:
    """Map a ring, waiting up to ``timeout`` seconds (None: for ever) for it to appear and be ready.

    PermissionError when it belongs to another user than ``owner`` (None: this one, or root).
    """
    give_up = None if timeout is None else time.monotonic() + timeout
    pause = 0.0005
    while True:
        problem: Exception
        try:
            memory = open_segment(place)
        except (FileNotFoundError, NotReady) as error:
            problem = error
        else:
            try:
                check_owner(memory, place, owner)
                state = _core.check(memory)
            except BaseException:
                memory.close()
                raise
            if state == "ready":
                return memory
            memory.close()
            if state not in ("incomplete", "retired"):
                raise _unusable(place, state)
            problem = FileNotFoundError() if state == "retired" else NotReady()
        if give_up is not None and time.monotonic() >= give_up:
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
            f"{place.title} ({place.path}) is half made and did not become ready{waited}; whoever creates it has not "
            "finished, or it is no ring: wait longer, or remove it"
        )
    if isinstance(problem, FileNotFoundError):
        what = f"no {place.title} appeared{waited}" if waited else f"there is no {place.title}"
        return FileNotFoundError(errno.ENOENT, f"{what}; create it, wait with timeout=, or see shmring.list()")
    return problem


def named_places() -> list[Place]:
    """Where there are named rings, or what looks like them, sorted by name."""
    places = []
    for entry in sorted(os.listdir(_SHARED_MEMORY)):
        with contextlib.suppress(ValueError):
            if entry.startswith(_PREFIX):
                places.append(place_of(entry.removeprefix(_PREFIX), None))
    return places


def unlink(name: str | None = None, *, path: str | os.PathLike[str] | None = None) -> None:
    """Remove a ring's name, whatever is in it. Those who are attached go on with it; nobody else can attach.

    Never blocks for long. FileNotFoundError when there is none; PermissionError when it is somebody else's.
    """
    unlink_at(place_of(name, path))


def codec_of(memory: segment.Segment) -> str:
    """The name of the codec that a ring's creator stored."""
    return _core.describe(memory)[4].decode("ascii", "backslashreplace") or "bytes"


def unlink_at(place: Place, identity: int | None = None) -> None:
    """The same for a place; with an identity only that very ring, and FileNotFoundError for another one."""
    try:
        memory = open_segment(place)
    except NotReady:
        if identity is None:
            place.path.unlink()
            return
        raise missing(place, FileNotFoundError(), None) from None
    except FileNotFoundError:
        raise missing(place, FileNotFoundError(), None) from None
    with memory:
        usable = _core.check(memory) in ("ready", "retired")
        if identity is not None and not (usable and _core.describe(memory)[2] == identity):
            raise FileNotFoundError(
                errno.ENOENT, f"{place.title} is gone already; what has its name now is another one"
            )
        if not usable:
            if place.name is None:
                raise LayoutMismatch(f"{place.path} is not a ring, so it is not removed; use os.unlink if you mean it")
            place.path.unlink()
            return
        unlink_mapped(memory, place)


def get_include() -> str:
    """The folder of the C core, headers and sources, for programs that attach to rings from C.

    Compile with ``-I`` and this folder, together with the sources in it; examples/consumer.c shows how.
    """
    return str(pathlib.Path(__file__).with_name("core"))
