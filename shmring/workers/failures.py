"""What goes wrong with workers: a worker that died, and the remote side of a traceback."""

from __future__ import annotations

import contextlib
import signal
import traceback
from concurrent.futures.process import BrokenProcessPool, _RemoteTraceback
from typing import Any, cast

from shmring.errors import ShmringError

KILL: int = getattr(signal, "SIGKILL", signal.SIGTERM)  # on Windows both are TerminateProcess


class WorkerDied(ShmringError, BrokenProcessPool):
    """The worker that ran this task died: it was killed, it crashed, or it called ``os._exit``.

    Only the task that it ran fails; the pool goes on with another worker. ``pid`` is the dead one's, ``exitcode`` is
    negative for a signal, as ``multiprocessing.Process`` has it.
    """

    pid: int
    exitcode: int | None

    def __init__(self, message: str = "", pid: int = 0, exitcode: int | None = None) -> None:
        super().__init__(message)
        self.pid = pid
        self.exitcode = exitcode

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.pid, self.exitcode)


def how_it_ended(exitcode: int | None) -> str:
    """An exit code in words."""
    if exitcode is None:
        return "is gone"
    if exitcode >= 0:
        return f"left with exit code {exitcode}"
    name = str(-exitcode)
    with contextlib.suppress(ValueError):
        name = signal.Signals(-exitcode).name
    hint = ", perhaps for want of memory" if -exitcode == KILL else ""
    return f"was killed by {name}{hint}"


def remote_traceback(text: str) -> BaseException:
    """Where an exception was raised, in the worker's own words: the ``__cause__`` of what a future raises.

    It is the standard library's, as there are tools and tests that know it.
    """
    made: BaseException = cast(Any, _RemoteTraceback)(f'\n"""\n{text}"""')
    return made


def traceback_text(error: BaseException) -> str:
    """The traceback of an exception as Python prints it."""
    return "".join(traceback.format_exception(error))
