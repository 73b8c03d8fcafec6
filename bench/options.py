"""What a run was asked for, with every value checked."""

from __future__ import annotations

import dataclasses

from .machine import cpus_to_pin
from .rivals import all_of_them, chosen

TOPOLOGIES = (
    "throughput",
    "latency",
    "fan-in",
    "fan-out",
    "objects",
    "frames",
    "topic",
    "pool",
    "growth",
    "idle",
    "instructions",
)
SIZES = (8, 64, 1024, 64 * 1024, 1 << 20, 8 << 20)
PROCESSES = (1, 2, 4, 8)
SHORTEST, LONGEST = 8, 256 << 20
FASTEST = 10_000_000  # messages a second in the open loop


@dataclasses.dataclass(frozen=True)
class Options:
    """How to measure. ``seconds`` is what one contestant works in one round, the warm-up apart."""

    topologies: tuple[str, ...] = TOPOLOGIES
    rivals: str = "all"
    sizes: tuple[int, ...] = SIZES
    rounds: int = 5
    seconds: float = 0.2
    pin: str | None = None
    processes: tuple[int, ...] = PROCESSES
    rate: int = 10_000
    smoke: bool = False

    def __post_init__(self) -> None:
        for size in self.sizes:
            if not SHORTEST <= size <= LONGEST:
                raise ValueError(f"sizes has {size}; a message here has {SHORTEST} to {LONGEST} bytes")
        for count in self.processes:
            if not 1 <= count <= 32:
                raise ValueError(f"processes has {count}; it is 1 to 32 on the side that has several")
        if unknown := [name for name in self.topologies if name not in TOPOLOGIES]:
            raise ValueError(f"there is no bench {unknown[0]!r}; there are {', '.join(TOPOLOGIES)} and all")
        if not self.rounds >= 1:
            raise ValueError(f"rounds is {self.rounds}; it is 1 or more")
        if not 0.001 <= self.seconds <= 60:
            raise ValueError(f"seconds is {self.seconds}; it is 0.001 to 60 for one contestant in one round")
        if not 1 <= self.rate <= FASTEST:
            raise ValueError(f"rate is {self.rate}; it is 1 to {FASTEST} messages a second")
        chosen(self.rivals, all_of_them())
        cpus_to_pin(self.pin)

    @property
    def cpus(self) -> list[int | None]:
        """The CPUs for participants, in order."""
        return cpus_to_pin(self.pin)


def parse_size(text: str) -> int:
    """Return a number of bytes: "64", "4 KiB", "1M"; ValueError when it is none."""
    number = text.strip().lower().removesuffix("b").removesuffix("i").strip()
    factor = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}.get(number[-1:], 1)
    digits = number.rstrip("kmg").strip()
    if not digits.isdecimal():
        raise ValueError(f"{text!r} is not a number, such as 64 or 4 KiB")
    return int(digits) * factor


def brief(options: Options) -> Options:
    """The same in a few seconds: one round, two sizes, one rival, only to show that all of it works."""
    rivals = options.rivals if options.rivals != "all" else "multiprocessing.queue"
    return dataclasses.replace(
        options, rivals=rivals, sizes=(64, 65536), rounds=1, seconds=0.02, processes=(2,), smoke=True
    )
