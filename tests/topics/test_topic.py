"""A topic as its users see it: who gets what, from where, and what happens when there is no room."""

import re
import threading
from collections.abc import Callable

import pytest

import shmring


def numbered(count: int, first: int = 0) -> list[bytes]:
    return [b"%d" % number for number in range(first, first + count)]


def test_every_subscriber_gets_every_message_in_order(topic: shmring.Topic, drain: Callable) -> None:
    with topic.subscribe() as first, topic.subscribe() as second:
        topic.publish_many(numbered(10))
        assert drain(first) == drain(second) == numbered(10)


def test_a_subscriber_starts_at_the_latest_the_oldest_or_a_number(topic: shmring.Topic, drain: Callable) -> None:
    topic.publish_many(numbered(5))
    with topic.subscribe() as latest, topic.subscribe("oldest") as oldest, topic.subscribe(3) as third:
        assert (latest.sequence, oldest.sequence, third.sequence) == (5, 0, 3)
        topic.publish(b"new")
        assert drain(latest) == [b"new"]
        assert drain(oldest) == [*numbered(5), b"new"]
        assert drain(third) == [b"3", b"4", b"new"]


def test_a_number_carries_on_where_another_subscription_stopped(topic: shmring.Topic) -> None:
    with topic.subscribe() as before:
        topic.publish_many(numbered(4))
        assert [before.get(), before.get()] == numbered(2)
        with topic.subscribe(before.sequence) as after:
            assert after.get() == b"2"


def test_the_number_of_the_next_message_is_a_start_as_well(topic: shmring.Topic) -> None:
    topic.publish(b"old")
    with topic.subscribe(1) as subscription:
        topic.publish(b"new")
        assert subscription.get() == b"new"


def test_without_a_subscriber_publishing_never_waits_and_the_newest_stay(topic: shmring.Topic, drain: Callable) -> None:
    for message in numbered(100):
        topic.publish(message, timeout=0)
    with topic.subscribe("oldest") as late:
        assert drain(late) == numbered(16, first=84)
        assert late.lost == 0


@pytest.mark.parametrize("start", [None, 1.5, b"oldest", [3]], ids=str)
def test_a_start_of_another_type_is_named_with_what_it_may_be(topic: shmring.Topic, start: object) -> None:
    words = rf"start is {re.escape(repr(start))}, of type '{type(start).__name__}'; it is 'latest', 'oldest' or the num"
    with pytest.raises(TypeError, match=words):
        topic.subscribe(start)  # type: ignore[arg-type]


@pytest.mark.parametrize("gone", [0, 83])
def test_a_message_that_is_gone_is_named_with_those_that_are_there(topic: shmring.Topic, gone: int) -> None:
    topic.publish_many(numbered(100))
    with pytest.raises(ValueError, match=rf"start is {gone}, .* is gone: 84 to 99 are there, and 100 comes next"):
        topic.subscribe(gone)
    assert topic.stats().subscribers == ()


def test_a_message_of_the_future_is_named_with_those_that_are_there(topic: shmring.Topic) -> None:
    with pytest.raises(ValueError, match=r"start is 1, .* has not been published: none is there, and 0 comes next"):
        topic.subscribe(1)
    topic.publish(b"")
    with pytest.raises(ValueError, match="has not been published: 0 to 0 are there, and 1 comes next"):
        topic.subscribe(2)


@pytest.mark.parametrize("start", ["first", -1, True, 2**64])
def test_another_start_is_refused(topic: shmring.Topic, start: object) -> None:
    with pytest.raises(ValueError, match="'latest', 'oldest' or the number of a message"):
        topic.subscribe(start)  # type: ignore[arg-type]


def test_a_slow_subscriber_holds_publishers_back_and_is_named() -> None:
    with shmring.Topic.create(capacity=16 * 64) as topic, topic.subscribe() as slow, topic.subscribe() as fast:
        assert topic.publish_many(numbered(100), timeout=0) == 16
        assert fast.get_many() == numbered(16)
        with pytest.raises(shmring.Full, match=r"slowest subscriber, pid \d+, has yet to get 16 message"):
            topic.publish(b"no room", timeout=0.01)
        lags = {each.slot: each.lag for each in topic.stats().subscribers}
        assert sorted(lags.values()) == [0, 16]
        assert [slow.get() for _ in range(4)] == numbered(4)
        assert topic.publish_many(numbered(100), timeout=0) == 4
        assert slow.lost == fast.lost == 0


