"""Waiting in an event loop: what it costs, and that a wait which is given up takes nothing."""

import asyncio
import contextlib
import gc
import random
import time
from collections.abc import Callable
from typing import Any

import pytest
from tasks import waiting

import shmring
from tests.ring.loops import TICKS, bells, needs_proc, no_thread_left, watching_threads

# --- what waiting costs ---


@needs_proc
def test_any_number_of_waits_takes_one_thread_and_it_goes_when_they_do(run: Callable) -> None:
    async def main() -> None:
        await no_thread_left()
        rings = [shmring.Ring.create(capacity=4096) for _ in range(5)]
        tasks = [await waiting(ring.aget()) for ring in rings for _ in range(20)]
        assert watching_threads() == 1
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for ring in rings:
            ring.close()
        await no_thread_left()

    run(main())


@needs_proc
def test_the_descriptor_is_there_only_while_somebody_waits(ring: shmring.Ring, run: Callable) -> None:
    async def main() -> None:
        before = len(bells())
        tasks = [await waiting(ring.aget()) for _ in range(3)]
        assert len(bells()) == before + 1
        ring.put_many([b"1", b"2", b"3"])
        await asyncio.gather(*tasks)
        while len(bells()) > before:
            await asyncio.sleep(TICKS)

    run(main())


def test_an_idle_wait_costs_almost_no_cpu(ring: shmring.Ring, run: Callable) -> None:
    before = time.process_time()
    with pytest.raises(shmring.Empty):
        run(ring.aget(timeout=2))
    spent = time.process_time() - before
    assert spent < 0.5, "a quarter of a core; the bench measures it exactly"


@needs_proc
def test_a_loop_that_is_closed_under_a_wait_leaves_nothing(ring: shmring.Ring) -> None:
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)  # of the task that is destroyed although it is pending
    before = len(bells())
    task = loop.create_task(ring.aget())
    loop.run_until_complete(asyncio.sleep(0.01))
    loop.close()
    del task
    gc.collect()
    assert len(bells()) == before
    ring.put(b"not swallowed")
    assert ring.get(timeout=0) == b"not swallowed"


# --- giving up ---


def test_a_cancelled_aget_takes_nothing(ring: shmring.Ring, run: Callable) -> None:
    async def main() -> None:
        task = await waiting(ring.aget())
        task.cancel()
        ring.put(b"kept")
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await ring.aget(timeout=0) == b"kept"

    run(main())


@pytest.mark.usefixtures("no_second_look")
def test_a_task_cancelled_after_its_wake_leaves_the_message_to_the_next(run: Callable) -> None:
    async def main() -> list[bytes]:
        async with shmring.Ring.create(capacity=4096) as ring:
            first, second = await waiting(ring.aget()), await waiting(ring.aget())
            (lot,) = ring._parking_lots().values()
            ring.put(b"for whoever is left")
            lot._wake_first()  # as the bell would, and in the same turn of the loop:
            first.cancel()
            answers = await asyncio.gather(first, second, return_exceptions=True)
            return [answer for answer in answers if not isinstance(answer, asyncio.CancelledError)]

    assert run(main()) == [b"for whoever is left"]


@pytest.mark.usefixtures("no_second_look")
def test_however_waits_are_cancelled_every_message_comes_once_and_in_order(
    kind: str, run: Callable, start: Callable
) -> None:
    count = 3000
    with shmring.Ring.create(capacity=1024, kind=kind) as ring:

        def produce() -> None:
            for number in range(count):
                ring.put(b"%d" % number)
                if number % 8 == 0:
                    time.sleep(0.0002)  # so that some waits are long, and others none

        async def one(dice: random.Random) -> int:
            way = dice.randrange(4)
            if way == 0:
                return int(await ring.aget())
            if way == 1:
                return int(await asyncio.wait_for(ring.aget(), dice.choice([0.0001, 0.001])))
            if way == 2:
                async with asyncio.timeout(dice.choice([0, 0.0001, 0.001])):
                    return int(await ring.aget())
            task = asyncio.create_task(ring.aget())
            for _ in range(dice.randrange(8)):
                await asyncio.sleep(0)
            task.cancel()
            return int(await task)

        async def main() -> list[int]:
            dice = random.Random(5)
            found: list[int] = []
            while len(found) < count:
                with contextlib.suppress(asyncio.CancelledError, TimeoutError):
                    found.append(await one(dice))
            return found

        child = start(produce)
        assert run(main()) == list(range(count))
        child.result()


def test_a_cancelled_aput_puts_nothing(kind: str, run: Callable) -> None:
    async def main() -> None:
        async with shmring.Ring.create(capacity=128, kind=kind) as ring:
            ring.put_many([b"1", b"2"])
            task = await waiting(ring.aput(b"cancelled"))
            task.cancel()
            assert ring.get() == b"1"
            with pytest.raises(asyncio.CancelledError):
                await task
            assert ring.get_many() == [b"2"]
            assert ring.stats().claimed == 0

    run(main())


def test_a_timeout_ends_a_wait_and_says_who_was_waited_for(run: Callable) -> None:
    async def main() -> None:
        async with shmring.Ring.create(capacity=128) as ring:
            for timeout in (0, 0.01):
                with pytest.raises(shmring.Empty, match="no message"):
                    await ring.aget(timeout=timeout)
            ring.put_many([b"1", b"2"])
            for timeout in (0, 0.01):
                with pytest.raises(shmring.Full, match="room for 5 bytes"):
                    await ring.aput(b"three", timeout)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await ring.aput(b"three")
            assert await ring.aget(timeout=5) == b"1"

    run(main())


@pytest.mark.parametrize("timeout", [-1, float("nan"), "soon"])
def test_a_bad_timeout_is_an_error_whether_or_not_there_is_a_message(ring: shmring.Ring, timeout: Any) -> None:
    ring.put(b"there")
    with pytest.raises((ValueError, TypeError), match="timeout is"):
        asyncio.run(ring.aget(timeout))
    assert ring.get() == b"there"


def test_bad_messages_are_refused_at_once(ring: shmring.Ring) -> None:
    with pytest.raises(TypeError, match="encode text first"):
        asyncio.run(ring.aput("text"))  # type: ignore[arg-type]
    with pytest.raises(shmring.MessageTooLong, match="3000"):
        asyncio.run(ring.aput(bytes(3000)))
