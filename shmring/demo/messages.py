"""The messages of the pipeline, and what each stage does with one: the same on rings and on queues.

A message begins with the number of its file and the time it was put (CLOCK_MONOTONIC, nanoseconds, one clock
for all processes of a machine), so that whoever gets it knows how long it took. A file that is delivered
again, as its first tokenizer was killed, may be counted twice on the way; by its number the reducer adds it
once.
"""

import json
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shmring.demo.work import Counts, count_source, find_files, mapped

FILE = struct.Struct("<IQ")  # number, when put; then the file's bytes
COUNTS = struct.Struct("<IQQ")  # number, when put, how long the file took to its tokenizer; then JSON
END = 2**32 - 1  # the number of the last message, whose content is how many files there were
_TOTAL = struct.Struct("<I")


def now() -> int:
    """Return the time that all processes share, in nanoseconds."""
    return time.monotonic_ns()


def files_of(directory: Path) -> Iterator[tuple[int, Any]]:
    """Yield the number and the content of every file, mapped, and at the end how many there were."""
    number = 0
    for number, path in enumerate(find_files(directory), 1):
        with mapped(path) as content:
            yield number, content
    yield END, _TOTAL.pack(number)


def tokenized(message: bytes) -> bytes:
    """Return a tokenizer's answer to one message of the reader."""
    got = now()
    number, put = FILE.unpack_from(message)
    content = message[FILE.size :]
    answer = content if number == END else json.dumps(count_source(content).asdict()).encode()
    return COUNTS.pack(number, now(), got - put) + answer


@dataclass
class Hop:
    """How long messages took from one stage to the next, in nanoseconds."""

    p50: int
    p99: int

    @classmethod
    def of(cls, spans: list[int]) -> "Hop":
        """Return the percentiles of some time spans."""
        ordered = sorted(spans) or [0]
        return cls(*(ordered[min(len(ordered) * percent // 100, len(ordered) - 1)] for percent in (50, 99)))


@dataclass
class Reduction:
    """The reducer's sum, each file once, with what the messages tell about their way."""

    counts: Counts = field(default_factory=Counts)
    expected: int | None = None
    began: int = 0
    ended: int = 0
    again: int = 0
    _numbers: set[int] = field(default_factory=set)
    _file_hops: list[int] = field(default_factory=list)
    _counts_hops: list[int] = field(default_factory=list)

    def add(self, message: bytes) -> None:
        """Add one message of a tokenizer."""
        got = now()
        number, put, file_hop = COUNTS.unpack_from(message)
        content = message[COUNTS.size :]
        self.began = self.began or put
        if number == END:
            (self.expected,) = _TOTAL.unpack(content)
        elif number in self._numbers:
            self.again += 1
        else:
            self._numbers.add(number)
            self.counts.add(Counts.fromdict(json.loads(content)))
            self._file_hops.append(file_hop)
            self._counts_hops.append(got - put)
        self.ended = now()

    @property
    def complete(self) -> bool:
        """Whether every file has been added."""
        return self.counts.files == self.expected

    def asdict(self) -> dict[str, Any]:
        """Return the result as plain data, for JSON."""
        return {
            "counts": self.counts.asdict(),
            "complete": self.complete,
            "seconds": (self.ended - self.began) / 1e9,
            "again": self.again,
            "file_hop": vars(Hop.of(self._file_hops)),
            "counts_hop": vars(Hop.of(self._counts_hops)),
        }
