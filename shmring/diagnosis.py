"""From a core result to an exception that says what is, what may be, and what to do next.

The core answers with one word; everything a person reads is written here. Called by ``_core`` only.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from typing import TYPE_CHECKING, Any

from shmring import _core, errors
from shmring.segment import descriptors

if sys.platform != "win32":
    from shmring.segment.posix import limits

if TYPE_CHECKING:
    from collections.abc import Callable

PRODUCING, CONSUMING = 0, 1
_START_ANEW = "Stop its users, remove it (shmring rm) and create it again"
_COUNTERPART = {"put": "consumer", "get": "producer"}


def title(ring: _core.Attachment | None) -> str:
    """What an attachment is called in messages to people: by its name, or by its path, as its repr is."""
    if ring is None:
        return "the ring"
    noun = getattr(ring, "_noun", "ring")
    if ring.name is not None:
        return f"{noun} {ring.name!r}"
    place = getattr(ring, "_place", None)
    return f"the anonymous {noun}" if place is None else str(place.title)


def _age(nanoseconds: int) -> str:
    return f"{max(0.0, time.time() - nanoseconds / 1e9):.1f} s"


def _counterparts(ring: _core.Attachment, verb: str) -> str:
    """Who is being waited for: pid, role, and how long ago each last waited or arrived."""
    wanted = _COUNTERPART[verb]
    behind = f"{ring._totals()['messages']} messages behind, " if verb == "put" else ""
    peers = [
        f"pid {entry['pid']} ({entry['role']}, {behind}last seen {_age(entry['active_ns'])} ago)"
        for entry in ring._snapshot()["attachments"]
        if entry["alive"] is not False and entry["role"] in (wanted, "both")
    ]
    return f"{wanted}s attached: {', '.join(peers)}" if peers else f"no {wanted} is attached"


def _held_up(topic: Any, totals: dict[str, int]) -> str:
    """Who keeps a publisher of this topic waiting, and what to do."""
    following = topic._range()[1]
    behind = [(following - sequence, pid, lost) for _, pid, alive, sequence, lost, _ in topic._subscribers() if alive]
    if behind and not topic._flags & 4:
        lag, pid, _ = max(behind)
        return (
            f"its slowest subscriber, pid {pid}, has yet to get {lag} message(s); wait longer, make the topic larger "
            "or create it with overflow='overwrite'"
        )
    return f"{totals['claimed']} message(s) are still being written in the way; wait longer"


def _timed_out(ring: Any, verb: str, length: int, waited: bool) -> BaseException:
    kind = errors.Full if verb == "put" else errors.Empty
    if ring.kind == "latest" and verb == "get":
        return kind(f"{title(ring)} has no {'newer ' if ring.version else ''}value yet; wait with timeout=, or set one")
    if not waited:
        if ring.kind == "topic" and verb == "put":
            return kind(f"{title(ring)} has no room for {length} bytes now: {_held_up(ring, ring._totals())}")
        if verb == "put":
            return kind(f"{title(ring)} has no room for {length} bytes now; wait with timeout=, or add consumers")
        return kind(f"{title(ring)} has no message now; wait with timeout=")
    totals = ring._totals()
    if ring.kind == "topic" and verb == "put":
        return kind(f"{title(ring)} had no room for {length} bytes in time: {_held_up(ring, totals)}")
    who = _counterparts(ring, verb)
    if verb == "put":
        in_flight = totals["messages"] + totals["claimed"] + totals["taken"]
        if ring.slots and in_flight >= ring.slots:
            return kind(
                f"{title(ring)} had no free slot in time: {in_flight} of {ring.slots} hold {totals['messages']} "
                f"waiting and {totals['taken']} taken; {who}; wait longer, add consumers or create it with more slots"
            )
        return kind(
            f"{title(ring)} had no room for {length} bytes in time: {totals['used']} of {ring.capacity} bytes are "
            f"used, messages waiting: {totals['messages']}, taken: {totals['taken']}; {who}; "
            "wait longer, add consumers or make the ring larger"
        )
    return kind(
        f"no message came to {title(ring)} in time: {totals['claimed']} being written, {totals['taken']} taken by "
        f"others; {who}; wait longer" + (f", or look at `shmring inspect {ring.name}`" if ring.name else "")
    )


def _peer_died(ring: Any, verb: str, length: int, waited: bool) -> BaseException:
    wanted = _COUNTERPART[verb]
    peers = [
        entry
        for entry in ring._snapshot()["attachments"]
        if entry["role"] in (wanted, "both") and entry["slot"] != ring._slot
    ]
    dead = tuple(
        errors.DeadPeer(
            pid=entry["pid"], role=entry["role"], when=entry["died_ns"] / 1e9, last_active=entry["active_ns"] / 1e9
        )
        for entry in peers
        if entry["alive"] is False
    )
    if len(dead) < len(peers):
        return errors.PeerDied(f"every {wanted} of {title(ring)} had died; another has come since: call again", dead)
    # Whoever comes takes a dead one's place, and then nothing is known of that one any more.
    names = (
        ", ".join(
            f"pid {peer.pid} ({peer.role}, last seen {_age(int(peer.last_active * 1e9))} ago, found dead "
            f"{_age(int(peer.when * 1e9))} ago)"
            for peer in dead
        )
        or "their places have been taken since"
    )
    return errors.PeerDied(
        f"every {wanted} of {title(ring)} has died: {names}; start another, or pass on_dead_peer='wait'", peers=dead
    )


def _busy(ring: Any, verb: str, length: int, waited: bool) -> BaseException:
    role = "producer" if verb == "put" else "consumer"
    if length < _core.ATTACHMENTS and length != ring._slot:
        for entry in ring._snapshot()["attachments"]:
            if entry["slot"] == length:
                who = "writer" if ring.kind == "latest" else role
                way_out = "" if ring.kind == "latest" else ", or create the ring with kind='mpmc'"
                return errors.Busy(
                    f"{title(ring)} has its one {who} already: pid {entry['pid']}, attached "
                    f"{_age(entry['attached_ns'])} ago; close that one{way_out}"
                )
    advice = {
        "spsc": "or let one thread do it",
        "topic": "or give each thread a Topic or a subscription of its own",
        "latest": "or let one thread set",
    }
    return errors.Busy(
        f"this {role} of {title(ring)} is in use: by an open claim or borrow, or by another thread; leave its with "
        f"block first, {advice.get(ring.kind, 'or give each thread a Ring of its own (Ring.attach)')}"
    )


def _too_long(ring: Any, verb: str, length: int, waited: bool) -> BaseException:
    if ring.kind == "latest":
        return errors.MessageTooLong(
            f"the value has {length} bytes and {title(ring)} takes at most {ring.max_message}; create it with "
            f"size={length} or more"
        )
    return errors.MessageTooLong(
        f"the message has {length} bytes and {title(ring)} takes at most {ring.max_message}, half of its capacity of "
        f"{ring.capacity}; create it with capacity={2 * length} or more, or split the message"
    )


def _shut_down(ring: Any, verb: str, length: int, waited: bool) -> BaseException:
    if verb == "put":
        return errors.ShutDown(
            f"{title(ring)} was shut down and takes no more messages; once it is drained or unlinked, create a new one"
        )
    if ring.kind == "latest":
        return errors.ShutDown(f"{title(ring)} was shut down; no newer value will come")
    return errors.ShutDown(f"{title(ring)} was shut down, and no message is left in it")


def _closed(ring: Any, verb: str, length: int, waited: bool) -> BaseException:
    return errors.Closed(f"{title(ring)} is closed in this process; attach it again")


def _stale(ring: Any, verb: str, length: int, waited: bool) -> BaseException:
    return errors.Closed(
        f"this record of {title(ring)} is not this process's to settle: it was claimed or taken before a fork, or its "
        "owner was found dead and it was repaired; claim or borrow again here"
    )


def _overwritten(ring: Any, verb: str, length: int, waited: bool) -> BaseException:
    return errors.Overwritten(
        f"the message of {length} bytes was overwritten while it was borrowed from {title(ring)}: throw away what was "
        "made of it; get() copies and checks, and a larger capacity gives more time"
    )


def _outrun(ring: Any, verb: str, length: int, waited: bool) -> BaseException:
    what, copied = ("value", "three more were set") if ring.kind == "latest" else ("message", "it was overwritten")
    return errors.Empty(
        f"no {what} of {title(ring)} could be copied before {copied}, however often it was tried: who writes it is "
        "faster than who reads it; wait longer with timeout=, write less often or make it smaller"
    )


def _corrupt(ring: Any, verb: str, length: int, waited: bool) -> BaseException:
    return errors.Corrupt(
        f"{title(ring)} holds bytes that no shmring program writes: somebody else wrote to its memory. {_START_ANEW}"
    )


def _pages_lost(ring: Any, verb: str, length: int, waited: bool) -> BaseException:
    return pages_lost(ring, "its file was truncated, or its file system is full")


def pages_lost(ring: Any, why: str) -> errors.Corrupt:
    """Where an access ended in SIGBUS. Nobody need have written anything."""
    return errors.Corrupt(f"pages of {title(ring)} are missing: {why}. {_START_ANEW}")


def _no_slot(ring: Any, verb: str, length: int, waited: bool) -> BaseException:
    return errors.Busy(
        f"{title(ring)} has {_core.ATTACHMENTS} attachments, which is the most; close some, or share one per process"
    )


def _other_layout(ring: Any, verb: str, length: int, waited: bool) -> BaseException:
    return errors.LayoutMismatch(
        f"this ring was made by another version of shmring; this one reads layout {_core.LAYOUT_VERSION}. Use the "
        "same version everywhere, or remove the ring and create it again"
    )


def _not_a_ring(ring: Any, verb: str, length: int, waited: bool) -> BaseException:
    return errors.LayoutMismatch("this is shared memory, but not a ring: it does not begin with shmring's mark")


def _not_ready(ring: Any, verb: str, length: int, waited: bool) -> BaseException:
    return errors.NotReady("this ring is half made: its creator has not finished; wait, or remove it")


def held_up_at_the_door(what: str) -> str:
    """Of a lifecycle lock that somebody does not let go."""
    return (
        f"another process has held the lifecycle lock of {what} for 10 s, which takes microseconds: it is probably "
        "stopped; let it go on, or end it"
    )


def _held_up_at_the_door(ring: Any, verb: str, length: int, waited: bool) -> BaseException:
    return errors.NotReady(held_up_at_the_door(title(ring)))


def _retired(ring: Any, verb: str, length: int, waited: bool) -> BaseException:
    return errors.NotThere(errno.ENOENT, f"{title(ring)} was removed while it was being attached")


def _refused(ring: Any, verb: str, number: int, waited: bool) -> BaseException:
    """The system refused what the core asked of it; ``number`` is its errno."""
    reason = os.strerror(number)
    if number == errno.EBADF:
        return OSError(number, f"{reason}: {descriptors.CLOSED_UNDER_US.format(of=title(ring))}")
    if number == errno.EACCES:
        why = (
            f"this process may not open the memory of {title(ring)} again, or not lock bytes of it: it has become "
            "another user since, or a security module forbids it; attach before that, or have it allowed"
        )
    elif number == errno.ENOMEM and sys.platform != "win32":
        why = f"the kernel maps no more memory for {title(ring)}: {limits.why_no_more()}"
    else:
        why = (
            f"the system refused a lock, memory or a descriptor that {title(ring)} needs; see `shmring doctor` for "
            "what is missing here"
        )
    return descriptors.explained(OSError(number, reason)) or OSError(number, f"{reason}: {why}")


_BUILDERS: dict[str, Callable[[Any, str, int, bool], BaseException]] = {
    "timed_out": _timed_out,
    "full": _timed_out,
    "empty": _timed_out,
    "peer_died": _peer_died,
    "busy": _busy,
    "too_long": _too_long,
    "shut_down": _shut_down,
    "closed": _closed,
    "stale": _stale,
    "overwritten": _overwritten,
    "outrun": _outrun,
    "corrupt": _corrupt,
    "pages_lost": _pages_lost,
    "no_slot": _no_slot,
    "other_layout": _other_layout,
    "not_a_ring": _not_a_ring,
    "not_ready": _not_ready,
    "retired": _retired,
    "held_up": _held_up_at_the_door,
    "system_error": _refused,
}


def diagnose(ring: _core.Attachment | None, result: str, verb: str, length: int, waited: bool) -> BaseException:
    """The exception for a core result. Never raises; an unknown result is an error of ours and says so."""
    in_own_words = getattr(ring, "_in_own_words", None)
    if in_own_words is not None and (told := in_own_words(result, verb, length)) is not None:
        return told  # type: ignore[no-any-return]
    build = _BUILDERS.get(result)
    if build is None:
        return errors.ShmringError(f"{title(ring)}: the core answered {result!r}; please report this")
    return build(ring, verb, length, waited)


_core.set_diagnosis(diagnose, errors.DecodeError)
