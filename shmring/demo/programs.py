"""Starting programs, watching them, and ending them all; how such a program itself ends."""

import contextlib
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import IO

import shmring

PATIENCE = 30  # seconds that a program waits for a ring to appear


class Failed(Exception):
    """A program of the pipeline failed, or could not go on; the message says which and why."""


def end_with(work: Callable[[], None], name: str) -> None:
    """Do a program's work; an error of the ring is one line on standard error and exit code 1."""
    try:
        work()
    except (shmring.ShmringError, OSError, ValueError) as error:
        sys.exit(f"{name}: {type(error).__name__}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


_DEFERRED = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


@contextlib.contextmanager
def signals_deferred() -> Iterator[None]:
    """Serve signals only when the block is over: one in the midst of starting a program would lose track of it."""
    arrived: list[int] = []
    before = {number: signal.getsignal(number) for number in _DEFERRED}
    for number in before:
        signal.signal(number, lambda number, frame: arrived.append(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for late in arrived:
            signal.raise_signal(late)


@dataclass
class Program:
    """A program that was started: the last word of its module's name, its process, its output."""

    name: str
    process: subprocess.Popen[bytes]
    output: IO[bytes]
    complaint: IO[bytes]

    def __str__(self) -> str:
        return f"the {self.name} (pid {self.process.pid})"

    @property
    def killed(self) -> bool:
        """Whether a signal ended it."""
        return (self.process.poll() or 0) < 0

    @property
    def failed(self) -> bool:
        """Whether it ended with an exit code that says so."""
        return (self.process.poll() or 0) > 0

    def how_it_ended(self) -> str:
        """Return what became of it, with the last that it said."""
        code = self.process.returncode
        if code < 0:
            return f"{self} was killed by {signal.Signals(-code).name}"
        self.complaint.seek(0)
        said = self.complaint.read().decode(errors="replace").strip()
        return f"{self} ended with exit code {code}" + (f":\n{said}" if said else "")


@dataclass
class Programs:
    """Programs started together; leaving the with block ends all that still run."""

    started: list[Program] = field(default_factory=list)
    _cleanup: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def start(self, module: str, *arguments: str) -> Program:
        """Start `python -m MODULE ARGUMENTS...` with this interpreter, deaf to the terminal's Ctrl-C."""
        # They outlive this call; Programs.__exit__ closes them.
        output, complaint = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115
        self._cleanup.callback(output.close)
        self._cleanup.callback(complaint.close)
        with signals_deferred():
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=complaint,
                process_group=0,
            )
            program = Program(module.rpartition(".")[2], process, output, complaint)
            self.started.append(program)
        return program

    @property
    def killed(self) -> int:
        """How many were killed."""
        return sum(program.killed for program in self.started)

    def check(self, replaceable: str) -> None:
        """Raise Failed when one has failed, or was killed and is not replaceable."""
        lost = [program for program in self.started if program.killed and program.name != replaceable]
        failed = [program for program in self.started if program.failed]
        for program in lost + failed:  # in this order: the loss of one is why others fail
            raise Failed(program.how_it_ended())

    def __enter__(self) -> "Programs":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for program in self.started:
            program.process.terminate()
            if sys.platform != "win32":
                program.process.send_signal(signal.SIGCONT)  # one that was stopped dies of the former only now
        for program in self.started:
            program.process.wait()
        self._cleanup.close()
