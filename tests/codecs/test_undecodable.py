"""A message that cannot be decoded is not lost, and can be skipped."""

import os
import pickle
import subprocess
import sys
import threading

import numpy
import pytest

import shmring

PUTS_ITS_OWN_CLASS = """
import numpy, shmring, sys
class OnlyHere:
    def __init__(self, extra): self.extra = extra
with shmring.Ring.attach(sys.argv[1]) as ring:
    ring.put(OnlyHere(None))
    ring.put(OnlyHere(numpy.arange(1000)))
    ring.put("good")
"""


def test_a_class_that_cannot_be_imported_is_named_and_its_message_can_be_skipped(name, kind) -> None:
    with shmring.Ring.create(name, kind=kind, codec="pickle", on_dead_peer="wait") as ring:
        subprocess.run([sys.executable, "-c", PUTS_ITS_OWN_CLASS, name], check=True)
        survived, dropped, errors = [], [], []
        while not survived:
            try:
                survived.append(ring.get())
            except shmring.DecodeError as error:
                errors.append(error)
                dropped.append(ring.skip(error))
        assert survived == ["good"]
        assert [type(error.__cause__) for error in errors] == [AttributeError] * 2
        for word in (name, "OnlyHere", "pickle", "skip"):
            assert word in str(errors[0])
        assert [b"OnlyHere" in record for record in dropped] == [True, True]
        stats = ring.stats()
        assert (stats.messages_put, stats.messages_got, stats.messages, stats.taken) == (3, 3, 0, 0)


def poison(ring: shmring.Ring) -> None:
    ring.put(Poison())


class Poison:
    def __reduce__(self) -> tuple[object, ...]:
        return int, ("no number",)


def test_the_next_get_meets_it_again_until_it_is_skipped(make) -> None:
    ring = make("pickle")
    poison(ring)
    ring.put(1)
    for _ in range(3):
        with pytest.raises(shmring.DecodeError, match="no number"):
            ring.get()
    with pytest.raises(shmring.DecodeError), ring.borrow():
        pass
    assert pickle.dumps(Poison()) is not None
    assert b"no number" in ring.skip(timeout=1)
    assert ring.get() == 1
    with pytest.raises(shmring.Empty):
        ring.skip(timeout=0)


def test_a_batch_ends_before_it_and_loses_nothing(make) -> None:
    ring = make("pickle")
    ring.put_many([1, 2])
    poison(ring)
    ring.put(3)
    assert ring.get_many() == [1, 2]
    with pytest.raises(shmring.DecodeError) as error:
        ring.get_many()
    ring.skip(error.value)
    assert ring.get_many() == [3]


def test_it_ends_a_loop_over_the_ring(make) -> None:
    ring = make("pickle")
    poison(ring)
    with pytest.raises(shmring.DecodeError):
        next(ring)


@pytest.mark.parametrize("kind", ["mpmc", "semaphore"], indirect=True)
def test_skip_takes_the_very_message_or_none_when_another_consumer_has_it(make) -> None:
    ring = make("pickle")
    poison(ring)
    poison(ring)
    ring.put("good")
    with pytest.raises(shmring.DecodeError) as first:
        ring.get()
    assert ring.skip(first.value) is not None
    assert ring.skip(first.value) is None
    with pytest.raises(shmring.DecodeError) as second:
        ring.get()
    assert second.value.position != first.value.position
    assert ring.skip(first.value) is None
    assert ring.skip(second.value) is not None
    assert ring.get() == "good"


def test_an_error_about_another_ring_is_refused(make) -> None:
    ring, other = make("pickle"), make("pickle")
    poison(ring)
    with pytest.raises(shmring.DecodeError) as error:
        ring.get()
    with pytest.raises(ValueError, match="another ring"):
        other.skip(error.value)
    copy = pickle.loads(pickle.dumps(error.value))
    assert ring.skip(copy) is not None


def test_consumers_beside_each_other_skip_only_what_is_poison(name) -> None:
    values = 400
    with shmring.Ring.create(name, codec="pickle", on_dead_peer="wait") as ring:
        got: list[int] = []
        skipped: list[bytes] = []

        def consume() -> None:
            with shmring.Ring.attach(name) as mine:
                while True:
                    try:
                        got.append(mine.get())
                    except shmring.DecodeError as error:
                        record = mine.skip(error)
                        if record is not None:
                            skipped.append(record)
                    except shmring.ShutDown:
                        return

        threads = [threading.Thread(target=consume) for _ in range(3)]
        for thread in threads:
            thread.start()
        for number in range(values):
            ring.put(number)
            if number % 4 == 0:
                poison(ring)
        ring.shutdown()
        for thread in threads:
            thread.join()
        assert sorted(got) == [*range(values)]
        assert len(skipped) == values // 4


class Interrupts:
    def __reduce__(self) -> tuple[object, ...]:
        return interrupt, ()


