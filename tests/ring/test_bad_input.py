"""Nonsense at the door: each a typed error with the value and what is allowed, nothing lost, nothing left behind."""

import math
import os
import pathlib
import sys

import pytest

import shmring
from shmring import segment


@pytest.mark.parametrize(
    "capacity", [0, -1, 2**60, "", "many", "64 MiBs", "-3", "nan", "1e9", "0.3", "0 MiB", "9" * 200]
)
def test_an_impossible_capacity_is_a_value_error(capacity: object, kind: str) -> None:
    with pytest.raises(ValueError, match="capacity is"):
        shmring.Ring.create(capacity=capacity, kind=kind)


@pytest.mark.parametrize("capacity", [None, 1.5, True, b"64", math.nan, [1]])
def test_a_capacity_of_another_type_is_a_type_error(capacity: object) -> None:
    with pytest.raises(TypeError, match="capacity is"):
        shmring.Ring.create(capacity=capacity)


@pytest.mark.parametrize(
    ("text", "size"), [("4096", 4096), ("64 KiB", 65536), ("1.5MiB", 1572864), (" 10 kB ", 10000), ("2K", 2048)]
)
def test_a_capacity_may_be_text(text: str, size: int) -> None:
    with shmring.Ring.create(capacity=text) as ring:
        assert ring.capacity == size


@pytest.mark.parametrize("bad", ["", "a/b", "/a", "a\0b", "n" * 201, "n" * 10000, "naïve", "a b", "..\n", "\ud800"])
@pytest.mark.parametrize("call", [shmring.Ring.create, shmring.Ring.attach, shmring.Ring.open, shmring.inspect])
def test_an_impossible_name_is_a_value_error(call, bad: str) -> None:
    with pytest.raises(ValueError, match="1 to 200 characters"):
        call(bad)


@pytest.mark.parametrize("device", ["con", "NUL", "aux", "prn", "com1", "lpt1", "con.x", "nul.."])
def test_what_windows_calls_a_device_is_just_a_name(device: str, name: str) -> None:
    title = f"{device}.{name}"
    for persist in (False, True):
        with shmring.Ring.create(title, persist=persist) as ring, shmring.Ring.attach(title) as other:
            ring.put(b"x")
            assert other.get() == b"x"
            assert title in [each.name for each in shmring.list()]
            ring.unlink()
    with shmring.Queue(name=title) as queue, shmring.Queue(name=title) as other:
        queue.put("x")
        assert other.get() == "x"
    with segment.create(title, 4096) as memory, segment.attach(title) as other:
        memory[0] = 7
        assert other[0] == 7
        segment.unlink(title)


@pytest.mark.parametrize("bad", [b"bytes", 7, ["x"]])
def test_a_name_of_another_type_is_a_type_error(bad: object) -> None:
    with pytest.raises(TypeError, match="name is"):
        shmring.Ring.create(bad)


@pytest.mark.parametrize("name", [".", "..", "-", "..."])
def test_a_name_of_dots_is_just_a_name(name: str) -> None:
    with shmring.Ring.create(f"{name}") as ring:
        ring.put(b"x")
        assert ring.get() == b"x"


@pytest.mark.parametrize("bad", [None, 7, "text", ["x"], object()])
def test_what_is_no_buffer_is_a_type_error(ring: shmring.Ring, bad: object) -> None:
    with pytest.raises(TypeError, match="a message is bytes"):
        ring.put(bad)
    assert ring.stats().claimed == 0


def test_a_buffer_with_gaps_is_a_buffer_error(ring: shmring.Ring) -> None:
    with pytest.raises(BufferError, match="not contiguous"):
        ring.put(memoryview(bytes(10))[::2])


def test_a_read_only_buffer_cannot_be_filled(ring: shmring.Ring) -> None:
    ring.put(b"x")
    with pytest.raises((TypeError, BufferError)):
        ring.get_into(b"constant")
    assert ring.get() == b"x"


@pytest.mark.parametrize("put", ["put", "put_many"])
def test_a_message_too_long_names_both_lengths(ring: shmring.Ring, put: str) -> None:
    message = bytes(2049)
    with pytest.raises(shmring.MessageTooLong, match=r"2049 .*2048"):
        ring.put(message) if put == "put" else ring.put_many([message])
    assert ring.stats().messages == 0


