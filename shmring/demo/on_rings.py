"""The pipeline on rings: separate programs that know nothing of each other but the names of two rings."""

import contextlib
import json
import os
import secrets
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import shmring
from shmring.demo.measured import Measured
from shmring.demo.programs import Failed, Program, Programs
from shmring.demo.work import find_files

_SMALLEST_CAPACITY = 4 << 20
_ROOM_FOR_FILES = 4  # times the largest file; a message is at most half the capacity
_ROOM_FOR_COUNTS = 16  # as JSON, what was counted in a file may be longer than the file
_MOST_KILLED = 10  # tokenizers; beyond that it is a file that kills them, or the lack of memory
_LOOK = 0.1  # seconds between two looks at the programs


def run(
    directory: Path,
    tokenizers: int,
    on_file: Callable[[int], None] = lambda done: None,
    on_started: Callable[[Programs], None] = lambda programs: None,
) -> Measured:
    """Run the pipeline over a directory; Failed when it cannot be completed. Leaves nothing behind.

    A tokenizer that is killed is replaced: the ring delivers the file it was at again.
    """
    tag = f"demo-{os.getpid()}-{secrets.token_hex(4)}"
    largest = max((path.stat().st_size for path in find_files(directory)), default=0)
    with (
        _ring(f"{tag}-files", _ROOM_FOR_FILES * largest, slots=waiting(tokenizers)) as files,
        _ring(f"{tag}-counts", _ROOM_FOR_COUNTS * largest, slots=waiting(tokenizers)) as counts,
        Programs() as programs,
    ):
        reducer = programs.start("shmring.demo.reducer", counts)
        tokenizer = ("shmring.demo.tokenizer", files, counts)
        workers = [programs.start(*tokenizer) for _ in range(tokenizers)]
        programs.start("shmring.demo.reader", files, os.fspath(directory))
        on_started(programs)
        notes = []
        while not _ended(reducer):
            on_file(shmring.inspect(counts).messages_got)
            notes += _replace_killed(programs, workers, tokenizer)
            programs.check(replaceable="tokenizer")
        notes += [f"{worker.how_it_ended()}; the others did its work" for worker in workers if worker.killed]
        return _result(reducer, notes)


def waiting(tokenizers: int) -> int:
    """Return how many messages may be between two stages: enough to work on beside one large file."""
    return 16 * tokenizers


@contextlib.contextmanager
def _ring(name: str, room: int, slots: int) -> Iterator[str]:
    """Create a ring for others to attach to, by its name; afterwards remove it, with whatever is in it."""
    with shmring.Ring.create(name, capacity=max(_SMALLEST_CAPACITY, room), slots=slots):
        try:
            yield name
        finally:
            with contextlib.suppress(FileNotFoundError):
                shmring.unlink(name)


def _ended(reducer: Program) -> bool:
    """Wait a moment for the reducer; return whether it is done."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        return reducer.process.wait(_LOOK) == 0
    return False


def _replace_killed(programs: Programs, workers: list[Program], tokenizer: tuple[str, ...]) -> list[str]:
    """Start another tokenizer for each that was killed; return what is to be said of it."""
    notes = []
    for index, worker in enumerate(workers):
        if worker.killed:
            if programs.killed > _MOST_KILLED:
                raise Failed(f"{worker.how_it_ended()}, and so were {_MOST_KILLED} before it: something kills them")
            workers[index] = programs.start(*tokenizer)
            notes.append(f"{worker.how_it_ended()}; another took its place")
    return notes


def _result(reducer: Program, notes: list[str]) -> Measured:
    reducer.output.seek(0)
    result = json.load(reducer.output)
    if not result["complete"]:
        raise Failed(f"{reducer} heard of no more files after {result['counts']['files']}")
    measured = Measured.fromdict("shmring.Ring", result)
    measured.notes = notes
    return measured
