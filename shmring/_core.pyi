"""The typed face of the C core. Internal: the public names are in shmring and shmring.segment.

What a class here says of a public method or attribute is its docstring in C as well: binding/docstrings.py makes that
from this file as the package is built.
"""

from collections.abc import Callable, Iterable, Sequence
from types import GenericAlias, TracebackType
from typing import Any, Generic, Protocol, Self, final

from typing_extensions import Buffer, TypeVar

from shmring.generic import Message

View_co = TypeVar("View_co", covariant=True, default=Any)

LAYOUT_VERSION: int
ATTACHMENTS: int
GRANULE: int
LIFECYCLE_BYTE: int
CLAIM_BYTE: int
FLAG_LOCKS_APART: int
CONTROL_BYTES: int
NOTHING: object

def set_diagnosis(
    callable: Callable[[Any, str, str, int, bool], BaseException], decode_error: type[BaseException], /
) -> None: ...
def segment_size(kind: str, capacity: int, slots: int, /) -> int: ...
def format(
    segment: Buffer,
    kind: str,
    capacity: int,
    slots: int,
    name: str,
    codec: str,
    flags: int,
    mode: int,
    identity: int,
) -> None: ...
def check(segment: Buffer, /) -> str: ...
def describe(segment: Buffer, /) -> tuple[str, int, int, int, bytes]: ...
def count_living(segment: Buffer, locks: int, file: int, /) -> tuple[int, bool, int]: ...
def arena_offset(kind: str, capacity: int, slots: int, /) -> int: ...
def format_queue(segment: Buffer, maxsize: int, max_bytes: int, capacity: int, stored: bool, /) -> None: ...
def describe_queue(segment: Buffer, /) -> tuple[int, int, int]: ...
def queue_unfinished(segment: Buffer, fd: int, file: int, /) -> int: ...
def queue_task_done(segment: Buffer, fd: int, file: int, /) -> int: ...
def leave_at_exit() -> bool: ...
def retire(segment: Buffer, /) -> None: ...
def snapshot(segment: Buffer, locks_fd: int, fd: int, /) -> dict[str, Any]: ...
def locks_path(ring: str, identity: int, /) -> str: ...
def locks_open(fd: int, path: str | None = None, /) -> int: ...
def locks_close(locks: int, /) -> None: ...
def locks_take(locks: int, byte: int, /) -> bool: ...
def locks_share(locks: int, byte: int, /) -> bool: ...
def locks_descriptor(locks: int, /) -> int: ...
def sent_open(segment: Buffer, locks: int, /) -> tuple[int, int] | None: ...
def sent_note(segment: Buffer, index: int, number: int, /) -> None: ...
def sent_arrived(segment: Buffer, index: int, number: int, /) -> None: ...
def sent_is_awaited(segment: Buffer, index: int, number: int, /) -> bool: ...
def locks_drop(locks: int, byte: int, /) -> None: ...
def locks_seen(locks: int, begin: int, length: int, /) -> bool: ...
def sync(buffer: Buffer, offset: int, length: int, wait: bool, /) -> None: ...
def lock(buffer: Buffer, /) -> None: ...
def unlock(buffer: Buffer, /) -> None: ...
def populate(buffer: Buffer, /) -> None: ...
def map_over(mapping: Buffer, fd: int, offset: int, writable: bool, shared: bool, /) -> None: ...
def seconds_of(timeout: float | None, /) -> float | None: ...

class View:
    @property
    def closed(self) -> bool: ...
    def _bind(self, address: int, length: int, readonly: bool, source: int, offset: int, /) -> None: ...
    def _release(self) -> int: ...
    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

@final
class Watch:
    def fileno(self) -> int: ...
    def announce(self) -> None: ...
    def park(self) -> None: ...
    def unpark(self) -> None: ...
    def silence(self) -> None: ...
    def close(self) -> None: ...
    @property
    def is_orphaned(self) -> bool: ...

class Codec(Protocol):
    def encode(self, value: Any, /) -> Buffer | Sequence[Buffer]: ...
    def decode(self, record: memoryview, /) -> Any: ...
    def view(self, record: memoryview, /) -> Any: ...

@final
class Guard:
    @property
    def damaged(self) -> bool: ...

def guard(mapping: Buffer, /) -> Guard: ...

