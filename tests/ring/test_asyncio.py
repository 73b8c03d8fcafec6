"""Waiting in an event loop: aget, aput and their kin end and fail as the blocking calls do, and lose nothing."""

import asyncio
import contextlib
import gc
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from tasks import waiting

import shmring
from tests.conftest import PRESSES_CTRL_C, press_ctrl_c
from tests.ring.conftest import kill_myself, needs_fork

needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="looks at descriptors and threads in /proc")
TICKS = 0.05  # how often a waiter looks up


@pytest.fixture(scope="module", autouse=True)
def _first_uvloop() -> None:
    """Let uvloop open the pipe that the first of its loops opens and keeps."""
    with contextlib.suppress(ImportError):
        import uvloop

        uvloop.run(asyncio.sleep(0))


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Return asyncio.run, in each event loop in turn."""
    new_loop = asyncio.new_event_loop
    if request.param == "uvloop":
        new_loop = pytest.importorskip("uvloop", reason="uvloop is not installed").new_event_loop

    def run_it(coroutine: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            return runner.run(coroutine)

    return run_it


def fall_apart() -> None:
    """What a message does that cannot be decoded."""
    raise ValueError("apart")


class Fragile:
    """An object that can be pickled, and not unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (fall_apart, ())


def bells() -> list[str]:
    """The eventfds of this process."""
    found = []
    for entry in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            if "eventfd" in (target := os.readlink(f"/proc/self/fd/{entry}")):
                found.append(target)
    return found


def watching_threads() -> int:
    """How many threads of this process watch on behalf of loops."""
    found = 0
    for thread in os.listdir("/proc/self/task"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError), open(f"/proc/self/task/{thread}/comm") as file:
            found += file.read().strip() == "shmring-watch"
    return found


# --- moving messages ---


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