def test_a_subscriber_that_leaves_lets_a_waiting_publisher_go_on() -> None:
    with shmring.Topic.create(capacity=16 * 64) as topic:
        slow = topic.subscribe()
        topic.publish_many(numbered(16))
        waiting = threading.Thread(target=topic.publish, args=(b"at last",))
        waiting.start()
        slow.close()
        waiting.join()
        assert topic.stats().next == 17


def test_a_subscriber_that_was_lapped_learns_exactly_what_it_lost(drain: Callable) -> None:
    with shmring.Topic.create(capacity=16 * 64, overflow="overwrite") as topic, topic.subscribe() as slow:
        topic.publish_many(numbered(3))
        assert [slow.get(), slow.lost] == [b"0", 0]
        topic.publish_many(numbered(100, first=3))
        got = drain(slow)
        assert got == numbered(16, first=103 - 16)
        assert slow.lost == 103 - 1 - 16
        (told,) = topic.stats().subscribers
        assert (told.lost, told.lag, told.messages_got) == (slow.lost, 0, 17)


def test_claims_that_came_to_nothing_are_not_messages(topic: shmring.Topic, drain: Callable) -> None:
    with topic.subscribe() as subscription:
        for message in numbered(5):
            with pytest.raises(KeyError), topic.claim(10):
                raise KeyError
            with topic.claim(len(message)) as buffer:
                buffer[:] = message
        assert drain(subscription) == numbered(5)
        assert subscription.sequence == topic.stats().next == 5
        assert topic.stats().aborted == 5


def test_lost_counts_messages_and_not_claims_that_came_to_nothing(drain: Callable) -> None:
    with shmring.Topic.create(capacity=16 * 64, overflow="overwrite") as topic, topic.subscribe() as slow:
        for message in numbered(50):
            topic.publish(message)
            with pytest.raises(KeyError), topic.claim(100):
                raise KeyError
        got = drain(slow)
        assert got == numbered(50)[-len(got) :]
        assert slow.lost == 50 - len(got)


def test_a_borrowed_message_that_was_overwritten_is_told_on_leaving() -> None:
    with shmring.Topic.create(capacity=16 * 64, overflow="overwrite") as topic, topic.subscribe() as subscription:
        topic.publish(b"short-lived")
        with pytest.raises(shmring.Overwritten, match="11 bytes was overwritten"), subscription.borrow():
            topic.publish_many(numbered(100))
        assert subscription.get() == b"84"
        assert subscription.lost == 1 + 84


def test_a_borrowed_message_that_stayed_is_got(topic: shmring.Topic) -> None:
    with topic.subscribe() as subscription:
        topic.publish_many([b"first", b"second"])
        with subscription.borrow() as view:
            assert bytes(view) == b"first"
        with pytest.raises(KeyError), subscription.borrow():
            raise KeyError  # handed back: it is the next one again
        buffer = bytearray(6)
        assert subscription.get_into(buffer) == 6
        assert buffer == b"second"


def test_a_message_too_long_for_the_buffer_stays(topic: shmring.Topic) -> None:
    with topic.subscribe() as subscription:
        topic.publish(b"long message")
        with pytest.raises(ValueError, match="12 bytes and the buffer room for 3"):
            subscription.get_into(bytearray(3))
        assert subscription.get() == b"long message"


def test_a_topic_that_was_shut_down_is_read_to_its_end(topic: shmring.Topic) -> None:
    with topic.subscribe() as subscription:
        topic.publish_many(numbered(3))
        topic.shutdown()
        with pytest.raises(shmring.ShutDown):
            topic.publish(b"too late")
        assert list(subscription) == numbered(3)
        with pytest.raises(shmring.ShutDown):
            subscription.get()


def test_an_immediate_shutdown_leaves_nothing_to_get(topic: shmring.Topic) -> None:
    with topic.subscribe() as subscription:
        topic.publish(b"dropped")
        topic.shutdown(immediate=True)
        with pytest.raises(shmring.ShutDown):
            subscription.get()


def test_shutdown_and_close_wake_whoever_waits(topic: shmring.Topic) -> None:
    told: list[type] = []

    def wait(subscription: shmring.Subscription) -> None:
        try:
            subscription.get()
        except shmring.ShmringError as error:
            told.append(type(error))

    first, second = topic.subscribe(), topic.subscribe()
    threads = [threading.Thread(target=wait, args=(each,)) for each in (first, second)]
    for thread in threads:
        thread.start()
    first.close()
    threads[0].join()
    topic.shutdown()
    threads[1].join()
    second.close()
    assert told == [shmring.Closed, shmring.ShutDown]


