"""Waiting in an event loop: messages come and go between tasks, threads and processes, and none is lost."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any

import pytest
from tasks import waiting

import shmring
from tests.ring.conftest import needs_fork
from tests.ring.loops import needs_proc, no_thread_left, watching_threads


def fall_apart() -> None:
    """What a message does that cannot be decoded."""
    raise ValueError("apart")


class Fragile:
    """An object that can be pickled, and not unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (fall_apart, ())


def test_what_can_be_done_at_once_needs_no_loop(ring: shmring.Ring) -> None:
    with pytest.raises(StopIteration):
        ring.aput(b"at once").send(None)
    with pytest.raises(StopIteration) as done:
        ring.aget().send(None)
    assert done.value.value == b"at once"


def test_a_message_from_another_process_wakes_a_task(ring: shmring.Ring, run: Callable, start: Callable, gate) -> None:
    def put() -> None:
        gate.wait()
        ring.put(b"wake up")

    async def main() -> bytes:
        task = await waiting(ring.aget())
        gate.open()
        return await task

    child = start(put)
    assert run(main()) == b"wake up"
    child.result()


def test_room_made_by_another_process_wakes_a_task(ring: shmring.Ring, run: Callable, start: Callable, gate) -> None:
    def take() -> list[bytes]:
        gate.wait()
        return [ring.get() for _ in range(40)]

    async def main() -> None:
        filled = 0
        with contextlib.suppress(shmring.Full):
            while filled < 39:
                await ring.aput(b"%1000d" % filled, timeout=0)
                filled += 1
        task = await waiting(ring.aput(b"%1000d" % filled))
        gate.open()
        await task
        for number in range(filled + 1, 40):
            await ring.aput(b"%1000d" % number)

    child = start(take)
    run(main())
    assert child.result() == [b"%1000d" % number for number in range(40)]


@pytest.mark.usefixtures("no_second_look")
@pytest.mark.parametrize("far_end", ["blocking", "asyncio"])
def test_ping_pong_never_loses_a_wake(kind: str, run: Callable, start: Callable, far_end: str) -> None:
    with (
        shmring.Ring.create(capacity=1024, kind=kind, spin=0) as there,
        shmring.Ring.create(capacity=1024, kind=kind, spin=0) as back,
    ):

        def answer_blocking() -> None:
            for message in there:
                back.put(message)

        async def answer() -> None:
            async for message in there:
                await back.aput(message)

        async def ask() -> None:
            for number in range(1000):
                await there.aput(b"%d" % number)
                assert await back.aget(timeout=60) == b"%d" % number
            there.shutdown()

        child = start(answer_blocking if far_end == "blocking" else lambda: asyncio.run(answer()))
        run(ask())
        child.result()


@needs_fork
@pytest.mark.usefixtures("no_second_look")
def test_whoever_is_woken_passes_on_what_it_leaves(run: Callable, start: Callable) -> None:
    rounds = 50
    with contextlib.ExitStack() as stack:
        ring, back, *gates = (stack.enter_context(shmring.Ring.create(capacity=4096)) for _ in range(4))

        async def take(gate: shmring.Ring) -> None:
            for _ in range(rounds):
                await gate.aget()
                task = await waiting(ring.aget())
                await back.aput(b"waiting")
                await task
                await back.aput(b"took it")

        children = [start(lambda gate=gate: run(take(gate))) for gate in gates]
        for _ in range(rounds):
            for gate in gates:
                gate.put(b"another round")
            assert [back.get(), back.get()] == [b"waiting"] * 2
            ring.put(b"this wakes one of them,")
            ring.put(b"and this perhaps nobody")
            assert [back.get(), back.get()] == [b"took it"] * 2
        for child in children:
            child.result()


@needs_fork
@pytest.mark.usefixtures("no_second_look")
def test_a_wake_that_reaches_a_process_whose_tasks_have_left_goes_on(run: Callable, start: Callable) -> None:
    async def main() -> None:
        async with shmring.Ring.create(capacity=4096) as ring, shmring.Ring.create(capacity=4096) as back:

            async def take() -> bytes:
                task = await waiting(ring.aget())
                await back.aput(b"waiting")
                return await task

            for _ in range(10):
                task = await waiting(ring.aget())
                ring.put(b"for us")  # whose thread then sleeps on, mostly first in the kernel's line
                assert await task == b"for us"
                child = start(lambda: asyncio.run(take()))
                assert back.get() == b"waiting"
                ring.put(b"for the child")
                assert child.result() == b"for the child"

    run(main())


