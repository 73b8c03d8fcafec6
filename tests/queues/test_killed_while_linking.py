"""Processes killed at random while they put into a queue that grows and get from it. At every step: tests/crash."""

from __future__ import annotations

import collections
import os
import random
import signal
import struct
import traceback
from collections.abc import Callable
from typing import Any

import pytest

import shmring
from tests.ring.conftest import needs_fork

pytestmark = needs_fork  # tests/wine/on_windows.py kills there

FIRST_RING = 64 * 1024


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
            if number >= kills and queue._chain._links[2] > 5:
                break
            target = got.total() + chance.randrange(60)
            listen(lambda target=target: got.total() >= target)
            start(kill(chance.choice([*children])))
        links = queue._chain._links[2]
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
