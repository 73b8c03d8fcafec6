"""posix_ipc: a POSIX message queue of the kernel, which bounds the length and the number of messages."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Callable
from typing import Any

from ..channel import Channel, Contestant, Shape, Unsupported

_LIMITS = pathlib.Path("/proc/sys/fs/mqueue")


class MessageQueue(Channel):
    """As deep as the kernel lets a user have it."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        import posix_ipc

        longest, most = (int((_LIMITS / name).read_text()) for name in ("msgsize_max", "msg_max"))
        if shape.length > longest:
            raise Unsupported(f"fs.mqueue.msgsize_max is {longest}: no message of {shape.length} bytes")
        self.queue = posix_ipc.MessageQueue(
            f"/{shape.tag}", posix_ipc.O_CREX, max_messages=min(most, shape.slots), max_message_size=shape.length
        )

    def sender(self, number: int) -> Callable[[Any], object]:
        return self.queue.send  # type: ignore[no-any-return]

    def receiver(self, number: int) -> Callable[[], Any]:
        receive = self.queue.receive
        return lambda: receive()[0]

    def close(self) -> None:
        self.queue.close()
        self.queue.unlink()


def _clear(tag: str) -> None:
    import posix_ipc

    with contextlib.suppress(posix_ipc.ExistentialError):
        posix_ipc.unlink_message_queue(f"/{tag}")


CONTESTANTS = (Contestant("posix_ipc message queue", MessageQueue, distribution="posix_ipc", clear=_clear),)
