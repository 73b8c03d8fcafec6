"""shmring's faces above the ring as contestants: Queue, Topic, the executor. One that is missing says so in its row."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import shmring

from .channel import BROADCAST, EVERY_QUEUE, FRAMES, OBJECTS, ONE_TO_ONE, Channel, Contestant, NotInThisVersion, Shape
from .rings import BATCH

_PROTOCOL = 5


def face(name: str) -> Any:
    """A public name of shmring; NotInThisVersion when it has none such."""
    found = getattr(shmring, name, None)
    if found is None:
        raise NotInThisVersion(f"shmring {shmring.__version__} has no {name}")
    return found


class PickledRing(Channel):
    """A plain ring, objects pickled by hand: what can be done without Queue."""

    kind = "mpmc"

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.ring = shmring.Ring.create(capacity=shape.capacity, kind=self.kind)  # type: ignore[arg-type]

    def sender(self, number: int) -> Callable[[Any], object]:
        put, dumps = self.ring.put, pickle.dumps
        return lambda message: put(dumps(message, _PROTOCOL))

    def receiver(self, number: int) -> Callable[[], Any]:
        get, loads = self.ring.get, pickle.loads  # what this very program put
        return lambda: loads(get())

    def close(self) -> None:
        self.ring.close()


class PickledSpscRing(PickledRing):
    """One producer, one consumer."""

    kind = "spsc"


class CodecRing(PickledRing):
    """A ring of objects: its codec pickles."""

    def __init__(self, shape: Shape) -> None:
        Channel.__init__(self, shape)
        self.ring = shmring.Ring.create(capacity=shape.capacity, codec="pickle")

    def sender(self, number: int) -> Callable[[Any], object]:
        return self.ring.put

    def receiver(self, number: int) -> Callable[[], Any]:
        return self.ring.get


class MsgspecRing(CodecRing):
    """A ring of dicts as MessagePack."""

    codec: Any = "msgspec"

    def __init__(self, shape: Shape) -> None:
        Channel.__init__(self, shape)
        self.ring = shmring.Ring.create(capacity=shape.capacity, codec=self.codec)


class TypedRing(MsgspecRing):
    """A ring of one type of Struct."""

    def __init__(self, shape: Shape) -> None:
        from .structs import Item

        self.codec = shmring.codecs.msgspec(Item)
        super().__init__(shape)


class Queue(Channel):
    """put() and get() of any object."""

    face = "Queue"

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.queue = face(self.face)(capacity=shape.capacity, maxsize=shape.slots)

    def sender(self, number: int) -> Callable[[Any], object]:
        return self.queue.put

    def receiver(self, number: int) -> Callable[[], Any]:
        return self.queue.get

    def close(self) -> None:
        self.queue.close()


class BatchedQueue(Queue):
    """put_many() and get_many()."""

    def sender(self, number: int) -> Callable[[Any], object]:
        return self.queue.put_many

    def receiver(self, number: int) -> Callable[[], list[Any]]:
        get_many = self.queue.get_many
        return lambda: get_many(BATCH)


class Topic(Channel):
    """Every subscriber gets every message; a full topic makes its publisher wait."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.topic = face("Topic").create(shape.tag, shape.capacity, overflow="block")

    def sender(self, number: int) -> Callable[[Any], object]:
        return self.topic.publish

    def receiver(self, number: int) -> Callable[[], Any]:
        self.subscription = self.topic.subscribe(start="latest").__enter__()
        return self.subscription.get

    def close(self) -> None:
        self.topic.close()


_OBJECTS = frozenset({OBJECTS})
FOR_OBJECTS = (
    Contestant("shmring.Queue", Queue, ours=True, carries=frozenset({OBJECTS, FRAMES})),
    Contestant("shmring.Queue put_many, get_many", BatchedQueue, ours=True, carries=_OBJECTS, batched=True),
    Contestant(
        "shmring spsc ring, pickle", PickledSpscRing, ours=True, carries=_OBJECTS, patterns=frozenset({ONE_TO_ONE})
    ),
    Contestant("shmring mpmc ring, codec pickle", CodecRing, ours=True, carries=_OBJECTS),
    Contestant("shmring mpmc ring, codec msgspec", MsgspecRing, ours=True, unpickled=True, carries=_OBJECTS),
    Contestant(
        "shmring mpmc ring, codec msgspec, Structs",
        TypedRing,
        ours=True,
        carries=_OBJECTS,
        structs=True,
        unpickled=True,
    ),
    Contestant("shmring mpmc ring, pickle", PickledRing, ours=True, carries=_OBJECTS, patterns=EVERY_QUEUE),
)
FOR_TOPICS = (Contestant("shmring.Topic", Topic, ours=True, patterns=frozenset({BROADCAST})),)
