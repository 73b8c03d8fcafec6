"""Objects by pickle: buffers stay out of it, and what comes out owns its memory."""

import pickle
import threading

import numpy
import pytest

import shmring

MANY = [
    None,
    {"id": 1, "name": "one", "value": 1.5, "tags": ["a", "b"]},
    [],
    (1, (2, (3, (4, (5, (6, ())))))),
    b"",
    b"x" * 100_000,
    bytearray(b"writable"),
    list(range(1000)),
    {frozenset({1}), 2**100},
    range(3),
]


@pytest.mark.parametrize("value", MANY, ids=lambda value: f"{value!r:.20}")
def test_an_object_comes_out_as_it_went_in(make, value) -> None:
    ring = make("pickle")
    ring.put(value)
    got = ring.get()
    assert (type(got), got) == (type(value), value)
    ring.put(value)
    with ring.borrow() as view:
        assert view == value


def test_a_record_without_buffers_is_the_pickle_itself(make) -> None:
    ring = make("pickle")
    for value in MANY:
        ring.put(value)
        assert pickle.loads(ring.skip()) == value


def test_arrays_stay_out_of_the_pickle_and_own_their_memory_when_got(make) -> None:
    ring = make("pickle")
    arrays = {"c": numpy.arange(1200.0).reshape(30, 40), "f": numpy.arange(1200.0).reshape(40, 30).T}
    ring.put(arrays)
    got = ring.get()
    for name, array in arrays.items():
        assert numpy.array_equal(got[name], array)
        assert got[name].flags.writeable
        assert got[name].flags.c_contiguous == array.flags.c_contiguous
    got["c"][:] = 0
    assert arrays["c"][0, 1] == 1


def test_buffers_lie_on_boundaries_of_64_bytes_in_the_record(make) -> None:
    ring = make("pickle")
    ring.put([numpy.arange(length, dtype="uint8") for length in (1, 64, 65, 1000)])
    with ring.borrow() as arrays:
        assert [array.ctypes.data % 64 for array in arrays] == [0] * 4
        assert not any(array.flags.writeable for array in arrays)
        del arrays


def test_more_buffers_than_are_kept_on_the_stack(make) -> None:
    ring = make("pickle")
    ring.put([numpy.full(5, number) for number in range(300)])
    assert [int(array[0]) for array in ring.get()] == [*range(300)]


def test_read_only_memory_stays_read_only(make) -> None:
    ring = make("pickle")
    array = numpy.arange(10)
    array.flags.writeable = False
    ring.put(array)
    assert not ring.get().flags.writeable


def test_a_borrowed_array_lets_go_of_the_record_when_the_block_ends(make) -> None:
    ring = make("pickle")
    ring.put(numpy.arange(1000))
    with ring.borrow() as array:
        assert array[999] == 999
    assert array.shape == (0,)
    assert ring.stats().messages_got == 1


def test_a_borrowed_array_that_somebody_keeps_raises_and_stays_valid(make) -> None:
    ring = make("pickle")
    ring.put(numpy.arange(1000))
    with pytest.raises(BufferError, match="still in use"), ring.borrow() as array:
        kept = array[500:]
    assert kept[0] == 500
    assert ring.stats().taken == 1
    del kept, array
    assert ring.stats().taken == 0
    assert ring.stats().messages_got == 1


def test_a_borrowed_dict_of_arrays_has_to_be_deleted_inside(make) -> None:
    ring = make("pickle")
    ring.put({"a": numpy.arange(1000)})
    with pytest.raises(BufferError), ring.borrow() as value:
        pass
    del value
    ring.put({"a": numpy.arange(1000)})
    with ring.borrow() as value:
        del value


def test_an_object_that_cannot_be_pickled_raises_at_put_and_leaves_nothing(make) -> None:
    ring = make("pickle")
    for value in (threading.Lock(), lambda: 0, (number for number in ())):
        with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
            ring.put(value)
    stats = ring.stats()
    assert (stats.messages_put, stats.claimed, stats.aborted, stats.used) == (0, 0, 0, 0)


def test_an_object_that_holds_itself_goes_through(make) -> None:
    ring = make("pickle")
    loop: list[object] = [1]
    loop.append(loop)
    ring.put(loop)
    got = ring.get()
    assert got[1] is got


def test_an_object_that_is_nested_too_deep_raises_at_put(make) -> None:
    ring = make("pickle")
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(RecursionError):
        ring.put(deep)
    ring.put(1)
    assert ring.get() == 1
    while deep:  # taking it apart from the outside, or its end would recurse too
        deep = deep[0]  # type: ignore[assignment]


def test_an_object_larger_than_the_ring_says_so_and_nothing_is_claimed(make) -> None:
    ring = make("pickle")
    with pytest.raises(shmring.MessageTooLong, match=r"3221225\d\d\d bytes.*takes at most 524288"):
        ring.put(numpy.zeros(3 * 2**30, dtype="uint8"))
    assert ring.stats().claimed == 0


def test_many_objects_go_in_and_come_out_at_once(make) -> None:
    ring = make("pickle")
    values = [{"number": number, "array": numpy.arange(number)} for number in range(100)]
    assert ring.put_many(values) == 100
    got = ring.get_many()
    assert [value["number"] for value in got] == [*range(100)]
    ring.put_many(value for value in values[:3])
    ring.shutdown()
    assert [value["number"] for value in ring] == [0, 1, 2]
    assert ring.stats().messages_got == 103


class ClosesTheRing:
    ring: shmring.Ring

    def __reduce__(self) -> tuple[object, ...]:
        self.ring.close()
        return str, ()


def test_a_ring_that_is_closed_while_it_encodes_says_so(make) -> None:
    ring = make("pickle")
    ClosesTheRing.ring = ring
    with pytest.raises(shmring.Closed):
        ring.put(ClosesTheRing())


def close_while_decoding() -> str:
    ClosesTheRing.ring.close()
    return "closed"


class ClosesTheRingWhenGot:
    def __reduce__(self) -> tuple[object, ...]:
        return close_while_decoding, ()


def test_a_ring_that_is_closed_while_it_decodes_delivers_first(make) -> None:
    ring = make("pickle")
    ClosesTheRing.ring = ring
    ring.put([ClosesTheRingWhenGot(), numpy.arange(3)])
    assert ring.get()[0] == "closed"
    assert ring.closed


def test_an_array_that_changes_while_it_is_put_is_torn_at_worst(make) -> None:
    ring = make("pickle", capacity="64 MiB")
    array = numpy.zeros(2**20)
    shrinking = bytearray(2**20)
    stop = threading.Event()

    def change() -> None:
        number = 0.0
        while not stop.is_set():
            array[:] = number = number + 1
            try:
                shrinking.append(1)
                del shrinking[-1]
            except BufferError:  # as long as put() holds it
                pass

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(20):
            ring.put({"array": array, "bytes": pickle.PickleBuffer(shrinking)})
            got = ring.get()
            assert got["array"].shape == array.shape
            assert 2**20 <= len(got["bytes"]) <= 2**20 + 1
    finally:
        stop.set()
        thread.join()