class Lease(Generic[View_co]):
    """A record of a ring or topic for the length of a ``with`` block; made by claim() and borrow().

    ``with ring.claim(5) as buffer:`` or ``with ring.borrow() as view:``; a lease is entered once.

    Threads:
        One at a time.
    """

    @property
    def redelivered(self) -> bool:
        """True if this message was received before, by a process that died or handed it back."""

    def commit(self, length: int, /) -> None:
        """Commit the first ``length`` bytes of a claim now; its buffer is released, and the block may go on.

        Without it all of the claim becomes the message as its block ends.

        Waits:
            Never.
        Raises:
            TypeError: ``length`` is no number, and the claim stays open; or this is a borrow.
            ValueError: ``length`` is not from 0 to what was claimed. The claim stays open.
            BufferError: A slice or an array refers to the buffer. The claim stays open.
            RuntimeError: The claim's block was not entered, or it is committed or given up already.
        """

    def __enter__(self) -> View_co:
        """Wait for the record, as the call that made this lease says, and return its memory."""

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None, /
    ) -> bool:
        """Commit or acknowledge the record; after an exception abort the claim, or hand the message back."""

class Attachment(Generic[Message]):
    def __init__(
        self,
        segment: Buffer,
        fd: int,
        name: str | None,
        semaphores: tuple[str, str, str] | None,
        spin_ns: int,
        outlive_peers: bool,
        codec: Codec | None = None,
        at: int = 0,
        populate: bool = True,
        inherited: bool = False,
        path: str | None = None,
        patience_ns: int = ...,
        file: int = -1,
        locks_fd: int = -1,
        locks_path: str | None = None,
    ) -> None: ...
    def __class_getitem__(cls, item: Any, /) -> GenericAlias: ...
    @property
    def name(self) -> str | None:
        """Its name; None if it is anonymous or at a path."""

    @property
    def closed(self) -> bool:
        """True after close()."""

    @property
    def _damaged(self) -> bool: ...
    @property
    def capacity(self) -> int:
        """Bytes of payload room."""

    @property
    def max_message(self) -> int:
        """Length in bytes of the longest message that it takes, encoded."""

    @property
    def _slot(self) -> int: ...
    def _snapshot(self) -> dict[str, Any]: ...
    def _totals(self) -> dict[str, int]: ...
    def _begin_close(self) -> bool: ...
    def _keep_name(self) -> None: ...
    def _clear_claims(self) -> None: ...
    def _be_wary(self, owner: int, /) -> None: ...
    def _detach(self) -> bool: ...
    def _finish_close(self, last: bool, /) -> None: ...
    def _after_fork(self) -> None: ...
    def _take_role(self, side: int, /) -> None: ...
    def _give_role_back(self, side: int, /) -> None: ...
    def _shut_down(self, immediate: bool, /) -> None: ...
    @property
    def _turn_is_over(self) -> bool: ...
    def _watch(self, side: int, /) -> Watch: ...
    def _look_up(self, side: int, /) -> str | None: ...
    def _pass_on(self, side: int, took: bool, /) -> None: ...

