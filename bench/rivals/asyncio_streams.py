"""asyncio's streams over a socket pair: what an event loop has without any library. A length, then the message."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable

from ..channel import EVENT_LOOPS, Channel, Contestant, Shape

_LENGTH = struct.Struct("=Q")


class Streams(Channel):
    """One way; a StreamWriter at the one end, a StreamReader at the other, made in the loop that uses them."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.ends = socket.socketpair()

    def sender(self, number: int) -> Callable[[bytes], Awaitable[object]]:
        writer: asyncio.StreamWriter | None = None

        async def aput(message: bytes) -> None:
            nonlocal writer
            if writer is None:
                _, writer = await asyncio.open_connection(sock=self.ends[0])
            writer.write(_LENGTH.pack(len(message)) + message)
            await writer.drain()

        return aput

    def receiver(self, number: int) -> Callable[[], Awaitable[bytes]]:
        reader: asyncio.StreamReader | None = None

        async def aget() -> bytes:
            nonlocal reader
            if reader is None:
                reader, self.writer = await asyncio.open_connection(sock=self.ends[1])  # the writer keeps it open
            return await reader.readexactly(_LENGTH.unpack(await reader.readexactly(_LENGTH.size))[0])

        return aget

    def close(self) -> None:
        for end in self.ends:
            end.close()


CONTESTANTS = (Contestant("asyncio streams, socket pair", Streams, patterns=frozenset({EVENT_LOOPS})),)
