"""What a run of the pipeline gave and how fast it was."""

from dataclasses import dataclass, field
from typing import Any

from shmring.demo.messages import Hop
from shmring.demo.work import Counts


@dataclass
class Measured:
    """One run: on what, its result, its time, and the time from put to get on each hop it has."""

    transport: str
    counts: Counts
    seconds: float
    file_hop: Hop | None = None
    counts_hop: Hop | None = None
    again: int = 0
    notes: list[str] = field(default_factory=list)

    @classmethod
    def fromdict(cls, transport: str, data: dict[str, Any]) -> "Measured":
        """Return the run whose reducer gave that result."""
        return cls(
            transport=transport,
            counts=Counts.fromdict(data["counts"]),
            seconds=data["seconds"],
            file_hop=Hop(**data["file_hop"]),
            counts_hop=Hop(**data["counts_hop"]),
            again=data["again"],
        )

    @property
    def files_per_second(self) -> float:
        """Files a second, from the first counts that were put to the last that were added."""
        return self.counts.files / self.seconds if self.seconds else 0.0

    @property
    def megabytes_per_second(self) -> float:
        """Millions of bytes of source a second."""
        return self.counts.bytes / 1e6 / self.seconds if self.seconds else 0.0

    def asdict(self) -> dict[str, Any]:
        """Return it as plain data, for JSON; of the names, the most frequent."""
        return {
            "transport": self.transport,
            "seconds": self.seconds,
            "files_per_second": self.files_per_second,
            "megabytes_per_second": self.megabytes_per_second,
            "file_hop_ns": self.file_hop and vars(self.file_hop),
            "counts_hop_ns": self.counts_hop and vars(self.counts_hop),
            "notes": self.notes,
            **self.counts.asdict(),
            "names": dict(self.counts.names.most_common(10)),
        }