def test_tasks_are_served_in_the_order_in_which_they_came(run: Callable) -> None:
    async def main() -> list[bytes]:
        async with shmring.Ring.create(capacity=4096) as ring:
            tasks = [await waiting(ring.aget()) for _ in range(10)]
            for number in range(10):
                ring.put(b"%d" % number)
            return [await task for task in tasks]

    assert run(main()) == [b"%d" % number for number in range(10)]


@needs_proc
@pytest.mark.usefixtures("no_second_look")
def test_tasks_threads_with_loops_and_processes_share_a_ring(run: Callable, start: Callable) -> None:
    total, sides = 6000, 3
    with shmring.Ring.create(capacity=2048, spin=0) as ring, shmring.Ring.create(capacity="1 MiB") as found:

        async def consume() -> None:
            async def one() -> None:
                async for message in ring:
                    await found.aput(message)

            await asyncio.gather(*(one() for _ in range(3)))

        def consume_blocking() -> None:
            for message in ring:
                found.put(message)

        async def produce(first: int) -> None:
            for number in range(first, total, sides):
                await ring.aput(b"%d" % number)

        children = [start(consume_blocking), start(lambda: asyncio.run(consume()))]
        makers = [
            start(lambda: asyncio.run(produce(0))),
            start(lambda: ring.put_many(b"%d" % i for i in range(1, total, sides))),
        ]
        threads = [threading.Thread(target=lambda: asyncio.run(consume())) for _ in range(2)]
        for thread in threads:
            thread.start()
        run(produce(2))
        for maker in makers:
            maker.result()
        ring.shutdown()
        for child in children:
            child.result()
        for thread in threads:
            thread.join()
        assert sorted(int(message) for message in found.get_many()) == list(range(total))


def test_a_burst_leaves_other_tasks_their_turn(ring: shmring.Ring, run: Callable) -> None:
    async def main() -> int:
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(other())
        for _ in range(100):
            for _ in range(10):
                await ring.aput(b"x")
            for _ in range(10):
                await ring.aget()
        task.cancel()
        return turns

    assert run(main()) >= 10


@needs_proc
def test_more_rings_than_one_thread_can_watch(run: Callable) -> None:
    async def main() -> int:
        await no_thread_left()
        rings = [shmring.Ring.create(capacity=128) for _ in range(140)]
        tasks = [asyncio.create_task(ring.aget()) for ring in rings]
        await waiting(asyncio.wait(tasks))
        threads = watching_threads()
        for number, ring in enumerate(rings):
            ring.put(b"%d" % number)
        assert [await task for task in tasks] == [b"%d" % number for number in range(140)]
        for ring in rings:
            ring.close()
        return threads

    assert run(main()) == 2


def test_objects_are_encoded_once_and_none_is_one_of_them(run: Callable) -> None:
    encoded = []

    class Noted:
        def __reduce__(self) -> tuple[Any, ...]:
            encoded.append(self)
            return (str, ("an object",))

    async def main() -> list[Any]:
        async with shmring.Ring.create(capacity=128, codec="pickle") as ring:
            ring.put_many([None, None])
            task = await waiting(ring.aput(Noted()))
            found = [await ring.aget(), await ring.aget()]
            await task
            later = await waiting(two_of(ring))
            ring.put(None)
            return [*found, *await later]

    async def two_of(ring: shmring.Ring) -> list[Any]:
        return [await ring.aget(), await ring.aget()]

    assert run(main()) == [None, None, "an object", None]
    assert len(encoded) == 1


def test_a_message_that_cannot_be_decoded_ends_the_wait_and_stays(run: Callable) -> None:
    async def main() -> bytes | None:
        async with shmring.Ring.create(capacity=4096, codec="pickle") as ring:
            task = await waiting(ring.aget())
            ring.put(Fragile())
            with pytest.raises(shmring.DecodeError) as caught:
                await task
            return ring.skip(caught.value)

    assert b"fall_apart" in (run(main()) or b"")
