"""MessagePack by msgspec, with and without a type."""

from typing import Any

import pytest

import shmring

msgspec = pytest.importorskip("msgspec")


class Tick(msgspec.Struct):
    """A price."""

    symbol: str
    price: float


Other = msgspec.defstruct("Tick", [("symbol", str), ("price", int)])
Same = msgspec.defstruct("Tick", [("symbol", str), ("price", float)])


def test_untyped_messages_are_whatever_messagepack_holds(make) -> None:
    ring = make("msgspec")
    for value in ({"a": [1, 2.5, None, True]}, b"bytes", "text", 7, []):
        ring.put(value)
        assert ring.get() == value
    ring.put(Tick("X", 1.5))
    assert ring.get() == {"symbol": "X", "price": 1.5}
    with pytest.raises(TypeError):
        ring.put(object())


def test_typed_messages_are_of_their_type(make) -> None:
    ring = make(shmring.codecs.msgspec(Tick))
    ring.put(Tick("X", 1.5))
    assert ring.get() == Tick("X", 1.5)
    ring.put(Tick("Y", 2.5))
    with ring.borrow() as tick:
        assert tick.symbol == "Y"


def test_another_type_is_refused_at_put(make) -> None:
    ring = make(shmring.codecs.msgspec(Tick))
    with pytest.raises(TypeError, match=r"takes .*Tick.* not .*dict"):
        ring.put({"symbol": "X"})


def test_a_type_that_is_no_class(make) -> None:
    ring = make(shmring.codecs.msgspec(list[int] | None))
    ring.put([1, 2])
    ring.put(None)
    assert ring.get_many() == [[1, 2], None]


def test_the_schema_is_checked_when_attaching(name) -> None:
    with shmring.Ring.create(name, codec=shmring.codecs.msgspec(Tick)):
        with pytest.raises(shmring.LayoutMismatch, match="differ in name or fields"):
            shmring.Ring.attach(name, codec=shmring.codecs.msgspec(Other))
        with shmring.Ring.attach(name, codec=shmring.codecs.msgspec(Same)):
            pass


def test_a_type_that_was_named_before_is_found_when_attaching(name) -> None:
    with shmring.Ring.create(name, codec=shmring.codecs.msgspec(Tick)) as ring, shmring.Ring.attach(name) as other:
        ring.put(Tick("X", 1.5))
        assert other.get() == Tick("X", 1.5)


def test_a_message_of_another_schema_is_a_decode_error(name) -> None:
    with (
        shmring.Ring.create(name, codec=shmring.codecs.msgspec(Tick), on_dead_peer="wait") as ring,
        shmring.Ring.attach(name, codec="raw") as raw,
    ):
        raw.put(msgspec.msgpack.encode({"symbol": 7}))
        with pytest.raises(shmring.DecodeError, match="symbol") as error:
            ring.get()
        ring.skip(error.value)


def test_what_a_type_says_for_people_is_not_part_of_its_schema() -> None:
    class Tick(msgspec.Struct):  # the same name and fields, another docstring
        """Not the same words."""

        symbol: str
        price: float

    assert shmring.codecs.msgspec(Tick).name == shmring.codecs.msgspec(Same).name


class Envelope(msgspec.Struct):
    """With parts that msgspec leaves where they are."""

    kind: str
    body: msgspec.Raw
    parts: list[memoryview]
    inner: "Envelope | None" = None


def test_parts_that_are_decoded_later_are_the_receivers_own(make) -> None:
    ring = make(shmring.codecs.msgspec(Envelope))
    sent = Envelope("a", msgspec.Raw(b"\x05"), [memoryview(b"xyz")], Envelope("b", msgspec.Raw(b"\x06"), []))
    ring.put(sent)
    got = ring.get()
    ring.put(Envelope("z" * 100, msgspec.Raw(b"\x07"), []))
    assert msgspec.msgpack.decode(got.body) == 5
    assert [bytes(part) for part in got.parts] == [b"xyz"]
    assert msgspec.msgpack.decode(got.inner.body) == 6
    ring.get()


def test_a_type_may_be_anything(make) -> None:
    ring = make(shmring.codecs.msgspec(Any))
    for value in (5, "text", {"a": [1]}, msgspec.msgpack.Ext(1, b"x" * 100)):
        ring.put(value)
        assert ring.get() == value
