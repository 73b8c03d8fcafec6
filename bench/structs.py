"""The small dict of the object bench as a msgspec Struct; imported only when msgspec is there."""

from __future__ import annotations

import msgspec


class Item(msgspec.Struct):
    """What `objects.small_pool` has."""

    id: int
    name: str
    price: float
    tags: list[str]
    at: list[int]


END = Item(-1, "", 0.0, [], [])