@pytest.fixture
def no_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a wake that is lost be lost for good, where else a waiter looks up every 50 ms."""
    monkeypatch.setattr("shmring.asynchronous.LOOK_UP_SECONDS", 3600)


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
                assert await back.aget(timeout=20) == b"%d" % number
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


async def no_thread_left() -> None:
    while watching_threads():
        await asyncio.sleep(TICKS)


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


# --- ends ---


def test_a_shutdown_in_another_process_wakes_every_task(
    ring: shmring.Ring, run: Callable, start: Callable, gate
) -> None:
    def end() -> None:
        gate.wait()
        ring.shutdown()

    async def main() -> list[BaseException]:
        tasks = [await waiting(ring.aget()) for _ in range(5)]
        gate.open()
        return await asyncio.gather(*tasks, return_exceptions=True)

    child = start(end)
    assert [type(end) for end in run(main())] == [shmring.ShutDown] * 5
    child.result()


def test_async_for_ends_when_the_ring_is_shut_down_and_drained(ring: shmring.Ring, run: Callable) -> None:
    async def main() -> list[bytes]:
        ring.put_many([b"a", b"b"])
        ring.shutdown()
        return [message async for message in ring]

    assert run(main()) == [b"a", b"b"]


@pytest.mark.parametrize("closer", ["the loop's own thread", "another thread"])
def test_close_ends_every_wait(ring: shmring.Ring, run: Callable, closer: str) -> None:
    async def main() -> list[BaseException]:
        tasks = [await waiting(ring.aget()) for _ in range(3)]
        if closer == "another thread":
            threading.Thread(target=ring.close).start()
        else:
            ring.close()
        return await asyncio.gather(*tasks, return_exceptions=True)

    assert [type(end) for end in run(main())] == [shmring.Closed] * 3
    with pytest.raises(shmring.Closed):
        asyncio.run(ring.aget())


def test_async_with_closes_the_ring(kind: str, run: Callable) -> None:
    async def main() -> shmring.Ring:
        async with shmring.Ring.create(capacity=128, kind=kind) as ring:
            assert not ring.closed
        return ring

    assert run(main()).closed


def test_a_dead_producer_is_told_of_after_its_messages(ring: shmring.Ring, run: Callable, start: Callable) -> None:
    def die() -> None:
        ring.put(b"last words")
        kill_myself()

    async def main() -> bytes:
        tasks = [asyncio.create_task(ring.aget()) for _ in range(3)]
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        died = [end for end in ends if isinstance(end, shmring.PeerDied)]
        assert [[peer.pid for peer in end.peers] for end in died] == [[child.pid]] * 2
        (message,) = (end for end in ends if end not in died)
        return message

    child = start(die)
    assert run(main()) == b"last words"
    child.abandon()


def test_a_dead_consumer_is_told_of(kind: str, run: Callable, start: Callable) -> None:
    with shmring.Ring.create(capacity=128, kind=kind) as ring:

        def die() -> None:
            ring.get()
            kill_myself()

        async def main() -> None:
            async def fill() -> None:
                while True:
                    await ring.aput(b"x")

            with pytest.raises(shmring.PeerDied, match=str(child.pid)):
                await fill()

        child = start(die)
        run(main())
        child.abandon()


def test_on_dead_peer_wait_waits_for_another(run: Callable, start: Callable, name: str) -> None:
    with shmring.Ring.create(name, capacity=128, on_dead_peer="wait") as ring:

        async def main() -> bytes:
            task = await waiting(ring.aget())
            child = start(lambda: (ring.put(b"1"), kill_myself()))
            assert await task == b"1"
            child.abandon()
            task = await waiting(ring.aget())
            await asyncio.sleep(3 * TICKS)
            start(lambda: ring.put(b"2")).result()
            return await task

        assert run(main()) == b"2"


def test_a_task_that_was_killed_in_its_wait_leaves_nothing_and_holds_nobody_up(
    kind: str, start: Callable, name: str, run: Callable
) -> None:
    def wait_for_ever() -> None:
        async def main() -> None:
            task = await waiting(ring.aget())
            back.put(b"waiting")
            await task

        asyncio.run(main())

    with shmring.Ring.create(name, capacity=4096, kind=kind) as ring, shmring.Ring.create() as back:
        child = start(wait_for_ever)
        assert back.get() == b"waiting"
        child.kill()
        child.abandon()
        ring.put(b"for the living")
        assert run(ring.aget(timeout=20)) == b"for the living"
        assert [entry.alive for entry in shmring.inspect(name).attachments if entry.pid == child.pid] in ([], [False])


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not let a mapped file be truncated")
def test_a_ring_that_is_truncated_ends_the_wait(run: Callable, name: str) -> None:
    async def main() -> None:
        task = await waiting(ring.aget())
        os.truncate(f"/dev/shm/shmring.{name}", 0)
        with pytest.raises(shmring.Corrupt):
            await task

    with shmring.Ring.create(name, capacity=4096) as ring:
        run(main())


PROGRAM = (
    PRESSES_CTRL_C.replace("{", "{{").replace("}", "}}")
    + """
import asyncio, sys, shmring
{loop}
async def main():
    async with shmring.Ring.attach(sys.argv[1]) as ring:
        task = asyncio.create_task(ring.aget())
        await asyncio.sleep(0.01)
        print("ready", flush=True)
        await task
try:
    run(main())
except KeyboardInterrupt:
    import os
    there = range(3, 100) if sys.platform == "linux" else ()
    left = [os.readlink(f"/proc/self/fd/{{fd}}") for fd in there if os.path.islink(f"/proc/self/fd/{{fd}}")]
    print("interrupted", [target for target in left if "eventfd" in target or "shmring" in target])
