"""What a place is, on every platform."""

from __future__ import annotations

import dataclasses
import pathlib


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a ring lives: under a name, or at a path of the file system."""

    path: pathlib.Path
    name: str | None
    noun: str = "ring"  # in messages to people

    @property
    def title(self) -> str:
        return f"{self.noun} {self.name!r}" if self.name is not None else f"{self.noun} at {str(self.path)!r}"


@dataclasses.dataclass(frozen=True)
class Status:
    """What the file system says of what stands at a place: permission bits, owner, seconds since the epoch, bytes."""

    mode: int
    owner_uid: int
    changed: float
    size: int
