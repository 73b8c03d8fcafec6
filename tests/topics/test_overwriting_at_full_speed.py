"""Publishers that never wait beside subscribers that cannot keep up: what is got is whole, what is lost is counted."""

import os
import signal
from collections.abc import Callable

import pytest

import shmring
from tests.ring.conftest import Gate, needs_signals


@needs_signals
@pytest.mark.parametrize(("length", "capacity"), [(8, "4 KiB"), (5000, "64 KiB"), (300_000, "2 MiB")])
def test_what_is_got_and_what_is_lost_add_up_to_what_was_published(
    start: Callable, gate: Gate, length: int, capacity: str
) -> None:
    count = 2_000_000 // (length + 100)
    with shmring.Topic.create(capacity=capacity, overflow="overwrite") as topic:
        # From the start of it all, so that the sum is known.
        watchers = [topic.subscribe("oldest") for _ in range(2)]

        def watch(subscription: shmring.Subscription) -> tuple[int, int]:
            got, last = 0, {0: -1, 1: -1}
            for message in subscription:
                assert len(message) == length
                assert message == message[:8] * (length // 8) + message[: length % 8], "parts of two messages"
                number, publisher = int.from_bytes(message[:7], "little"), message[7]
                assert number > last[publisher], "out of order, or twice"
                last[publisher] = number
                got += 1
                if got == 1 and subscription is watchers[0]:
                    gate.open()
            return got, subscription.lost

        def publish(publisher: int) -> None:
            for number in range(count):
                head = number.to_bytes(7, "little") + bytes([publisher])
                topic.publish(head * (length // 8) + head[: length % 8])

        children = [start(watch, each) for each in watchers]
        publishers = [start(publish, number) for number in range(2)]
        gate.wait()  # who is stopped as he attaches holds up others who attach
        for _ in range(5):
            os.kill(children[0].pid, signal.SIGSTOP)
            before = topic.stats().next
            while topic.stats().next == before and before < 2 * count:
                continue
            os.kill(children[0].pid, signal.SIGCONT)
        for publisher in publishers:
            publisher.result()
        topic.shutdown()
        for child in children:
            got, lost = child.result()
            assert got + lost == 2 * count
            assert got > 0
        for each in watchers:
            each.close()


def test_a_borrow_beside_a_publisher_at_full_speed_is_whole_or_told(start: Callable) -> None:
    with shmring.Topic.create(capacity="4 KiB", overflow="overwrite") as topic:

        def publish() -> None:
            for number in range(100_000):
                topic.publish(number.to_bytes(8, "little") * 50)
            topic.shutdown()

        with topic.subscribe() as subscription:
            publisher = start(publish)
            whole = told = 0
            while True:
                try:
                    with subscription.borrow() as view:
                        message = bytes(view)
                    assert message == message[:8] * 50
                    whole += 1
                except shmring.Overwritten:
                    told += 1
                except shmring.ShutDown:
                    break
            publisher.result()
            assert whole + subscription.lost == 100_000
            assert whole > 0
