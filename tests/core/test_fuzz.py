"""Fuzzing: a hostile header, and hostile words in a ring that is in use, never take a process down.

`fuzz_segment.c` is the driver, and says what it does. An input that crashes it is in the failure's text, in base64.
"""

import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from sources import CORE, source

pytestmark = pytest.mark.verify

HERE = Path(__file__).resolve().parent
PARTS = ("attach", "blocking", "geometry", "latest", "line", "mpmc", "repair", "semaphore", "spsc", "topic", "wait")
# What the two processes run, and how often. One also learns from what is compared with what, which takes half its time.
UNLEARNED = "-fno-sanitize-coverage=trace-cmp"
RUNS = {(): 2_850_000, (UNLEARNED,): 7_250_000}


def built(tmp_path: Path, *flags: str) -> Path:
    """Compile the driver and the core with the fuzzer and the sanitizers."""
    program = tmp_path / f"fuzz{''.join(flags)}"
    clang = shutil.which("clang")
    if not clang:
        pytest.fail("clang is missing: run `make verify`, which installs it, or install clang with libFuzzer")
    sanitizers = ["-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover"]
    done = subprocess.run(
        [
            clang, "-std=gnu11", "-O2", "-g", "-w", *sanitizers, *flags,
            f"-I{CORE}", HERE / "fuzz_segment.c",
            *(source(f"{part}.c") for part in PARTS), "-o", program,
        ],
        capture_output=True, text=True,
    )  # fmt: skip
    if "libclang_rt" in done.stderr:
        pytest.fail(
            f"clang has no libFuzzer: run `make verify`, which installs it (Debian: libclang-rt-dev)\n{done.stderr}"
        )
    assert done.returncode == 0, done.stderr
    return program


def start(program: Path, runs: int, seed: int) -> subprocess.Popen[str]:
    """Start fuzzing; a crash, or ten seconds without an answer, ends it."""
    options = (f"-runs={runs}", "-max_len=256", "-timeout=10", f"-seed={seed}", "-print_final_stats=1")
    with (program.parent / f"{seed}.log").open("w") as log:
        return subprocess.Popen(
            [program, *options, "-detect_leaks=0", f"-artifact_prefix={program.parent}/"],
            stdout=log, stderr=log, text=True, cwd=program.parent,
            env=os.environ | {"ASAN_OPTIONS": "quarantine_size_mb=8", "UBSAN_OPTIONS": "print_stacktrace=1"},
        )  # fmt: skip


def log_of(folder: Path, seed: int) -> str:
    return (folder / f"{seed}.log").read_text(errors="replace")


@pytest.mark.timeout(0)  # the number of runs bounds it, and the fuzzer itself ends one that hangs
def test_no_header_and_no_word_of_a_live_ring_takes_a_process_down(
    tmp_path: Path, effort: float, chance: random.Random, figure: Callable[[str], None]
) -> None:
    programs = [built(tmp_path, *flags) for flags in RUNS]
    seeds = chance.sample(range(1, 2**31), len(programs))
    began = time.monotonic()
    fuzzers = [
        start(program, int(runs * effort), seed)
        for program, runs, seed in zip(programs, RUNS.values(), seeds, strict=True)
    ]
    try:
        codes = [fuzzer.wait() for fuzzer in fuzzers]
    finally:
        for fuzzer in fuzzers:
            fuzzer.kill()
            fuzzer.wait()
    logs = [log_of(tmp_path, seed) for seed in seeds]
    assert not any(codes), "\n".join(log[-6000:] for log, code in zip(logs, codes, strict=True) if code)
    executions = sum(int(re.findall(r"number_of_executed_units: (\d+)", log)[0]) for log in logs)
    places = max(int(found) for log in logs for found in re.findall(r"DONE +cov: (\d+)", log))
    assert executions >= 10_000_000 * effort
    took = time.monotonic() - began
    figure(f"{executions:,} executions, 0 crashes, {places} branches reached, in {took:.0f} s")


def test_the_fuzzer_finds_a_take_that_believes_the_length_in_the_word(tmp_path: Path) -> None:
    program = built(tmp_path, "-DPLANTED_BUG")
    fuzzer = start(program, 200_000, 1)
    assert fuzzer.wait() != 0
    assert "AddressSanitizer" in log_of(tmp_path, 1)
