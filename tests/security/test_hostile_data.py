"""What a stranger may put into a ring of tables or of MessagePack: a DecodeError, or data that are whole."""

import random
import re
import struct
from pathlib import Path

import pyarrow
import pytest
from two_users import STRANGER, VICTIM, AsUser

import shmring
from shmring import codecs

BINARY = pyarrow.record_batch([pyarrow.array([b"aaaa", b"bbbb"])], names=["column"])
TABLE = pyarrow.table(
    {
        "text": ["ab", "c", None],
        "lists": [[1], [2, 3], []],
        "words": pyarrow.array(["x", "y", "x"]).dictionary_encode(),
        "structs": [{"a": 1}, {"a": 2}, None],
        "numbers": pyarrow.array([1, 2, 3], "int16"),
    }
)
FORGES = """
import shmring, struct, sys
name, kind, record = sys.argv[1:]
face = getattr(shmring, kind)
(face.open if kind == "Latest" else face.create)(name, mode=0o666, persist=True, codec="arrow").close()
with face.attach(name, codec="raw") as made:
    (made.set if kind == "Latest" else made.publish if kind == "Topic" else made.put)(bytes.fromhex(record))
"""
READS = """
import shmring, sys
name, kind, how, uid = sys.argv[1:]
with getattr(shmring, kind).attach(name, owner=int(uid)) as made:
    source = made.subscribe("oldest") if kind == "Topic" else made
    if how == "borrow":
        with source.borrow(timeout=1) as table: print(table.num_rows)
    else:
        print(source.get().num_rows)
"""


def encoded(data: object) -> bytes:
    codec = codecs.find("arrow")
    assert codec is not None
    return b"".join(bytes(memoryview(part)) for part in codec.encode(data))


def out_of_bounds() -> bytes:
    whole, offsets = encoded(BINARY), struct.pack("<iii", 0, 4, 8)
    assert whole.count(offsets) == 1
    return whole.replace(offsets, struct.pack("<iii", 0, 100_000, 100_000))


@pytest.mark.parametrize(("kind", "how"), [("Ring", "get"), ("Ring", "borrow"), ("Topic", "get"), ("Latest", "get")])
def test_offsets_that_lead_into_the_readers_memory_are_refused(
    as_user: AsUser, name: str, path: Path, kind: str, how: str
) -> None:
    assert as_user(STRANGER, FORGES, name, kind, out_of_bounds().hex()) == ""
    try:
        seen = as_user(VICTIM, READS, name, kind, how, str(STRANGER))
        assert re.search(r"DecodeError.*ArrowInvalid.*100000", seen), seen
    finally:
        path.unlink()


def test_a_table_of_another_user_is_read(as_user: AsUser, name: str, path: Path) -> None:
    assert as_user(STRANGER, FORGES, name, "Ring", encoded(TABLE).hex()) == ""
    try:
        assert as_user(VICTIM, READS, name, "Ring", "get", str(STRANGER)) == "3\n"
    finally:
        path.unlink()


def test_tables_with_any_bytes_changed_are_whole_or_an_error() -> None:
    guarded = codecs.among_strangers(codecs.find("arrow"), asked=True)
    assert guarded is not None
    choice = random.Random(14)
    ends = set()
    for original in [encoded(BINARY), encoded(TABLE), encoded(TABLE.to_batches()[0])] * 100:
        changed = bytearray(original)
        for _ in range(choice.randrange(1, 5)):
            changed[choice.randrange(len(changed))] = choice.choice([0, 1, 128, 255, choice.randrange(256)])
        try:
            data = guarded.view(memoryview(changed))
        except Exception as error:
            ends.add(type(error).__name__)
        else:
            str(data)
            ends.add("whole")
    assert {"whole", "ArrowInvalid"} <= ends


HOSTILE = {
    "arrays in one another": b"\x91" * 100_000,
    "maps in one another": b"\x81\xa1a" * 30_000,
    "four billion items": b"\xdd\xff\xff\xff\xff\x01",
    "four billion pairs": b"\xdf\xff\xff\xff\xff\x01\x01",
    "four billion bytes": b"\xc6\xff\xff\xff\xff\x01",
    "four billion characters": b"\xdb\xff\xff\xff\xffa",
    "many items in one another": b"\xdc\xff\xff" * 900,
    "no text": b"\xa1\xff",
    "no time": b"\xc7\x0c\xff" + b"\xff" * 12,
    "nothing": b"",
}


@pytest.mark.parametrize("record", HOSTILE.values(), ids=HOSTILE)
def test_hostile_messagepack_is_an_error_at_once(name: str, record: bytes) -> None:
    with (
        shmring.Ring.create(name, codec="msgspec", mode=0o666, on_dead_peer="wait") as ring,
        shmring.Ring.attach(name, codec="raw") as raw,
    ):
        raw.put(record)
        for _ in range(2):
            with pytest.raises(shmring.DecodeError) as error:
                ring.get(timeout=1)
        assert ring.skip(error.value) == record


def test_messagepack_that_others_may_change_is_decoded_from_a_copy() -> None:
    import msgspec

    for codec in (codecs.find("msgspec"), codecs.msgspec(msgspec.Raw), codecs.msgspec(list[memoryview])):
        record = memoryview(bytearray(b"\x91\xc4\x03abc"))
        guarded = codecs.among_strangers(codec, asked=True)
        assert guarded is not None
        value = guarded.view(record)
        record[:] = bytes(6)
        assert b"abc" in bytes(value[0] if isinstance(value, list) else value)
