"""A program that feeds what reads others' messages and headers with spoiled ones: `fuzzing.py WHAT SEED ROUNDS`.

It prints how the readers ended, and how often.
"""

import datetime
import faulthandler
import os
import random
import resource
import struct
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy
import pyarrow

import shmring
from shmring import _core, codecs

SIZES = [0, 1, 2, 127, 128, 255, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1]
MORE_MEMORY = 256 << 20
choice = random.Random()
ends: Counter[str] = Counter()


def spoil(whole: bytes, most: int) -> bytearray:
    """Change, take out or repeat some bytes."""
    changed = bytearray(whole)
    for _ in range(choice.randrange(1, most + 1)):
        at = choice.randrange(len(changed) or 1)
        way = choice.randrange(5)
        if way == 0:
            changed[at : at + 1] = bytes([choice.choice([0, 1, 127, 128, 255, choice.randrange(256)])])
        elif way == 1:
            del changed[at : at + choice.randrange(1, 9)]
        elif way == 2:
            begin = choice.randrange(len(changed) or 1)
            changed[at:at] = changed[begin : begin + choice.randrange(1, 40)]
        elif way == 3:
            changed[at : at + 8] = struct.pack("<Q", choice.choice(SIZES))
        else:
            changed[at : at + 4] = struct.pack("<I", choice.randrange(2**32))
    return changed


