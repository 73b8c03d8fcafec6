"""torch.multiprocessing.Queue: tensors go through shared memory, the handle through a pipe. Only if torch is there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..channel import FRAMES, Channel, Contestant, Shape
from .multiprocessing_queue import Queue


class TensorQueue(Queue):
    """A frame becomes a tensor in shared memory; what is received is read in place."""

    def __init__(self, shape: Shape) -> None:
        import torch.multiprocessing

        self.package = torch.multiprocessing
        self.from_numpy = torch.from_numpy
        super().__init__(shape)

    def sender(self, number: int) -> Callable[[Any], object]:
        put, from_numpy = self.queue.put, self.from_numpy
        return lambda frame: put(from_numpy(frame).clone())

    def receiver(self, number: int) -> Callable[[], Any]:
        get = self.queue.get
        return lambda: get().numpy()


def _open(shape: Shape) -> Channel:
    return TensorQueue(shape)


CONTESTANTS = (
    Contestant(
        "torch.multiprocessing.Queue",
        _open,
        distribution="torch",
        carries=frozenset({FRAMES}),
        arrays=True,
        litter=("/dev/shm/torch_*", "/dev/shm/sem.mp-*"),
    ),
)
