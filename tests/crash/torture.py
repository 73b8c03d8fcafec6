"""Everything at once, for as long as is asked: names that come and go, kills, stops, forks, threads, unlinks, cleaning.

usage: torture.py SECONDS SEED; prints what was counted, or stops with what was lost, doubled, torn or stuck.

Actors open a name, send or receive for a while, and leave; a leader kills some, stops others for a moment, and starts
new ones. Each actor notes in a file that outlives it what it is about to send and what it has sent, or what it has
received. In the end each message that was sent has been received once; but for those that a killed receiver had in
hand, which it did not come to note.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import mmap
import os
import random
import signal
import struct
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import shmring

FACES = ("queue", "joinable", "mpmc", "semaphore")
SHM = Path("/dev/shm")
TAG = f"torture-{os.getpid()}"
NAMES = {face: [f"{TAG}-{face}-{number}" for number in range(2)] for face in FACES}
_WORDS = 1 << 20
_BATCH = 8
_HEAD = struct.Struct("<QQI")  # who, which, how long


class Journal:
    """Words that outlive the process that writes them: what is about to happen, what has, and the receipts."""

    INTENDED, DONE, IN_HAND, RECEIPTS = range(4)
    FIRST = 8

    def __init__(self, path: Path) -> None:
        with open(path, "a+b") as file:
            if not file.seek(0, os.SEEK_END):
                os.ftruncate(file.fileno(), 8 * _WORDS)
            self._memory = mmap.mmap(file.fileno(), 8 * _WORDS)
        self.words = memoryview(self._memory).cast("Q")

    def note(self, who: int, which: int) -> None:
        """Received."""
        count = self.words[self.RECEIPTS]
        self.words[self.FIRST + count] = who << 40 | which
        self.words[self.RECEIPTS] = count + 1

    @property
    def is_full(self) -> bool:
        return self.words[self.RECEIPTS] + _BATCH + self.FIRST >= _WORDS

    def receipts(self) -> list[int]:
        return [*self.words[self.FIRST : self.FIRST + self.words[self.RECEIPTS]]]


class Actor(NamedTuple):
    """One process, and its journals: a sender's threads and its forked child have one each."""

    pid: int
    role: str
    numbers: list[int]


def body(who: int, which: int, length: int) -> bytes:
    """A message that shows when it is torn."""
    return _HEAD.pack(who, which, length) + bytes([(who * 31 + which) & 0xFF]) * length


def read(message: bytes) -> tuple[int, int]:
    """Who sent it, and which; AssertionError when it is torn."""
    who, which, length = _HEAD.unpack_from(message)
    assert message == body(who, which, length), f"torn: message {which} of {who}, {len(message)} bytes"
    return who, which


def enter(face: str, name: str) -> Any:
    """Attach to a name, or make it."""
    if face == "queue":
        return shmring.Queue(name=name, capacity="64 KiB", max_bytes="64 MiB")
    if face == "joinable":
        return shmring.JoinableQueue(name=name, capacity="64 KiB", max_bytes="64 MiB")
    return shmring.Ring.open(name, kind=face, capacity="256 KiB", on_dead_peer="wait")


# --- actors ---


def send(target: Any, journal: Journal, who: int, chance: random.Random, until: Callable[[], bool]) -> None:
    """Put messages of all sizes, singly and in batches, until it is time to leave."""
    which = journal.words[Journal.DONE]
    while not until():
        count = chance.choice((1, 1, 1, _BATCH))
        batch = [body(who, which + 1 + index, _length(chance)) for index in range(count)]
        journal.words[Journal.INTENDED] = which + count
        while batch:
            try:
                if count == 1:
                    target.put(batch[0], timeout=chance.choice((0, 0.05, 1)))
                    sent = 1
                else:
                    sent = target.put_many(batch, timeout=0.1)  # so many went in, in time
            except shmring.Full as error:
                sent = getattr(error, "sent", 0)
                if until():
                    journal.words[Journal.INTENDED] = which + sent
                    count = 0
                    del batch[sent:]
            which += sent
            journal.words[Journal.DONE] = which
            del batch[:sent]
        time.sleep(chance.random() * 0.004)


def _length(chance: random.Random) -> int:
    return int(chance.paretovariate(1.1) * 40) % 60_000


