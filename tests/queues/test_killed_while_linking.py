"""Processes killed while they link or finish the rings of a queue: it goes on, in order, and takes no more memory."""

from __future__ import annotations

import collections
import contextlib
import os
import random
import signal
import struct
import sys
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

import shmring
from tests.ring.conftest import needs_fork

pytestmark = needs_fork  # tests/wine/on_windows.py kills there

PARTS = ("queues/chain.py", "queues/control.py")
FIRST_RING = 64 * 1024
LARGE = b"x" * 20_000  # three of them fill the first ring
TOO_LARGE = b"y" * 200_000  # for the first ring, whichever its room


def fork(function: Callable[..., None], *arguments: object) -> int:
    """Run a function in a forked process, whose exit status is 0 when it returns; its process id."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        function(*arguments)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def ended(pid: int) -> int:
    """Wait for a process; its exit code, or the negative number of the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def die_at(step: int) -> Callable[[FrameType, str, Any], Any]:
    """Return a trace function that kills this process at the nth line of the code that links and finishes."""
    left = step

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal left
        if not frame.f_code.co_filename.endswith(PARTS):
            return None
        if event == "line":
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    return trace


def run_until(step: int, work: Callable[[], None]) -> int:
    """Fork a process that does the work and is killed at this step; its exit code, 0 when it came to the end."""

    def doomed() -> None:
        sys.settrace(die_at(step))
        work()
        sys.settrace(None)

    return ended(fork(doomed))


def killed_at_every_step(prepare: Callable[[shmring.Queue], None], work: Callable[[shmring.Queue], None]) -> int:
    """Kill a process at each step of its work on a fresh queue, and see each time that the queue goes on."""
    step = 0
    while True:
        with shmring.Queue(capacity=FIRST_RING) as queue:
            prepare(queue)
            code = run_until(step, lambda queue=queue: work(queue))
            assert code in (0, -signal.SIGKILL)
            goes_on(queue)
        if code == 0:
            return step
        step += 1


def goes_on(queue: shmring.Queue) -> None:
    """What was in it comes out in order, new messages go through further links, and the memory comes back."""
    for number in range(8):
        queue.put((number, LARGE))
    queue.put((8, TOO_LARGE))
    numbers = []
    while not numbers or numbers[-1] != 8:
        number, _ = queue.get(timeout=30)
        numbers.append(number)
    before = [number for number in numbers if number < 0]
    assert [number for number in numbers if number >= 0] == [*range(9)]
    assert before == sorted(before)
    assert queue.empty()
    with pytest.raises(shmring.Empty):
        queue.get_nowait()
    assert queue._chain.control.first == queue._chain.control.last
    links = queue._chain.control.last
    assert os.fstat(queue._chain.root._segment.fd).st_blocks * 512 <= 8 * FIRST_RING + 300_000 + 40_960 * links


def fill(queue: shmring.Queue) -> None:
    """Leave no room for one more large message in the first link."""
    for number in range(-9, -6):
        queue.put((number, LARGE))


def fill_two_links(queue: shmring.Queue) -> None:
    for number in range(-9, -4):
        queue.put((number, LARGE))


def test_a_producer_killed_at_any_step_of_linking_a_further_ring() -> None:
    assert killed_at_every_step(fill, lambda queue: queue.put((-1, LARGE))) > 60


def test_a_producer_killed_at_any_step_of_linking_a_ring_for_a_large_message() -> None:
    assert killed_at_every_step(lambda queue: None, lambda queue: queue.put((-1, TOO_LARGE))) > 60


def test_a_producer_killed_at_any_step_of_linking_a_single(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shmring.queues.chain._GROWN_MOST", FIRST_RING)
    assert killed_at_every_step(fill, lambda queue: queue.put((-1, TOO_LARGE))) > 60


def test_a_consumer_killed_at_any_step_of_leaving_and_finishing_a_ring() -> None:
    def drain(queue: shmring.Queue) -> None:
        for _ in range(5):
            queue.get()
        with contextlib.suppress(shmring.Empty):
            queue.get_nowait()

    assert killed_at_every_step(fill_two_links, drain) > 100


REPORT = struct.Struct("<cQQ")


class Told:
    """A message that tells a pipe that it has arrived: while it is being got, so before it is acknowledged."""

    def __init__(self, pipe: int, number: int, count: int, padding: bytes) -> None:
        self.arguments = pipe, number, count, padding

    def __reduce__(self) -> tuple[Any, ...]:
        return arrived, self.arguments


def arrived(pipe: int, number: int, count: int, padding: bytes) -> None:
    """What a Told becomes where it is got."""
    assert padding == bytes([count % 256]) * len(padding)
    os.write(pipe, REPORT.pack(b"C", number, count))


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("kills", [40, pytest.param(300, marks=pytest.mark.verify)])
def test_random_kills_of_producers_and_consumers_lose_nothing(kills: int) -> None:
    reports, told = os.pipe()
    os.set_blocking(reports, False)
    put: set[tuple[int, int]] = set()
    got: collections.Counter[tuple[int, int]] = collections.Counter()
    chance = random.Random(int(os.environ.get("SHMRING_SEED", "7")))
    children: dict[int, Callable[[int], None]] = {}
    numbers = iter(range(1, 10_000))
    consumers_killed = 0
    queue = shmring.Queue(capacity=FIRST_RING, max_bytes="4 MiB")

    def produce(number: int) -> None:
        sizes = random.Random(number)
        for count in range(2**40):
            queue.put(Told(told, number, count, bytes([count % 256]) * sizes.choice([10, 1000, 30_000, 70_000])))
            os.write(told, REPORT.pack(b"P", number, count))

    def consume(_: int) -> None:
        while True:
            queue.get()

    def start(what: Callable[[int], None]) -> None:
        children[fork(what, next(numbers))] = what

    def kill(pid: int) -> Callable[[int], None]:
        nonlocal consumers_killed
        os.kill(pid, signal.SIGKILL)
        assert ended(pid) == -signal.SIGKILL, "it had ended by itself"
        what = children.pop(pid)
        consumers_killed += what is consume
        return what

    def listen(enough: Callable[[], bool]) -> None:
        while not enough():
            try:
                data = os.read(reports, REPORT.size * 1000)
            except BlockingIOError:
                continue
            for who, number, count in REPORT.iter_unpack(data):
                if who == b"P":
                    put.add((number, count))
                else:
                    got[number, count] += 1

    try:
        for what in (produce, produce, consume, consume):
            start(what)
        for number in range(10 * kills):  # more than were asked for where consumers keep up, and little is linked
            if number >= kills and queue._chain.control.last > 5:
                break
            target = got.total() + chance.randrange(60)
            listen(lambda target=target: got.total() >= target)
            start(kill(chance.choice([*children])))
        links = queue._chain.control.last
        for pid in [pid for pid, what in children.items() if what is produce]:
            kill(pid)
        listen(lambda: put <= got.keys())
        assert got.total() - len(got) <= consumers_killed, "more came twice than consumers were killed"
        assert links > 5, "hardly anything was linked, so this tested nothing"
    finally:
        for pid in [*children]:
            kill(pid)
        queue.close()
        os.close(reports)
        os.close(told)
