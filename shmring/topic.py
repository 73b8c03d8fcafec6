"""Topic: messages through shared memory, each to every subscriber."""

from __future__ import annotations

import dataclasses
import operator
import os
from collections.abc import Callable
from typing import Any, ClassVar, Literal, Self

from shmring import _core, attachment, codecs
from shmring.aio.waiting import AsyncSubscription, AsyncTopic
from shmring.attachment import Attachment
from shmring.errors import DecodeError
from shmring.names import registry
from shmring.names.registry import Wish
from shmring.segment.descriptors import shortage_explained

DEFAULT_CAPACITY = "1 MiB"
_STARTS = {"oldest": 0, "latest": 1}
_AT = 2


@dataclasses.dataclass(frozen=True)
class SubscriberStats:
    """One subscription to a topic, of whatever process.

    ``sequence`` is the number of its next message, ``lag`` how many it has yet to get, ``lost`` how many were
    overwritten before it got them. ``alive`` is False for one that was killed and is about to be dropped.
    """

    slot: int
    pid: int
    alive: bool
    sequence: int
    lag: int
    lost: int
    messages_got: int


@dataclasses.dataclass(frozen=True)
class TopicStats:
    """A topic's exact counters, over every process that ever used it.

    ``messages`` are retained: those from number ``oldest`` up to, not including, ``next``. ``claimed`` are being
    written; ``aborted`` claims never became messages. ``used`` is in bytes, from the oldest message to the newest.
    ``messages_got`` and ``lost`` add up over all subscriptions.
    """

    messages_published: int
    bytes_published: int
    messages_got: int
    lost: int
    aborted: int
    messages: int
    claimed: int
    used: int
    capacity: int
    oldest: int
    next: int
    subscribers: tuple[SubscriberStats, ...]


def _wish(
    capacity: int | str,
    overflow: str,
    mode: int,
    persist: bool,
    codec: str | codecs.Codec | None,
    anonymous: bool = False,
) -> Wish:
    if overflow not in ("block", "overwrite"):
        raise ValueError(f"overflow is {overflow!r}; it is 'block' (publishers wait) or 'overwrite' (the oldest goes)")
    found = codecs.find(codec)
    overwrite = overflow == "overwrite"
    return attachment.wish(
        "topic", capacity, mode=mode, persist=persist, codec=found, anonymous=anonymous, overwrite=overwrite
    )