def interrupt() -> None:
    raise KeyboardInterrupt


def test_an_interruption_is_no_decode_error_and_hands_the_message_back(make) -> None:
    ring = make("pickle")
    ring.put([Interrupts(), numpy.arange(100)])
    with pytest.raises(KeyboardInterrupt):
        ring.get()
    assert ring.stats().messages == 1


class ForksWhenGot:
    def __reduce__(self) -> tuple[object, ...]:
        return os.fork, ()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="about fork, which this platform does not have")
def test_a_child_that_is_forked_while_decoding_has_no_part_in_the_message(make) -> None:
    ring = make("pickle")
    for extra in (None, numpy.arange(100)):
        ring.put([ForksWhenGot(), extra])
        try:
            pid = ring.get()[0]
        except shmring.Closed:  # the child's answer: the record is its parent's
            os._exit(7)
        except BaseException:
            os._exit(8)
        assert pid, "the child was given the message as well"
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        assert ring.stats().messages == 0


class Copies:
    """A codec of bytes; those below do what they must not."""

    name = "kept"

    def encode(self, value: bytes, /) -> bytes:
        return value

    def decode(self, record: memoryview, /) -> object:
        return bytes(record)

    def view(self, record: memoryview, /) -> object:
        return self.decode(record)


class Keeps(Copies):
    def decode(self, record: memoryview, /) -> object:
        return record


class KeepsSlice(Copies):
    def decode(self, record: memoryview, /) -> object:
        return {"first": record[:1]}


class KeepsArray(Copies):
    def decode(self, record: memoryview, /) -> object:
        return numpy.frombuffer(record, "uint8")


@pytest.mark.parametrize("codec", [Keeps, KeepsSlice, KeepsArray])
@pytest.mark.parametrize("method", ["get", "get_many"])
def test_an_object_that_refers_to_the_record_is_refused_and_its_room_comes_back(make, codec, method) -> None:
    ring = make(codec(), "64 KiB")
    for _ in range(40):
        ring.put(bytes(10_000), timeout=5)
        with pytest.raises(shmring.DecodeError, match=r"refers to the record.*bytes\(record\).*skip") as error:
            getattr(ring, method)(timeout=5)
        assert isinstance(error.value.__cause__, BufferError)
        assert (ring.stats().taken, ring.stats().messages) == (0, 1)
        assert ring.skip(error.value) == bytes(10_000)


def test_a_view_that_the_codec_has_put_away_hands_the_message_back_when_it_goes(make) -> None:
    away: list[object] = []

    class PutsAway(Copies):
        def decode(self, record: memoryview, /) -> object:
            away.append(record)
            return 1

    ring = make(PutsAway())
    ring.put(b"one")
    with pytest.raises(shmring.DecodeError, match="refers to the record"):
        ring.get()
    assert ring.stats().taken == 1
    with pytest.raises(BufferError, match="still open"):
        ring.close()
    away.clear()
    assert (ring.stats().taken, ring.stats().messages) == (0, 1)


def test_what_a_codec_leaves_to_the_garbage_collector_is_no_reference(make) -> None:
    class LeavesCycles(Copies):
        def decode(self, record: memoryview, /) -> object:
            try:
                raise KeyError
            except KeyError as error:
                kept = error  # its traceback has this frame, and this frame has it
            return bytes(record), repr(kept)

    ring = make(LeavesCycles())
    ring.put(b"one")
    assert ring.get() == (b"one", "KeyError()")
    assert (ring.stats().taken, ring.stats().messages_got) == (0, 1)


class KeepsItsTrouble:
    """Keeps what went wrong while it was unpickled, and so the frames of that time."""

    def __setstate__(self, state: object) -> None:
        try:
            raise KeyError
        except KeyError as error:
            self.error = error


def test_an_object_that_keeps_an_exception_of_its_making_keeps_no_room(make) -> None:
    ring = make("pickle")
    for extra in (None, numpy.arange(1000)):
        made = KeepsItsTrouble()
        made.extra = extra
        ring.put(made)
        got = ring.get()
        assert isinstance(got.error, KeyError)
        assert ring.stats().taken == 0
        with shmring.JoinableQueue() as queue:
            queue.put(made)
            assert isinstance(queue.get().error, KeyError)


@pytest.mark.parametrize(
    ("made", "words"),
    [(None, "'NoneType'"), (5, "'int'"), ("x", "'str'"), ([b"a", 2], "a list with 'int'"), ((x for x in b""), "gener")],
)
def test_what_encode_returns_and_is_no_buffer_is_named_with_what_may_be(make, made, words) -> None:
    class Returns(Copies):
        def encode(self, value: object, /) -> object:
            return made

    ring = make(Returns())
    with pytest.raises(TypeError, match=rf"encode\(\) of codec 'kept' returned .*{words}.*list or tuple of buffers"):
        ring.put(b"")
    assert ring.stats().messages_put == 0
