"""Topics and latest values in an event loop: they wait there as they block elsewhere, and lose nothing."""

import asyncio

import pytest
from tasks import waiting

import shmring
from tests.ring.conftest import kill_myself

COUNT = 3000


@pytest.fixture
def no_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a wake that is lost be lost for good, where else a waiter looks up every 50 ms."""
    monkeypatch.setattr("shmring.aio.waiting.LOOK_UP_SECONDS", 3600)


@pytest.mark.usefixtures("no_second_look")
def test_every_subscriber_awaits_every_message_of_another_process(start) -> None:
    async def main() -> None:
        topic = shmring.Topic.create(capacity="4 KiB")
        async with topic, topic.subscribe() as one, topic.subscribe() as two:

            def publish() -> None:
                for number in range(COUNT):
                    topic.publish(b"%d" % number)
                topic.shutdown()

            publisher = start(publish)
            expected = [b"%d" % number for number in range(COUNT)]

            async def all_of(subscription: shmring.Subscription) -> list[bytes]:
                return [message async for message in subscription]

            assert await asyncio.gather(all_of(one), all_of(two)) == [expected, expected]
            publisher.result()

    asyncio.run(main())


@pytest.mark.usefixtures("no_second_look")
def test_a_publisher_awaits_the_slowest_subscriber() -> None:
    async def main() -> None:
        with shmring.Topic.create(capacity=4 * 64) as topic, topic.subscribe() as subscription:
            topic.publish_many([b"1", b"2", b"3", b"4"])
            task = await waiting(topic.apublish(b"5"))
            assert subscription.get() == b"1"
            await task
            with pytest.raises(shmring.Full):
                await topic.apublish(b"6", timeout=0.01)
            cancelled = await waiting(topic.apublish(b"never"))
            cancelled.cancel()
            await asyncio.wait([cancelled])
            assert subscription.get_many() == [b"2", b"3", b"4", b"5"]
            async with topic.aclaim(3) as buffer:
                buffer[:] = b"six"
            async with subscription.aborrow() as view:
                assert bytes(view) == b"six"

    asyncio.run(main())


def test_a_cancelled_subscriber_has_missed_nothing() -> None:
    async def main() -> None:
        with shmring.Topic.create() as topic, topic.subscribe() as subscription:
            task = await waiting(subscription.aget())
            task.cancel()
            topic.publish(b"for later")
            await asyncio.wait([task])
            assert task.cancelled()
            assert await subscription.aget() == b"for later"
            with pytest.raises(shmring.Empty):
                await subscription.aget(timeout=0.01)

    asyncio.run(main())


def test_a_lapped_subscriber_learns_in_a_loop_what_it_lost() -> None:
    async def main() -> None:
        with shmring.Topic.create(capacity=4 * 64, overflow="overwrite") as topic, topic.subscribe() as subscription:
            for number in range(10):
                await topic.apublish(b"%d" % number)
            got = await subscription.aget()
            assert int(got) == subscription.lost > 0

    asyncio.run(main())


def test_a_subscriber_whose_publishers_were_killed_is_told(start) -> None:
    async def main() -> None:
        with shmring.Topic.create(on_dead_peer="raise") as topic, topic.subscribe() as subscription:

            def publish_and_die() -> None:
                topic.publish(b"the last")
                kill_myself()

            publisher = start(publish_and_die)
            assert await subscription.aget() == b"the last"
            with pytest.raises(shmring.PeerDied):
                await subscription.aget()
            publisher.abandon()

    asyncio.run(main())


@pytest.mark.usefixtures("no_second_look")
def test_a_newer_value_is_awaited(start) -> None:
    async def main() -> None:
        async with shmring.Latest.create(size=64) as there, shmring.Latest.create(size=64) as back:

            def answer() -> None:
                version = 0
                for _ in range(500):
                    version = there.wait_newer(version)
                    back.set(there.get())

            other = start(answer)
            for number in range(1, 501):
                await there.aset(b"%d" % number)
                assert await back.await_newer(number - 1) == number
                assert back.get() == await back.aget() == b"%d" % number
            other.result()

    asyncio.run(main())


@pytest.mark.usefixtures("no_second_look")
def test_all_who_await_a_value_get_it() -> None:
    async def main() -> None:
        with shmring.Latest.create(size=64) as cell:
            firsts = [await waiting(cell.aget()) for _ in range(3)]
            cell.set(b"first")
            assert await asyncio.gather(*firsts) == [b"first"] * 3
            newer = [await waiting(cell.await_newer(1)) for _ in range(3)]
            cell.set(b"second")
            assert await asyncio.gather(*newer) == [2] * 3
            with pytest.raises(shmring.Empty):
                await cell.await_newer(2, timeout=0.01)
            ended = await waiting(cell.await_newer(2))
            cell.shutdown()
            with pytest.raises(shmring.ShutDown):
                await ended

    asyncio.run(main())
