"""How cost grows with the work: time and memory against capacity, rings and processes.

capacity   1 KiB ─────────▶ 1 GiB      time to create, to attach, to the first message; memory reserved, touched
rings      1 ─▶ 10 000                 time to list, inspect and create with so many in the registry
processes  1 ─▶ 16                     time until so many have attached
a queue    0 ─▶ 400 MB                 the worst put while nobody gets, beside multiprocessing's
"""

from __future__ import annotations

import multiprocessing
import os
import pathlib
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from typing import Any

import shmring

from .channel import Unsupported
from .crew import Crew, Stage
from .options import Options
from .results import LOWER, Row, Sample, Table
from .rounds import Entry, Plan
from .throughput import in_bytes
from .trial import Site, run

CAPACITIES = (1 << 10, 1 << 16, 1 << 20, 16 << 20, 256 << 20, 1 << 30)
RINGS = (1, 10, 100, 1000, 10_000)
ATTACHED = (1, 2, 4, 8, 16)
_BRIEF_RINGS, _BRIEF_CAPACITIES = (1, 10), CAPACITIES[:3]
PUTS, _BRIEF_PUTS = 4000, 100
_IMAGE = 100_000
_DEADLINE = 120.0


def plans(options: Options) -> Iterator[Plan]:
    """A table for each of the three."""
    rounds = min(3, options.rounds)
    capacities, rings = (_BRIEF_CAPACITIES, _BRIEF_RINGS) if options.smoke else (CAPACITIES, RINGS)
    attached = tuple(count for count in ATTACHED if count <= 2) if options.smoke else ATTACHED
    note = "create, then attach by name, then the first put and get; memory as the kernel counts it."
    table = Table("growth", "capacity: create + attach + first message", "µs", LOWER, {}, note=note)
    yield Plan(table, [_entry(in_bytes(size), _with_capacity(size)) for size in capacities], rounds)
    note = "shmring.list() of so many rings; beside it one inspect() and one create()."
    table = Table("growth", "rings in the registry: list", "µs", LOWER, {}, note=note)
    yield Plan(table, [_entry(f"{count:,} rings", _with_rings(count)) for count in rings], 1)
    table = Table("growth", "processes: all have attached", "µs", LOWER, {}, note="From go to the last attachment.")
    yield Plan(table, [_entry(f"{count} processes", _with_processes(count)) for count in attached], rounds)
    puts = _BRIEF_PUTS if options.smoke else PUTS
    note = f"{puts} images of {in_bytes(_IMAGE)} that nobody gets meanwhile: the slowest put. All are then compared."
    table = Table("growth", "a queue that grows: the worst put", "µs", LOWER, {}, note=note)
    queues: tuple[tuple[str, Callable[[], Any], bool], ...] = (
        ("shmring.Queue", shmring.Queue, True),
        ("multiprocessing.Queue", multiprocessing.Queue, False),
    )
    yield Plan(table, [_entry(name, _with_images(make, puts), ours) for name, make, ours in queues], options.rounds)


def _entry(name: str, work: Callable[[Site], Sample], ours: bool = True) -> Entry:
    return Entry(Row(name, ours=ours), lambda: run(work, _DEADLINE))


def _microseconds(since: float) -> float:
    return (time.perf_counter() - since) * 1e6


def _with_capacity(size: int) -> Callable[[Site], Sample]:
    def work(site: Site) -> Sample:
        room = shutil.disk_usage("/dev/shm").free
        if room < 1.2 * size:
            raise Unsupported(f"/dev/shm has {room >> 20} MiB free: no ring of {in_bytes(size)}")
        before, began = _resident(), time.perf_counter()
        with shmring.Ring.create(site.tag, capacity=size) as ring:
            created = _microseconds(began)
            reserved = os.stat(f"/dev/shm/shmring.{site.tag}").st_blocks * 512
            began = time.perf_counter()
            other = shmring.Ring.attach(site.tag)
            attached = _microseconds(began)
            message = b"x" * min(64, size // 4)
            began = time.perf_counter()
            ring.put(message)
            assert other.get() == message
            first = _microseconds(began)
            other.close()  # so that memory is not counted twice
            resident = _resident() - before
            buffer = bytearray(min(1 << 20, size // 4))
            for _ in range(size // len(buffer) + 1):  # once round
                ring.put(buffer)
                ring.get_into(buffer)
            touched = _resident() - before
        return Sample(
            created + attached + first,
            {
                "create_us": created,
                "attach_us": attached,
                "first_message_us": first,
                "reserved_bytes": float(reserved),
                "resident_bytes": float(resident),
                "resident_after_bytes": float(touched),
            },
        )

    return work


def _with_rings(count: int) -> Callable[[Site], Sample]:
    def work(site: Site) -> Sample:
        names = [f"{site.tag}-{number}" for number in range(count)]
        try:
            began = time.perf_counter()
            for name in names:
                shmring.Ring.create(name, capacity=1024, persist=True).close()
            made = _microseconds(began) / count
            began = time.perf_counter()
            found = len(shmring.list())
            listed = _microseconds(began)
            assert found >= count
            began = time.perf_counter()
            shmring.inspect(names[0])
            inspected = _microseconds(began)
        finally:
            for name in names:
                pathlib.Path(f"/dev/shm/shmring.{name}").unlink(missing_ok=True)
        return Sample(listed, {"create_us": made, "inspect_us": inspected, "list_us_each": listed / count})

    return work


def _with_processes(count: int) -> Callable[[Site], Sample]:
    def work(site: Site) -> Sample:
        with shmring.Ring.create(site.tag, capacity="1 MiB"), Crew(site.deadline) as crew:

            def attach(stage: Stage) -> int:
                stage.ready()
                ring = shmring.Ring.attach(site.tag, timeout=10)
                ended = time.perf_counter_ns()
                ring.close()
                return ended - stage.board.begin_ns

            for number in range(count):
                crew.add(f"process {number}", attach, lambda: None, None)
            reports = crew.run()
        each = [report.result / 1000 for report in reports.values()]
        return Sample(max(each), {"first_us": min(each), "peak_bytes": float(_peak())})

    return work


def _with_images(make: Callable[[], Any], puts: int) -> Callable[[Site], Sample]:
    def work(site: Site) -> Sample:
        queue, took = make(), []
        for number in range(puts):
            image = number.to_bytes(4, "little") * (_IMAGE // 4)
            began = time.perf_counter()
            queue.put(image)
            took.append(_microseconds(began))
        for number in range(puts):
            assert queue.get(timeout=_DEADLINE) == number.to_bytes(4, "little") * (_IMAGE // 4)
        queue.close()
        took.sort()
        shares = {"p50_us": 0.5, "p99_us": 0.99, "p9999_us": 0.9999}
        return Sample(took[-1], {key: took[min(puts - 1, int(share * puts))] for key, share in shares.items()})

    return work


def _resident() -> int:
    """Bytes of this process that are in memory."""
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
