"""Waiting in an event loop ends and fails as the blocking calls do; blocks without a copy; odd circumstances."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest
from tasks import waiting

import shmring
from tests.conftest import PRESSES_CTRL_C, press_ctrl_c
from tests.ring.conftest import kill_myself, needs_fork
from tests.ring.loops import TICKS, needs_proc

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
        shmring.unlink(name)

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
