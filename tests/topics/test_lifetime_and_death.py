"""Processes that come, go, fork and die: what topics and latest values do about it."""

import multiprocessing
import operator
import pickle
from collections.abc import Callable, Iterator

import pytest

import shmring
from tests.conftest import file_of
from tests.ring.conftest import METHODS, Gate, for_ever, needs_fork


def there(name: str) -> bool:
    return file_of(name).exists()


def test_a_topic_goes_with_its_last_user_when_its_newest_message_was_got(name: str, overflow: str) -> None:
    with shmring.Topic.create(name, overflow=overflow) as topic:
        topic.publish(b"got by somebody")
        with topic.subscribe("oldest") as subscription:
            subscription.get()
    assert not there(name)


def test_a_topic_that_nobody_published_to_goes_as_well(name: str) -> None:
    with shmring.Topic.create(name) as topic, topic.subscribe():
        pass
    assert not there(name)


def test_messages_that_nobody_got_wait_for_a_late_joiner(name: str, overflow: str, start: Callable) -> None:
    def publish() -> None:
        with shmring.Topic.create(name, overflow=overflow) as topic, topic.subscribe("latest"):
            topic.publish_many([b"early", b"bird"])

    start(publish).result()
    assert shmring.inspect(name).messages == 2
    with shmring.Topic.attach(name) as topic, topic.subscribe("oldest") as subscription:
        assert subscription.get_many() == [b"early", b"bird"]
    assert not there(name)


def test_a_killed_reader_has_read_what_it_got(name: str, start: Callable, gate) -> None:
    def read() -> None:
        subscription = shmring.Topic.attach(name).subscribe("oldest")
        subscription.get()
        gate.open()
        for_ever()

    with shmring.Topic.create(name) as topic:
        topic.publish(b"got by the dead")
        child = start(read)
        gate.wait()
        child.kill()
    assert not there(name)


def test_a_persistent_topic_stays(name: str) -> None:
    with shmring.Topic.create(name, persist=True):
        pass
    assert there(name)
    shmring.unlink(name)


def test_those_attached_go_on_after_unlink(name: str) -> None:
    with shmring.Topic.create(name) as topic:
        topic.unlink()
        with topic.subscribe() as subscription:
            topic.publish(b"still here")
            assert subscription.get() == b"still here"


def test_a_subscription_outlives_the_handle_that_made_it(topic: shmring.Topic) -> None:
    with topic.subscribe() as subscription:
        topic.publish(b"before")
        topic.close()
        assert subscription.get() == b"before"
    with pytest.raises(shmring.Closed):
        topic.subscribe()


def test_a_killed_subscriber_holds_nobody_back(start: Callable, gate) -> None:
    with shmring.Topic.create(capacity=16 * 64) as topic:

        def subscribe() -> None:
            subscription = topic.subscribe()
            gate.open()
            for_ever()
            subscription.get()

        child = start(subscribe)
        gate.wait()
        assert topic.publish_many([b"x"] * 100, timeout=0) == 16
        child.kill()
        topic.publish(b"room again")
        assert topic.stats().subscribers == ()


def test_a_publisher_killed_in_a_claim_blocks_nobody(topic: shmring.Topic, start: Callable, gate) -> None:
    def claim() -> None:
        topic.publish(b"whole")
        with topic.claim(100):
            gate.open()
            for_ever()

    with topic.subscribe() as subscription:
        child = start(claim)
        gate.wait()
        child.kill()
        topic.publish(b"next")
        assert [subscription.get(timeout=20), subscription.get(timeout=20)] == [b"whole", b"next"]
        for number in range(50):
            topic.publish(b"%d" % number)
            assert subscription.get() == b"%d" % number


@pytest.fixture(params=["block", "overwrite"])
def told_of_death(request: pytest.FixtureRequest) -> Iterator[shmring.Topic]:
    with shmring.Topic.create(capacity=4096, overflow=request.param, on_dead_peer="raise") as made:
        yield made


def publishes_and_dies(topic: shmring.Topic, start: Callable, gate) -> int:
    """Return the pid of a publisher that was killed after its one message."""

    def publish() -> None:
        topic.publish(b"last words")
        gate.open()
        for_ever()

    child = start(publish)
    gate.wait()
    child.kill()
    return child.pid


