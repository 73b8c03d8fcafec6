"""Processes at full speed, killed and stopped at random: the totals add up, and whoever is stopped is not dead."""

from __future__ import annotations

import collections
import contextlib
import os
import random
import select
import signal
import struct
import traceback
from collections.abc import Callable, Iterator

import pytest

import shmring

RECORD = struct.Struct("<cQQ")
MESSAGE = struct.Struct("<QQ")
WORKERS = {"spsc": 1, "mpmc": 2, "semaphore": 2}  # a side
KILLS = {"spsc": 300, "mpmc": 1100, "semaphore": 650}  # one of mpmc takes least


class Turmoil:
    """Producers and consumers of one ring, each telling a pipe what it did, some of them being killed or stopped."""

    def __init__(self, kind: str, seed: int) -> None:
        self.kind = kind
        self.random = random.Random(f"{kind}{seed}")
        self.put: set[tuple[int, int]] = set()
        self.got: set[tuple[int, int]] = set()
        self.unflagged: collections.Counter[tuple[int, int]] = collections.Counter()
        self.deliveries = 0
        self.children: dict[int, Callable[[int], None]] = {}
        self.stopped: set[int] = set()
        self.consumers_killed = 0
        self._next = 0
        self._reports, self._told = os.pipe()
        self.ring = shmring.Ring.create(capacity=4096, kind=kind, on_dead_peer="wait")  # type: ignore[arg-type]

    def close(self) -> None:
        """End everybody."""
        for pid in [*self.children]:
            self.kill(pid)
        self.ring.shutdown(immediate=True)
        self.ring.close()
        os.close(self._reports)
        os.close(self._told)

    def _role(self, take: Callable[[], contextlib.AbstractContextManager[object]]) -> contextlib.AbstractContextManager:
        while True:
            try:
                return take()
            except shmring.Busy:  # spsc: the predecessor is being buried
                continue

    def produce(self, number: int) -> None:
        """Put until killed; tell of each message once put() has returned."""
        count = 0
        self._role(self.ring.producer)
        while True:
            self.ring.put(MESSAGE.pack(number, count) + bytes([count % 256]) * self.random.randrange(600))
            os.write(self._told, RECORD.pack(b"P", number, count))
            count += 1

    def consume(self, _: int) -> None:
        """Borrow until killed; tell of each message before it is acknowledged."""
        self._role(self.ring.consumer)
        while True:
            lease = self.ring.borrow()
            with lease as view:
                number, count = MESSAGE.unpack_from(view)
                torn = bytes(view[MESSAGE.size :]).strip(bytes([count % 256]))
                told = b"T" if torn else b"R" if lease.redelivered else b"C"
                os.write(self._told, RECORD.pack(told, number, count))

    def start(self, what: Callable[[int], None]) -> None:
        """Fork a worker."""
        self._next += 1
        pid = os.fork()
        if pid == 0:
            self.random.seed(self._next)
            try:
                what(self._next)
            except BaseException:
                traceback.print_exc()
            os._exit(1)
        self.children[pid] = what

    def kill(self, pid: int) -> Callable[[int], None]:
        """End a worker; what it was."""
        os.kill(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
        assert os.WIFSIGNALED(status), "it had ended by itself"
        self.stopped.discard(pid)
        what = self.children.pop(pid)
        self.consumers_killed += what == self.consume
        return what

    def stop_or_go_on(self, pid: int) -> None:
        """Stop a worker where it is, or let it go on."""
        if pid in self.stopped:
            self.stopped.remove(pid)
            os.kill(pid, signal.SIGCONT)
        else:
            self.stopped.add(pid)
            os.kill(pid, signal.SIGSTOP)

    def listen(self, until: Callable[[], bool]) -> None:
        """Read what the workers tell until it is enough. A stopped one may hold all up, and then goes on."""
        while not until():
            if not select.select([self._reports], [], [], 0.02)[0]:
                if self.stopped:
                    self.stop_or_go_on(self.random.choice([*self.stopped]))
                continue
            for who, number, count in RECORD.iter_unpack(os.read(self._reports, RECORD.size * 1000)):
                assert who != b"T", f"message {number}, {count} is torn"
                if who == b"P":
                    self.put.add((number, count))
                else:
                    self.got.add((number, count))
                    self.unflagged[number, count] += who == b"C"
                    self.deliveries += 1

    def run(self, kills: int) -> None:
        """Kill so many, start a successor of each, then see that the totals add up."""
        for _ in range(WORKERS[self.kind]):
            self.start(self.produce)
            self.start(self.consume)
        for _ in range(kills):
            enough = self.deliveries + self.random.randrange(60)
            self.listen(lambda enough=enough: self.deliveries >= enough)
            if self.random.randrange(4) == 0:
                self.stop_or_go_on(self.random.choice([*self.children]))
            self.start(self.kill(self.random.choice([*self.children])))
        for pid in [*self.stopped]:
            self.stop_or_go_on(pid)
        for pid in [pid for pid, what in self.children.items() if what == self.produce]:
            self.kill(pid)
        self.listen(lambda: self.put <= self.got)
        again = self.deliveries - len(self.got)
        assert again <= self.consumers_killed, "more came twice than consumers were killed"
        assert max(self.unflagged.values()) == 1, "a message came twice, and was not flagged as redelivered"


@pytest.fixture
def turmoil(request: pytest.FixtureRequest) -> Iterator[Turmoil]:
    """Return a turmoil of the kind that the test is parametrized with."""
    made = Turmoil(request.param, int(os.environ.get("SHMRING_SEED", "7")))
    yield made
    made.close()


@pytest.mark.parametrize("turmoil", WORKERS, indirect=True)
def test_some_random_kills_lose_nothing_and_stop_nobody(turmoil: Turmoil) -> None:
    turmoil.run(40)


@pytest.mark.verify
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("turmoil", WORKERS, indirect=True)
def test_many_random_kills_and_stops_lose_nothing(
    turmoil: Turmoil, effort: float, figure: Callable[[str], None]
) -> None:
    kills = int(KILLS[turmoil.kind] * effort)
    turmoil.run(kills)
    figure(f"{turmoil.kind}: {kills:,} kills at random, {len(turmoil.put):,} messages put, none lost")
