"""A newest value of 64 bytes, set and read by two processes at full speed: how often it is read whole.

setter  ──▶  [ newest value ]  ──▶  reader
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable

import shmring

from . import rivals
from .channel import LATEST, Channel, Contestant, Corrupt, Shape
from .crew import Crew, Stage
from .options import Options
from .results import HIGHER, Sample, Table
from .rounds import Plan, entry
from .transfer import Work, figures
from .trial import Site

LENGTH = 64
_VALUE = struct.Struct("=8Q")  # eight times the number of the value, so that a torn one shows
_BLOCK = range(64)


class Latest(Channel):
    """set() never waits, and get() copies the newest value."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.latest = shmring.Latest.create(shape.tag, shape.length)

    def sender(self, number: int) -> Callable[[bytes], object]:
        return self.latest.set

    def receiver(self, number: int) -> Callable[[], bytes]:
        return self.latest.get

    def close(self) -> None:
        self.latest.close()


OURS = Contestant("shmring.Latest", Latest, ours=True, patterns=frozenset({LATEST}))


def plan(options: Options) -> Plan:
    """One table."""
    parameters = {"length": LENGTH, "producers": 1, "consumers": 1}
    table = Table("topic", f"newest value of {LENGTH} B, 1 sets and 1 reads", "reads/s", HIGHER, parameters)
    table.note = "Every 64th value read is checked: it is of one set, whole."
    work = Work(LATEST, LENGTH, options.seconds, options.cpus)

    def move(contestant: Contestant, site: Site) -> Sample:
        return trial(contestant, work, site)

    them = [OURS, *rivals.chosen(options.rivals, rivals.all_of_them())]
    entries = [entry(each, move, work.deadline) for each in them if each.can(LATEST)]
    return Plan(table, entries, options.rounds)


def trial(contestant: Contestant, work: Work, site: Site) -> Sample:
    """Set and read for the time; in the leader."""
    channel = contestant.open(Shape(LENGTH, LENGTH, site.tag, site.folder))
    try:
        with Crew(site.deadline) as crew:
            crew.add("reader", _reader(channel, work), channel.leave, work.cpu(1))
            crew.add("setter", _setter(channel, work), channel.leave, work.cpu(0))
            reports = crew.run(channel.settle)
    finally:
        channel.close()
    reads, seconds = reports["reader"].result
    sets, of_seconds = reports["setter"].result
    return Sample(reads / seconds, {**figures(reports, reads), "sets_per_second": sets / of_seconds})


def _setter(channel: Channel, work: Work) -> Callable[[Stage], tuple[int, float]]:
    def role(stage: Stage) -> tuple[int, float]:
        put = channel.sender(0)
        values = [_VALUE.pack(*[number] * 8) for number in range(1, 4097)]
        put(values[0])
        stage.ready()
        count, began = 0, time.perf_counter()
        stop = began + work.warm_up + work.seconds
        while (ended := time.perf_counter()) < stop:
            for number in _BLOCK:
                put(values[(count + number) & 4095])
            count += len(_BLOCK)
        return count, ended - began

    return role


def _reader(channel: Channel, work: Work) -> Callable[[Stage], tuple[int, float]]:
    def role(stage: Stage) -> tuple[int, float]:
        get = channel.receiver(0)
        stage.ready()
        time.sleep(work.warm_up)
        count, began = 0, time.perf_counter()
        stop = began + work.seconds
        while (ended := time.perf_counter()) < stop:
            for _ in _BLOCK:
                value = get()
            first, *others = _VALUE.unpack(value)
            if any(each != first for each in others):
                raise Corrupt(f"a value of several sets arrived: {(first, *others)}")
            count += len(_BLOCK)
        return count, ended - began

    return role