def receive(source: Any, journal: Journal, chance: random.Random, until: Callable[[], bool]) -> None:
    """Get messages in every way, until it is time to leave."""
    ways: list[Callable[[], list[bytes]]] = [
        lambda: [source.get(timeout=0.2)],
        lambda: source.get_many(_BATCH, timeout=0.2),
        lambda: [asyncio.run(source.aget(timeout=0.2))],
    ]
    while not until() and not journal.is_full:
        way = chance.choices(ways, (8, 1, 1))[0]
        journal.words[Journal.IN_HAND] = _BATCH if way is ways[1] else 1
        with contextlib.suppress(shmring.Empty):
            for message in way():
                journal.note(*read(message))
                if isinstance(source, shmring.JoinableQueue):
                    source.task_done()
        journal.words[Journal.IN_HAND] = 0


def sender(face: str, name: str, journals: list[tuple[int, Journal]], chance: random.Random, until: Any) -> None:
    """Sends from its main thread, from another, and from a forked child that outlives its parent's attachment."""
    target = enter(face, name)
    (first, second, third) = journals
    child = 0
    if chance.random() < 0.3:
        child = os.fork()
        if child == 0:
            _run(lambda: _in_child(target, third, chance, until))
    thread = threading.Thread(target=send, args=(target, second[1], second[0], random.Random(first[0]), until))
    thread.start()
    send(target, first[1], first[0], chance, until)
    thread.join()
    target.close()
    if child:
        assert os.waitpid(child, 0)[1] in (0, signal.SIGKILL)


def _in_child(target: Any, own: tuple[int, Journal], chance: random.Random, until: Any) -> None:
    signal.set_wakeup_fd(-1)
    send(target, own[1], own[0], chance, until)
    target.close()


def receiver(face: str, name: str, journals: list[tuple[int, Journal]], chance: random.Random, until: Any) -> None:
    """Receives, and leaves."""
    with contextlib.closing(enter(face, name)) as source:
        receive(source, journals[0][1], chance, until)


def passer_by(face: str, name: str, journals: list[Any], chance: random.Random, until: Any) -> None:
    """Comes and goes, looks and cleans, and makes and unlinks names of its own."""
    while not until():
        enter(face, name).close()
        shmring.list()
        shmring.clean()
        with contextlib.suppress(FileNotFoundError):
            shmring.inspect(name)
        own = f"{TAG}-own-{os.getpid()}"
        with shmring.Ring.create(own, capacity=4096) as ring:
            ring.put(b"x")
            ring.unlink()
            assert ring.get(timeout=0) == b"x"
        with (
            contextlib.suppress(shmring.Full),  # a subscriber is stopped
            shmring.Topic.open(f"{TAG}-topic", capacity="64 KiB") as topic,
            topic.subscribe() as subscription,
        ):
            topic.publish(b"news", timeout=1)
            assert subscription.get(timeout=5) == b"news"
        time.sleep(chance.random() * 0.05)


ROLES: dict[str, Callable[..., None]] = {"sender": sender, "receiver": receiver, "passer-by": passer_by}
SHARES = {"sender": 3, "receiver": 4, "passer-by": 1}


def _run(work: Callable[[], None]) -> None:
    code = 1
    try:
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


# --- the leader ---


