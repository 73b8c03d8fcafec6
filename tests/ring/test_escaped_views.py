"""What keeps the address of a view, and gives its buffer back at once, is noticed as its block ends."""

import ctypes
import gc
from collections.abc import Callable

import numpy
import pytest

import shmring


def torch_frombuffer(view: memoryview) -> object:
    return pytest.importorskip("torch").frombuffer(view, dtype=pytest.importorskip("torch").uint8)


def cast(view: memoryview) -> memoryview:
    return view.cast("H")


ESCAPES: dict[str, Callable[[memoryview], object]] = {
    "numpy.ndarray": lambda view: numpy.ndarray((1000,), "u1", buffer=view),
    "numpy.ndarray of a slice": lambda view: numpy.ndarray((10,), "u1", buffer=view[5:]),
    "numpy.ndarray of a cast": lambda view: numpy.ndarray((500,), "u2", buffer=view.cast("H")),
    "an array of that array": lambda view: numpy.ndarray((1000,), "u1", buffer=view)[::2].reshape(-1, 2),
    "numpy.frombuffer": lambda view: numpy.frombuffer(view, "u1"),
    "numpy.asarray": numpy.asarray,
    "torch.frombuffer": torch_frombuffer,
    "a slice": lambda view: view[3:],
    "a cast": cast,
    "a memoryview": memoryview,
    "another variable": lambda view: view,
    "a list": lambda view: [view],
    "a closure": lambda view: lambda: view,
}


@pytest.fixture(params=ESCAPES)
def escape(request: pytest.FixtureRequest) -> Callable[[memoryview], object]:
    """Return a function that makes something of a view which refers to it."""
    return ESCAPES[request.param]


def test_a_borrowed_message_stays_as_it_is_while_something_refers_to_it(
    ring: shmring.Ring, escape: Callable[[memoryview], object]
) -> None:
    ring.put(b"\1" * 1000)

    def look(into: list[object]) -> None:
        with pytest.raises(BufferError, match="still in use"), ring.borrow() as view:
            into.append(escape(view))

    look(kept := [])
    for _ in range(3 if ring.kind != "spsc" else 0):
        ring.put(b"\2" * 1000)
        assert ring.get() == b"\2" * 1000
    with pytest.raises(BufferError):
        ring.close()
    assert not isinstance(kept[0], numpy.ndarray) or set(kept[0].tobytes()) == {1}
    kept.clear()
    gc.collect()
    ring.close()


def test_a_claim_is_aborted_when_what_refers_to_it_goes(
    ring: shmring.Ring, escape: Callable[[memoryview], object]
) -> None:
    def write(into: list[object]) -> None:
        with pytest.raises(BufferError, match="will be aborted"), ring.claim(1000) as buffer:
            into.append(escape(buffer))

    write(kept := [])
    if isinstance(kept[0], numpy.ndarray):
        kept[0].fill(5)
    kept.clear()
    gc.collect()
    assert ring.stats().aborted == 1
    ring.put(b"whole")
    assert ring.get() == b"whole"


def test_a_claim_is_not_committed_in_part_while_an_array_has_its_address(ring: shmring.Ring) -> None:
    claim = ring.claim(1000)
    with claim as buffer:
        array = numpy.ndarray((1000,), "u1", buffer=buffer)
        with pytest.raises(BufferError, match="stays open"):
            claim.commit(5)
        array[:5] = 7
        del array
        claim.commit(5)
    assert ring.get(timeout=0) == b"\7" * 5


def test_what_is_gone_by_the_end_of_the_block_is_nobodys_business(ring: shmring.Ring) -> None:
    def uses(view: memoryview) -> int:
        array = numpy.ndarray((len(view),), "u1", buffer=view)
        return int(array.sum()) + len(view[1:]) + view.cast("H")[0]

    for _ in range(3):
        ring.put(b"\1" * 1000)
        with ring.borrow() as view:
            assert uses(view) == 1000 + 999 + 0x101
        with ring.claim(2) as buffer:
            (ctypes.c_char * 2).from_buffer(buffer).value = b"ab"
        assert ring.get() == b"ab"


def test_the_lease_itself_gives_its_memory_to_nobody(ring: shmring.Ring) -> None:
    claim = ring.claim(10)
    with claim as buffer:
        for takes in (memoryview, bytes, numpy.frombuffer, lambda lease: numpy.ndarray((1,), buffer=lease)):
            for lease in (claim, buffer.obj):
                with pytest.raises((BufferError, TypeError)):
                    takes(lease)
            del lease


def test_a_block_that_fails_hands_its_message_back_though_a_traceback_knows_it(ring: shmring.Ring) -> None:
    def parse(view: memoryview) -> None:
        header = view
        raise ValueError(len(header))

    ring.put(b"again")
    with pytest.raises(ValueError, match="5") as error, ring.borrow() as view:
        parse(view)
    assert ring.get(timeout=0) == b"again"
    del error


def test_a_block_that_fails_with_an_array_in_its_traceback_keeps_the_message_for_it(ring: shmring.Ring) -> None:
    def parse(view: memoryview) -> None:
        array = numpy.ndarray((5,), "u1", buffer=view)
        raise ValueError(array)

    ring.put(b"again")
    with pytest.raises(ValueError, match="103") as error, ring.borrow() as view:
        parse(view)
    assert bytes(error.value.args[0]) == b"again"
    with pytest.raises(shmring.ShmringError):
        ring.get(timeout=0)
    del error, view
    gc.collect()
    assert ring.get(timeout=0) == b"again"


class Borrows:
    """A codec whose messages are arrays that keep nothing but an address."""

    name = "borrows"

    def encode(self, value: bytes) -> bytes:
        return value

    def decode(self, record: memoryview) -> object:
        return numpy.ndarray((len(record),), "u1", buffer=record)

    view = decode


def test_a_codec_that_keeps_an_address_is_found_out(kind: str) -> None:
    with shmring.Ring.create(kind=kind, codec=Borrows()) as ring:
        ring.put(b"abc")
        with pytest.raises(shmring.DecodeError, match="refers to the record"):
            ring.get()
        with pytest.raises(BufferError, match="still in use"), ring.borrow() as array:
            assert bytes(array) == b"abc"
        del array
