"""pynng: Push0 and Pull0 over ipc://, Pub0 and Sub0 for many readers. A full Pub0 drops, whatever one does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ..channel import BROADCAST, Channel, Contestant, Shape

_BUFFERED = 8192  # the most messages that it buffers


class PushPull(Channel):
    """The side of which there is one listens; sockets are opened in the process that uses them."""

    settle = 0.1

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        import pynng  # noqa: F401 (to fail here when it is missing)

    def _open(self, kind: str, listen: bool, **options: Any) -> Any:
        import pynng

        self.socket = getattr(pynng, kind)(**options)
        address = f"ipc://{self.shape.folder}/nng"
        if listen:
            self.socket.listen(address)
        else:
            self._dial(pynng, address)
        return self.socket

    def _dial(self, pynng: Any, address: str) -> None:
        """A dial that blocks connects before anything is sent; the listener may not be there yet."""
        while True:
            try:
                self.socket.dial(address, block=True)
                return
            except (pynng.ConnectionRefused, pynng.exceptions.NNGException):
                time.sleep(0.01)

    def sender(self, number: int) -> Callable[[Any], object]:
        slots = min(self.shape.slots, _BUFFERED)
        return self._open("Push0", self.shape.producers == 1, send_buffer_size=slots).send  # type: ignore[no-any-return]

    def receiver(self, number: int) -> Callable[[], Any]:
        slots = min(self.shape.slots, _BUFFERED)
        options = {"recv_buffer_size": slots, "recv_max_size": 0}
        return self._open("Pull0", self.shape.producers != 1, **options).recv  # type: ignore[no-any-return]

    def leave(self) -> None:
        self.socket.close()


class PubSub(PushPull):
    """Every subscriber asks for every topic."""

    settle = 0.3

    def sender(self, number: int) -> Callable[[Any], object]:
        return self._open("Pub0", True, send_buffer_size=_BUFFERED).send  # type: ignore[no-any-return]

    def receiver(self, number: int) -> Callable[[], Any]:
        socket = self._open("Sub0", False, recv_buffer_size=_BUFFERED, recv_max_size=0)
        socket.subscribe(b"")
        return socket.recv  # type: ignore[no-any-return]


CONTESTANTS = (
    Contestant("pynng ipc", PushPull, distribution="pynng"),
    Contestant("pynng ipc, Pub0 and Sub0", PubSub, distribution="pynng", patterns=frozenset({BROADCAST})),
)
