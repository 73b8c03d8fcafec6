"""Topic: messages through shared memory, each to every subscriber."""

from __future__ import annotations

import dataclasses
import operator
import os
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, Self

from shmring import _core, codecs, options
from shmring.aio.waiting import AsyncSubscription, AsyncTopic
from shmring.attachment import Attachment
from shmring.errors import DecodeError
from shmring.generic import Message
from shmring.names import registry
from shmring.names.registry import Wish
from shmring.segment.descriptors import shortage_explained

DEFAULT_CAPACITY = "1 MiB"
_STARTS = {"oldest": 0, "latest": 1}
_AT = 2


@dataclasses.dataclass(frozen=True)
class SubscriberStats:
    """One subscription to a topic, of any process; in :attr:`TopicStats.subscribers`.

    ``sequence`` is the number of its next message, ``lag`` how many it has yet to receive, ``lost`` how many were
    overwritten before it received them. ``alive`` is False for one that was killed and is about to be dropped.
    ``slot`` is the number of its attachment, ``pid`` its process.

    >>> with shmring.Topic.create() as topic, topic.subscribe():
    ...     topic.publish(b"news")
    ...     [subscriber] = topic.stats().subscribers
    >>> subscriber.lag, subscriber.lost
    (1, 0)
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
    """A topic's exact counters, over every process that ever used it; from :meth:`Topic.stats`.

    ``messages`` are retained: those from number ``oldest`` up to, not including, ``next``. ``claimed`` are being
    written; ``aborted`` claims never became messages. ``used`` and ``capacity`` are bytes; ``used`` reaches from the
    oldest message to the newest. ``messages_got`` and ``lost`` add up over all subscriptions.

    >>> with shmring.Topic.create() as topic:
    ...     topic.publish(b"news")
    ...     stats = topic.stats()
    >>> stats.oldest, stats.next, stats.used
    (0, 1, 64)
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
    return options.wish(
        "topic", capacity, mode=mode, persist=persist, codec=found, anonymous=anonymous, overwrite=overwrite
    )


