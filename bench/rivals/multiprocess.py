"""multiprocess: multiprocessing with dill, so that more can be pickled. Used like multiprocessing.Queue."""

from __future__ import annotations

from ..channel import BYTES, OBJECTS, Channel, Contestant, Shape
from .multiprocessing_queue import Queue


def _open(shape: Shape) -> Channel:
    import multiprocess

    return type("Queue", (Queue,), {"package": multiprocess})(shape)


CONTESTANTS = (
    Contestant(
        "multiprocess.Queue",
        _open,
        distribution="multiprocess",
        carries=frozenset({BYTES, OBJECTS}),
        litter=("/dev/shm/sem.mp-*",),
    ),
)
