"""Building the explorer over the core's sources and running its configurations."""

from __future__ import annotations

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from sources import ALGORITHMS, CORE, WAITING, Weakening, compiled, source

EXPLORER = Path(__file__).parent / "explorer"
# coroutines jump between stacks, which _FORTIFY_SOURCE takes for an error
FLAGS = ("-O3", "-march=native", "-U_FORTIFY_SOURCE", '-DSR_ATOMICS_REPLACED="explored.h"', f"-I{EXPLORER}")

CONFIGURATIONS = ("rings.c", "topics.c", "latests.c", "lines.c")

# These do not end in any reasonable time: so many executions are looked at, in soak more.
ENDLESS = {
    "mpmc-2p1c-x2": 300_000,
    "mpmc-1p2c-x3": 300_000,
    "mpmc-3p": 300_000,
    "mpmc-3p1c": 300_000,
    "mpmc-kill-consumer-put": 300_000,
    "churn-claim": 300_000,
    "churn-return": 300_000,
    "park-mpmc-2c": 50_000,
    "park-mpmc-2p": 50_000,
    "park-room-mpmc": 50_000,
    "topic-2p1s": 100_000,
    "topic-threads": 100_000,
    "topic-late": 50_000,
    "topic-late-2p": 50_000,
    "topic-park": 50_000,
    "topic-park-2s": 50_000,
    "overwrite-1p1s": 100_000,
    "overwrite-2p1s": 100_000,
    "overwrite-late-2p": 100_000,
    "overwrite-2p": 50_000,
    "overwrite-3": 50_000,
    "latest-park-2r": 50_000,
}
SLOW = {
    "spsc",
    "mpmc-2p1c",
    "mpmc-1p2c",
    "room-long-2",
    "park-late",
    "repair-many-kill-repairer",
    "park-mpmc",
    "topic-2p1s-small",
    "topic-kill-publisher",
    "latest-1w2r",
}  # these end, but a mutant shows in a smaller one


@dataclass(frozen=True)
class Exploration:
    """What one configuration came to."""

    executions: int
    pruned: int
    steps: int
    finished: bool
    failure: str | None


def build(folder: Path, weakening: Weakening | None = None, files: tuple[str, ...] = CONFIGURATIONS) -> Path:
    """Compile files of configurations, over the core as it is or with one ordering weakened."""
    core = CORE
    if weakening:  # a copy of all of it, because quoted includes look beside the including file first
        core = folder / "core"
        shutil.copytree(CORE, core, ignore=shutil.ignore_patterns("*.md"))
        changed = source(weakening.file, core)
        changed.write_text(weakening.applied(changed.read_text()))
    sources = [EXPLORER / name for name in ("explorer.c", "memory.c", "main.c", *files)]
    sources += [source(name, core) for name in (*ALGORITHMS, *WAITING)]
    return compiled(sources, folder / "configurations", *FLAGS, core=core)


def build_objects(folder: Path) -> None:
    """Compile each source by itself, for programs that differ in one of them."""
    sources = [EXPLORER / name for name in ("explorer.c", "memory.c", "main.c", *CONFIGURATIONS)]
    sources += [source(name) for name in (*ALGORITHMS, *WAITING)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda path: compiled([path], folder / f"{path.stem}.o", "-c", *FLAGS), sources))


def build_weakened(folder: Path, objects: Path, weakening: Weakening, files: tuple[str, ...]) -> Path:
    """Compile only what is weakened, and link it with the objects of all else; a header is in all of them."""
    if weakening.file.endswith(".h"):
        return build(folder, weakening, files)
    changed = folder / weakening.file
    changed.write_text(weakening.applied(source(weakening.file).read_text()))
    others = {"explorer.c", "memory.c", "main.c", *files, *ALGORITHMS, *WAITING} - {weakening.file}
    return compiled(
        [changed, *(objects / f"{Path(name).stem}.o" for name in sorted(others))], folder / "configurations", *FLAGS
    )


def names(program: Path) -> list[str]:
    """The configurations, in the order of the source."""
    return subprocess.run([program], check=True, capture_output=True, text=True).stdout.split()


def run(program: Path, name: str, limit: int = 0, patience: float | None = None) -> Exploration:
    """Run one configuration; a crash or a loop without an end is a failure as well."""
    try:
        done = subprocess.run(
            [program, name, str(limit)], capture_output=True, text=True, timeout=patience, errors="replace"
        )
    except subprocess.TimeoutExpired:
        return Exploration(0, 0, 0, False, None)
    if done.returncode not in (0, 1) or not done.stdout:
        return Exploration(0, 0, 0, False, done.stderr.strip() or f"exit status {done.returncode}")
    executions, pruned, steps, ended, failure = done.stdout.strip().split(" ", 4)
    return Exploration(int(executions), int(pruned), int(steps), ended == "all", None if failure == "-" else failure)