class Ring(Attachment[Message]):
    def put(self, data: Message, timeout: float | None = None) -> None:
        """Put one message into the ring, for one consumer.

        When it returns, the message is in shared memory and outlives this process.

        Waits:
            For room, up to ``timeout`` seconds. None (the default) waits without limit, 0 not at all.
        Raises:
            Full: There was no room in time.
            ShutDown: The ring was shut down.
            MessageTooLong: The message, encoded, has more than ``max_message`` bytes.
            PeerDied: The ring is full, and every consumer has died.
            Busy: Another process is the producer of an ``"spsc"`` ring, or another thread or a claim of this one.
            Closed: The ring is closed in this process, or was while the call waited.
            Corrupt: The shared memory was damaged or truncated.
            TypeError: ``data`` is no bytes-like object and the ring has no codec. What a codec raises is raised as is.
            ValueError: ``timeout`` is negative or not finite.
        When a peer dies:
            A consumer that is killed gives back the room of what it had received; the wait goes on while any
            consumer lives or none was ever there, and with ``on_dead_peer="wait"`` in any case.
        Copies:
            Once, into the ring. From 256 KiB on other threads run during the copy.
        Threads:
            Any number at a time; one at a time for an ``"spsc"`` ring.
        """

    def get(self, timeout: float | None = None) -> Message:
        """Take the next message out of the ring: bytes, or with a codec the object.

        Waits:
            For a message, up to ``timeout`` seconds. None (the default) waits without limit, 0 not at all.
        Raises:
            Empty: No message came in time.
            ShutDown: The ring was shut down and is drained.
            PeerDied: The ring is drained, and every producer has died.
            DecodeError: The codec cannot decode the message, which stays the next one: see ``skip``.
            Busy: Another process is the consumer of an ``"spsc"`` ring, or another thread or a borrow of this one.
            Closed: The ring is closed in this process, or was while the call waited.
            Corrupt: The shared memory was damaged or truncated.
            ValueError: ``timeout`` is negative or not finite.
        When a peer dies:
            Everything that a killed producer had put is delivered first; what it was writing is dropped. A message
            that a killed consumer had received but not acknowledged is delivered again.
        Copies:
            Once, out of the ring, into memory of the message's own.
        Threads:
            Any number at a time; one at a time for an ``"spsc"`` ring.
        """

    def get_into(self, buffer: Buffer, timeout: float | None = None) -> int:
        """Take the next message, as it lies in the ring, into memory of the caller's; return its length in bytes.

        A codec is passed over: the bytes are the encoded ones. What lies behind them in ``buffer`` stays as it is.

        Waits:
            As ``get``.
        Raises:
            Empty: No message came in time.
            ShutDown: The ring was shut down and is drained.
            PeerDied: The ring is drained, and every producer has died.
            Busy: As ``get``.
            Closed: As ``get``.
            Corrupt: As ``get``.
            ValueError: The message is longer than ``buffer``, and stays the next one; or ``timeout`` is negative.
            BufferError: ``buffer`` cannot be written to.
        Copies:
            Once, out of the ring; nothing is allocated.
        Threads:
            As ``get``.
        """

    def put_many(self, iterable: Iterable[Message], timeout: float | None = None) -> int:
        """Put each message of an iterable, in order; return how many went in before the timeout.

        Waits:
            For room, up to ``timeout`` seconds for all of them together, each time that the ring is full.
        Raises:
            Full: Not one message went in; or one that an iterator had given away did not.
            ShutDown: As ``put``.
            MessageTooLong: As ``put``.
            PeerDied: As ``put``.
            Busy: As ``put``.
            Closed: As ``put``.
            Corrupt: As ``put``.
            TypeError: An item is no message, or ``iterable`` is itself one.

            Each says as ``error.sent`` how many messages went in, which stay there, and has the item that did not as
            ``error.unsent``.
        Copies:
            As ``put``. Waiting consumers are told once for up to 64 messages.
        Threads:
            As ``put``; messages of other producers may come in between.
        """

    def get_many(self, limit: int | None = None, timeout: float | None = None) -> list[Message]:
        """Wait for a message, then take it and what else is there already: ``limit`` messages at most.

        None takes up to a whole ring's worth. The list has at least one message.

        Waits:
            For the first message, as ``get``; never for a further one.
        Raises:
            Empty: No message came in time.
            ShutDown: As ``get``.
            PeerDied: As ``get``.
            DecodeError: The first message cannot be decoded. A later one only ends the list, and stays the next.
            Busy: As ``get``.
            Closed: As ``get``.
            Corrupt: As ``get``.
            ValueError: ``limit`` is less than 1, or ``timeout`` is negative.
        When a peer dies:
            As ``get``. Objects are acknowledged together at the end: a consumer that is killed before has received
            none of them.
        Copies:
            As ``get``.
        Threads:
            As ``get``.
        """

    def claim(self, length: int, timeout: float | None = None) -> Lease[memoryview]:
        """Make room for a message of ``length`` bytes, to be written in place: ``with ring.claim(5) as buffer:``.

        Leaving the block puts the message, an exception drops it. All of the buffer becomes the message: what is not
        written holds bytes of older messages, or zeros where the ring's mode admits other users. A codec is passed
        over. Messages that others put later are delivered after this one, so keep the block short.

        Waits:
            Nothing here; entering the block waits for room, up to ``timeout`` seconds (None: without limit).
        Raises:
            Full: No room in time, as the block is entered.
            ShutDown: As ``put``, as the block is entered.
            MessageTooLong: ``length`` is more than ``max_message``.
            PeerDied: As ``put``, as the block is entered.
            Busy: Another claim of this Ring is open; otherwise as ``put``.
            Closed: As ``put``. In a child that was forked within the block, as it is left.
            Corrupt: As ``put``.
            BufferError: A slice or array of the buffer is alive as the block is left: the claim is dropped with it.
            ValueError: ``length`` or ``timeout`` is negative.
        When a peer dies:
            As ``put``. If this process is killed within the block, its claim is dropped.
        Copies:
            None.
        Threads:
            One claim a Ring at a time.
        """

    def borrow(self, timeout: float | None = None) -> Lease[Any]:
        """Look at the next message in place: ``with ring.borrow() as view:``.

        A memoryview, or what the codec's ``view`` makes of it. Leaving the block acknowledges the message, an exception
        hands it back: it is delivered again. Its room is used again only after it is acknowledged.

        Waits:
            Nothing here; entering the block waits for a message, up to ``timeout`` seconds (None: without limit).
        Raises:
            Empty: No message in time, as the block is entered.
            ShutDown: As ``get``, as the block is entered.
            PeerDied: As ``get``, as the block is entered.
            DecodeError: As ``get``, as the block is entered.
            Busy: As ``get``.
            Closed: As ``get``. In a child that was forked within the block, as it is left.
            Corrupt: As ``get``.
            BufferError: Something refers to the view as the block is left; its room is given back with the last of
                that.
            ValueError: ``timeout`` is negative.
        When a peer dies:
            As ``get``. If this process is killed within the block, the message is delivered to another consumer.
        Copies:
            None.
        Threads:
            Any number of borrows at a time; one for an ``"spsc"`` ring.
        """

    def _skip(self, position: int, timeout: float | None = None) -> bytes | None: ...
    def _try_get(self, in_turn: bool, /) -> Any: ...
    def _put_or_hold(self, data: Any, /) -> tuple[object, int] | None: ...
    def _put_held(self, held: object, /) -> bool: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> Message: ...