def test_when_every_publisher_has_died_a_subscriber_may_be_told(told_of_death, start: Callable, gate) -> None:
    with told_of_death.subscribe() as subscription:
        pid = publishes_and_dies(told_of_death, start, gate)
        assert subscription.get() == b"last words"
        with pytest.raises(shmring.PeerDied, match=f"pid {pid}"):
            subscription.get()


def test_a_subscriber_waits_for_who_may_publish_yet(told_of_death, start: Callable, gate) -> None:
    """Another has the topic, and has not published so far: nobody's death makes the topic fall silent."""
    other = Gate()

    def publish_later() -> None:
        gate.open()
        other.wait()
        told_of_death.publish(b"from another")

    with told_of_death.subscribe() as subscription:
        living = start(publish_later)
        gate.wait()
        publishes_and_dies(told_of_death, start, gate)
        assert subscription.get() == b"last words"
        with pytest.raises(shmring.Empty):
            subscription.get(timeout=0.2)
        other.open()
        assert subscription.get() == b"from another"
        living.result()
    other.close()


def test_a_subscriber_waits_on_when_its_publishers_have_died(topic: shmring.Topic, start: Callable, gate) -> None:
    with topic.subscribe() as subscription:
        publishes_and_dies(topic, start, gate)
        assert subscription.get() == b"last words"
        with pytest.raises(shmring.Empty):
            subscription.get(timeout=0.2)
        start(lambda: topic.publish(b"from a successor")).result()
        assert subscription.get() == b"from a successor"


@needs_fork
def test_a_forked_copy_goes_on_by_itself_and_holds_nobody_up_unused(start: Callable) -> None:
    with shmring.Topic.create(capacity=16 * 64) as topic, topic.subscribe() as subscription:
        topic.publish_many([b"0", b"1", b"2"])
        assert subscription.get() == b"0"
        unused = start(for_ever)
        assert start(subscription.get).result() == b"1"
        assert subscription.get_many() == [b"1", b"2"]
        for _ in range(100):
            topic.publish(b"x", timeout=10)
            subscription.get()
        unused.kill()


@needs_fork
def test_a_forked_copy_that_is_used_late_counts_what_it_lost(start: Callable, gate) -> None:
    with shmring.Topic.create(capacity=16 * 64) as topic, topic.subscribe() as subscription:

        def late() -> tuple[bytes, int]:
            gate.wait()
            return subscription.get(), subscription.lost

        child = start(late)
        for number in range(100):
            topic.publish(b"%d" % number)
            subscription.get()
        oldest = topic.stats().oldest
        gate.open()
        assert child.result() == (b"%d" % oldest, oldest)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("anonymous", [True, False], ids=["anonymous", "named"])
def test_handles_are_arguments_of_processes(name: str, method: str, anonymous: bool) -> None:
    context = multiprocessing.get_context(method)

    def run(call: operator.methodcaller, handle: object) -> None:
        child = context.Process(target=call, args=(handle,))
        child.start()
        child.join()
        assert child.exitcode == 0
        child.close()

    with shmring.Topic.create(None if anonymous else name) as topic, topic.subscribe() as subscription:
        run(operator.methodcaller("publish", b"from a child"), topic)
        assert subscription.get(timeout=0) == b"from a child"
    with shmring.Latest.create(None if anonymous else name, size=64) as cell:
        run(operator.methodcaller("set", b"from a child"), cell)
        assert cell.get() == b"from a child"


def test_a_subscription_is_not_sent_but_made_where_it_is_used(topic: shmring.Topic) -> None:
    with topic.subscribe() as subscription, pytest.raises(TypeError, match="send the topic, and subscribe there"):
        pickle.dumps(subscription)


def test_every_subscriber_gets_everything_while_others_come_go_and_die(start: Callable, gate) -> None:
    count = 3000
    with shmring.Topic.create(capacity="16 KiB") as topic:

        def read_all() -> list[int]:
            with topic.subscribe() as subscription:
                gate.open()
                return [int(message) for message in subscription]

        def come_and_go() -> None:
            while True:
                with topic.subscribe("oldest") as subscription:
                    subscription.get()

        readers = [start(read_all) for _ in range(3)]
        for _ in readers:
            gate.wait()
        passers = [start(come_and_go) for _ in range(2)]
        for number in range(count):
            topic.publish(b"%d" % number)
            if number == count // 2:
                passers[0].kill()
        passers[1].kill()
        topic.shutdown()
        assert [reader.result() for reader in readers] == [list(range(count))] * 3