class Topic(Attachment, AsyncTopic, _core.Topic):
    """A topic in shared memory: any process publishes, every subscriber gets every message from where it started.

    Made by :meth:`create`, :meth:`attach` or :meth:`open`; a Topic is this process's attachment to it, and any thread
    may use it. :meth:`subscribe` gives a subscription, which is an attachment of its own. It can be pickled into other
    processes, where it attaches again; after a fork the child's copy is an attachment of its own.

    The newest messages that fit are retained, for whoever subscribes late. With ``overflow="block"`` a publisher waits
    for the slowest living subscriber; one that was killed is dropped. With ``"overwrite"`` publishers never wait for
    subscribers, and one that is too slow learns exactly how many messages it lost. Without any subscriber publishing
    never waits either way. (A publisher that is stopped, not killed, in the middle of a publish holds up those behind
    it.)

    A named topic disappears when nobody is attached and its newest message was got by somebody, unless it was made with
    ``persist=True``.
    """

    _noun: ClassVar[str] = "topic"
    _kinds: ClassVar[tuple[str, ...]] = ("topic",)
    _subscribed = False  # once: its pages are mapped then

    # --- making and finding ---

    @classmethod
    def create(
        cls,
        name: str | None = None,
        capacity: int | str = DEFAULT_CAPACITY,
        overflow: Literal["block", "overwrite"] = "block",
        *,
        path: str | os.PathLike[str] | None = None,
        persist: bool = False,
        mode: int = 0o600,
        on_dead_peer: Literal["raise", "wait"] = "wait",
        spin: float | Literal["auto"] = "auto",
        codec: str | codecs.Codec | None = None,
    ) -> Self:
        """Make a new topic: named, at a path (a file-backed mapping), or with neither anonymous.

        ``capacity`` is bytes of payload room ("64 MiB" or an int), which is also what is retained; each message takes
        whole granules of 64 bytes, and at most half the capacity. Once the room is all used, the oldest messages go
        some at a time: an eighth of it where subscribers are waited for, a 64th with ``overflow="overwrite"``.
        ``spin`` is how long a wait spins before it parks, in seconds, or "auto". ``codec`` is as for Ring.create.

        Does not block. FileExistsError when one of that name is in use or holds messages that nobody got; NoSpace when
        the memory cannot be reserved; ValueError for values out of range.
        """
        how = attachment.manner(on_dead_peer, spin, codec=codec)
        place = cls._where(name, path)
        return cls._create(_wish(capacity, overflow, mode, persist, codec, anonymous=place is None), place, how)

    @classmethod
    def attach(
        cls,
        name: str | None = None,
        timeout: float | None = 0,
        *,
        path: str | os.PathLike[str] | None = None,
        owner: int | str | None = None,
        on_dead_peer: Literal["raise", "wait"] = "wait",
        spin: float | Literal["auto"] = "auto",
        codec: str | codecs.Codec | None = None,
    ) -> Self:
        """Attach to a topic that exists, waiting up to ``timeout`` seconds for it to appear (None: for ever).

        Otherwise as Ring.attach; LayoutMismatch when what is there is no topic.
        """
        how = attachment.manner(on_dead_peer, spin, owner, codec)
        return cls._attach(registry.place_of(name, path, cls._noun), timeout, how)

    @classmethod
    def open(
        cls,
        name: str | None = None,
        capacity: int | str | None = None,
        overflow: Literal["block", "overwrite"] | None = None,
        *,
        path: str | os.PathLike[str] | None = None,
        persist: bool = False,
        mode: int = 0o600,
        owner: int | str | None = None,
        on_dead_peer: Literal["raise", "wait"] = "wait",
        spin: float | Literal["auto"] = "auto",
        codec: str | codecs.Codec | None = None,
    ) -> Self:
        """Attach to a topic if it is there, else create it. A leftover that is nobody's and was read is replaced.

        LayoutMismatch when the topic that is there has another capacity, overflow or codec than asked for; what is not
        asked for is taken as it is. Otherwise as create and attach.
        """
        how = attachment.manner(on_dead_peer, spin, owner, codec)
        asked = _wish(DEFAULT_CAPACITY if capacity is None else capacity, overflow or "block", mode, persist, codec)
        given = {"capacity": capacity is not None, "overflow": overflow is not None}
        return cls._open(asked, registry.place_of(name, path, cls._noun), how, given)

    # --- what it is ---

    @property
    def overflow(self) -> str:
        """ "block" or "overwrite"."""
        return self._overflow

    def stats(self) -> TopicStats:
        """Exact counters of the whole topic, and each subscriber's lag. Does not block; walks what is in it."""
        totals = self._totals()
        oldest, following = self._range()
        subscribers = tuple(
            SubscriberStats(slot, pid, alive, sequence, max(0, following - sequence), lost, got)
            for slot, pid, alive, sequence, lost, got in self._subscribers()
        )
        return TopicStats(
            messages_published=totals["messages_put"],
            bytes_published=totals["bytes_put"],
            messages_got=totals["messages_got"],
            lost=totals["redelivered"],
            aborted=totals["aborted"],
            messages=following - oldest,
            claimed=totals["claimed"],
            used=totals["used"],
            capacity=self.capacity,
            oldest=oldest,
            next=following,
            subscribers=subscribers,
        )

    # --- subscribing ---

    @shortage_explained()
    def subscribe(self, start: Literal["latest", "oldest"] | int = "latest") -> Subscription:
        """Begin to get messages: the new ones ("latest"), all that are retained ("oldest"), or from a number on.

        Messages are numbered from 0 as they are published, ``subscription.sequence`` is the next one's: so a number
        carries on where another subscription stopped. Does not block. ValueError for a number of a message that is gone
        or is not there yet, with those that there are; TypeError for what is none of these; Busy when all attachments
        are taken.
        """
        code, sequence = _AT, 0
        if isinstance(start, str):
            if start not in _STARTS:
                raise ValueError(f"start is {start!r}; it is 'latest', 'oldest' or the number of a message")
            code = _STARTS[start]
        else:
            if not hasattr(type(start), "__index__"):
                raise TypeError(
                    f"start is {start!r}, of type {type(start).__name__!r}; it is 'latest', 'oldest' or the number of "
                    "a message, from 0, such as another subscription's sequence"
                )
            sequence = operator.index(start)
            if isinstance(start, bool) or not 0 <= sequence < 2**64:
                raise ValueError(f"start is {start!r}; it is 'latest', 'oldest' or the number of a message, from 0")
        if self.closed:
            self._range()  # raises Closed
        self._note_subscribing()
        made = Subscription._on(self._segment, self._place, self._manner, populate=not self._subscribed, inherited=True)
        self._subscribed = True
        there = made._subscribe(code, sequence)
        if there is None:
            return made
        made.close()
        oldest, following = there
        what = "is gone" if sequence < oldest else "has not been published"
        held = f"{oldest} to {following - 1} are there" if following > oldest else "none is there"
        raise ValueError(
            f"start is {sequence}, and that message of {self._place.title if self._place else 'this topic'} {what}: "
            f"{held}, and {following} comes next; give one of these numbers, 'oldest' or 'latest'"
        )

    # --- ending ---

    def shutdown(self, immediate: bool = False) -> None:
        """Refuse further messages, and wake every waiter in every process.

        Subscribers go on until each has got what there is, then get ShutDown, or the end of their iteration; with
        ``immediate`` at once. Cannot be undone. Any process and thread may call it; does not block.
        """
        self._shut_down(immediate)


