"""Messages that cannot be put, and messages that cannot be got."""

import pickle
import subprocess
import sys

import pytest

import shmring

PUTS_ITS_OWN_CLASS = """
import shmring, sys
class OnlyHere:
    pass
with shmring.Queue(name=sys.argv[1]) as queue:
    queue.put(OnlyHere())
    queue.put("good")
"""


def test_an_object_that_cannot_be_pickled_raises_at_put(queue) -> None:
    for value in ((number for number in ()), [sys._getframe()]):  # not even dill can
        with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
            queue.put(value)
    assert queue.empty()
    queue.put(1)
    assert queue.get() == 1


def test_a_message_of_an_unknown_class_stays_until_it_is_skipped(name) -> None:
    with shmring.Queue(name=name) as queue:
        subprocess.run([sys.executable, "-c", PUTS_ITS_OWN_CLASS, name], check=True)
        for _ in range(2):
            with pytest.raises(shmring.DecodeError, match=r"OnlyHere.*queue\.skip\(error\)") as error:
                queue.get()
        assert queue.qsize() == 2
        assert b"OnlyHere" in queue.skip(error.value)
        assert queue.skip(error.value) is None
        assert queue.get() == "good"
        with pytest.raises(shmring.Empty):
            queue.skip(timeout=0)


class Poison:
    def __reduce__(self) -> tuple[object, ...]:
        return int, ("no number",)


def test_a_consumer_survives_poison_in_any_ring_of_a_queue(queue) -> None:
    for number in range(100):
        queue.put((number, b"x" * 5000))
        if number % 10 == 0:
            queue.put(Poison())
    got, skipped = [], 0
    while len(got) < 100:
        try:
            got.append(queue.get(timeout=60)[0])
        except shmring.DecodeError as error:
            skipped += queue.skip(error) is not None
    assert got == [*range(100)]
    assert skipped == 10


def test_the_error_names_the_queue_also_where_it_has_grown(name) -> None:
    with shmring.Queue(name=name, capacity="64 KiB") as queue:
        for _ in range(10):
            queue.put(bytes(20_000))
        queue.put(Poison())
        for _ in range(10):
            queue.get()
        with pytest.raises(shmring.DecodeError, match=f"a message of queue '{name}'") as error:
            queue.get()
        queue.skip(error.value)


def test_a_batch_ends_before_poison(queue) -> None:
    queue.put_many([1, 2, Poison(), 3])
    assert queue.get_many() == [1, 2]
    with pytest.raises(shmring.DecodeError) as error:
        queue.get_many()
    queue.skip(error.value)
    assert queue.get_many() == [3]