class Topic(Attachment[Message]):
    def publish(self, data: Message, timeout: float | None = None) -> None:
        """Publish one message, for every subscriber.

        When it returns, the message is in shared memory and outlives this process.

        Waits:
            With ``overflow="block"`` for the slowest living subscriber, up to ``timeout`` seconds (None: without limit,
            0: not at all). With ``"overwrite"`` only for a publisher that still writes the oldest message.
        Raises:
            Full: There was no room in time.
            ShutDown: The topic was shut down.
            MessageTooLong: The message, encoded, has more than ``max_message`` bytes.
            Closed: The topic is closed in this process, or was while the call waited.
            Corrupt: The shared memory was damaged or truncated.
            TypeError: ``data`` is no bytes-like object and the topic has no codec. What a codec raises is raised as is.
            ValueError: ``timeout`` is negative or not finite.
        When a peer dies:
            A killed subscriber is dropped, and holds no publisher up.
        Copies:
            Once, into the topic. From 256 KiB on other threads run during the copy.
        Threads:
            Any number at a time.
        """

    def publish_many(self, iterable: Iterable[Message], timeout: float | None = None) -> int:
        """Publish each message of an iterable, in order; return how many went in before the timeout.

        Waits:
            As ``publish``, up to ``timeout`` seconds for all of them together.
        Raises:
            Full: Not one message went in; or one that an iterator had given away did not.
            ShutDown: As ``publish``.
            MessageTooLong: As ``publish``.
            Closed: As ``publish``.
            Corrupt: As ``publish``.
            TypeError: An item is no message, or ``iterable`` is itself one.

            Each says as ``error.sent`` how many messages went in, which stay there, and has the item that did not as
            ``error.unsent``.
        When a peer dies:
            As ``publish``.
        Copies:
            As ``publish``.
        Threads:
            As ``publish``; messages of other publishers may come in between.
        """

    def claim(self, length: int, timeout: float | None = None) -> Lease[memoryview]:
        """Make room for a message of ``length`` bytes, to be written in place: ``with topic.claim(5) as buffer:``.

        Leaving the block publishes the message, an exception drops it. All of the buffer becomes the message: what is
        not written holds bytes of older messages, or zeros where the topic's mode admits other users. A codec is
        passed over. Messages that others publish later are delivered after this one, so keep the block short.

        Waits:
            Nothing here; entering the block waits as ``publish``.
        Raises:
            Full: No room in time, as the block is entered.
            ShutDown: As ``publish``, as the block is entered.
            MessageTooLong: ``length`` is more than ``max_message``.
            Busy: Another claim of this Topic is open.
            Closed: As ``publish``. In a child that was forked within the block, as it is left.
            Corrupt: As ``publish``.
            BufferError: A slice or array of the buffer is alive as the block is left: the claim is dropped with it.
            ValueError: ``length`` or ``timeout`` is negative.
        When a peer dies:
            As ``publish``. If this process is killed within the block, its claim is dropped.
        Copies:
            None.
        Threads:
            One claim a Topic at a time.
        """

    def _put_or_hold(self, data: Any, /) -> tuple[object, int] | None: ...
    def _put_held(self, held: object, /) -> bool: ...
    def _range(self) -> tuple[int, int]: ...
    def _note_subscribing(self) -> None: ...
    def _subscribers(self) -> list[tuple[int, int, bool, int, int, int]]: ...

