"""What a user asks for with keywords, checked: how an attachment is to behave, and what a segment is to be."""

from __future__ import annotations

import dataclasses
from typing import Literal

from shmring import codecs
from shmring.names import registry
from shmring.names.registry import Wish
from shmring.segment.sizes import parse_size

CAPACITY_LIMIT = 2**40
_ADAPTIVE = -1


@dataclasses.dataclass(frozen=True)
class Manner:
    """How an attachment behaves; travels with a pickled handle."""

    on_dead_peer: str = "raise"
    spin: float | Literal["auto"] = "auto"
    owner: int | None = None
    codec: str | codecs.Codec | None = None

    @property
    def spin_ns(self) -> int:
        return _ADAPTIVE if self.spin == "auto" else int(self.spin * 1e9)

    @property
    def outlive_peers(self) -> bool:
        return self.on_dead_peer == "wait"


def manner(
    on_dead_peer: str,
    spin: float | Literal["auto"],
    owner: int | str | None = None,
    codec: str | codecs.Codec | None = None,
) -> Manner:
    """Check what a user asked for; ValueError or TypeError."""
    if on_dead_peer not in ("raise", "wait"):
        raise ValueError(f"on_dead_peer is {on_dead_peer!r}; it is 'raise' (PeerDied) or 'wait'")
    if spin != "auto" and not (isinstance(spin, (int, float)) and 0 <= spin <= 10):
        raise ValueError(f"spin is {spin!r}; it is 'auto' or seconds from 0 (never spin) to 10")
    return Manner(on_dead_peer, spin, registry.user_id(owner), codec)


def wish(
    kind: str,
    capacity: int | str,
    *,
    slots: int = 0,
    mode: int,
    persist: bool,
    codec: codecs.Codec | None,
    anonymous: bool,
    overwrite: bool = False,
    what: str = "capacity",
) -> Wish:
    """Check what a segment is to be; ValueError or TypeError. ``what`` is the user's word for the capacity."""
    if not isinstance(mode, int) or mode & ~0o777 or mode & 0o600 != 0o600:
        shown = oct(mode) if isinstance(mode, int) else repr(mode)
        raise ValueError(f"mode is {shown}; it is permission bits that let the owner read and write, such as 0o600")
    if persist and anonymous:
        raise ValueError("persist=True needs a name or a path: nobody could find an anonymous segment again")
    if mode & 0o022 and getattr(codec, "runs_code", False):
        raise ValueError(
            f"mode {oct(mode)} lets others put messages that run code here ({codec!r}), and they could not use such a "
            "ring themselves; leave mode at 0o600, or use a codec that only holds data"
        )
    size = parse_size(capacity, what=what, limit=CAPACITY_LIMIT)
    return Wish(kind, size, slots, mode, bool(persist), codec.name if codec else "bytes", overwrite)
