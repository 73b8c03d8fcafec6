"""A program in which a writer scribbles over a live segment while others use it: `scribbling.py KIND SEED ROUNDS`.

It prints, as JSON, how the victims' calls ended, how their processes did, and how many seconds the longest call took.
"""

import asyncio
import collections
import contextlib
import faulthandler
import json
import mmap
import os
import pickle
import random
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import shmring

VICTIMS = 3
MOMENT = 0.01  # seconds; the timeout of the calls
STANDS_STILL = 60.0
kind, seed, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
NAME = f"test-scribbled-{os.getpid()}-{kind}"
PATH = Path(f"/dev/shm/shmring.{NAME}")


def semaphores() -> set[Path]:
    """The files of all rings' semaphores."""
    return {*Path("/dev/shm").glob("sem.shmring-*")}


BEFORE = semaphores()
QUEUES: dict[str, Any] = {"queue": shmring.Queue, "joinable": shmring.JoinableQueue, "simple": shmring.SimpleQueue}
WIDE = {512: 4, 1024: 4, 1028: 4, 1152: 4, 1156: 4}
FIELDS = [16, 512, 520, 528, 576, 584, 640, 768, 776, 784, 896, 1024, 1028, 1152, 1156, 1280, 1408, 1440, 1448]
FIELDS += [1456, 1464, *range(1536, 1664, 8), *range(1664, 1696, 8), 2176]
WORDS = 36864
CONTROL = WORDS + 64 * 8 + 64 * 64  # of a queue of 4096 bytes, on the next page


def make() -> None:
    with contextlib.suppress(FileNotFoundError):
        PATH.unlink()
    if kind in QUEUES:
        kept.append(QUEUES[kind](name=NAME, capacity=4096) if kind != "simple" else QUEUES[kind](name=NAME))
    elif kind in ("block", "overwrite"):
        shmring.Topic.create(NAME, capacity=4096, overflow=kind, mode=0o666, persist=True).close()
    elif kind == "latest":
        shmring.Latest.create(NAME, size=700, mode=0o666, persist=True).close()
    else:
        codec = "numpy" if kind == "mpmc" and seed % 2 else None
        shmring.Ring.create(NAME, capacity=4096, kind=kind, mode=0o666, persist=True, codec=codec).close()


kept: list[Any] = []


def data(chance: random.Random) -> Any:
    if kind == "mpmc" and seed % 2:
        import numpy

        return numpy.zeros(chance.randrange(150))
    return bytes(chance.randrange(1500))


def borrow(source: Any) -> None:
    with source.borrow(timeout=MOMENT) as view:
        bytes(view) if isinstance(view, memoryview) else view.sum()


def claim(target: Any, chance: random.Random, in_part: bool) -> None:
    lease = target.claim(chance.randrange(1500), timeout=MOMENT)
    with lease as buffer:
        buffer[:] = bytes(len(buffer))
        length = len(buffer)
        if in_part:
            lease.commit(chance.randrange(length + 1))


async def aclaim(target: Any, chance: random.Random) -> None:
    async with target.aclaim(chance.randrange(1500), timeout=MOMENT) as buffer:
        buffer[:] = bytes(len(buffer))


async def aborrow(source: Any) -> None:
    async with source.aborrow(timeout=MOMENT) as view:
        len(view)


async def first_of(source: Any) -> None:
    async with asyncio.timeout(MOMENT):
        async for _ in source:
            return


def run(made: Any) -> None:
    asyncio.run(made)