class Subscription(Attachment[Message]):
    @property
    def lost(self) -> int:
        """How many messages were overwritten before this subscription received them; exact as of its last get."""

    @property
    def sequence(self) -> int:
        """The number of the next message. ``topic.subscribe(start=...)`` with it carries on from here."""

    def get(self, timeout: float | None = None) -> Message:
        """Receive the next message: bytes, or with a codec the object.

        Messages that were overwritten before are passed over, and counted in ``lost``.

        Waits:
            For a message, up to ``timeout`` seconds. None (the default) waits without limit, 0 not at all.
        Raises:
            Empty: No message came in time; or publishers overwrite faster than this subscriber can copy.
            ShutDown: The topic was shut down, and nothing is left for this subscriber.
            PeerDied: With ``on_dead_peer="raise"``: nothing is left, and every publisher has died.
            DecodeError: The codec cannot decode the message, which stays the next one here: see ``skip``.
            Busy: Another thread, or a borrow, uses this subscription.
            Closed: The subscription is closed, or was while the call waited.
            Corrupt: The shared memory was damaged or truncated.
            ValueError: ``timeout`` is negative or not finite.
        When a peer dies:
            Everything that a killed publisher had published is delivered; what it was writing is dropped. Another
            may come, and is waited for.
        Copies:
            Once, out of the topic, into memory of the message's own.
        Threads:
            One at a time; subscribe once for each.
        """

    def get_into(self, buffer: Buffer, timeout: float | None = None) -> int:
        """Receive the next message, as it lies in the topic, in memory of the caller's; return its length in bytes.

        A codec is passed over: the bytes are the encoded ones. What lies behind them in ``buffer`` stays, unless a
        copy was overtaken and made again.

        Waits:
            As ``get``.
        Raises:
            Empty: As ``get``.
            ShutDown: As ``get``.
            PeerDied: As ``get``.
            Busy: As ``get``.
            Closed: As ``get``.
            Corrupt: As ``get``.
            ValueError: The message is longer than ``buffer``, and stays the next one; or ``timeout`` is negative.
            BufferError: ``buffer`` cannot be written to.
        Copies:
            Once, out of the topic; nothing is allocated.
        Threads:
            As ``get``.
        """

    def get_many(self, limit: int | None = None, timeout: float | None = None) -> list[Message]:
        """Wait for a message, then receive it and what else is there already: ``limit`` messages at most.

        None takes up to a whole topic's worth. The list has at least one message.

        Waits:
            For the first message, as ``get``; never for a further one.
        Raises:
            Empty: As ``get``.
            ShutDown: As ``get``.
            PeerDied: As ``get``.
            DecodeError: The first message cannot be decoded. A later one only ends the list, and stays the next.
            Busy: As ``get``.
            Closed: As ``get``.
            Corrupt: As ``get``.
            ValueError: ``limit`` is less than 1, or ``timeout`` is negative.
        Copies:
            As ``get``.
        Threads:
            As ``get``.
        """

    def borrow(self, timeout: float | None = None) -> Lease[Any]:
        """Look at the next message in place: ``with subscription.borrow() as view:``.

        A memoryview, or what the codec's ``view`` makes of it. Leaving the block goes on to the next message, an
        exception does not.

        Waits:
            Nothing here; entering the block waits for a message, up to ``timeout`` seconds (None: without limit).
        Raises:
            Empty: No message in time, as the block is entered.
            ShutDown: As ``get``, as the block is entered.
            PeerDied: As ``get``, as the block is entered.
            DecodeError: As ``get``, as the block is entered.
            Overwritten: The topic overwrites, and the message was overwritten before the block was left: throw away
                what was made of it, or copy with ``get`` where that cannot be done. It counts as ``lost``.
            Busy: As ``get``.
            Closed: As ``get``. In a child that was forked within the block, as it is left.
            Corrupt: As ``get``.
            BufferError: Something refers to the view as the block is left.
            ValueError: ``timeout`` is negative.
        Copies:
            None.
        Threads:
            One borrow a subscription at a time.
        """

    def _skip(self, position: int, timeout: float | None = None) -> bytes | None: ...
    def _try_get(self, in_turn: bool, /) -> Any: ...
    def _subscribe(self, start: int, sequence: int, /) -> tuple[int, int] | None: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> Message: ...