class Topic(Attachment[Message], AsyncTopic[Message], _core.Topic[Message]):
    """A topic in shared memory: any process publishes, every subscriber receives every message from where it started.

    Made by :meth:`create`, :meth:`attach` or :meth:`open`; a Topic is this process's attachment to it.
    :meth:`subscribe` gives a subscription, which is an attachment of its own. A Topic can be pickled into other
    processes, where it attaches again; after a fork the child's copy is an attachment of its own.

    The newest messages that fit are retained, for late subscribers. With ``overflow="block"`` a publisher waits for the
    slowest living subscriber. With ``"overwrite"`` publishers never wait for subscribers, and one that is too slow
    learns exactly how many messages it lost. Without any subscriber publishing never waits either way.

    A named topic disappears when no process is attached and its newest message was received by any, unless it was made
    with ``persist=True``.

    Waits:
        A publisher that is stopped, not killed, in the middle of a publish holds up those behind it.
    When a peer dies:
        A killed subscriber is dropped, and holds no publisher up.
    Threads:
        Any thread may use it; a subscription is used by one at a time.

    >>> with shmring.Topic[bytes].create() as topic, topic.subscribe() as first, topic.subscribe() as second:
    ...     topic.publish(b"news")
    ...     print(first.get(timeout=1), second.get(timeout=1))
    b'news' b'news'
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

        ``capacity`` is bytes of payload room ("64 MiB" or an int; 1 MiB by default), which is also what is retained;
        each message takes whole granules of 64 bytes, and at most half the capacity. Once the room is all used, the
        oldest messages go some at a time: an eighth of it with ``overflow="block"``, where subscribers are waited for,
        a 64th with ``"overwrite"``. The other arguments are as for Ring.create, but that subscribers wait on when every
        publisher has died, unless ``on_dead_peer="raise"``.

        Waits:
            Never.
        Raises:
            FileExistsError: A topic of that name is in use, or holds messages that no subscriber has received.
            NoSpace: The memory cannot be reserved.
            LayoutMismatch: What stands at that name is no topic, but a folder or a link, say.
            ValueError: A value is out of range; the message says which values are allowed.
            ModuleNotFoundError: The codec's package is not installed.
        """
        how = options.manner(on_dead_peer, spin, codec=codec)
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
        """Attach to a topic that exists, by its name or path. The arguments are those of Ring.attach.

        Waits:
            For the topic to appear, up to ``timeout`` seconds. 0 (the default) does not wait, None without limit.
        Raises:
            FileNotFoundError: There is no such topic, or it did not appear in time.
            NotReady: It is there, but stays half made.
            LayoutMismatch: It is no topic, of another version, or of another codec.
            Corrupt: Its memory is damaged.
            Busy: It has 256 attachments, subscriptions included, which is the most.
            PermissionError: It belongs to another user.
            ValueError: A value is out of range.
        """
        how = options.manner(on_dead_peer, spin, owner, codec)
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
        """Attach to a topic if it is there, else create it. A leftover that no process has, and was read, is replaced.

        What is not asked for is taken as it is in a topic that exists, and as in :meth:`create` in a new one.

        Waits:
            Never.
        Raises:
            LayoutMismatch: The topic that is there has another capacity, overflow or codec than asked for.
            NotReady: As ``attach``.
            Corrupt: As ``attach``.
            Busy: As ``attach``.
            NoSpace: As ``create``.
            PermissionError: It belongs to another user.
            ValueError: A value is out of range.
        """
        how = options.manner(on_dead_peer, spin, owner, codec)
        asked = _wish(DEFAULT_CAPACITY if capacity is None else capacity, overflow or "block", mode, persist, codec)
        given = {"capacity": capacity is not None, "overflow": overflow is not None}
        return cls._open(asked, registry.place_of(name, path, cls._noun), how, given)

    # --- what it is ---

    @property
    def overflow(self) -> str:
        """What a publisher does when the topic is full: "block" or "overwrite"."""
        return self._overflow

    def stats(self) -> TopicStats:
        """Return exact counters of the whole topic, and each subscriber's lag.

        Waits:
            Never; takes time in proportion to the messages in the topic.
        Raises:
            Closed: The topic is closed in this process.
            Corrupt: The shared memory was damaged or truncated.
        """
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
    def subscribe(self, start: Literal["latest", "oldest"] | int = "latest") -> Subscription[Message]:
        """Begin to receive messages: the new ones ("latest"), all that are retained ("oldest"), or from a number on.

        Messages are numbered from 0 as they are published, and ``subscription.sequence`` is the number of the next one:
        with it a subscription carries on where another stopped.

        Waits:
            Never.
        Raises:
            ValueError: The message of that number is gone or not there yet; those that are there are named.
            TypeError: ``start`` is none of these.
            Busy: The topic has 256 attachments, which is the most.
            Closed: The topic is closed in this process.
            Corrupt: The shared memory was damaged or truncated.
        Threads:
            Any thread may subscribe; the subscription is used by one at a time.
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
        made: Subscription[Message] = Subscription._on(
            self._segment, self._place, self._manner, populate=not self._subscribed, inherited=True
        )
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
        """Refuse further messages, and wake every waiter in every process. Cannot be undone.

        Subscribers go on until each has received what there is, then get ShutDown, or the end of their iteration; with
        ``immediate`` at once.

        Waits:
            Never.
        Raises:
            Closed: The topic is closed in this process.
        Threads:
            Any thread of any process may call it, and more than once.
        """
        self._shut_down(immediate)


class Subscription(Attachment[Message], AsyncSubscription[Message], _core.Subscription[Message]):
    """Where one subscriber is in a topic; made by :meth:`Topic.subscribe`, a context manager, an iterator.

    It cannot be pickled: send the topic, and subscribe there. After a fork, the child's copy becomes a subscription of
    its own with its first ``get``, and goes on from the same message; what has gone by then is ``lost``, so subscribe
    in the child where that matters.

    A borrowed message of a topic that overwrites may be overwritten while it is looked at: then leaving the block
    raises Overwritten, and what was made of it is to be thrown away; copy with ``get`` where that cannot be done.

    When a peer dies:
        ``get`` and its kin wait on when every publisher has died, since another may come. With
        ``on_dead_peer="raise"`` they raise PeerDied then, after everything published was received, unless a living
        process has the topic without subscribing to it, and so may publish yet.
    Threads:
        One at a time (Busy otherwise); subscribe once for each thread.

    >>> with shmring.Topic[bytes].create() as topic:
    ...     topic.publish(b"old news")
    ...     with topic.subscribe("oldest") as subscription:
    ...         print(subscription.get(timeout=1), subscription.sequence)
    b'old news' 1
    """

    _noun: ClassVar[str] = "topic"
    _kinds: ClassVar[tuple[str, ...]] = ("topic",)
    _undecodable_hint: str = (
        "it is still the next one here: take it out as bytes with subscription.skip(error), and go on"
    )

    @classmethod
    def _refusal(cls, arguments: tuple[object, ...], options: Mapping[str, object]) -> str:
        return "a subscription is made by its topic: topic.subscribe(), or topic.subscribe('oldest')"

    def skip(self, error: DecodeError | None = None, timeout: float | None = None) -> bytes | None:
        """Take a message without decoding it, the one that ``error`` is about or else the next; return its bytes.

        With ``error`` None if that message has been overwritten.

        Waits:
            With ``error`` never; without it as ``get``.
        Raises:
            Empty: As ``get``, without ``error``.
            ShutDown: As ``get``, without ``error``.
            PeerDied: As ``get``, without ``error``.
            Busy: As ``get``.
            Closed: As ``get``.
            Corrupt: As ``get``.
            ValueError: The error is about a message of another topic.
        Copies:
            Once, out of the topic.
        Threads:
            As ``get``.
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
