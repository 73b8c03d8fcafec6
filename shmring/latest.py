"""Latest: one value in shared memory, of which only the newest counts."""

from __future__ import annotations

import dataclasses
import os
from typing import ClassVar, Literal, Self

from shmring import _core, codecs, options
from shmring.aio.waiting import AsyncLatest
from shmring.attachment import Attachment
from shmring.generic import Message
from shmring.names import registry
from shmring.names.registry import Wish

DEFAULT_SIZE = "4 KiB"


@dataclasses.dataclass(frozen=True)
class LatestStats:
    """A latest value's counters, over every process that ever used it; from :meth:`Latest.stats`.

    ``version`` is the newest value's, ``size`` the most bytes that a value has. ``values_set``, ``values_got`` and
    their bytes add up over all processes.

    >>> with shmring.Latest.create() as cell:
    ...     cell.set(b"21.5")
    ...     stats = cell.stats()
    >>> stats.version, stats.values_set, stats.bytes_set
    (1, 1, 4)
    """

    version: int
    values_set: int
    bytes_set: int
    values_got: int
    bytes_got: int
    size: int


def _wish(size: int | str, mode: int, persist: bool, codec: str | codecs.Codec | None, anonymous: bool = False) -> Wish:
    found = codecs.find(codec)
    return options.wish("latest", size, mode=mode, persist=persist, codec=found, anonymous=anonymous, what="size")


class Latest(Attachment[Message], AsyncLatest[Message], _core.Latest[Message]):
    """The newest value of something: one process sets it, any number get it, and none holds another up.

    ``set`` never waits and never takes more than a bounded number of steps, whatever readers do; ``get`` gives one
    whole value, never parts of two, under any schedule. A reader copies again only when three values were set during
    its copy. ``version`` counts the values that were set; :meth:`wait_newer` parks until there is a newer one.

    One process has the writer's role, which it takes with its first ``set``: another is told Busy, and by which. When
    the writer closes, or dies, the next may set.

    Made by :meth:`create`, :meth:`attach` or :meth:`open`. It can be pickled into other processes, and travels by fork.
    A named one disappears when no process is attached, unless it was made with ``persist=True``.

    When a peer dies:
        The value stays; one that the writer was setting as it was killed never was.
    Threads:
        Any number may get at a time, one may set (Busy otherwise).

    >>> with shmring.Latest[bytes].create(size=64) as temperature:
    ...     temperature.set(b"21.5")
    ...     temperature.set(b"21.7")
    ...     print(temperature.get(), temperature.version)
    b'21.7' 2
    """

    _noun: ClassVar[str] = "latest value"
    _kinds: ClassVar[tuple[str, ...]] = ("latest",)
    _undecodable_hint: str = "it stays until the next value is set"

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

        ``size`` is the most bytes that a value has, encoded ("64 KiB" or an int; 4 KiB by default); the segment has
        room for four. ``codec`` and the other arguments are as for Ring.create.

        Waits:
            Never.
        Raises:
            FileExistsError: One of that name is in use.
            NoSpace: The memory cannot be reserved.
            LayoutMismatch: What stands at that name is no latest value, but a folder or a link, say.
            ValueError: A value is out of range; the message says which values are allowed.
            ModuleNotFoundError: The codec's package is not installed.
        """
        how = options.manner(on_dead_peer, spin, codec=codec)
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
        """Attach to one that exists, by its name or path. The arguments are those of Ring.attach.

        Waits:
            For it to appear, up to ``timeout`` seconds. 0 (the default) does not wait, None without limit.
        Raises:
            FileNotFoundError: There is none, or it did not appear in time.
            NotReady: It is there, but stays half made.
            LayoutMismatch: It is no latest value, of another version, or of another codec.
            Corrupt: Its memory is damaged.
            Busy: It has 256 attachments, which is the most.
            PermissionError: It belongs to another user.
            ValueError: A value is out of range.
        """
        how = options.manner(on_dead_peer, spin, owner, codec)
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
        """Attach if it is there, else create it. A leftover that no process has is replaced.

        What is not asked for is taken as it is in one that exists, and as in :meth:`create` in a new one.

        Waits:
            Never.
        Raises:
            LayoutMismatch: The one that is there has another size or codec than asked for.
            NotReady: As ``attach``.
            Corrupt: As ``attach``.
            Busy: As ``attach``.
            NoSpace: As ``create``.
            PermissionError: It belongs to another user.
            ValueError: A value is out of range.
        """
        how = options.manner(on_dead_peer, spin, owner, codec)
        asked = _wish(DEFAULT_SIZE if size is None else size, mode, persist, codec)
        return cls._open(asked, registry.place_of(name, path, cls._noun), how, {"size": size is not None})

    # --- what it is ---

    @property
    def size(self) -> int:
        """The most bytes that a value has, encoded."""
        return self.capacity

    def stats(self) -> LatestStats:
        """Return counters of all processes together.

        Waits:
            Never.
        Raises:
            Closed: It is closed in this process.
        """
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
        """Refuse further values, and wake every waiter in every process. Cannot be undone.

        ``get`` goes on giving the newest value, ``wait_newer`` raises ShutDown when there is no newer one; with
        ``immediate`` both raise it at once.

        Waits:
            Never.
        Raises:
            Closed: It is closed in this process.
        Threads:
            Any thread of any process may call it, and more than once.
        """
        self._shut_down(immediate)
