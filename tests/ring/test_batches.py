"""put_many and publish_many: what does not go in stays with the caller, and every exception says how many went in."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import shmring

KINDS = ("spsc", "mpmc", "semaphore", "topic")


@pytest.fixture(params=KINDS)
def ends(request: pytest.FixtureRequest) -> Iterator[tuple[Callable[..., int], Any, Any]]:
    """Return the call that puts many, what it belongs to, and who reads, for 4096 bytes of each kind."""
    if request.param == "topic":
        with shmring.Topic.create(capacity=4096, codec="pickle") as topic, topic.subscribe() as subscription:
            yield topic.publish_many, topic, subscription
    else:
        with shmring.Ring.create(capacity=4096, kind=request.param, codec="pickle") as ring:
            yield ring.put_many, ring, ring


def drained(reader: Any) -> list[Any]:
    found: list[Any] = []
    try:
        while True:
            found.append(reader.get(timeout=0))
    except shmring.Empty:
        return found


def test_nothing_is_taken_from_an_iterator_that_does_not_go_in(ends) -> None:
    put_many, _, reader = ends
    stream, found = iter(range(1000)), []
    while len(found) < 1000:
        sent = put_many(stream, timeout=0.01)
        assert sent == 64
        found += drained(reader)
        if len(found) == 960:
            break
    assert found == list(range(960))
    assert next(stream) == 960


def test_an_item_that_was_taken_and_has_no_room_is_in_the_exception(ends) -> None:
    """There was room for something when the iterator was asked, and what it gave was larger."""
    put_many, _, reader = ends
    large = "x" * 1900
    stream = iter([large, large, "small", large, "after"])
    with pytest.raises(shmring.Full, match=r"3 message\(s\) of this call went in before") as caught:
        put_many(stream, timeout=0.01)
    assert (caught.value.sent, caught.value.unsent) == (3, large)
    assert drained(reader) == [large, large, "small"]
    assert list(stream) == ["after"]


def test_a_list_says_by_its_count_where_to_go_on(ends) -> None:
    put_many, _, reader = ends
    items = list(range(100))
    assert put_many(items, timeout=0) == 64
    with pytest.raises(shmring.Full, match="0 message") as caught:
        put_many(items[64:], timeout=0)
    assert (caught.value.sent, caught.value.unsent) == (0, 64)
    assert drained(reader) == items[:64]
    assert put_many(items[64:]) == 36


class Unpicklable:
    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("not this one")


@pytest.mark.parametrize("made_of", [list, tuple, iter], ids=["list", "tuple", "iterator"])
def test_an_item_that_is_no_message_is_in_the_exception_with_how_many_went_in(ends, made_of: Callable) -> None:
    put_many, _, reader = ends
    odd = Unpicklable()
    with pytest.raises(TypeError, match="not this one") as caught:
        put_many(made_of([1, 2, odd, 3]))
    assert (caught.value.sent, caught.value.unsent) == (2, odd)
    assert any("2 message(s) of this call went in before" in note for note in caught.value.__notes__)
    assert drained(reader) == [1, 2]


def test_what_an_iterator_raises_is_raised_with_how_many_went_in(ends) -> None:
    put_many, _, reader = ends

    def fails() -> Iterator[int]:
        yield from (1, 2, 3)
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more") as caught:
        put_many(fails())
    assert caught.value.sent == 3
    assert not hasattr(caught.value, "unsent")
    assert drained(reader) == [1, 2, 3]


def test_a_message_that_can_never_fit_says_how_many_went_in(ends) -> None:
    put_many, _, reader = ends
    with pytest.raises(shmring.MessageTooLong, match=r"1 message\(s\) of this call went in before") as caught:
        put_many(iter(["fits", "x" * 5000]))
    assert (caught.value.sent, caught.value.unsent) == (1, "x" * 5000)
    assert drained(reader) == ["fits"]


def test_a_shutdown_in_the_middle_says_how_many_went_in(ends) -> None:
    put_many, owner, reader = ends

    def ends_it() -> Iterator[int]:
        yield from (1, 2)
        owner.shutdown()
        yield 3

    with pytest.raises(shmring.ShutDown, match=r"2 message\(s\)") as caught:
        put_many(ends_it())
    assert (caught.value.sent, caught.value.unsent) == (2, 3)
    assert [*reader] == [1, 2]


def test_the_end_in_the_middle_says_how_many_went_in(ends) -> None:
    put_many, owner, _ = ends

    def closes_it() -> Iterator[int]:
        yield 1
        owner.close()
        yield 2

    with pytest.raises(shmring.Closed, match=r"1 message\(s\)") as caught:
        put_many(closes_it())
    assert (caught.value.sent, caught.value.unsent) == (1, 2)


def test_an_iterator_that_is_empty_puts_nothing_even_where_there_is_no_room(ends) -> None:
    put_many, _, reader = ends
    assert put_many(iter(())) == 0
    put_many([0] * 64)
    with pytest.raises(shmring.Full):
        put_many(iter(()), timeout=0)
    assert drained(reader) == [0] * 64