def limit_memory() -> None:
    """Let what believes a length fail."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MORE_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def guarded(codec: Any) -> Any:
    return codecs.among_strangers(codec, asked=True)


def encoded(codec: Any, value: object) -> bytes:
    made = codec.encode(value)
    parts = made if isinstance(made, (list, tuple)) else [made]
    return b"".join(bytes(memoryview(part)) for part in parts)


def decode(codec: Any, record: bytearray) -> None:
    for reader in (codec.decode, codec.view):
        try:
            repr(reader(memoryview(record)))[:100]
            ends["whole"] += 1
        except Exception as error:
            ends[type(error).__name__] += 1


WORDS = [
    *(b"'descr'", b"'shape'", b"(1,)", b"(0,9223372036854775807)", b"-1", b"'|O'", b"'|V2147483647'", b"[('a',"),
    *(b"{", b"(" * 50, b"9" * 18, b"True", b"'<u1'", b"'(2,2)i4'", b"None", rb"\x41", rb"'\U00110000'"),
]


def arrays(rounds: int) -> None:
    codec = guarded(codecs.find("numpy"))
    types: list[Any] = ["<i4", ">f8", "S3", "U2", "?", [("a", "<i4"), ("b", "S3", (2, 2))], [("a", [("b", "u1")])]]
    whole = [encoded(codec, numpy.ones(shape, each)) for each in types for shape in [(), (3,), (2, 3)]]
    limit_memory()
    for _ in range(rounds):
        record = spoil(choice.choice(whole), 4)
        if choice.random() < 0.7 and len(record) > 11:
            at = choice.randrange(10, min(len(record), 100))
            record[at : at + choice.randrange(12)] = choice.choice(WORDS)
        if choice.random() < 0.5:
            record[:8] = whole[0][:8]
        decode(codec, record)


def tables(rounds: int) -> None:
    codec = guarded(codecs.find("arrow"))
    columns = [pyarrow.array([1, 2, 3]), pyarrow.array(["a", "b", "c"])]
    table = pyarrow.table(
        {
            "text": ["ab", "c", None],
            "lists": [[1], [2, 3], []],
            "structs": [{"a": 1}, {"a": 2}, None],
            "words": pyarrow.array(["x", "y", "x"]).dictionary_encode(),
            "large": pyarrow.array([b"a", b"b", b""], "large_binary"),
            "maps": pyarrow.array([[("a", 1)], [], None], pyarrow.map_(pyarrow.string(), pyarrow.int8())),
            "unions": pyarrow.UnionArray.from_sparse(pyarrow.array([0, 1, 0], "int8"), columns),
        }
    )
    whole = [encoded(codec, data) for data in (table, table.to_batches()[0], table.select([0]))]
    for _ in range(rounds):
        decode(codec, spoil(choice.choice(whole), 3))


class Point(msgspec.Struct):
    x: int
    y: "list[Point]"
    z: dict[str, float] = {}


MARKS = [
    *(b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff"),
    *(b"\x91" * 2000, b"\x81\xa1a" * 900, b"\xc9\xff\xff\xff\xff\xff", b"\xc7\x0c\xff", b"\xcf" + b"\xff" * 8),
]


def messagepack(rounds: int) -> None:
    now = datetime.datetime.now(datetime.UTC)
    values = [None, [1, "a", b"b", 2.5, {"a": [1]}], {"x": 1, "y": [{"x": 2, "y": []}]}, now, [[[[]]]] * 5]
    whole = [msgspec.msgpack.encode(value) for value in values]
    of = [
        guarded(codec) for codec in (codecs.find("msgspec"), codecs.msgspec(Point), codecs.msgspec(list[msgspec.Raw]))
    ]
    limit_memory()
    for _ in range(rounds):
        record = spoil(choice.choice(whole), 4)
        if choice.random() < 0.3:
            at = choice.randrange(len(record) or 1)
            record[at:at] = choice.choice(MARKS)
        decode(choice.choice(of), record)


def formatted(kind: str, *, queue: bool = False) -> bytearray:
    whole = bytearray(_core.segment_size(kind, 4096, 0) + (_core.CONTROL_BYTES if queue else 0))
    flags = 10 if queue else 2
    _core.format(whole, kind, capacity=4096, slots=0, name="n", codec="c", flags=flags, mode=0o600, identity=7)
    if queue:
        _core.format_queue(whole, 0, 1 << 20, 4096, True)
    return whole


def headers(rounds: int) -> None:
    whole = [formatted(kind) for kind in ("spsc", "mpmc", "semaphore", "topic", "latest")]
    whole.append(formatted("mpmc", queue=True))
    fd = os.memfd_create("fuzzed")
    locks = _core.locks_open(fd)
    looks: list[Callable[[bytearray], object]] = [
        *(_core.check, _core.describe, _core.describe_queue, _core.retire),
        lambda memory: _core.snapshot(memory, fd, fd),
        lambda memory: _core.count_living(memory, locks, fd),
        lambda memory: _core.sent_is_awaited(memory, 70, 1),
        lambda memory: _core.sent_arrived(memory, 2**32 - 1, 1),
        lambda memory: _core.sent_open(memory, locks),
        lambda memory: _core.queue_unfinished(memory, fd, fd),
        lambda memory: _core.queue_task_done(memory, fd, fd),
    ]
    for _ in range(rounds):
        memory = bytearray(choice.choice(whole))
        for _ in range(choice.randrange(1, 6)):
            width = choice.choice([1, 4, 8])
            at = choice.randrange(choice.choice([120, 2200, 36864 + 512, len(memory)]) - 8) // width * width
            value = choice.choice([*SIZES, choice.randrange(2**64)])
            memory[at : at + width] = value.to_bytes(8, "little")[:width]
        if choice.random() < 0.2:
            del memory[choice.randrange(len(memory)) :]
        for look in looks:
            try:
                look(memory)
                ends["whole"] += 1
            except (shmring.ShmringError, OSError) as error:
                ends[type(error).__name__] += 1


if __name__ == "__main__":
    faulthandler.enable()
    choice.seed(sys.argv[2])
    {"arrays": arrays, "tables": tables, "messagepack": messagepack, "headers": headers}[sys.argv[1]](int(sys.argv[3]))
    print(*(f"{count:,} {end}" for end, count in sorted(ends.items())), sep=", ")
    assert ends["whole"]
    assert len(ends) > 1