@pytest.mark.parametrize("timeout", [-1, -0.001, math.nan, math.inf, -math.inf])
def test_an_impossible_timeout_is_a_value_error(ring: shmring.Ring, timeout: float) -> None:
    ring.put(b"x")
    calls = [
        lambda: ring.get(timeout),
        lambda: ring.get(timeout=timeout),
        lambda: ring.put(b"y", timeout),
        lambda: ring.get_into(bytearray(1), timeout),
        lambda: ring.put_many([b"y"], timeout),
        lambda: ring.get_many(timeout=timeout),
        lambda: ring.claim(1, timeout),
        lambda: ring.borrow(timeout),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="timeout is"):
            call()
    assert ring.get() == b"x"


@pytest.mark.parametrize("timeout", ["1", b"1", [1], object()])
def test_a_timeout_of_another_type_is_a_type_error(ring: shmring.Ring, timeout: object) -> None:
    with pytest.raises(TypeError, match="timeout is"):
        ring.get(timeout)


@pytest.mark.parametrize("timeout", [-1, math.nan, math.inf])
def test_attach_has_the_same_rules_for_timeouts(name: str, timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout is"):
        shmring.Ring.attach(name, timeout)


@pytest.mark.parametrize(
    "keywords",
    [
        {"kind": "fifo"},
        {"kind": None},
        {"slots": 0},
        {"slots": -1},
        {"slots": 2**20 + 1},
        {"slots": True},
        {"mode": 0o400},
        {"mode": 0o1600},
        {"mode": -1},
        {"on_dead_peer": "ignore"},
        {"spin": -1},
        {"spin": math.nan},
        {"spin": "long"},
        {"persist": True},
    ],
)
def test_an_impossible_option_is_a_value_error(keywords: dict) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(keywords))}(=| is)"):
        shmring.Ring.create(**keywords)


PATH_TAKERS = [
    lambda path: shmring.Ring.create(path=path, persist=True),
    lambda path: shmring.Ring.attach(path=path),
    lambda path: shmring.Ring.open(path=path),
    lambda path: shmring.Topic.create(path=path),
    lambda path: shmring.inspect(path=path),
    lambda path: shmring.unlink(path=path),
    lambda path: segment.file(path),
    lambda path: segment.file(path, 4096, create=True),
]


@pytest.mark.parametrize("call", PATH_TAKERS)
def test_a_path_is_not_cut_short_at_a_nul_character(call, tmp_path: pathlib.Path) -> None:
    with shmring.Ring.create(path=tmp_path / "precious", persist=True):
        pass
    for path in (f"{tmp_path / 'precious'}\0x", f"{tmp_path / 'new'}\0x"):
        with pytest.raises(ValueError, match="NUL character"):
            call(path)
    assert os.listdir(tmp_path) == ["precious"]


@pytest.mark.parametrize("call", PATH_TAKERS)
def test_a_path_of_another_type_is_a_type_error(call) -> None:
    for path in (b"bytes", 7):
        with pytest.raises(TypeError, match="path is"):
            call(path)


@pytest.mark.skipif(sys.platform != "win32", reason="devices of Windows")
@pytest.mark.parametrize("call", PATH_TAKERS)
def test_a_path_of_a_device_is_a_value_error(call) -> None:
    with pytest.raises(ValueError, match="device"):
        call("NUL")


def test_both_a_name_and_a_path_are_one_too_many(name: str) -> None:
    with pytest.raises(ValueError, match="exactly one"):
        shmring.Ring.create(name, path="/tmp/x")
    with pytest.raises(ValueError, match="exactly one"):
        shmring.Ring.attach()


@pytest.mark.parametrize("limit", [0, -1])
def test_get_many_wants_a_limit_of_at_least_one(ring: shmring.Ring, limit: int) -> None:
    with pytest.raises(ValueError, match="limit is"):
        ring.get_many(limit)


@pytest.mark.parametrize("message", [b"one", "text", bytearray(3)])
def test_put_many_does_not_take_one_message_for_many(ring: shmring.Ring, message: object) -> None:
    with pytest.raises(TypeError, match="use put"):
        ring.put_many(message)


def test_unknown_and_doubled_arguments_are_type_errors(ring: shmring.Ring) -> None:
    for call in (
        lambda: ring.put(),
        lambda: ring.put(b"x", 1, 2),
        lambda: ring.put(b"x", data=b"y"),
        lambda: ring.put(b"x", wait=1),
        lambda: ring.get(1, timeout=1),
        lambda: ring.get(1, 2),
    ):
        with pytest.raises(TypeError):
            call()


def test_the_smallest_ring_takes_empty_messages_only(kind: str) -> None:
    with shmring.Ring.create(capacity=1, kind=kind) as ring:
        ring.put(b"")
        assert ring.get() == b""
        with pytest.raises(shmring.MessageTooLong):
            ring.put(b"x")