"""
)


@pytest.mark.parametrize("package", ["asyncio", "uvloop"])
def test_ctrl_c_ends_a_wait_and_leaves_no_descriptor(name: str, package: str) -> None:
    pytest.importorskip(package, reason=f"{package} is not installed")
    with shmring.Ring.create(name) as ring:
        ring.consumer().release()
        command = [sys.executable, "-c", PROGRAM.format(loop=f"from {package} import run"), name]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            press_ctrl_c(child)
            assert child.stdout.read() == "interrupted []\n"


# --- without a copy, and in roles ---


def test_a_claim_and_a_borrow_wait_in_the_loop(run: Callable, kind: str) -> None:
    async def main() -> bytes:
        async with shmring.Ring.create(capacity=128, kind=kind) as ring:
            ring.put_many([b"1", b"2"])

            async def write() -> None:
                async with ring.aclaim(5) as buffer:
                    buffer[:] = b"hello"

            writer = await waiting(write())
            for _ in range(2):
                async with ring.aborrow() as view:
                    assert bytes(view) in (b"1", b"2")
            await writer
            lease = ring.aborrow(timeout=5)
            async with lease as view:
                assert not lease.redelivered
                return bytes(view)

    assert run(main()) == b"hello"


def test_a_cancelled_block_aborts_the_claim_and_hands_the_message_back(run: Callable, kind: str) -> None:
    async def main() -> None:
        async with shmring.Ring.create(capacity=4096, kind=kind) as ring:

            async def write() -> None:
                async with ring.aclaim(5):
                    await asyncio.sleep(3600)

            async def read() -> None:
                async with ring.aborrow():
                    await asyncio.sleep(3600)

            for block in (write, read):
                if block is read:
                    ring.put(b"back again")
                task = await waiting(block())
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            assert ring.stats().aborted == 1
            async with ring.aborrow(timeout=0) as view:
                assert bytes(view) == b"back again"
            with pytest.raises(shmring.Empty):
                async with ring.aborrow(timeout=0.01):
                    pass

    run(main())


def test_roles_have_the_same_methods(run: Callable, kind: str) -> None:
    async def main() -> list[bytes]:
        async with shmring.Ring.create(capacity=4096, kind=kind) as ring:
            with ring.producer() as producer, ring.consumer() as consumer:
                await producer.aput(b"1")
                async with producer.aclaim(1) as buffer:
                    buffer[:] = b"2"
                await producer.aput(b"3")
                producer.shutdown()
                first = [await consumer.aget()]
                async with consumer.aborrow() as view:
                    first.append(bytes(view))
                return first + [message async for message in consumer]

    assert run(main()) == [b"1", b"2", b"3"]


# --- odd circumstances ---


@needs_fork
def test_a_child_forked_inside_a_loop_may_wait_in_one_of_its_own(run: Callable, start: Callable) -> None:
    async def main() -> None:
        with shmring.Ring.create(capacity=4096) as there, shmring.Ring.create(capacity=4096) as back:

            async def answer() -> None:
                await back.aput(b"child " + await there.aget())

            task = await waiting(back.aget())
            child = start(lambda: asyncio.run(answer()))
            await there.aput(b"parent")
            assert await task == b"child parent"
            child.result()

    run(main())


WITHOUT_FUTEX_WAITV = """
import asyncio, ctypes, os, struct, shmring

def refuse(number):  # with ENOSYS in this process from now on, as a kernel that lacks the system call
    allow, error = 0x7FFF0000, 0x00050000 | 38
    steps = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, error), (0x06, 0, 0, allow)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(steps), ctypes.addressof(code)))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    assert prctl(38, 1, 0, 0, 0) == 0
    if prctl(22, 2, program) != 0:
        raise SystemExit("no seccomp")

async def main():
    rings = [shmring.Ring.create(capacity=4096) for _ in range(3)]
    for number in range(100):
        tasks = [asyncio.create_task(ring.aget()) for ring in rings]
        await asyncio.sleep(0.001)
        for ring in rings:
            ring.put(b"%d" % number)
        assert await asyncio.gather(*tasks) == [b"%d" % number] * 3
    names = [open(f"/proc/self/task/{thread}/comm").read().strip() for thread in os.listdir("/proc/self/task")]
    print(names.count("shmring-watch"))
    for ring in rings:
        ring.close()

refuse(449)
asyncio.run(main())
"""


@needs_proc
def test_a_kernel_without_futex_waitv_takes_a_thread_for_each_ring() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_FUTEX_WAITV], capture_output=True, text=True)
    if done.stderr == "no seccomp\n":
        pytest.skip("system calls cannot be refused here")
    assert (done.returncode, done.stdout) == (0, "3\n"), done.stderr
