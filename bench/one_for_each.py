"""A queue for every reader, and a producer that puts into all of them: a topic for those that have none."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import Any

from .channel import BROADCAST, Channel, Contestant, Shape


class OneForEach(Channel):
    """As many channels from one to one as there are consumers."""

    def __init__(self, contestant: Contestant, shape: Shape) -> None:
        super().__init__(shape)
        self.channels: list[Channel] = []
        for number in range(shape.consumers):
            folder = f"{shape.folder}/{number}"
            os.mkdir(folder)
            one = dataclasses.replace(shape, consumers=1, tag=f"{shape.tag}-{number}", folder=folder)
            self.channels.append(contestant.open(one))
        self.settle = max(each.settle for each in self.channels)
        self.mine = self.channels

    def sender(self, number: int) -> Callable[[Any], object]:
        puts = [channel.sender(0) for channel in self.channels]

        def put(message: Any) -> None:
            for each in puts:
                each(message)

        return put

    def receiver(self, number: int) -> Callable[[], Any]:
        self.mine = self.channels[number : number + 1]
        return self.mine[0].receiver(0)

    def leave(self) -> None:
        for channel in self.mine:
            channel.leave()

    def close(self) -> None:
        for channel in self.channels:
            channel.close()


def one_for_each(contestant: Contestant) -> Contestant:
    """The contestant in a broadcast."""
    return dataclasses.replace(
        contestant,
        name=f"{contestant.name}, one for each",
        open=lambda shape: OneForEach(contestant, shape),
        patterns=frozenset({BROADCAST}),
    )
