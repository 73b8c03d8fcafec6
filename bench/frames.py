"""Pictures of 1920 x 1080 x 3 bytes from one process to one other, as numpy arrays that the consumer reads.

    camera  ──▶  one copy in ──▶ [ channel ] ──▶ read, in place where that is possible  ──▶  consumer

Reading is a maximum over a byte of every cache line, so that each contestant pays for fetching what it delivered; one
that only passes a pointer on cannot look fast. Each frame's number is checked, and every 64th frame whole.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from . import faces, limits, rings, rivals
from .channel import BYTES, FRAMES, OBJECTS, ONE_TO_ONE, Contestant, Corrupt, Lost, Shape, Unsupported
from .crew import Crew, Stage
from .options import Options
from .results import HIGHER, Sample, Table
from .rounds import Plan, entry, limit_entry
from .transfer import Work, capacity_for, figures
from .trial import Site

HEIGHT, WIDTH, COLOURS = 1080, 1920, 3
LENGTH = HEIGHT * WIDTH * COLOURS
POOL, WHOLE, LINE = 4, 64, 64
MEMCPY = "memcpy"


def plans(options: Options) -> Iterator[Plan]:
    """One table."""
    work = Work(ONE_TO_ONE, LENGTH, options.seconds, options.cpus)
    table = Table("frames", f"{WIDTH} x {HEIGHT} x {COLOURS}, one to one", "frames/s", HIGHER, {"length": LENGTH})
    table.note = "The limit is one CPU that copies; the producer copies each frame in, the consumer reads it."

    def move(contestant: Contestant, site: Site) -> Sample:
        return trial(contestant, work, site)

    def copy() -> Sample:
        return Sample(limits.memcpy_rate(LENGTH, work.seconds / 2, capacity_for(LENGTH), POOL, [work.cpu(0)]))

    entries = [limit_entry(MEMCPY, copy, note="one CPU copies")]
    them = [*rings.FOR_FRAMES, *faces.FOR_OBJECTS, *rivals.chosen(options.rivals, rivals.all_of_them())]
    for each in them:
        if each.can(ONE_TO_ONE, FRAMES) or _best_way_for_a_frame(each):
            entries.append(entry(each, move, work.deadline, limit=MEMCPY))
    yield Plan(table, entries, options.rounds)


def _best_way_for_a_frame(contestant: Contestant) -> bool:
    """Those with no way of their own for frames take part as what they are: bytes, or else pickled arrays."""
    return not contestant.ours and not contestant.batched and contestant.can(ONE_TO_ONE, BYTES)


def trial(contestant: Contestant, work: Work, site: Site) -> Sample:
    """Send frames for the time; in the leader."""
    try:
        import numpy
    except ImportError:
        raise Unsupported('frames need numpy, which is missing: pip install "shmring[bench]"') from None
    pool = []
    for number in range(POOL + 1):
        frame = numpy.random.default_rng(number).integers(0, 255, LENGTH, dtype="uint8")
        frame[:LINE] = number  # the last one is END
        pool.append(frame)
    channel = contestant.open(Shape(LENGTH, capacity_for(LENGTH), site.tag, site.folder))
    messages: list[Any] = [frame.tobytes() for frame in pool]
    if contestant.arrays or contestant.can(ONE_TO_ONE, OBJECTS):
        messages = pool
    elif contestant.can(ONE_TO_ONE, FRAMES):
        messages = [memoryview(frame) for frame in pool]
    try:
        with Crew(site.deadline) as crew:
            crew.add("consumer 0", _reader(channel.receiver, pool, work, numpy), channel.leave, work.cpu(1))
            crew.add("producer 0", _camera(channel.sender, messages, work), channel.leave, work.cpu(0))
            reports = crew.run(channel.settle)
    finally:
        channel.close()
    count, rate = reports["consumer 0"].result
    if count != reports["producer 0"].result:
        raise Lost(f"{reports['producer 0'].result} frames were sent, and {count} arrived")
    return Sample(rate, figures(reports, count))


def _camera(sender: Callable[[int], Any], messages: Sequence[Any], work: Work) -> Callable[[Stage], int]:
    def role(stage: Stage) -> int:
        put = sender(0)
        stage.ready()
        count, stop = 0, time.perf_counter() + work.seconds + work.warm_up
        while time.perf_counter() < stop:
            put(messages[count % POOL])
            count += 1
        put(messages[POOL])
        return count

    return role


def _reader(receiver: Callable[[int], Any], pool: Sequence[Any], work: Work, numpy: Any) -> Callable[[Stage], Any]:
    def read(message: Any, number: int) -> bool:
        """Look at a frame; False when it is END. No reference to it is left."""
        frame = numpy.asarray(message) if hasattr(message, "shape") else numpy.frombuffer(message, "uint8")
        if frame[0] == POOL:
            return False
        expected = pool[number % POOL]
        if frame[0] != expected[0]:
            raise (Lost if frame[0] < POOL else Corrupt)(f"frame {number} is not the one that was sent")
        frame[::LINE].max()
        if number % WHOLE == 0 and not (frame == expected).all():
            raise Corrupt(f"frame {number} arrived torn")
        return True

    def role(stage: Stage) -> tuple[int, float]:
        get = receiver(0)
        cell = stage.board.cell(0)
        stage.ready()
        count, clock = 0, work.clock(stage)
        mark = clock.mark
        while read(get(), count):
            count += 1
            cell[0] = count
            if time.perf_counter() >= mark:
                mark = clock.passed(count)
        counted, began, ended = clock.window(count)
        return count, counted / (ended - began)

    return role
