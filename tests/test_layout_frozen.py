"""The bytes of a ring are a published format: golden bytes, and LAYOUT.md held against the C headers.

Whoever has to change these tests changes the format, and raises the layout version.
"""

import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

import shmring
from shmring import _core

WORDS, GRANULE = 36864, 64


def header(kind: str, capacity: int = 4096, slots: int = 0) -> bytearray:
    """A fresh segment, made of fixed values but for its creator and its time."""
    memory = bytearray(_core.segment_size(kind, capacity, slots))
    _core.format(
        memory,
        kind=kind,
        capacity=capacity,
        slots=slots,
        name="golden",
        codec="bytes",
        flags=2,
        mode=0o600,
        identity=0x1122334455667788,
    )
    return memory


@pytest.mark.parametrize(("kind", "number"), [("spsc", 1), ("mpmc", 2), ("semaphore", 3)])
def test_a_fresh_header_has_these_bytes(kind: str, number: int) -> None:
    memory = header(kind)
    assert len(memory) == 45056
    assert memory[:8] == b"SHMRING\0"
    assert struct.unpack_from("=6I", memory, 8) == (3, 0x01020304, 1, number, 2, 256)
    assert struct.unpack_from("=8Q", memory, 32) == (45056, 4096, 64, 0, 4096, WORDS, 40960, 0x1122334455667788)
    assert struct.unpack_from("=I", memory, 108) == (0o600,)
    assert memory[112:368] == b"golden".ljust(256, b"\0")
    assert memory[368:432] == b"bytes".ljust(64, b"\0")
    first = struct.pack("=Q", 1 << 6)
    positions = {offset: memory[offset : offset + 8] for offset in (640, 768, 896)}
    assert positions == dict.fromkeys((640, 768, 896), first)
    for offset in positions:
        memory[offset : offset + 8] = bytes(8)
    assert memory[432:] == bytes(len(memory) - 432)


@pytest.mark.parametrize(("kind", "number", "arena"), [("topic", 4, 40960), ("latest", 5, 40960)])
def test_a_fresh_topic_and_a_latest_value_have_these_bytes(kind: str, number: int, arena: int) -> None:
    memory = header(kind)
    granules = {"topic": 64, "latest": 4 * 64}[kind]
    assert len(memory) == arena + granules * GRANULE
    assert struct.unpack_from("=6I", memory, 8) == (3, 0x01020304, 1, number, 2, 256)
    assert struct.unpack_from("=7Q", memory, 32) == (len(memory), 4096, granules, 0, 4096, WORDS, arena)
    assert struct.unpack_from("=Q", memory, 640) == (0 if kind == "latest" else 1 << 6,)


def test_a_topic_keeps_cursors_and_counts(name: str) -> None:
    with shmring.Topic.create(name, capacity=4096) as topic, topic.subscribe() as subscription:
        topic.publish_many([b"x"] * 5)
        assert subscription.get_many(limit=1) == [b"x"]
        memory = bytes(memoryview(topic._segment))
        assert struct.unpack_from("=5Q", memory, 1408) == (1 << subscription._slot, 0, 0, 0, 0)
        cursor = struct.unpack_from("=2Q", memory, 4096 + 128 * subscription._slot + 112)
        assert cursor == ((1 << 6) | 1, 1)
        topic.unlink()


def test_a_latest_value_is_where_its_version_says(name: str) -> None:
    with shmring.Latest.create(name, size=100) as cell:
        for value in (b"one", b"two", b"three", b"four", b"fifth"):
            cell.set(value)
        memory = bytes(memoryview(cell._segment))
        assert struct.unpack_from("=Q", memory, 640) == (5,)
        assert struct.unpack_from("=4Q", memory, WORDS) == (4, 5, 3, 5)
        assert memory[40960 + 128 : 40960 + 133] == b"fifth"


def test_a_bound_on_messages_puts_a_sequence_into_positions() -> None:
    memory = header("mpmc", slots=5)
    assert struct.unpack_from("=Q", memory, 640) == (1 << (6 + 5),)


def test_record_words_are_lap_length_owner_state(name: str) -> None:
    with shmring.Ring.create(name, capacity=4096) as ring:
        ring.put(b"x" * 100)
        ring.put(b"y")
        ring.get()
        memory = bytes(memoryview(ring._segment))
        owner = 1 << 8  # first epoch, entry 0
        length_bits = 13

        def word(lap: int, length: int, state: int) -> int:
            return lap << (17 + length_bits) | length << 17 | owner << 3 | state

        assert struct.unpack_from("=3Q", memory, WORDS) == (word(1, 100, 4), 0, word(1, 1, 2))
        assert memory[40960 : 40960 + 100] == b"x" * 100
        assert memory[40960 + 128 : 40960 + 129] == b"y"
        assert struct.unpack_from("=2Q", memory, 640)[0] == (1 << 6) | 3
        assert struct.unpack_from("=Q", memory, 768) == ((1 << 6) | 2,)
        assert struct.unpack_from("=6Q", memory, 4096 + 64) == (2, 101, 1, 100, 0, 0)
        ring.get()


def tables_of_layout() -> list[tuple[str, str, int, int]]:
    """Each row of LAYOUT.md that names a field: its struct, name, offset and size."""
    text = Path(shmring.get_include(), "LAYOUT.md").read_text()
    rows = []
    for title, struct_name in (("## Header", "sr_header"), ("## Attachment entry", "sr_attachment")):
        section = text.split(title)[1].split("\n## ")[0]
        for offset, size, field in re.findall(r"^\| (\d+) \| (\d+) \| (\w+) \|", section, re.MULTILINE):
            rows.append((struct_name, field, int(offset), int(size)))
    return rows


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc on this machine")
def test_layout_md_and_the_headers_agree(tmp_path: Path) -> None:
    rows = tables_of_layout()
    assert len(rows) > 35
    checks = "".join(
        f'_Static_assert(offsetof(struct {name}, {field}) == {offset}, "{field} is not at {offset}");\n'
        f'_Static_assert(sizeof(((struct {name} *)0)->{field}) == {size}, "{field} is not {size} long");\n'
        for name, field, offset, size in rows
    )
    source = tmp_path / "layout.c"
    source.write_text(f"#include <format/layout.h>\n{checks}")
    command = ["gcc", "-std=c11", "-fsyntax-only", f"-I{shmring.get_include()}", str(source)]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr
