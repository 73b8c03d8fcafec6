"""The links of a queue as one process sees them: where to put and to get, linking further ones, finishing old ones.

The protocol, and what a death in the middle of it leaves, is in control.py.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from shmring import _core, codecs, segment
from shmring.attachment import Manner
from shmring.diagnosis import PRODUCING, diagnose
from shmring.errors import Closed, DecodeError, Empty, Full, MessageTooLong, NoSpace, ShutDown
from shmring.queues.control import LINKS, Control
from shmring.queues.link import Gone, Link, Root, length_of, new_memory, single_bytes
from shmring.registry import Wish
from shmring.ring import SLOTS_LIMIT
from shmring.segment import growing
from shmring.segment.descriptors import shortage_explained

_GROWN_MOST = 256 * 2**20  # further links double up to this
_KEPT_MOST = 4  # times the first capacity: a larger link is left as soon as it is drained
PATIENCE = 0.01  # seconds that a put waits for a consumer before it takes more memory
_LOOK_UP = 0.05  # seconds between two looks at what no wake tells of
AT_ONCE = -math.inf  # a deadline for an event loop, which must not stand still for a stopped process' lock either
_MOMENT = 0.001

_chains: weakref.WeakSet[Chain] = weakref.WeakSet()


class Chain:
    """One process's way into a queue. Any thread may use it; a forked child's copy is its own."""

    try_put: Callable[[Any], Any]  # an object; None, or what is to be given to put()
    get_now: Callable[..., Any]  # as Ring.get; ShutDown: use get()

    def __init__(self, root: Root, codec: codecs.Codec, outlive_peers: bool) -> None:
        self.root = root
        root.control = self.control = Control(root._segment, _core.segment_size("mpmc", root.capacity, root.slots or 0))
        self._manner = Manner("wait", "auto", None, codec)
        self._encode = codec.encode
        self._outlive_peers = outlive_peers
        self._links: dict[int, Link] = {0: root}
        self._put_at = self._get_at = -1
        self._state = threading.RLock()
        self.closed = False
        self._bind_nothing()
        _chains.add(self)

    # --- which links this process has ---

    def _bind_nothing(self) -> None:
        self.try_put, self.get_now = self._encode, _refuse_get

    def _after_fork(self) -> None:
        self._state = threading.RLock()
        self._bind_nothing()  # a link that the parent had may be gone before we have attached to it

    def _link(self, index: int) -> Link:
        """Attach to a link, if it is not finished; Gone if it is."""
        with self._state:
            if self.closed:
                raise Closed("the queue is closed in this process")
            if index < self.control.first:
                raise Gone
            if index not in self._links:
                self._links[index] = self._attach(index)
            return self._links[index]

    @shortage_explained()
    def _attach(self, index: int) -> Link:
        with self.control.attaching(self.root._slot):
            if index < self.control.first:
                raise Gone
            return self._attach_there(index)

    def _attach_there(self, index: int) -> Link:
        offset, length, single = self.control.entry(index)
        memory = growing.map_range(self.root._segment, offset, length)
        try:
            link = Link._on(memory, None, self._manner, at=offset, populate=not single)
        except BaseException as error:
            memory.close()
            if isinstance(error, Exception) and index < self.control.first:
                raise Gone from None  # buried as we came: what we saw of it were zeros
            raise
        link._belongs(self.root, index, single)
        if index < self.control.first:  # whoever buries it may not have seen us
            link.close()
            raise Gone
        return link

    def _forget(self) -> None:
        """Leave the links that neither side of this process uses any more."""
        with self._state:
            first = self.control.first
            for index in [*self._links]:
                if index and index < first and index not in (self._put_at, self._get_at):
                    self._drop(index)

    def _drop(self, index: int) -> None:
        try:
            self._links[index].close()
        except BufferError:  # a view of a message in it is alive; the next time
            return
        del self._links[index]

    # --- putting ---

    def is_counted(self) -> bool:
        """Must messages be counted over several links? One link's slots do it otherwise."""
        maxsize = self.control.maxsize
        return bool(maxsize) and (maxsize > SLOTS_LIMIT or self.control.first != self.control.last)

    def _follow_put(self) -> Link:
        with self._state:
            while True:
                last = self.control.last
                with contextlib.suppress(Gone):
                    link = self._link(last)
                    self._put_at = last
                    self.try_put = self._encode if self.is_counted() else link._try_put
                    self._forget()
                    return link

    def put(self, parts: Any, deadline: float) -> None:
        """Where try_put failed: follow, wait for room, or link a further ring."""
        length = length_of(parts)
        self._check_possible(length)
        began = time.monotonic()
        while True:
            link = self._follow_put()
            at = link.index
            wait = max(0.0, min(deadline - time.monotonic(), _LOOK_UP))
            try:
                if self.is_counted():
                    if self._put_counted(link, parts, deadline):
                        return
                    if wait:
                        time.sleep(min(wait, 0.002))
                else:
                    patience = began + PATIENCE - time.monotonic()
                    link._put_parts(parts, max(0.0, min(wait, patience)) if patience > 0 else 0.0)
                    return
            except Closed:
                if self.closed:
                    raise
                continue
            except (ShutDown, MessageTooLong, Full) as refusal:
                is_shut = isinstance(refusal, ShutDown)
                done = self._extend(at, parts, length, deadline) if is_shut or self._room_in_count() else "no room"
                if done == "put":
                    return
                if done == "linked" or self._found_memory(link, refusal, deadline):
                    continue
                if is_shut:
                    time.sleep(wait / 10)
                with contextlib.suppress(Full, ShutDown, Closed):  # no more memory: wait for what there is
                    if length <= link.max_message and not self.is_counted():
                        link._put_parts(parts, wait)
                        return
            if time.monotonic() >= deadline:
                self._raise_full(length)
            if length > link.max_message and not self._room_to_wait_for(length):
                memory = self.root._segment
                raise NoSpace(single_bytes(length), growing.free_bytes(memory), growing.where(memory))
            self.check_peers("put")

    def _put_counted(self, link: Link, parts: Any, deadline: float) -> bool:
        with self.control.lock(_patience(deadline)) as held:
            if held and self.control.last == link.index and self.in_flight() < self.control.maxsize:
                link._put_parts(parts, 0)
                return True
        return False

    def _room_in_count(self) -> bool:
        return not self.control.maxsize or self.in_flight() < self.control.maxsize

    def _raise_full(self, length: int) -> NoReturn:
        raise self.full(length)

    def full(self, length: int) -> Full:
        """The exception for a message that has no room."""
        bound = f"maxsize {self.control.maxsize}" if self.control.maxsize else "no bound"
        return Full(
            f"the queue has no room for {length} bytes: {self.in_flight()} messages ({bound}), "
            f"{self.control.reserved()} bytes in use of max_bytes={self.control.max_bytes}; wait longer, or add "
            "consumers"
        )

    # --- for those who wait in an event loop ---

    def link_for(self, side: int) -> Link:
        """Where to wait: the link to put into, or to get from."""
        return self._follow_put() if side == PRODUCING else self._follow_get()

    def place(self, side: int) -> int:
        """Which link that is, as far as this process knows."""
        return self._put_at if side == PRODUCING else self._get_at

    def look_around(self, verb: str) -> None:
        """What a blocked get does each time that it finds nothing; PeerDied."""
        self.sweep(AT_ONCE)
        if not self.messages():
            self.check_peers(verb)

    # --- getting ---

    def _follow_get(self) -> Link:
        with self._state:
            while True:
                with contextlib.suppress(Gone):
                    first = self.control.first
                    if self._get_at < first:
                        self._get_at = first
                    link = self._link(self._get_at)
                    simple = self._outlive_peers and first == self._get_at and not self._is_outgrown(link)
                    self.get_now = link.get if simple else _refuse_get
                    self._forget()
                    return link

    def _is_outgrown(self, link: Link) -> bool:
        return link.single or link.capacity > _KEPT_MOST * self.control.capacity

    def get(self, deadline: float) -> Any:
        """Where get_now failed or must not be used: follow, look at older links, wait."""
        while True:
            link = self._follow_get()
            at = link.index
            for older in range(self.control.first, at):  # what others had taken there may come back
                with contextlib.suppress(Empty, ShutDown, Gone, Closed):
                    message = self._link(older).get(0)
                    self.sweep(deadline)
                    return message
            crowded = self.control.first != at or not self._outlive_peers
            wait: float | None = max(0.0, deadline - time.monotonic())
            if crowded:
                wait = min(wait or 0.0, _LOOK_UP)
            elif deadline == math.inf:
                wait = None
            try:
                message = link.get(wait)
            except Empty:
                if time.monotonic() >= deadline:
                    raise
                self.sweep(deadline)
                if not self.messages():
                    self.check_peers("get")
                continue
            except Closed:
                if self.closed:
                    raise
                continue
            except ShutDown:
                self._leave(at, deadline)
                continue
            if crowded or self._is_outgrown(link):
                self._tidy(link, at, deadline)
            return message

    def _leave(self, at: int, deadline: float) -> None:
        """Nothing is left to get in this link: go on to the next."""
        if self.control.last == at and self._extend(at, None, 0, deadline) == "no room":
            if time.monotonic() >= deadline:
                raise Empty("the queue is empty, and has no memory for a further ring now")
            time.sleep(_LOOK_UP / 10)
        with self._state:
            if self._get_at == at and self.control.last > at:
                self._get_at = at + 1
        self.sweep(deadline)

    def _tidy(self, link: Link, at: int, deadline: float) -> None:
        """After a message from a link that is not to stay: was it the last?"""
        if not link._maybe_ready():
            if self.control.last == at and self._is_outgrown(link):
                self._extend(at, None, 0, min(deadline, time.monotonic()))
            self.sweep(deadline)

    def skip(self, error: DecodeError | None, deadline: float) -> bytes | None:
        """Take a message out undecoded, as Ring.skip."""
        while True:
            link = self._follow_get()
            if error is not None:
                held = [each for each in self._links.values() if each._identity == error.identity]
                return held[0].skip(error) if held else None
            try:
                return link.skip(None, max(0.0, min(deadline - time.monotonic(), _LOOK_UP)))
            except Empty:
                if time.monotonic() >= deadline:
                    raise
            except ShutDown:
                self._leave(link.index, deadline)
            except Closed:
                if self.closed:
                    raise

    # --- the protocol of control.py ---

    @shortage_explained()
    def _extend(self, at: int, parts: Any, length: int, deadline: float, beyond: bool = False) -> str:
        """Link a further ring behind this one, if it is the last: "linked"; "put": this message is in it; "no room".

        ``beyond`` max_bytes too, for a moment: when that will free what is behind.
        """
        with self.control.lock(_MOMENT if deadline == AT_ONCE else max(0.0, deadline - time.monotonic()) + 1.0) as held:
            if not held:
                return "no room"
            if self.control.last != at:
                return "linked"
            self.control.clear_behind()
            found = self._memory_for(length, beyond) if at - self.control.first + 1 < LINKS else None
            if found is None:
                return "no room"
            memory, offset, wish, single = found
            link = None
            try:
                _core.format(
                    memory,
                    kind=wish.kind,
                    capacity=wish.capacity,
                    slots=wish.slots,
                    name="",
                    codec=wish.codec,
                    flags=0,
                    mode=wish.mode,
                    identity=int.from_bytes(os.urandom(8), "little") >> 1 | 1,
                )
                link = Link._on(memory, None, self._manner, at=offset, populate=not single)
                link._belongs(self.root, at + 1, single)
                self._link(at).shutdown()
                done = "linked"
                if single and self._room_in_count():
                    link._put_parts(parts, 0)
                    done = "put"
                if single:
                    link.shutdown()
                self.control.publish(offset, len(memory), single)
                with self._state:
                    self._links[at + 1] = link
                return done
            except BaseException:
                if link is not None:
                    link.close()
                memory.close()
                raise

    def _memory_for(self, length: int, beyond: bool) -> tuple[segment.Segment, int, Wish, bool] | None:
        """Memory for the next link, where it begins, what it is to be, and whether it is for this message alone.

        Under the lock.
        """
        for wish, single in self._wishes(length, beyond):
            offset = self.control.room_for(wish.size)
            if offset is None:
                return None
            try:
                return new_memory(self.root._segment, offset, wish, length if single else None), offset, wish, single
            except NoSpace:
                self.control.clear_behind()
        return None

    def _wishes(self, length: int, beyond: bool) -> Iterator[tuple[Wish, bool]]:
        """What the next link may be within max_bytes, the best first.

        A ring has to be twice as large as a message, but is good for many; a single takes what its message needs.
        """
        control = self.control
        slots = control.maxsize if 0 < control.maxsize <= SLOTS_LIMIT else 0
        room = control.max_bytes - (0 if beyond else control.reserved())
        grown_most = max(_GROWN_MOST, control.capacity)
        least = max(control.capacity, 2 * length)
        before = self._link(control.last)
        wanted = least
        if length and not before.single:  # a put needs more room than there was
            wanted = max(least, min(2 * before.capacity, grown_most))
        for capacity in (wanted, least):
            wish = Wish("mpmc", capacity, slots, 0o600, False, self.root._codec)
            if wish.size <= room and capacity <= grown_most:
                yield wish, False
        if 2 * length > control.capacity and single_bytes(length) <= room:
            yield Wish("mpmc", 2 * length, slots, 0o600, False, self.root._codec), True

    def _found_memory(self, link: Link, refusal: Exception, deadline: float) -> bool:
        """Is there more memory now? Drained rings are finished; a last one that is empty is left for a small one."""
        if self.control.first < self.control.last and self.sweep(deadline):
            return True
        if isinstance(refusal, Full) or self.in_flight() or link.capacity <= self.control.capacity:
            return False
        if self._extend(link.index, None, 0, deadline, beyond=True) != "linked":
            return False
        return self.sweep(deadline)

    def sweep(self, deadline: float = 0.0) -> bool:
        """Finish the links that are drained, in order, and free their memory; were there any?"""
        control, did = self.control, False
        with control.lock(_patience(deadline)) as held:
            while held and control.first < control.last:
                index = control.first
                link = self._link(index)
                link._reap()
                if not link._drained():
                    break
                control.finish(link._segment)
                did = True
                with self._state:
                    if index and index not in (self._put_at, self._get_at):
                        self._drop(index)
            if held:
                control.bury()
        return did

    # --- what there is ---

    def _each_total(self) -> dict[str, int]:
        while True:
            sums = {"messages": 0, "claimed": 0, "taken": 0}
            try:
                for index in range(self.control.first, self.control.last + 1):
                    held = index in self._links
                    totals = self._link(index)._totals()
                    for key in sums:
                        sums[key] += totals[key]
                    if not held and index != self.control.last:
                        with self._state:
                            self._drop(index)
                return sums
            except Gone:
                continue

    def messages(self) -> int:
        """How many wait to be got."""
        return self._each_total()["messages"]

    def in_flight(self) -> int:
        """And those that are being put or got."""
        return sum(self._each_total().values())

    def _check_possible(self, length: int) -> None:
        most = self.control.max_bytes - _core.segment_size("mpmc", self.control.capacity, self.root.slots or 0)
        if 2 * length > self.control.capacity and single_bytes(length) > most:
            raise NoSpace(single_bytes(length), max(0, most), f"the queue's max_bytes ({self.control.max_bytes})")

    def _room_to_wait_for(self, length: int) -> bool:
        """Will there ever be memory for a message of which a ring does not take its like?"""
        return self.in_flight() > 0 or growing.free_bytes(self.root._segment) >= single_bytes(length)

    def take_role(self, side: int) -> None:
        """Say on link 0 what this process does; others look there for whether anybody is left."""
        if not self._outlive_peers:
            self.root._take_role(side)

    def check_peers(self, verb: str) -> None:
        """PeerDied, if that is asked for and everybody at the other end has died."""
        if self._outlive_peers:
            return
        self.root._reap()
        wanted = "consumer" if verb == "put" else "producer"
        entries = self.root._snapshot()["attachments"]
        peers = [each for each in entries if each["role"] in (wanted, "both")]
        died = max((each["died_ns"] for each in peers if each["alive"] is False), default=0)
        came = max((each["attached_ns"] for each in entries if each["role"] == "none" and each["alive"]), default=0)
        if died and came < died and all(each["alive"] is False for each in peers):
            raise diagnose(self.root, "peer_died", verb, 0, True)

    def close(self) -> None:
        """Leave every link. BufferError while a view of a message is open."""
        with self._state:
            self.closed = True
            self._bind_nothing()
            for index in [*self._links]:
                if index:
                    self._drop(index)
        self.root.close()


def _patience(deadline: float) -> float:
    """How long a call waits for the lock for what can be done later, too."""
    return _MOMENT if deadline == AT_ONCE else _LOOK_UP


def _refuse_get(timeout: float | None = None) -> Any:
    raise ShutDown


def _after_fork() -> None:
    for chain in [*_chains]:
        chain._after_fork()


if hasattr(os, "register_at_fork"):  # where processes fork
    os.register_at_fork(after_in_child=_after_fork)