class Latest(Attachment[Message]):
    @property
    def version(self) -> int:
        """How many values were set so far, by any process; 0: none yet. Raises Closed after close()."""

    def set(self, value: Message) -> None:
        """Make this the newest value.

        Waits:
            Never, and takes a bounded number of steps, whatever readers do.
        Raises:
            Busy: Another process is the writer, or another thread of this one sets a value.
            ShutDown: The value was shut down.
            MessageTooLong: ``value``, encoded, has more than ``size`` bytes.
            Closed: It is closed in this process.
            Corrupt: The shared memory was damaged or truncated.
            TypeError: ``value`` is no bytes-like object and there is no codec. What a codec raises is raised as is.
        When a peer dies:
            The role of a killed writer is free at once; a value that it was setting never was.
        Copies:
            Once, into shared memory. From 256 KiB on other threads run during the copy.
        Threads:
            One at a time.
        """

    def get(self, timeout: float | None = 0) -> Message:
        """Return the newest value: bytes, or with a codec the object. It stays for every other reader.

        Waits:
            For the first value only, up to ``timeout`` seconds. 0 (the default) does not wait, None without limit.
        Raises:
            Empty: There is no value yet; or values are set faster than this reader can copy one.
            ShutDown: It was shut down without a value, or with ``immediate``.
            PeerDied: There is no value, and every writer has died.
            DecodeError: The codec cannot decode the value, which stays until the next one is set.
            Closed: It is closed in this process, or was while the call waited.
            Corrupt: The shared memory was damaged or truncated.
            ValueError: ``timeout`` is negative or not finite.
        When a peer dies:
            The value of a killed writer stays.
        Copies:
            Once, out of shared memory; again if three values were set during the copy.
        Threads:
            Any number at a time.
        """

    def get_versioned(self, timeout: float | None = 0) -> tuple[int, Message]:
        """Return the newest value as ``(version, value)``: which it is, counted from 1, and itself.

        Waits:
            As ``get``.
        Raises:
            Empty: As ``get``.
            ShutDown: As ``get``.
            PeerDied: As ``get``.
            DecodeError: As ``get``.
            Closed: As ``get``.
            Corrupt: As ``get``.
            ValueError: ``timeout`` is negative or not finite.
        Copies:
            As ``get``.
        Threads:
            As ``get``.
        """

    def get_into(self, buffer: Buffer, timeout: float | None = 0) -> int:
        """Copy the newest value, as it lies in shared memory, into memory of the caller's; return its length in bytes.

        A codec is passed over: the bytes are the encoded ones.

        Waits:
            As ``get``.
        Raises:
            Empty: As ``get``.
            ShutDown: As ``get``.
            PeerDied: As ``get``.
            Closed: As ``get``.
            Corrupt: As ``get``.
            ValueError: The value is longer than ``buffer``; or ``timeout`` is negative.
            BufferError: ``buffer`` cannot be written to.
        Copies:
            As ``get``; nothing is allocated.
        Threads:
            As ``get``.
        """

    def wait_newer(self, version: int, timeout: float | None = None) -> int:
        """Wait until there is a value newer than ``version``, and return its version. 0 waits for the first one.

        Waits:
            Up to ``timeout`` seconds. None (the default) waits without limit, 0 not at all.
        Raises:
            Empty: No newer value came in time.
            ShutDown: It was shut down, and no newer value will come.
            PeerDied: There is no newer value, and every writer has died.
            Closed: It is closed in this process, or was while the call waited.
            Corrupt: The shared memory was damaged or truncated.
            ValueError: ``version`` is no version, or ``timeout`` is negative.
        When a peer dies:
            With ``on_dead_peer="wait"`` the next writer is waited for.
        Threads:
            Any number at a time.
        """

    def _put_or_hold(self, data: Any, /) -> tuple[object, int] | None: ...
    def _put_held(self, held: object, /) -> bool: ...