class Leader:
    """Starts, kills and stops, and counts in the end."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.chance = folder, random.Random(seed)
        self.actors: list[Actor] = []
        self.stopped: dict[int, float] = {}
        self.journals: dict[int, Journal] = {}
        self.names: dict[int, str] = {}
        self.counts: Counter[str] = Counter()
        self.in_hand = 0
        self.log = open(folder / "log", "a+b")  # noqa: SIM115 - as long as the leader
        self.stop = mmap.mmap(-1, mmap.PAGESIZE)

    def start(self) -> None:
        """One more actor."""
        role = self.chance.choices([*SHARES], [*SHARES.values()])[0]
        face = self.chance.choice(FACES)
        name = self.chance.choice(NAMES[face])
        numbers = [len(self.journals) + index for index in range(3 if role == "sender" else 1)]
        for number in numbers:
            self.journals[number], self.names[number] = Journal(self.folder / str(number)), name
        seed, lifetime = self.chance.random(), self.chance.uniform(0.5, 6)
        pid = os.fork()
        if pid == 0:
            os.dup2(self.log.fileno(), 2)
            leave = time.monotonic() + lifetime
            until = lambda: self.stop[0] or time.monotonic() > leave  # noqa: E731
            journals = [(number, self.journals[number]) for number in numbers]
            _run(lambda: ROLES[role](face, name, journals, random.Random(seed), until))
        self.actors.append(Actor(pid, role, numbers))
        self.counts[role] += 1

    def reap(self, *, wait: bool = False) -> None:
        """Those that have left; AssertionError for one that failed."""
        for actor in [*self.actors]:
            ended, status = os.waitpid(actor.pid, 0 if wait else os.WNOHANG)
            if ended:
                self.actors.remove(actor)
                if status and not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL):
                    self.log.seek(0)
                    raise AssertionError(
                        f"a {actor.role} ended with status {status}:\n{self.log.read().decode()[-4000:]}"
                    )
                self.stopped.pop(actor.pid, None)
                if status:
                    self.in_hand += sum(self.journals[number].words[Journal.IN_HAND] for number in actor.numbers)

    def disturb(self) -> None:
        """Kill one, or stop one for a moment; let those go on whose moment is over."""
        now = time.monotonic()
        for pid in [pid for pid, when in self.stopped.items() if when < now]:
            del self.stopped[pid]
            os.kill(pid, signal.SIGCONT)
        if not self.actors:
            return
        actor = self.chance.choice(self.actors)
        if self.chance.random() < 0.5:
            os.kill(actor.pid, signal.SIGKILL)
            self.counts["kills"] += 1
        elif actor.pid not in self.stopped:
            os.kill(actor.pid, signal.SIGSTOP)
            self.stopped[actor.pid] = now + self.chance.random() * 0.5
            self.counts["stops"] += 1

    def end(self) -> None:
        """All leave; what is left is received here."""
        for pid in self.stopped:
            os.kill(pid, signal.SIGCONT)
        self.stop[0] = 1
        give_up = time.monotonic() + 60
        while self.actors:
            self.reap()
            if time.monotonic() > give_up:
                stuck = [(actor.pid, actor.role) for actor in self.actors]
                raise AssertionError(f"stuck: {stuck}")
            time.sleep(0.01)
        _wait_for_children_of_the_dead()
        self.start_journal = Journal(self.folder / "last")
        for face in FACES:
            for name in NAMES[face]:
                with contextlib.closing(enter(face, name)) as source:
                    while True:
                        try:
                            self.start_journal.note(*read(source.get(timeout=1)))
                        except shmring.Empty:
                            break

    def check(self) -> None:
        """Does it all add up?"""
        received: Counter[int] = Counter(self.start_journal.receipts())
        for journal in self.journals.values():
            received.update(journal.receipts())
        twice = [key for key, times in received.items() if times > 1]
        assert not twice, f"received more than once: {[(key >> 40, key & (1 << 40) - 1) for key in twice[:5]]}"
        missing: Counter[str] = Counter()
        ranges = []
        for number, journal in self.journals.items():
            done, intended = journal.words[Journal.DONE], journal.words[Journal.INTENDED]
            got = {key & (1 << 40) - 1 for key in received if key >> 40 == number}
            assert not got or max(got) <= intended, f"{number} sent {intended} at most, and {max(got)} came"
            lost = [which for which in range(1, done + 1) if which not in got]
            missing[self.names[number]] += len(lost)
            ranges += [f"{number}: {lost[0]} to {lost[-1]} of {done}"] if lost else []
        assert missing.total() <= self.in_hand, (
            f"{missing.total()} are lost; killed receivers had {self.in_hand} in hand at most: "
            f"{dict(missing)}, {ranges}"
        )
        self.counts["messages"] = received.total()
        self.counts["lost with a killed receiver"] = missing.total()
        shmring.clean()
        for ring in shmring.list():
            if ring.name.startswith(f"{TAG}-own-"):  # its maker was killed before he had got his message back
                shmring.unlink(ring.name)
        left = [entry.name for entry in SHM.iterdir() if TAG in entry.name]
        assert not left, f"left behind: {left}"


def _wait_for_children_of_the_dead() -> None:
    """Orphans of killed senders are ours (a subreaper) and leave when told."""
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()


def become_subreaper() -> None:
    """Orphans become our children."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(36, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), errno.errorcode[ctypes.get_errno()])


def main(seconds: float, seed: int) -> None:
    """Run it, in rounds of a minute at most, each with a check."""
    become_subreaper()
    total: Counter[str] = Counter()
    give_up, number = time.monotonic() + seconds, 0
    while (left := give_up - time.monotonic()) > 0:
        number += 1
        with tempfile.TemporaryDirectory() as folder:
            leader = Leader(Path(folder), seed + number)
            until = time.monotonic() + min(60, max(5, left))
            try:
                while time.monotonic() < until:
                    while len(leader.actors) < 10:
                        leader.start()
                    leader.disturb()
                    leader.reap()
                    time.sleep(leader.chance.random() * 0.1)
                leader.end()
                leader.check()
            except BaseException:
                print(f"in round {number}, of seed {seed}", file=sys.stderr)
                for actor in leader.actors:
                    os.kill(actor.pid, signal.SIGKILL)
                raise
        total += leader.counts
        print(f"round {number}: {dict(leader.counts)}", file=sys.stderr, flush=True)
    print(dict(total))


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]))
