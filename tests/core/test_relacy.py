"""Relacy, a race detector with a model of C11 memory, runs the core's own sources: a second opinion on every ordering.

`relacy/rings.cpp` has the suites and says what they do, `relacy/replaced.h` stands in for the core's atomics. Relacy
numbers its interleavings, so a failure is the same one each time; its report lists every access that led there.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from sources import CORE, source

pytestmark = pytest.mark.verify

HERE = Path(__file__).resolve().parent / "relacy"
RELACY = Path("/usr/include/relacy/relacy.hpp")

# Random interleavings, and where it ends all of them: with at most two preemptions (bound), or with any number (full).
SUITES = {
    ("spsc", "random"): 200_000,
    ("spsc-slots", "random"): 200_000,
    ("spsc-scrubs", "random"): 50_000,
    ("spsc-parks", "random"): 50_000,
    ("spsc-parks-asymmetric", "random"): 50_000,
    ("mpmc-2-producers", "random"): 200_000,
    ("mpmc-2-consumers", "random"): 200_000,
    ("mpmc-slots", "random"): 100_000,
    ("mpmc-hands-back", "random"): 100_000,
    ("mpmc-parks", "random"): 50_000,
    ("mpmc-parks-asymmetric", "random"): 50_000,
    ("spsc-least", "full"): 0,
    ("spsc-small", "bound"): 0,
    ("spsc-parks", "bound"): 0,
    ("mpmc-small", "bound"): 0,
}

# What is made weaker, and the suite that has to notice.
WEAKER = {
    "spsc-publish": (
        "spsc.c",
        "SR_STORE(&self->header->write_position, self->write_position, release)",
        "SR_STORE(&self->header->write_position, self->write_position, relaxed)",
        ("spsc", "DATA RACE"),
    ),
    "mpmc-change": (
        "mpmc.c",
        "SR_CAS(at, &expected, desired, release)",
        "SR_CAS(at, &expected, desired, relaxed)",
        ("mpmc-2-consumers", "DATA RACE"),
    ),
    "notify-without-fence": ("wait.h", "sr_light_fence();", "", ("mpmc-parks", "DEADLOCK")),
}


def built(directory: Path, core: Path, optimization: str) -> Path:
    """Compile the suites with the sources in `core`."""
    if not RELACY.exists() or not shutil.which("g++"):
        pytest.fail("Relacy or g++ is missing: run `make verify`, which installs them (Debian: relacy-dev, g++)")
    flags = ["-w", optimization, f"-I{core}"]
    program, geometry = directory / "rings", directory / "geometry.o"
    for command in (
        ["gcc", "-std=c11", *flags, "-c", source("geometry.c", core), "-o", geometry],
        ["g++", "-std=c++17", *flags, f"-I{HERE}", '-DSR_ATOMICS_REPLACED="replaced.h"', HERE / "rings.cpp", geometry,
         "-o", program],
    ):  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    return program


def simulate(program: Path, suite: str, scheduler: str, iterations: int) -> tuple[int, str]:
    """Return the exit status, and what Relacy said."""
    done = subprocess.run([program, suite, scheduler, str(iterations)], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def counted(pattern: str, text: str) -> int:
    return int(re.findall(pattern, text, re.MULTILINE)[0])


@pytest.fixture(scope="module")
def rings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("relacy"), CORE, "-O1")  # -O2 takes longer to compile than it saves


@pytest.mark.timeout(0)  # the number of interleavings bounds it, and Relacy itself ends one that never would
def test_no_interleaving_races_or_loses_a_message_or_a_wake_up(
    rings: Path, effort: float, figure: Callable[[str], None]
) -> None:
    began = time.monotonic()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        runs = {
            run: pool.submit(simulate, rings, *run, max(1, int(iterations * effort)))
            for run, iterations in SUITES.items()
        }
    found = {run: future.result() for run, future in runs.items()}
    assert not any(code for code, _ in found.values()), "\n\n".join(text for code, text in found.values() if code)
    took = time.monotonic() - began
    for scheduler in ("random", "bound", "full"):
        counts = {
            suite: counted(r"^iterations: (\d+)", text)
            for (suite, used), (_, text) in found.items()
            if used == scheduler
        }
        figure(f"{scheduler}: {sum(counts.values()):,} interleavings ({', '.join(counts)}), 0 errors")
    figure(f"all in {took:.0f} s")


def test_no_interleaving_goes_wrong_in_a_lap_whose_claimers_scrub(rings: Path, figure: Callable[[str], None]) -> None:
    code, text = simulate(rings, "mpmc-scrubs", "random", 200_000)
    assert code == 0, text
    figure("mpmc-scrubs: 200,000 interleavings, 0 errors")


@pytest.mark.parametrize("name", WEAKER)
def test_a_weaker_ordering_is_found(name: str, tmp_path: Path, figure: Callable[[str], None]) -> None:
    file, ordering, weaker, (suite, report) = WEAKER[name]
    core = tmp_path / "core"
    shutil.copytree(CORE, core)
    changed = source(file, core)
    text = changed.read_text()
    assert text.count(ordering) == 1
    changed.write_text(text.replace(ordering, weaker))
    code, text = simulate(built(tmp_path, core, "-O0"), suite, "random", 20_000)
    assert code == 1
    assert report in text, text
    interleaving = counted(r"^iteration: (\d+)", text)
    figure(f"{name} made weaker: {report} in interleaving {interleaving}")