def of_ring(ring: Any, r: random.Random) -> list[Callable[[], object]]:
    return [
        lambda: ring.put(data(r), timeout=MOMENT),
        lambda: ring.get(timeout=MOMENT),
        lambda: ring.get_many(timeout=0),
        lambda: ring.put_many([data(r)] * 5, timeout=MOMENT),
        lambda: ring.get_into(bytearray(100), timeout=0),
        lambda: ring.skip(timeout=MOMENT),
        lambda: borrow(ring),
        lambda: claim(ring, r, in_part=False),
        lambda: claim(ring, r, in_part=True),
        lambda: run(ring.aput(data(r), timeout=MOMENT)),
        lambda: run(ring.aget(timeout=MOMENT)),
        lambda: run(aclaim(ring, r)),
        lambda: run(aborrow(ring)),
        lambda: run(first_of(ring)),
        ring.stats,
        lambda: pickle.loads(pickle.dumps(ring)).close(),
        *of_anything(),
    ]


def of_topic(topic: Any, r: random.Random) -> list[Callable[[], object]]:
    subscription = topic.subscribe(r.choice(["oldest", "latest"]))
    return [
        lambda: topic.publish(data(r), timeout=MOMENT),
        lambda: topic.publish_many([data(r)] * 5, timeout=MOMENT),
        lambda: subscription.get(timeout=MOMENT),
        lambda: subscription.get_many(timeout=0),
        lambda: subscription.get_into(bytearray(100), timeout=0),
        lambda: borrow(subscription),
        lambda: claim(topic, r, in_part=False),
        lambda: claim(topic, r, in_part=True),
        lambda: run(topic.apublish(data(r), timeout=MOMENT)),
        lambda: run(subscription.aget(timeout=MOMENT)),
        lambda: topic.subscribe("oldest").close(),
        topic.stats,
        *of_anything(),
    ]


def of_latest(cell: Any, r: random.Random) -> list[Callable[[], object]]:
    return [
        lambda: cell.set(bytes(r.randrange(700))),
        cell.get,
        lambda: cell.wait_newer(0, timeout=MOMENT),
        lambda: run(cell.await_newer(r.randrange(5), timeout=MOMENT)),
        cell.stats,
        lambda: cell.version,
        *of_anything(),
    ]


def of_queue(queue: Any, r: random.Random) -> list[Callable[[], object]]:
    if kind == "simple":
        return [lambda: queue.put(r.randrange(9)), lambda: None if queue.empty() else queue.get(), *of_anything()]
    calls: list[Callable[[], object]] = [
        lambda: queue.put(bytes(r.randrange(3000)), timeout=MOMENT),
        lambda: queue.get(timeout=MOMENT),
        queue.get_nowait,
        lambda: queue.put_nowait([1, "two"]),
        queue.qsize,
        queue.empty,
        queue.full,
        lambda: run(queue.aput([1], timeout=MOMENT)),
        lambda: run(queue.aget(timeout=MOMENT)),
        *of_anything(),
    ]
    return [*calls, queue.task_done] if kind == "joinable" else calls


def of_anything() -> list[Callable[[], object]]:
    return [lambda: shmring.inspect(NAME), lambda: shmring.clean(dry_run=True), shmring.list]


def come() -> tuple[Any, Callable[[Any, random.Random], list[Callable[[], object]]]]:
    if kind in QUEUES:
        return QUEUES[kind](name=NAME), of_queue
    if kind in ("block", "overwrite"):
        return shmring.Topic.attach(NAME, timeout=1, on_dead_peer="wait"), of_topic
    if kind == "latest":
        return shmring.Latest.attach(NAME, timeout=1, on_dead_peer="wait"), of_latest
    return shmring.Ring.attach(NAME, timeout=1, on_dead_peer="wait"), of_ring


def be_victim(chance: random.Random, beat: mmap.mmap, tell: int) -> None:
    faulthandler.enable()
    ends: collections.Counter[str] = collections.Counter()
    longest = 0.0
    while not beat[8]:
        try:
            made, calls_of = come()
            try:
                calls = calls_of(made, chance)
                for _ in range(100):
                    began = time.monotonic()
                    beat[:8] = struct.pack("<d", began)
                    try:
                        chance.choice(calls)()
                        ends["fine"] += 1
                    except Exception as error:
                        ends[type(error).__name__] += 1
                    longest = max(longest, time.monotonic() - began)
            finally:
                made.close()
        except Exception as error:
            ends[type(error).__name__] += 1
            beat[:8] = struct.pack("<d", time.monotonic())
            time.sleep(0.001)
    os.write(tell, json.dumps([ends, longest]).encode() + b"\n")


