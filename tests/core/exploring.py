"""Building the explorer over the core's sources and running its configurations."""

from __future__ import annotations

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from sources import ALGORITHMS, CORE, WAITING, compiled, source

EXPLORER = Path(__file__).parent / "explorer"
# coroutines jump between stacks, which _FORTIFY_SOURCE takes for an error
FLAGS = ("-O3", "-march=native", "-U_FORTIFY_SOURCE", '-DSR_ATOMICS_REPLACED="explored.h"', f"-I{EXPLORER}")


@dataclass(frozen=True)
class Program:
    """Files of configurations, over files of the core, and what they are compiled with."""

    name: str
    files: tuple[str, ...]
    core: tuple[str, ...] = (*ALGORITHMS, *WAITING)
    flags: tuple[str, ...] = ()


RINGS = Program(
    "configurations",
    ("rings.c", "topics.c", "latests.c", "lines.c", "models.c", "topic_models.c", "line_models.c", "hostile.c"),
)
# Coming and going, beside a kernel with locks, and queues, beside a file with storage as well.
MANY_LOCATIONS = ("-DEXPLORE_LOCATIONS=160",)
COMINGS = Program(
    "comings", ("coming_stories.c", "comings.c", "comers.c", "kernel.c", "few_attachments.c"), flags=MANY_LOCATIONS
)
QUEUES = Program(
    "queues",
    ("queue_models.c", "kernel.c", "memory_file.c", "few_attachments.c", "few_links.c"),
    (*ALGORITHMS, *WAITING, "queue.c", "growth.c"),
    MANY_LOCATIONS,
)
PROGRAMS = (RINGS, COMINGS, QUEUES)
INCLUDED = {"attach.c": "few_attachments.c", "links.c": "few_links.c"}  # files of the core, in others here
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


def build(folder: Path, file: str | None = None, text: str = "", program: Program = RINGS) -> Path:
    """Compile a program of configurations, over the core as it is or with another text of one file."""
    core = CORE
    if file:  # a copy of all of it, because quoted includes look beside the including file first
        core = folder / "core"
        shutil.copytree(CORE, core, ignore=shutil.ignore_patterns("*.md"))
        source(file, core).write_text(text)
    sources = [EXPLORER / name for name in (*MACHINERY, *program.files)]
    sources += [source(name, core) for name in program.core]
    return compiled(sources, folder / program.name, *FLAGS, *program.flags, core=core)


def build_objects(folder: Path, program: Program = RINGS) -> None:
    """Compile each source by itself, for programs that differ in one of them."""
    sources = [EXPLORER / name for name in (*MACHINERY, *program.files)]
    sources += [source(name) for name in program.core]
    (folder / program.name).mkdir()

    def compile_one(path: Path) -> None:
        compiled([path], folder / program.name / f"{path.stem}.o", "-c", *FLAGS, *program.flags)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(compile_one, sources))


def build_changed(
    folder: Path, objects: Path, file: str, text: str, program: Program = RINGS, files: tuple[str, ...] = ()
) -> Path:
    """Compile only the file with another text, and link it with the objects of all else; a header is in all of them."""
    files = files or program.files
    if file.endswith(".h"):
        return build(folder, file, text, replace(program, files=files))
    changed = folder / source(file).relative_to(CORE)  # as it is included
    changed.parent.mkdir(parents=True, exist_ok=True)
    changed.write_text(text)
    own = file
    if file in INCLUDED:  # found before the core's
        own = INCLUDED[file]
        changed = EXPLORER / own
    others = {*MACHINERY, *files, *program.core} - {own}
    linked = (objects / program.name / f"{Path(name).stem}.o" for name in sorted(others))
    flags = (*FLAGS, *program.flags, "-O1", "-fno-aggressive-loop-optimizations")  # a bound moved by one is no licence
    return compiled([changed, *linked], folder / program.name, f"-I{folder}", *flags)


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


def first_to_fail(program: Path, number: int, names: list[str], limit: int, cpu_ms: int) -> str | None:
    """Of these configurations, with this break of a breakable file, and so much of the processor for each."""
    if not names:
        return None
    done = subprocess.run([program, "-", str(number), str(limit), str(cpu_ms), *names], capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout.strip() or None