class Chain(Attachment[Any]):
    @property
    def _maxsize(self) -> int: ...
    @property
    def _max_bytes(self) -> int: ...
    @property
    def _reserved(self) -> int: ...
    @property
    def _has_put(self) -> bool: ...
    @property
    def _lacking(self) -> int: ...
    @property
    def _is_shut_down(self) -> bool: ...
    @property
    def _links(self) -> tuple[int, int, int]: ...
    def _put_or_hold(self, data: Any, /) -> tuple[object, int] | None: ...
    def _put_held(self, held: object, /) -> bool: ...
    def _try_get(self, in_turn: bool, /) -> Any: ...
    def _skip(self, identity: int, position: int, timeout: float | None, /) -> bytes | None: ...
    def _link_at(self, side: int, /) -> int: ...
    def _is_full(self) -> bool: ...
    def _tidy(self) -> bool: ...
    def _contents(self) -> tuple[int, int, int]: ...
    def _drop_undecodable(self, drop: bool, /) -> None: ...
    def _count_tasks(self) -> None: ...
    def _unfinished(self) -> int: ...
    def _task_done(self) -> bool: ...
    def _wait_for_tasks(self, timeout: float, /) -> bool: ...
    def _watch_tasks(self) -> Watch: ...
    def _pending(self) -> tuple[int, int]: ...

