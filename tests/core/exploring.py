"""Building the explorer over the core's sources and running its configurations."""

from __future__ import annotations

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from sources import ALGORITHMS, CORE, WAITING, Change, compiled, source

EXPLORER = Path(__file__).parent / "explorer"
# coroutines jump between stacks, which _FORTIFY_SOURCE takes for an error
FLAGS = ("-O3", "-march=native", "-U_FORTIFY_SOURCE", '-DSR_ATOMICS_REPLACED="explored.h"', f"-I{EXPLORER}")


@dataclass(frozen=True)
class Program:
    """Files of configurations, over the core's algorithms, and what they are compiled with."""

    name: str
    files: tuple[str, ...]
    flags: tuple[str, ...] = ()
    includes: tuple[str, ...] = ()  # files of the core that one of the explorer's includes
    including: str = ""


RINGS = Program("configurations", ("rings.c", "topics.c", "latests.c", "lines.c", "models.c"))
# Coming and going, beside a kernel with locks.
COMINGS = Program(
    "comings",
    ("comings.c", "kernel.c", "few_attachments.c"),
    ("-DEXPLORE_LOCATIONS=160",),
    ("attach.c",),
    "few_attachments.c",
)
MACHINERY = ("explorer.c", "memory.c", "main.c")

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
    "kill-reaper-of-many": 100_000,
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
    "reap-many",
    "kill-taker-of-role",
}  # these end, but a mutant shows in a smaller one


@dataclass(frozen=True)
class Exploration:
    """What one configuration came to."""

    executions: int
    pruned: int
    steps: int
    finished: bool
    failure: str | None


def build(folder: Path, change: Change | None = None, program: Program = RINGS) -> Path:
    """Compile a program of configurations, over the core as it is or with one place changed."""
    core = CORE
    if change:  # a copy of all of it, because quoted includes look beside the including file first
        core = folder / "core"
        shutil.copytree(CORE, core, ignore=shutil.ignore_patterns("*.md"))
        changed = source(change.file, core)
        changed.write_text(change.applied(changed.read_text()))
    sources = [EXPLORER / name for name in (*MACHINERY, *program.files)]
    sources += [source(name, core) for name in (*ALGORITHMS, *WAITING)]
    return compiled(sources, folder / program.name, *FLAGS, *program.flags, core=core)


def build_objects(folder: Path, program: Program = RINGS) -> None:
    """Compile each source by itself, for programs that differ in one of them."""
    sources = [EXPLORER / name for name in (*MACHINERY, *program.files)]
    sources += [source(name) for name in (*ALGORITHMS, *WAITING)]
    (folder / program.name).mkdir()

    def compile_one(path: Path) -> None:
        compiled([path], folder / program.name / f"{path.stem}.o", "-c", *FLAGS, *program.flags)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(compile_one, sources))


def build_changed(
    folder: Path, objects: Path, change: Change, program: Program = RINGS, files: tuple[str, ...] = ()
) -> Path:
    """Compile only what is changed, and link it with the objects of all else; a header is in all of them."""
    files = files or program.files
    if change.file.endswith(".h"):
        return build(folder, change, replace(program, files=files))
    changed = folder / change.file
    changed.write_text(change.applied(source(change.file).read_text()))
    own = change.file
    if own in program.includes:  # found before the core's
        own, changed = program.including, EXPLORER / program.including
    others = {*MACHINERY, *files, *ALGORITHMS, *WAITING} - {own}
    linked = (objects / program.name / f"{Path(name).stem}.o" for name in sorted(others))
    return compiled([changed, *linked], folder / program.name, f"-I{folder}", *FLAGS, *program.flags, "-O1")


def names(program: Path) -> list[str]:
    """The configurations, in the order of the source."""
    return subprocess.run([program], check=True, capture_output=True, text=True).stdout.split()


def run(
    program: Path, name: str, limit: int = 0, patience: float | None = None, cpu_seconds: int | None = None
) -> Exploration:
    """Run one configuration; a crash or a loop without an end is a failure as well, and so is to take too much CPU."""
    command = [program, name, str(limit)] + ([str(cpu_seconds)] if cpu_seconds else [])
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=patience, errors="replace")
    except subprocess.TimeoutExpired:
        return Exploration(0, 0, 0, False, None)
    if done.returncode not in (0, 1) or not done.stdout:
        return Exploration(0, 0, 0, False, done.stderr.strip() or f"exit status {done.returncode}")
    executions, pruned, steps, ended, failure = done.stdout.strip().split(" ", 4)
    return Exploration(int(executions), int(pruned), int(steps), ended == "all", None if failure == "-" else failure)
