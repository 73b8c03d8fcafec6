"""Compiling the core without Python, whole or with one place changed, for the checks that run it bare."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CORE = Path(__file__).resolve().parents[2] / "shmring" / "core"
ALGORITHMS = ("geometry.c", "spsc.c", "mpmc.c", "line.c", "repair.c", "semaphore.c", "topic.c", "latest.c")
WAITING = ("wait.c", "blocking.c")


def source(name: str, core: Path = CORE) -> Path:
    """Where the core has the file of this name, which no other of its folders has."""
    [found] = core.rglob(name)
    return found


def compiled(sources: list[Path], target: Path, *flags: str, compiler: str = "gcc", core: Path = CORE) -> Path:
    """Compile C sources against the core's headers; the path of the program."""
    if not shutil.which(compiler):
        raise FileNotFoundError(f"{compiler} is missing; `make verify` installs what the programme needs")
    command = [compiler, "-std=gnu11", "-O2", "-w", *flags, f"-I{core}", *map(str, sources), "-o", str(target)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return target


@dataclass(frozen=True)
class Change:
    """One place of the sources made another."""

    file: str
    function: str
    statement: str  # where it stands, on one line; whoever edits it makes a new name of it
    before: str
    after: str
    start: int

    @property
    def name(self) -> str:
        change = "without" if self.after == ";" else f"{self.before}->{self.after}"
        return f"{self.file} {self.function} {change}: {self.statement}"

    def applied(self, text: str) -> str:
        """The source with this place changed."""
        return text[: self.start] + self.after + text[self.start + len(self.before) :]


WEAKER = {
    "acquire": ("relaxed",),
    "release": ("relaxed",),
    "acq_rel": ("acquire", "release"),
    "sr_light_fence();": (";",),
    "sr_heavy_fence();": (";",),
}
_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
_ORDERING = re.compile(r"\b(?:acquire|release|acq_rel)(?=\))|\bsr_(?:light|heavy)_fence\(\);")
_FUNCTION = re.compile(r"^[a-z].*?\b(\w+)\([^;]*$", re.MULTILINE)


def weakenings(file: str) -> Iterator[Change]:
    """Every acquire, release and fence of a source file, each with what it can be weakened to."""
    text = source(file).read_text()
    bare = _COMMENT.sub(lambda found: " " * len(found[0]), text)  # places stay where they are
    for found in _ORDERING.finditer(bare):
        function = [match[1] for match in _FUNCTION.finditer(bare, 0, found.start())][-1]
        first = max(bare.rfind(mark, 0, found.start()) for mark in ";{}") + 1
        last = min(place for mark in ";{" if (place := bare.find(mark, found.start())) >= 0)
        statement = " ".join(bare[first : last + (bare[last] == ";")].split())
        for after in WEAKER[found[0]]:
            yield Change(file, function, statement, found[0], after, found.start())


_NOTICED_BY = re.compile(r"noticed by (\S+) within (\d+) executions")


def listed(file: str) -> tuple[dict[str, tuple[str, int]], dict[str, str]]:
    """What one configuration alone notices, with its executions, and what none does, with the reason."""
    alone: dict[str, tuple[str, int]] = {}
    unnoticed: dict[str, str] = {}
    heading = ""
    for line in (Path(__file__).parent / file).read_text().splitlines():
        entry = line.strip()
        if not entry or entry.startswith("#"):
            continue
        if not line.startswith(" "):
            heading = entry
            continue
        assert entry not in alone.keys() | unnoticed.keys(), f"twice in {file}: {entry}"
        if found := _NOTICED_BY.fullmatch(heading):
            alone[entry] = found[1], int(found[2])
        else:
            unnoticed[entry] = heading
    return alone, unnoticed