def test_one_subscription_is_for_one_thread_at_a_time(topic: shmring.Topic) -> None:
    with topic.subscribe() as subscription:
        topic.publish_many([b"borrowed", b"next"])
        with subscription.borrow(), pytest.raises(shmring.Busy, match="a subscription of its own"):
            subscription.get(timeout=0)


def test_messages_of_every_length_pass_through(topic: shmring.Topic) -> None:
    with topic.subscribe() as subscription:
        for length in [0, 1, 63, 64, 65, 200, 512] * 20:
            message = bytes(range(256)) * 2
            topic.publish(message[:length], timeout=0)
            assert subscription.get(timeout=0) == message[:length]
        with pytest.raises(shmring.MessageTooLong, match="at most 512"):
            topic.publish(bytes(513))
        assert subscription.lost == 0


def test_a_topic_is_no_ring_and_no_latest_value(name: str) -> None:
    with shmring.Topic.create(name):
        for other in (shmring.Ring, shmring.Latest):
            with pytest.raises(shmring.LayoutMismatch, match=r"kind 'topic'; use shmring\.Topic"):
                other.attach(name)
    with shmring.Ring.create(name), pytest.raises(shmring.LayoutMismatch, match=r"use shmring\.Ring"):
        shmring.Topic.attach(name)


def test_open_attaches_or_creates_and_checks_what_it_was_asked_for(name: str) -> None:
    with shmring.Topic.open(name, capacity="64 KiB", overflow="overwrite") as made:
        with shmring.Topic.open(name) as found:
            assert (found.overflow, found.capacity) == ("overwrite", 65536)
        with pytest.raises(shmring.LayoutMismatch, match="overflow 'overwrite', not 'block'"):
            shmring.Topic.open(name, overflow="block")
        with pytest.raises(FileExistsError):
            shmring.Topic.create(name)
        assert made.overflow == "overwrite"
    with pytest.raises(ValueError, match=r"'block' .* or 'overwrite'"):
        shmring.Topic.create(overflow="drop")  # type: ignore[arg-type]


def test_stats_count_exactly(overflow: str, drain: Callable) -> None:
    with shmring.Topic.create(capacity="4 KiB", overflow=overflow) as topic, topic.subscribe() as subscription:
        topic.publish_many([b"x" * 100] * 7)
        assert len(drain(subscription)) == 7
        stats = topic.stats()
        assert (stats.messages_published, stats.bytes_published, stats.messages_got) == (7, 700, 7)
        assert (stats.messages, stats.oldest, stats.next, stats.used, stats.lost) == (7, 0, 7, 7 * 128, 0)


def test_the_command_line_and_inspect_know_topics(name: str) -> None:
    with shmring.Topic.create(name) as topic, topic.subscribe() as subscription:
        topic.publish(b"one")
        subscription.get()
        info = shmring.inspect(name)
        assert (info.kind, info.messages, info.messages_put, info.messages_got) == ("topic", 1, 1, 1)
        assert sorted(each.role for each in info.attachments) == ["consumer", "producer"]


@pytest.mark.parametrize("codec", ["pickle", "numpy", "msgspec"])
def test_objects_are_messages_too(overflow: str, codec: str) -> None:
    numpy = pytest.importorskip("numpy")
    if codec == "msgspec":
        pytest.importorskip("msgspec")
    value = [1, "two"] if codec != "numpy" else numpy.arange(1000.0)
    with (
        shmring.Topic.create(capacity="1 MiB", codec=codec, overflow=overflow) as topic,
        topic.subscribe() as subscription,
    ):
        topic.publish_many([value, value])
        got = subscription.get()
        assert list(got) == list(value)
        with subscription.borrow() as seen:
            assert list(seen) == list(value)
        del seen


def test_a_message_that_cannot_be_decoded_is_skipped(overflow: str, drain: Callable) -> None:
    class Fussy:
        name = "fussy"

        def encode(self, value: bytes) -> bytes:
            return value

        def decode(self, record: memoryview) -> bytes:
            if bytes(record) == b"bad":
                raise LookupError("bad")
            return bytes(record)

        view = decode

    with shmring.Topic.create(codec=Fussy(), overflow=overflow) as topic, topic.subscribe() as subscription:
        topic.publish_many([b"bad", b"good"])
        for _ in range(2):
            with pytest.raises(shmring.DecodeError, match=r"subscription\.skip\(error\)") as caught:
                subscription.get()
        assert subscription.skip(caught.value) == b"bad"
        assert drain(subscription) == [b"good"]
        assert subscription.lost == 0
