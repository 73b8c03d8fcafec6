"""The demonstration as a whole: run the pipelines, check them against one process, say what came of it."""

import errno
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from shmring.demo import on_queues, on_rings, progress
from shmring.demo.measured import Measured
from shmring.demo.programs import Failed
from shmring.demo.work import Counts, count_in_one_process, find_files


def default_tokenizers() -> int:
    """Return one tokenizer for each CPU but one, and at least two."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(2, cpus - 1)


def _refuse_without_signals() -> None:
    if sys.platform == "win32":
        raise OSError(errno.ENOTSUP, "the demonstration works by POSIX signals and is not on Windows; see examples/")


def demonstrate(directory: Path, tokenizers: int, rounds: int, queues: bool, as_json: bool) -> int:
    """Run it all and print the result; return the exit code: 0 only when every run gave the same."""
    _refuse_without_signals()
    total = len(find_files(directory))
    if not total:
        print(f"demo: there is no .py file below {directory}; name another: --files-from DIR", file=sys.stderr)
        return 1
    transports: dict[str, Callable[..., Measured]] = {"shmring.Ring": on_rings.run}
    if queues:
        transports["multiprocessing.Queue"] = on_queues.run
    try:
        runs = {
            name: _rounds(f"{name}, {tokenizers} tokenizers", run, directory, tokenizers, rounds, total)
            for name, run in transports.items()
        }
    except Failed as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo: interrupted; every program was ended, and the rings are removed", file=sys.stderr)
        raise
    alone = _alone(directory, total)
    differing = [run.transport for runs_of in runs.values() for run in runs_of if run.counts != alone.counts]
    shown = [*(_median(runs_of) for runs_of in runs.values()), alone]
    if as_json:
        print(json.dumps({"same": not differing, "runs": [run.asdict() for run in shown]}, indent=2))
    else:
        _print_result(directory, alone.counts)
        _print_speeds(shown)
        _print_verdict(differing)
    return 1 if differing else 0


def _rounds(
    label: str,
    run: Callable[..., Measured],
    directory: Path,
    tokenizers: int,
    rounds: int,
    total: int,
) -> list[Measured]:
    done = []
    for number in range(1, rounds + 1):
        with progress.line(f"{label}, round {number}" if rounds > 1 else label, total) as on_file:
            done.append(run(directory, tokenizers, on_file))
    return done


def _median(runs: list[Measured]) -> Measured:
    middle = statistics.median_low(run.seconds for run in runs)
    return next(run for run in runs if run.seconds == middle)


def _alone(directory: Path, total: int) -> Measured:
    with progress.line("one process", total) as on_file:
        began = time.monotonic()
        counts = count_in_one_process(directory, on_file)
        return Measured("one process", counts, time.monotonic() - began)


def _print_result(directory: Path, counts: Counts) -> None:
    print(f"{directory}: {counts.files:,} files, {counts.lines:,} lines, {counts.tokens:,} tokens", end="")
    print(f", {counts.not_python} files that are no valid Python" if counts.not_python else "")
    print("most frequent names:", ", ".join(f"{name} {n:,}" for name, n in counts.names.most_common(8)))
    print()


def _print_speeds(runs: list[Measured]) -> None:
    print(f"{'':24}{'files/s':>9}{'MB/s':>8}   {'file hop p50 / p99':>22}   {'counts hop p50 / p99':>22}")
    for run in runs:
        hops = "".join(
            f"   {_span(hop.p50):>10} / {_span(hop.p99):>9}" if hop else f"   {'-':>22}"
            for hop in (run.file_hop, run.counts_hop)
        )
        print(f"{run.transport:24}{run.files_per_second:>9,.0f}{run.megabytes_per_second:>8.2f}{hops}")
    print("A hop is the time from put to get, waiting behind earlier messages included. Tokenizing takes nearly all")
    print("of the time, so that the transport shows in the hops and hardly in the throughput.\n")
    for run in runs:
        for note in run.notes:
            print(f"{run.transport}: {note}")


def _print_verdict(differing: list[str]) -> None:
    if differing:
        print(f"DIFFERENT from one process: {', '.join(differing)}")
    else:
        print("Every pipeline gave the same as one process.")


def _span(nanoseconds: int) -> str:
    if nanoseconds < 1_000_000:
        return f"{nanoseconds / 1e3:.0f} µs"
    return f"{nanoseconds / 1e6:.1f} ms"