def scribble(memory: mmap.mmap, chance: random.Random) -> None:
    """Change one place that the core reads, but no payload: what lies there is whatever a peer puts."""
    far = chance.random()
    if far < 0.3:
        at = chance.choice(FIELDS)
    elif far < 0.6:
        at = 4096 + chance.randrange(6 if chance.random() < 0.7 else 256) * 128 + chance.randrange(16) * 8
    elif far < 0.9 or kind not in QUEUES:
        at = WORDS + 8 * chance.randrange(128 if kind in ("block", "overwrite") else 4 if kind == "latest" else 64)
    else:
        control = -(-CONTROL // 4096) * 4096
        at = control + 8 * chance.choice([*range(72), *range(128, 140), *range(512, 520), *range(512, 4096)])
    if (at in (16, 512) and chance.random() < 0.97) or at + 8 > len(memory):
        return
    width = WIDE.get(at, 8)
    old = int.from_bytes(memory[at : at + width], "little")
    position = int.from_bytes(memory[640:648], "little")
    near = [old ^ 1 << chance.randrange(8 * width), old + chance.choice([1, -1, 64, -64, 2**20]), position]
    new = chance.choice([*near, *near, chance.getrandbits(8 * width), 0, 2**64 - 1, 2**63])
    memory[at : at + width] = (new % (1 << 8 * width)).to_bytes(width, "little")


def main() -> None:
    chance = random.Random(seed)
    make()
    beats = [mmap.mmap(-1, 64) for _ in range(VICTIMS)]
    hears, tells = os.pipe()
    pids = []
    for number, beat in enumerate(beats):
        beat[:8] = struct.pack("<d", time.monotonic())
        pid = os.fork()
        if pid == 0:
            try:
                kept.clear()
                be_victim(random.Random(seed * 7919 + number), beat, tells)
                os._exit(0)
            finally:
                os._exit(3)
        pids.append(pid)
    os.close(tells)
    stood_still = 0
    for turn in range(rounds):
        if turn % 40 == 39:  # a fresh one now and then, or all is Corrupt at once
            make()
        with contextlib.suppress(FileNotFoundError), PATH.open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
            for _ in range(30):
                scribble(memory, chance)
        time.sleep(chance.random() * 0.01)
        last = min(struct.unpack("<d", beat[:8])[0] for beat in beats)
        if time.monotonic() - last > STANDS_STILL:
            stood_still += 1
            break
    for beat in beats:
        beat[8] = 1
    codes = []
    give_up = time.monotonic() + STANDS_STILL
    for pid in pids:
        while not (found := os.waitpid(pid, os.WNOHANG))[0]:
            if time.monotonic() > give_up:
                stood_still += 1
                os.kill(pid, 9)
                found = os.waitpid(pid, 0)
                break
            time.sleep(0.01)
        codes.append(os.waitstatus_to_exitcode(found[1]))
    with os.fdopen(hears) as heard:
        told = [json.loads(line) for line in heard]
    ends = sum((collections.Counter(each) for each, _ in told), collections.Counter())
    longest = max((seconds for _, seconds in told), default=0)
    for each in kept:
        with contextlib.suppress(Exception):
            each.close()
    PATH.unlink(missing_ok=True)
    # Whoever finds a header that says so makes the semaphores of whatever identity stands there.
    for each in semaphores() - BEFORE:
        each.unlink(missing_ok=True)
    print(json.dumps({"ends": ends, "codes": codes, "stood_still": stood_still, "longest": longest}))


if __name__ == "__main__":
    main()
