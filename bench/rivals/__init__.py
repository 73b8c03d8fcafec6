"""Other people's queues, each used as its own documentation recommends; one file each, which imports it only when
asked.

A file has CONTESTANTS; `all_of_them` gathers them, `chosen` picks by name.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable

from ..channel import Contestant

FILES = (
    "multiprocessing_queue",
    "multiprocessing_pipe",
    "asyncio_streams",
    "shared_memory",
    "locked_value",
    "multiprocess",
    "faster_fifo",
    "hyperq",
    "zeroq",
    "pyzmq",
    "pynng",
    "posix_mq",
    "iceoryx2",
    "zenoh",
    "torch_multiprocessing",
)


def all_of_them() -> list[Contestant]:
    """Every rival's contestants, in the order of FILES."""
    found: list[Contestant] = []
    for name in FILES:
        found += importlib.import_module(f".{name}", __name__).CONTESTANTS
    return found


def chosen(wish: str, among: Iterable[Contestant]) -> list[Contestant]:
    """Those whose name has one of the words of ``wish`` in it ("all"; "none"); ValueError for a word that none has."""
    them = list(among)
    if wish in ("all", "none"):
        return them if wish == "all" else []
    words = [word.strip().lower() for word in wish.split(",")]
    for word in words:
        if not word or not any(word in contestant.name.lower() for contestant in them):
            names = ", ".join(contestant.name for contestant in them)
            raise ValueError(f"rivals has {word!r}; it is all, none, or parts of these names with commas: {names}")
    return [contestant for contestant in them if any(word in contestant.name.lower() for word in words)]
