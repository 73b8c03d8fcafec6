"""What a ring looks like from outside: inspect and list, without attaching."""

from __future__ import annotations

import dataclasses
import os
import time
from typing import Any

from shmring import _core, segment
from shmring.errors import Corrupt, LayoutMismatch, NotReady, NotThere
from shmring.names import places, registry
from shmring.names.places import Place
from shmring.segment.descriptors import shortage_explained
from shmring.segment.names import printable

_SHUTDOWN = {0: "ready", 1: "shutdown", 2: "shutdown-immediate"}


@dataclasses.dataclass(frozen=True)
class AttachmentInfo:
    """One process's attachment to a ring; in :attr:`RingInfo.attachments`.

    ``role`` is "producer", "consumer", "both" or "none". ``alive`` is None if that cannot be told. ``attached`` and
    ``last_active`` are seconds since the epoch. ``slot`` is its place among 256, ``epoch`` counts that place's uses.

    >>> with shmring.Ring.create("docs-attachment") as ring:
    ...     [mine] = shmring.inspect("docs-attachment").attachments
    >>> mine.role, mine.alive, mine.messages_put
    ('none', True, 0)
    """

    slot: int
    epoch: int
    pid: int
    role: str
    alive: bool | None
    attached: float
    last_active: float
    messages_put: int
    messages_got: int


@dataclasses.dataclass(frozen=True)
class RingInfo:
    """What a ring, topic, queue or latest value looks like at one moment; from :func:`inspect` and :func:`list`.

    ``messages`` counts what is committed and not yet received; ``used`` reaches from the oldest message that is not
    acknowledged to the newest. Sizes and positions are in bytes, ``age`` is in seconds, ``created`` in seconds since
    the epoch. ``state`` is ready, shutdown, shutdown-immediate or retired; or, with every figure zero, incomplete,
    corrupt, other-layout or not-a-ring.

    >>> with shmring.Ring.create("docs-inspect") as ring:
    ...     ring.put(b"hello")
    ...     info = shmring.inspect("docs-inspect")
    ...     ring.get()
    b'hello'
    >>> info.kind, info.messages, info.state, [each.role for each in info.attachments]
    ('mpmc', 1, 'ready', ['producer'])
    """

    name: str
    kind: str
    capacity: int
    slots: int | None
    size: int
    used: int
    messages: int
    write_position: int
    read_position: int
    reclaim_position: int
    messages_put: int
    messages_got: int
    bytes_put: int
    bytes_got: int
    redelivered: int
    aborted: int
    state: str
    persist: bool
    mode: int
    owner_uid: int
    creator_pid: int
    created: float
    age: float
    layout_version: int
    codec: str
    path: str
    attachments: tuple[AttachmentInfo, ...]

    def asdict(self) -> dict[str, Any]:
        """Return the same as plain dicts, lists and numbers, for JSON."""
        plain = dataclasses.asdict(self)
        plain["attachments"] = [*plain["attachments"]]
        return plain


def _attachment(entry: dict[str, Any]) -> AttachmentInfo:
    return AttachmentInfo(
        slot=entry["slot"],
        epoch=entry["epoch"],
        pid=entry["pid"],
        role=entry["role"],
        alive=entry["alive"],
        attached=entry["attached_ns"] / 1e9,
        last_active=entry["active_ns"] / 1e9,
        messages_put=entry["messages_put"],
        messages_got=entry["messages_got"],
    )


def _unreadable(place: Place, state: str, status: places.Status) -> RingInfo:
    empty: dict[str, Any] = {field.name: 0 for field in dataclasses.fields(RingInfo)}
    empty |= {"name": place.name or "", "kind": "", "codec": "", "slots": None, "attachments": (), "persist": False}
    empty |= {"state": state.replace("_", "-"), "path": str(place.path), "size": status.size}
    empty |= {"mode": status.mode, "owner_uid": status.owner_uid, "created": status.changed}
    return RingInfo(**empty | {"age": max(0.0, time.time() - status.changed)})


@shortage_explained()
def info_of(place: Place) -> RingInfo:
    """Look at the ring at a place without attaching to it. NotThere, PermissionError."""
    try:
        found = _found(place)
    except NotThere as error:
        raise registry.missing(place, error, None) from None
    return found if isinstance(found, RingInfo) else _look(found, place)


def _found(place: Place) -> segment.Segment | RingInfo:
    """What stands there, mapped, or what there is to say of what cannot be. NotThere, PermissionError."""
    try:
        return registry.open_segment(place)
    except NotReady:
        return _unreadable(place, "incomplete", places.status_of(place))
    except Corrupt:
        return _unreadable(place, "corrupt", places.status_of(place))


def _look(memory: segment.Segment, place: Place) -> RingInfo:
    with memory:
        status = places.status(memory)
        state = _core.check(memory)
        if state not in ("ready", "retired"):
            return _unreadable(place, state, status)
        try:
            shot = _core.snapshot(memory, memory._locks_fd, memory.fd)
        except (Corrupt, LayoutMismatch):
            return _unreadable(place, "corrupt", status)
    totals = shot["totals"]
    created = shot["created_ns"] / 1e9
    return RingInfo(
        **{key: shot[key] for key in ("kind", "capacity", "size", "creator_pid", "layout_version")},
        **{key: shot[key] for key in ("write_position", "read_position", "reclaim_position")},
        **{key: totals[key] for key in ("messages", "used", "messages_put", "messages_got", "bytes_put", "bytes_got")},
        **{key: totals[key] for key in ("redelivered", "aborted")},
        name=place.name or printable(shot["name"]),
        codec=printable(shot["codec"]),
        slots=shot["slots"] or None,
        state="retired" if state == "retired" else _SHUTDOWN.get(shot["shutdown"], "corrupt"),
        persist=bool(shot["flags"] & registry.FLAG_PERSIST),
        mode=status.mode,
        owner_uid=status.owner_uid,
        created=created,
        age=max(0.0, time.time() - created),
        path=str(place.path),
        attachments=tuple(_attachment(entry) for entry in shot["attachments"]),
    )


def inspect(name: str | None = None, *, path: str | os.PathLike[str] | None = None) -> RingInfo:
    """Return what a ring looks like now, by name or by path, without attaching to it.

    Waits:
        Never.
    Raises:
        FileNotFoundError: There is none.
        PermissionError: It is another user's.
        LayoutMismatch: What stands at that name is a folder or a link, say. (What is no ring has a ``state`` that says
        so.)
        ValueError: The name does not fit.
    """
    return info_of(registry.place_of(name, path))


@shortage_explained()
def list_rings() -> list[RingInfo]:
    """Return every named ring that this user may look at, sorted by name; those of others are left out.

    Waits:
        Never.
    Raises:
        OSError: This process has no descriptor left to look with.
    """
    rings = []
    for place in registry.named_places():
        try:
            found = _found(place)
        except (NotThere, PermissionError, ValueError):  # gone meanwhile, somebody else's, no file: and nothing else
            continue
        rings.append(found if isinstance(found, RingInfo) else _look(found, place))
    return rings
