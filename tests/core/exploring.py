"""Building the explorer over the core's sources and running its configurations."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from sources import ALGORITHMS, CORE, WAITING, Weakening, compiled

EXPLORER = Path(__file__).parent / "explorer"
# coroutines jump between stacks, which _FORTIFY_SOURCE takes for an error
FLAGS = ("-O3", "-march=native", "-U_FORTIFY_SOURCE", '-DSR_ATOMICS_REPLACED="explored.h"', f"-I{EXPLORER}")


@dataclass(frozen=True)
class Exploration:
    """What one configuration came to."""

    executions: int
    pruned: int
    steps: int
    finished: bool
    failure: str | None


CONFIGURATIONS = ("rings.c", "topics.c", "latests.c")


def build(folder: Path, weakening: Weakening | None = None, files: tuple[str, ...] = CONFIGURATIONS) -> Path:
    """Compile files of configurations, over the core as it is or with one ordering weakened."""
    core = CORE
    if weakening:  # a copy of all of it, because quoted includes look beside the including file first
        core = folder / "core"
        shutil.copytree(CORE, core, ignore=shutil.ignore_patterns("py_*", "os_*.c", "*.md"))
        (core / weakening.file).write_text(weakening.applied((CORE / weakening.file).read_text()))
    sources = [EXPLORER / name for name in ("explorer.c", "memory.c", "main.c", *files)]
    sources += [core / name for name in (*ALGORITHMS, *WAITING)]
    return compiled(sources, folder / "configurations", *FLAGS, core=core)


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