class Queue(Generic[Message]):
    _chain: Any
    def __class_getitem__(cls, item: Any, /) -> GenericAlias: ...
    def put(self, obj: Message, block: bool = True, timeout: float | None = None) -> None:
        """Put an object into the queue. It is pickled now, in this thread.

        When it returns, the message is in shared memory, where it stays while any process has the queue.

        Waits:
            With ``block`` for room, up to ``timeout`` seconds (None: without limit). A queue with neither ``maxsize``
            nor ``max_bytes`` reached grows instead.
        Raises:
            Full: There was no room in time, or at once without ``block``.
            ShutDown: The queue was shut down.
            NoSpace: The message can never fit: it takes more than ``max_bytes``, or than the machine has.
            PeerDied: With ``on_dead_peer="raise"``: the queue is full, and every consumer has died.
            Closed: The queue is closed in this process (a ValueError, as in multiprocessing).
            Corrupt: The shared memory was damaged or truncated.
            TypeError: The object cannot be pickled; what pickle raises is raised as is.
        When a peer dies:
            A killed consumer is not waited for: what it was receiving goes to another.
        Copies:
            The pickle, once, into shared memory; buffers of protocol 5 straight out of the object.
        Threads:
            Any number at a time.
        """

    def get(self, block: bool = True, timeout: float | None = None) -> Message:
        """Take the next object out of the queue.

        Waits:
            With ``block`` for an object, up to ``timeout`` seconds (None: without limit).
        Raises:
            Empty: No object came in time, or none is there without ``block``.
            ShutDown: The queue was shut down and is empty.
            DecodeError: The message cannot be unpickled, and stays the next one (see ``skip``), or with
                ``on_undecodable="drop"`` is gone.
            PeerDied: With ``on_dead_peer="raise"``: the queue is empty, and every producer has died.
            Closed: The queue is closed in this process (a ValueError, as in multiprocessing).
            Corrupt: The shared memory was damaged or truncated.
        When a peer dies:
            Everything that a killed producer had put is delivered. What a killed consumer had not returned from
            ``get`` is delivered again.
        Copies:
            Once, out of shared memory.
        Threads:
            Any number at a time.
        """

    def put_nowait(self, obj: Message, /) -> None:
        """Like ``put(obj, block=False)``: raises Full instead of waiting.

        Waits:
            Never.
        Raises:
            Full: There is no room now.
            ShutDown: As ``put``.
            NoSpace: As ``put``.
            Closed: As ``put``.
            Corrupt: As ``put``.
            TypeError: As ``put``.
        """

    def get_nowait(self) -> Message:
        """Like ``get(block=False)``: raises Empty instead of waiting.

        Waits:
            Never.
        Raises:
            Empty: There is no object now.
            ShutDown: As ``get``.
            DecodeError: As ``get``.
            Closed: As ``get``.
            Corrupt: As ``get``.
        """

    def put_many(self, iterable: Iterable[Message], timeout: float | None = None) -> int:
        """Put each object of an iterable, in order; return how many went in before the timeout.

        Waits:
            For room, up to ``timeout`` seconds for all of them together (None: without limit).
        Raises:
            Full: Not one object went in; or one that an iterator had given away did not.
            ShutDown: As ``put``.
            NoSpace: As ``put``.
            PeerDied: As ``put``.
            Closed: As ``put``.
            Corrupt: As ``put``.
            TypeError: As ``put``, or ``iterable`` is a str or bytes.
            ValueError: ``timeout`` is negative or not finite.

            Each says as ``error.sent`` how many objects went in, which stay there, and has the one that did not as
            ``error.unsent``.
        Copies:
            As ``put``.
        Threads:
            As ``put``; objects of other producers may come in between.
        """

    def get_many(self, limit: int | None = None, timeout: float | None = None) -> list[Message]:
        """Wait for an object, then take it and what else is there already: ``limit`` objects at most.

        The list has at least one object. All of them are acknowledged together: with an exception none was taken.

        Waits:
            For the first object, up to ``timeout`` seconds (None: without limit); never for a further one.
        Raises:
            Empty: No object came in time.
            ShutDown: As ``get``.
            DecodeError: The first message cannot be unpickled. A later one only ends the list, and stays the next.
            PeerDied: As ``get``.
            Closed: As ``get``.
            Corrupt: As ``get``.
            ValueError: ``limit`` is less than 1, or ``timeout`` is negative.
        Copies:
            As ``get``.
        Threads:
            As ``get``.
        """

    def _try_get(self, in_turn: bool, /) -> Any: ...

class SimpleQueue(Generic[Message]):
    _chain: Any
    def __class_getitem__(cls, item: Any, /) -> GenericAlias: ...
    def put(self, obj: Message, /) -> None:
        """Put an object into the queue. It is pickled now, in this thread.

        Waits:
            For room, without limit; a queue that has not reached ``max_bytes`` grows instead.
        Raises:
            NoSpace: The message can never fit: it takes more than ``max_bytes``, or than the machine has.
            ShutDown: The queue was shut down, by a Queue of the same name.
            PeerDied: With ``on_dead_peer="raise"``: the queue is full, and every consumer has died.
            Closed: The queue is closed in this process (an OSError as well, as in multiprocessing).
            Corrupt: The shared memory was damaged or truncated.
            TypeError: The object cannot be pickled; what pickle raises is raised as is.
        Copies:
            The pickle, once, into shared memory.
        Threads:
            Any number at a time.
        """

    def get(self) -> Message:
        """Take the next object out of the queue.

        Waits:
            For an object, without limit.
        Raises:
            DecodeError: The message cannot be unpickled, and stays the next one (see ``skip``), or with
                ``on_undecodable="drop"`` is gone.
            ShutDown: The queue was shut down, by a Queue of the same name, and is empty.
            PeerDied: With ``on_dead_peer="raise"``: the queue is empty, and every producer has died.
            Closed: The queue is closed in this process (an OSError as well, as in multiprocessing).
            Corrupt: The shared memory was damaged or truncated.
        Copies:
            Once, out of shared memory.
        Threads:
            Any number at a time.
        """

    def _try_get(self, in_turn: bool, /) -> Any: ...
