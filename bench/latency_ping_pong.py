"""The time there and back between two processes, one message at a time.

    ping (CPU 0)  ──▶  [ channel ]  ──▶  pong (CPU 1)
                  ◀──  [ channel ]  ◀──

A closed loop: the next message is sent only when the answer is there, so a slow trip delays the later ones and is seen
once. The open loop beside it is the one that counts what a stall does to everybody behind it.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable
from typing import Any

from . import loops
from .channel import Contestant, Corrupt, Shape
from .crew import Crew, Stage
from .histogram import encoded, name_of
from .results import Sample
from .transfer import Work, figures
from .trial import Site

_CAPACITY = 1 << 16
_SETTLE = 0.1  # seconds; the same rest for everybody before the clock starts
_BETWEEN_LOOKS = 256  # trips between two looks for END, which costs pong a comparison
WARM_UP_TRIPS = 2 * _BETWEEN_LOOKS

Ping = Callable[[Any, Any, Work, Stage], tuple[str, dict[str, float], int]]
Pong = Callable[[Any, Any, Stage], None]


def trial(contestant: Contestant, work: Work, site: Site, ping: Ping | None = None, pong: Pong | None = None) -> Sample:
    """Open two channels, one for each way, and let ping and pong play; in the leader."""
    ping, pong = ping or _ping, pong or _pong
    one_way = Shape(work.length, _CAPACITY, site.tag, site.folder)
    there = contestant.open(dataclasses.replace(one_way, tag=f"{site.tag}-a", folder=_below(site.folder, "a")))
    try:
        back = contestant.open(dataclasses.replace(one_way, tag=f"{site.tag}-b", folder=_below(site.folder, "b")))
        try:
            with Crew(site.deadline) as crew:

                def leave() -> None:
                    there.leave()
                    back.leave()

                crew.add("pong", lambda stage: pong(there, back, stage), leave, work.cpu(1))
                crew.add("ping", lambda stage: ping(there, back, work, stage), leave, work.cpu(0))
                reports = crew.run(max(_SETTLE, there.settle, back.settle))
        finally:
            back.close()
    finally:
        there.close()
    histogram, percentiles, trips = reports["ping"].result
    return Sample(percentiles[name_of(50)], figures(reports, 2 * trips), histogram)


def _below(folder: str, name: str) -> str:
    path = f"{folder}/{name}"
    os.mkdir(path)
    return path


def _ping(there: Any, back: Any, work: Work, stage: Stage) -> tuple[str, dict[str, float], int]:
    put = there.sender(0)
    get = back.receiver(0)
    pool, end = loops.pool_of(work.length), loops.end_of(work.length)
    stage.ready()
    cell = stage.board.cell(0)
    spans: list[int] = []
    now = time.perf_counter_ns
    stop = now() + int(work.seconds * 1e9)
    while True:
        for message in pool * (_BETWEEN_LOOKS // len(pool)):
            began = now()
            put(message)
            answer = get()
            spans.append(now() - began)
            if answer != message:
                raise Corrupt("an answer is not the message that was sent")
        cell[0] = len(spans)
        last = now() > stop
        put(end if last else pool[0])
        get()
        if last:
            break
    counted = spans[WARM_UP_TRIPS:] if len(spans) > 2 * WARM_UP_TRIPS else spans
    return (*encoded(counted), len(spans))


def _pong(there: Any, back: Any, stage: Stage) -> None:
    get = there.receiver(0)
    put = back.sender(0)
    end = loops.end_of(there.shape.length)
    again = range(_BETWEEN_LOOKS)
    stage.ready()
    while True:
        for _ in again:
            put(get())
        message = get()
        put(message)
        if message == end:
            return
