"""Queues in an event loop, against processes that block."""

import asyncio
import contextlib
import os
import random
import signal

import pytest
from tasks import waiting

import shmring
from tests.ring.conftest import kill_myself, needs_signals


def echo(there: shmring.Queue, back: shmring.Queue) -> None:
    while (obj := there.get()) != "stop":
        back.put(obj)


@pytest.mark.usefixtures("no_second_look")
@pytest.mark.parametrize("kind", [shmring.Queue, shmring.JoinableQueue, shmring.SimpleQueue])
def test_objects_go_to_a_process_that_blocks_and_come_back(kind: type, start) -> None:
    async def main() -> None:
        async with kind(capacity=4096) as there, kind(capacity=4096) as back:
            child = start(echo, there, back)
            for number in range(500):
                await there.aput({"number": number})
                assert await back.aget(timeout=20) == {"number": number}
            await there.aput("stop")
            child.result()

    asyncio.run(main())


@pytest.mark.usefixtures("no_second_look")
def test_a_queue_that_has_grown_is_got_in_order(start) -> None:
    def fill(queue: shmring.Queue) -> None:
        for number in range(300):
            queue.put((number, bytes(1000)))

    async def main() -> None:
        async with shmring.Queue(capacity=4096) as queue:
            task = await waiting(queue.aget())
            child = start(fill, queue)
            assert (await task)[0] == 0
            for number in range(1, 300):
                found, _ = await queue.aget(timeout=20)
                assert found == number
            child.result()
            for number in range(100):
                await queue.aput((number, bytes(1000)))
            large = os.urandom(1 << 20)
            await queue.aput(large)
            assert [(await queue.aget())[0] for _ in range(100)] == list(range(100))
            assert await queue.aget() == large

    asyncio.run(main())


@pytest.mark.usefixtures("no_second_look")
def test_a_full_queue_makes_a_task_wait_and_its_timeout_says_full() -> None:
    async def main() -> None:
        async with shmring.Queue(2) as queue:
            await queue.aput(1)
            await queue.aput(2)
            with pytest.raises(shmring.Full, match="maxsize 2"):
                await queue.aput(3, timeout=0.05)
            with pytest.raises(shmring.Full):
                await queue.aput(3, timeout=0)
            task = await waiting(queue.aput(3))
            assert await queue.aget() == 1
            await task
            assert [await queue.aget(), await queue.aget()] == [2, 3]
            with pytest.raises(shmring.Empty):
                await queue.aget(timeout=0.01)

    asyncio.run(main())


@pytest.mark.usefixtures("no_second_look")
def test_cancelled_waits_lose_and_double_nothing(start) -> None:
    count = 1500

    def fill(queue: shmring.Queue) -> None:
        for number in range(count):
            queue.put(number)

    async def main() -> None:
        dice = random.Random(3)
        async with shmring.Queue(8) as queue:
            child = start(fill, queue)
            found: list[int] = []
            while len(found) < count:
                task = asyncio.create_task(queue.aget())
                for _ in range(dice.randrange(8)):
                    await asyncio.sleep(0)
                if dice.random() < 0.5:
                    task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    found.append(await task)
            assert found == list(range(count))
            child.result()

    asyncio.run(main())


def test_dead_peers_reach_a_task_that_wants_to_know(start) -> None:
    def die(queue: shmring.Queue) -> None:
        queue.put("last words")
        kill_myself()

    async def main() -> None:
        async with shmring.Queue(on_dead_peer="raise") as queue:
            task = await waiting(queue.aget())
            child = start(die, queue)
            assert await task == "last words"
            with pytest.raises(shmring.PeerDied, match=str(child.pid)):
                await queue.aget()
            child.abandon()

    asyncio.run(main())


def test_async_for_ends_when_the_queue_is_closed() -> None:
    async def main() -> list[int]:
        queue = shmring.Queue()

        async def collect() -> list[int]:
            return [obj async for obj in queue]

        task = await waiting(collect())
        for number in range(3):
            queue.put(number)
        while not queue.empty():
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        queue.close()
        return await task

    assert asyncio.run(main()) == [0, 1, 2]


@needs_signals
def test_a_loop_does_not_stand_still_for_a_process_that_is_stopped_inside_the_lock(start) -> None:
    def stop_inside(queue: shmring.Queue) -> None:
        with queue._chain.control.lock():
            os.kill(os.getpid(), signal.SIGSTOP)

    async def main() -> None:
        async with shmring.Queue(capacity=4096) as queue:
            child = start(stop_inside, queue)
            os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOWAIT)
            tasks = [asyncio.create_task(queue.aput((number, bytes(1000)))) for number in range(20)]
            turns = 0
            while turns < 20 and not all(task.done() for task in tasks):
                await asyncio.sleep(0)
                turns += 1
            assert not all(task.done() for task in tasks), "nothing needed the lock"
            with contextlib.suppress(shmring.Empty):
                while True:
                    await queue.aget(timeout=0.1)
            os.kill(child.pid, signal.SIGCONT)
            await asyncio.gather(*tasks)
            child.result()

    asyncio.run(main())
