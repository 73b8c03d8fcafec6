"""pyzmq: PUSH and PULL over ipc://, PUB and SUB for many readers; copy=False for large messages, as it advises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..channel import BROADCAST, BYTES, EVENT_LOOPS, FRAMES, OBJECTS, ONE_TO_ONE, Channel, Contestant, Shape

_IO_THREADS = 1


class PushPull(Channel):
    """The side of which there is one binds; a context in every process, since one may not be used across a fork."""

    settle = 0.1
    copy = True
    objects = False

    def _socket(self, kind: str, bind: bool) -> Any:
        import zmq

        self.context = self.context_class()(_IO_THREADS)
        self.socket = self.context.socket(getattr(zmq, kind))
        self.socket.set_hwm(min(self.shape.slots, 16384))
        self.socket.linger = 0
        self.tune()
        address = f"ipc://{self.shape.folder}/zmq"
        self.socket.bind(address) if bind else self.socket.connect(address)
        return self.socket

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        import zmq  # noqa: F401 (to fail here when it is missing)

    def context_class(self) -> Any:
        """What makes sockets."""
        import zmq

        return zmq.Context

    def tune(self) -> None:
        """Set options before binding or connecting."""

    def sender(self, number: int) -> Callable[[Any], object]:
        socket = self._socket("PUSH", bind=self.shape.producers == 1)
        if self.objects:
            return socket.send_pyobj  # type: ignore[no-any-return]
        return socket.send if self.copy else lambda message: socket.send(message, copy=False)

    def receiver(self, number: int) -> Callable[[], Any]:
        socket = self._socket("PULL", bind=self.shape.producers != 1)
        if self.objects:
            return socket.recv_pyobj  # type: ignore[no-any-return]
        return socket.recv if self.copy else lambda: socket.recv(copy=False).buffer

    def leave(self) -> None:
        self.socket.close()
        self.context.term()


class NoCopy(PushPull):
    """send(copy=False), and recv(copy=False) whose buffer is read."""

    copy = False


class Objects(PushPull):
    """send_pyobj() and recv_pyobj()."""

    objects = True


class InALoop(PushPull):
    """zmq.asyncio: send() and recv() are awaited."""

    def context_class(self) -> Any:
        import zmq.asyncio

        return zmq.asyncio.Context


class PubSub(PushPull):
    """XPUB_NODROP makes a publisher wait where PUB would drop; a subscription needs time to arrive."""

    settle = 0.3

    def tune(self) -> None:
        import zmq

        if self.socket.type == zmq.XPUB:
            self.socket.setsockopt(zmq.XPUB_NODROP, 1)
        else:
            self.socket.setsockopt(zmq.SUBSCRIBE, b"")

    def sender(self, number: int) -> Callable[[Any], object]:
        return self._socket("XPUB", bind=True).send  # type: ignore[no-any-return]

    def receiver(self, number: int) -> Callable[[], Any]:
        return self._socket("SUB", bind=False).recv  # type: ignore[no-any-return]


CONTESTANTS = (
    Contestant("pyzmq ipc", PushPull, distribution="pyzmq"),
    Contestant(
        "pyzmq ipc, copy=False",
        NoCopy,
        distribution="pyzmq",
        patterns=frozenset({ONE_TO_ONE}),
        carries=frozenset({BYTES, FRAMES}),
    ),
    Contestant("pyzmq ipc, send_pyobj", Objects, distribution="pyzmq", carries=frozenset({OBJECTS})),
    Contestant("pyzmq ipc, zmq.asyncio", InALoop, distribution="pyzmq", patterns=frozenset({EVENT_LOOPS})),
    Contestant("pyzmq ipc, PUB and SUB", PubSub, distribution="pyzmq", patterns=frozenset({BROADCAST})),
)
