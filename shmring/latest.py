"""Latest: one value in shared memory, of which only the newest counts."""

from __future__ import annotations

import dataclasses
import os
from typing import ClassVar, Literal, Self

from shmring import _core, attachment, codecs
from shmring.aio.waiting import AsyncLatest
from shmring.attachment import Attachment
from shmring.names import registry
from shmring.names.registry import Wish

DEFAULT_SIZE = "4 KiB"


@dataclasses.dataclass(frozen=True)
class LatestStats:
    """Counters over every process that ever used it: how many values were set and got, and their bytes."""

    version: int
    values_set: int
    bytes_set: int
    values_got: int
    bytes_got: int
    size: int


def _wish(size: int | str, mode: int, persist: bool, codec: str | codecs.Codec | None, anonymous: bool = False) -> Wish:
    found = codecs.find(codec)
    return attachment.wish("latest", size, mode=mode, persist=persist, codec=found, anonymous=anonymous, what="size")


class Latest(Attachment, AsyncLatest, _core.Latest):
    """The newest value of something: one process sets it, any number get it, and nobody holds anybody up.

    ``set`` never waits and never takes more than a bounded number of steps, whatever readers do; ``get`` gives one
    whole value, never parts of two, under any schedule. A reader copies again only when three values were set during
    its copy. ``version`` counts the values that were set; :meth:`wait_newer` parks until there is a newer one.

    One process has the writer's role, which it takes with its first ``set``: another is told Busy, and by whom. When
    the writer closes, or dies, the next may set; a value that it was setting as it was killed never was.
    Any number of processes and threads may get; one thread at a time may set (Busy otherwise).

    Made by :meth:`create`, :meth:`attach` or :meth:`open`. It can be pickled into other processes, and travels by fork.
    A named one disappears when nobody is attached, unless it was made with ``persist=True``.
    """

    _noun: ClassVar[str] = "latest value"
    _kinds: ClassVar[tuple[str, ...]] = ("latest",)
    _undecodable_hint: ClassVar[str] = "it stays until the next value is set"

    # --- making and finding ---

    @classmethod
    def create(
        cls,
        name: str | None = None,
        size: int | str = DEFAULT_SIZE,
        *,
        path: str | os.PathLike[str] | None = None,
        persist: bool = False,
        mode: int = 0o600,
        on_dead_peer: Literal["raise", "wait"] = "raise",
        spin: float | Literal["auto"] = "auto",
        codec: str | codecs.Codec | None = None,
    ) -> Self:
        """Make a new one: named, at a path (a file-backed mapping), or with neither anonymous.

        ``size`` is the most bytes that a value has, encoded ("64 KiB" or an int); the segment has room for four.
        ``codec`` and the other arguments are as for Ring.create.

        Does not block. FileExistsError when one of that name is in use; NoSpace when the memory cannot be reserved;
        ValueError for values out of range.
        """
        how = attachment.manner(on_dead_peer, spin, codec=codec)
        place = cls._where(name, path)
        return cls._create(_wish(size, mode, persist, codec, anonymous=place is None), place, how)

    @classmethod
    def attach(
        cls,
        name: str | None = None,
        timeout: float | None = 0,
        *,
        path: str | os.PathLike[str] | None = None,
        owner: int | str | None = None,
        on_dead_peer: Literal["raise", "wait"] = "raise",
        spin: float | Literal["auto"] = "auto",
        codec: str | codecs.Codec | None = None,
    ) -> Self:
        """Attach to one that exists, waiting up to ``timeout`` seconds for it to appear (None: for ever).

        Otherwise as Ring.attach; LayoutMismatch when what is there is no latest value.
        """
        how = attachment.manner(on_dead_peer, spin, owner, codec)
        return cls._attach(registry.place_of(name, path, cls._noun), timeout, how)

    @classmethod
    def open(
        cls,
        name: str | None = None,
        size: int | str | None = None,
        *,
        path: str | os.PathLike[str] | None = None,
        persist: bool = False,
        mode: int = 0o600,
        owner: int | str | None = None,
        on_dead_peer: Literal["raise", "wait"] = "raise",
        spin: float | Literal["auto"] = "auto",
        codec: str | codecs.Codec | None = None,
    ) -> Self:
        """Attach if it is there, else create it. A leftover that is nobody's is replaced.

        LayoutMismatch when the one that is there has another size or codec than asked for; what is not asked for is
        taken as it is. Otherwise as create and attach.
        """
        how = attachment.manner(on_dead_peer, spin, owner, codec)
        asked = _wish(DEFAULT_SIZE if size is None else size, mode, persist, codec)
        return cls._open(asked, registry.place_of(name, path, cls._noun), how, {"size": size is not None})

    # --- what it is ---

    @property
    def size(self) -> int:
        """The most bytes that a value has, encoded."""
        return self.capacity

    def stats(self) -> LatestStats:
        """Counters of all processes together. Does not block."""
        totals = self._totals()
        return LatestStats(
            version=self.version,
            values_set=totals["messages_put"],
            bytes_set=totals["bytes_put"],
            values_got=totals["messages_got"],
            bytes_got=totals["bytes_got"],
            size=self.size,
        )

    def __repr__(self) -> str:
        closed = " closed" if self.closed else f" version={self.version}"
        return f"<Latest {self._where_shown} size={self.size}{closed}>"

    # --- ending ---

    def shutdown(self, immediate: bool = False) -> None:
        """Refuse further values, and wake every waiter in every process.

        ``get`` goes on giving the newest value, ``wait_newer`` raises ShutDown when there is no newer one; with
        ``immediate`` both raise it at once. Cannot be undone. Any process and thread may call it; does not block.
        """
        self._shut_down(immediate)
