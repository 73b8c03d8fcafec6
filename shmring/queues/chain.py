"""A process's attachment to a queue, whose ring is the queue's first link. What happens in the links is the core's.

The protocol, and what a death in the middle of it leaves, is in core/queue/queue.h.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shmring import _core, codecs, segment
from shmring.attachment import Attachment
from shmring.diagnosis import title
from shmring.errors import Closed, Empty, Full, NoSpace, ShutDown
from shmring.options import Manner
from shmring.queues.control import Control
from shmring.segment import growing

if TYPE_CHECKING:
    from shmring.aio.parking import Lots
    from shmring.names.places import Place


class Chain(_core.Chain, Attachment[Any]):
    """One process's way into a queue. Any thread may use it; a forked child's copy is its own."""

    _noun = "queue"
    _kinds = ("mpmc",)
    _is_queue = True
    _undecodable_hint = (
        "it stays the next one: get it where it can be decoded, or take it out with {noun}.skip(error), or make the "
        "{noun} with on_undecodable='drop'"
    )
    _no_more = ""  # why no further link could be made, where it was for want of memory
    _shown = ""  # how the queue shows itself
    _closed_as: type[Closed] = Closed

    def _join(self, memory: segment.Segment, *arguments: Any, **options: Any) -> None:
        super()._join(memory, *arguments, **options, file=growing.file(memory))
        self._lots_of: dict[int, Lots] = {}

    @classmethod
    def attach_to(cls, memory: segment.Segment, place: Place | None, how: Manner) -> Chain:
        """Attach to what is mapped: the beginning of a queue's file. It stays the caller's if that fails."""
        return cls._on(memory, place, how, populate=False)

    @classmethod
    def _codec_for(cls, stored: str, how: Manner) -> codecs.Codec | None:
        return how.codec if not isinstance(how.codec, str) else codecs.find(how.codec)

    @property
    def root(self) -> Chain:
        """The attachment to the first link: this one serves for all."""
        return self

    @property
    def control(self) -> Control:
        """A look at what its processes share beside the links."""
        return Control(self)

    def drop_undecodable(self) -> None:
        """From now on what cannot be decoded is gone once it was met."""
        self._drop_undecodable(True)
        self._undecodable_hint = "it is gone, as {noun}s made with on_undecodable='drop' have it"

    def _afford(self, needed: int) -> bool:
        """Called by the core before it takes memory: may it, of what the machine or a container has?"""
        try:
            growing.check_free(self._segment, needed)
        except NoSpace as error:
            self._no_more = _no_memory(error)
            return False
        return True

    def in_flight(self) -> int:
        """Messages that wait, and those that are being put or got."""
        return sum(self._contents())

    def messages(self) -> int:
        """How many wait to be got."""
        return self._contents()[0]

    # --- what it says ---

    def _in_own_words(self, result: str, verb: str, length: int) -> BaseException | None:
        """Called by diagnosis for what is not as with a ring."""
        if result == "pages_lost":
            return super()._in_own_words(result, verb, length)
        if result == "closed":
            return self._closed_as(f"{self._shown or title(self)} is closed")
        if result == "shut_down":
            end = "takes no more objects" if verb == "put" else "has no more objects"
            return ShutDown(f"{title(self)} was shut down and {end}")
        if result == "no_space":
            return growing.no_space(self._segment, _single_bytes(length))
        if result == "too_long":
            most = max(0, self._max_bytes - _core.segment_size("mpmc", self.capacity, self.slots or 0))
            return NoSpace(_single_bytes(length), most, f"the queue's max_bytes ({self._max_bytes})", "queue")
        if result == "timed_out" and verb == "put":
            return self._full(length)
        if result == "timed_out":
            waiting, claimed, taken = self._contents()
            return Empty(
                f"no object came to {title(self)} in time: {waiting} waiting now, {claimed} being put, {taken} being "
                "got by others; wait longer" + (f", or look at `shmring inspect {self.name}`" if self.name else "")
            )
        return None

    def _full(self, length: int) -> Full:
        bound = f"maxsize {self._maxsize}" if self._maxsize else "no bound"
        lacking = self._lacking
        no_more = _no_memory(growing.no_space(self._segment, lacking)) if lacking else self._no_more
        return Full(
            f"{title(self)} has no room for {length} bytes: {self.in_flight()} messages ({bound}), {self._reserved} "
            f"bytes in use of max_bytes={self._max_bytes}; wait longer, or add consumers{no_more}"
        )

    # --- for those who wait in an event loop ---

    def lots_at(self, link: int) -> Lots:
        """The parking lots of those who wait at that link."""
        import weakref

        for older in [each for each in self._lots_of if each < self._links[1]]:
            del self._lots_of[older]
        return self._lots_of.setdefault(link, weakref.WeakValueDictionary())


def _no_memory(error: NoSpace) -> str:
    return f"; it has no memory to grow: {error.strerror}"


def _single_bytes(length: int) -> int:
    """What a link for one message takes, at most: core/queue/growth.c."""
    return -(-length // 4096) * 4096 + 4 * 4096
