"""The same pipeline on multiprocessing.Queue, to compare with: same stages and messages, as many waiting."""

import contextlib
import multiprocessing
import queue
import signal
import sys
from collections.abc import Callable, Iterator
from multiprocessing.context import SpawnContext, SpawnProcess
from pathlib import Path
from typing import Any

from shmring.demo.measured import Measured
from shmring.demo.messages import FILE, Reduction, files_of, now, tokenized
from shmring.demo.on_rings import waiting
from shmring.demo.programs import Failed, signals_deferred

_LOOK = 0.1  # seconds between two looks at the processes


def run(directory: Path, tokenizers: int, on_file: Callable[[int], None] = lambda done: None) -> Measured:
    """Run the pipeline over a directory; Failed when a process of it is killed: the queues may then hang."""
    context = multiprocessing.get_context("spawn")
    with contextlib.ExitStack() as cleanup:
        files, counts, results = (_queue(context, waiting(tokenizers), cleanup) for _ in range(3))
        added = context.Value("Q", lock=False)
        stages = [
            context.Process(target=_reduce, args=(counts, results, added), name="reducer"),
            *(context.Process(target=_tokenize, args=(files, counts), name="tokenizer") for _ in range(tokenizers)),
            context.Process(target=_read, args=(files, directory, tokenizers), name="reader"),
        ]
        with _running(stages):
            result = _wait(results, stages, lambda: on_file(added.value))
    return Measured.fromdict("multiprocessing.Queue", result)


def _read(files: Any, directory: Path, tokenizers: int) -> None:
    for number, content in files_of(directory):
        files.put(b"".join((FILE.pack(number, now()), content)))
    for _ in range(tokenizers):
        files.put(None)


def _tokenize(files: Any, counts: Any) -> None:
    for message in iter(files.get, None):
        counts.put(tokenized(message))


def _reduce(counts: Any, results: Any, added: Any) -> None:
    reduction = Reduction()
    while not reduction.complete:
        reduction.add(counts.get())
        added.value = reduction.counts.files
    results.put(reduction.asdict())


def _queue(context: SpawnContext, waiting: int, cleanup: contextlib.ExitStack) -> Any:
    made = context.Queue(waiting)
    cleanup.callback(made.join_thread)
    cleanup.callback(made.close)
    return made


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    if sys.platform == "win32":
        yield
    else:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        yield
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _running(stages: list[SpawnProcess]) -> Iterator[None]:
    """Start the processes, deaf to this terminal's Ctrl-C; in the end none of them runs."""
    started = []
    try:
        for stage in stages:
            with signals_deferred(), _interrupts_blocked():  # the process inherits that
                stage.start()
                started.append(stage)
        yield
    finally:
        for stage in started:
            stage.terminate()
        for stage in started:
            stage.join()
            stage.close()


def _wait(results: Any, stages: list[SpawnProcess], on_look: Callable[[], None]) -> dict[str, Any]:
    while True:
        try:
            result: dict[str, Any] = results.get(timeout=_LOOK)
        except queue.Empty:
            on_look()
        else:
            return result
        for stage in stages:
            if stage.exitcode:
                raise Failed(
                    f"on multiprocessing.Queue the {stage.name} (pid {stage.pid}) ended with exit code "
                    f"{stage.exitcode}, and the others might now wait for ever"
                )
