"""What a contestant is: one way of moving messages between processes, in the form in which every bench uses it.

leader       channel = contestant.open(shape)            shared things are made here, before the processes are
participant  put = channel.sender(0)                     sockets and the like are opened here
participant  get = channel.receiver(0)
participant  channel.leave()                             when everybody is done
leader       channel.close()                             when everybody has ended
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any

ONE_TO_ONE, FAN_IN, FAN_OUT, BROADCAST = "one to one", "fan-in", "fan-out", "broadcast"
LATEST = "newest value"  # a sender replaces what a receiver finds
EVENT_LOOPS = "event loops"  # senders and receivers are coroutine functions, called in a running loop
EVERY_QUEUE = frozenset({ONE_TO_ONE, FAN_IN, FAN_OUT})
BYTES, OBJECTS, FRAMES = "bytes", "objects", "frames"


class Unsupported(Exception):
    """The contestant cannot do this, by its design or on this machine; the text says why."""


class NotInThisVersion(Exception):
    """The installed shmring has no such face yet."""


class Lost(Exception):
    """A message was lost, delivered twice or is out of order."""


class Corrupt(Exception):
    """A message arrived that nobody sent."""


@dataclasses.dataclass(frozen=True)
class Shape:
    """What a channel is to carry and who shares it; ``tag`` is unique, ``folder`` is empty and for sockets."""

    length: int
    capacity: int
    tag: str
    folder: str
    producers: int = 1
    consumers: int = 1

    @property
    def slots(self) -> int:
        """How many messages of this length fit the capacity, for contestants that count messages; at least 2."""
        return max(2, self.capacity // max(self.length, 64))


class Channel:
    """One way of moving messages, opened. A get may return a view that is valid until the next get."""

    settle = 0.0  # seconds that its connections need before the first message

    def __init__(self, shape: Shape) -> None:
        self.shape = shape

    def sender(self, number: int) -> Callable[[Any], object]:
        """Return what puts one message (``batched``: a list of them); in the producer's process."""
        raise NotImplementedError

    def receiver(self, number: int) -> Callable[[], Any]:
        """Return what gets one message (``batched``: a list of them); in the consumer's process."""
        raise NotImplementedError

    def new_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop that an end with awaitable sender and receiver runs in."""
        return asyncio.new_event_loop()

    def leave(self) -> None:
        """Let go, in a participant."""

    def close(self) -> None:
        """Remove everything, in the leader."""


@dataclasses.dataclass(frozen=True)
class Contestant:
    """A name in the tables, and how to open it."""

    name: str
    open: Callable[[Shape], Channel]
    distribution: str = ""  # whose version is told; none: the standard library's
    patterns: frozenset[str] = EVERY_QUEUE
    carries: frozenset[str] = frozenset({BYTES})
    ours: bool = False
    batched: bool = False
    reuses: bool = False  # a message is valid only until the next one is asked for
    structs: bool = False  # small objects are given to it as msgspec Structs, not as dicts
    unpickled: bool = False  # objects go by another codec, for which pickle is no limit
    arrays: bool = False  # frames are given to it as numpy arrays, not as bytes
    spins: bool = False  # never sleeps while it waits, so it is held against the cache line and not against the futex
    adapts: bool = False  # spins briefly and then sleeps
    litter: tuple[str, ...] = ()  # globs of what it leaves, when it is killed, under names that are not ours to choose
    clear: Callable[[str], None] | None = None  # removes what a killed one left under this tag
    note: str = ""

    def can(self, pattern: str, carries: str = BYTES) -> bool:
        """Whether it does this at all."""
        return pattern in self.patterns and carries in self.carries