class Subscription(Attachment, AsyncSubscription, _core.Subscription):
    """Where one subscriber is in a topic; made by :meth:`Topic.subscribe`, a context manager, an iterator.

    Used by one thread at a time (Busy otherwise); subscribe once for each thread. After a fork, the child's copy
    becomes a subscription of its own with its first ``get``, and goes on from the same message; what has gone by then
    is ``lost``, so subscribe in the child where that matters.

    ``get`` and its kin wait for the next message, also when every publisher has died: another may come. With
    ``on_dead_peer="raise"`` they raise PeerDied then, after everything published was received, unless a living process
    has the topic without subscribing to it, and so may publish yet. A borrowed message of a topic that overwrites may
    be overwritten while it is looked at: then leaving the block raises Overwritten, and what was made of it is to be
    thrown away; copy with ``get`` where that cannot be done.
    """

    _noun: ClassVar[str] = "topic"
    _kinds: ClassVar[tuple[str, ...]] = ("topic",)
    _undecodable_hint: ClassVar[str] = (
        "it is still the next one here: take it out as bytes with subscription.skip(error), and go on"
    )

    def skip(self, error: DecodeError | None = None, timeout: float | None = None) -> bytes | None:
        """Take a message without decoding it: the one that ``error`` is about, else the next. Its bytes.

        With ``error`` it never blocks; None when that message has been overwritten. Without, it waits as ``get`` does.
        """
        if error is not None and error.identity != self._identity:
            raise ValueError(f"this error is about a message of another topic than {self!r}; skip it there")
        return self._skip(error.position if error else 0, timeout)

    def __repr__(self) -> str:
        closed = " closed" if self.closed else ""
        return f"<Subscription {self._where_shown} sequence={self.sequence} lost={self.lost}{closed}>"

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        raise TypeError(
            "a subscription stays in its process; send the topic, and subscribe there, with "
            "start=subscription.sequence to carry on"
        )
