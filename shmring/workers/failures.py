"""What goes wrong with workers: one that died, an exception on its way from one, the remote side of a traceback."""

from __future__ import annotations

import contextlib
import copyreg
import pickle
import signal
import traceback
from concurrent.futures.process import BrokenProcessPool, _RemoteTraceback
from typing import Any, NamedTuple, cast

from shmring.errors import ShmringError
from shmring.workers.pickles import whole

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
    try:
        return "".join(traceback.format_exception(error))
    except BaseException:  # from a method of the exception itself
        return f"{in_words(error)} (its traceback cannot be printed)\n"


class SentError(NamedTuple):
    """An exception on its way to another process: its traceback there, its type and text in words, and its pickle."""

    text: str
    summary: str
    data: bytes

    def exception(self) -> BaseException:
        """The exception, with its traceback in the worker as the cause.

        One that cannot be made here (its class is not to be found, say) is stood in for by an UnpicklingError that
        says what it was.
        """
        error: BaseException
        try:
            error = pickle.loads(self.data)
        except BaseException as problem:
            reason = f"it cannot be made again here: {in_words(problem)}"
            error = pickle.UnpicklingError(f"{self.summary} ({reason})")
        error.__cause__ = remote_traceback(self.text)
        return error


def sent_error(error: BaseException) -> SentError:
    """An exception, ready to be sent. One that cannot be pickled is stood in for by a PicklingError that says so."""
    text, summary = traceback_text(error), in_words(error)
    error.__traceback__ = None
    try:
        return SentError(text, summary, whole(error, first=_reduced))
    except BaseException as problem:
        text += f"\nThis exception could not be sent, and another stands for it:\n{traceback_text(problem)}"
        stand_in = pickle.PicklingError(f"{summary} (it cannot be pickled: {in_words(problem)})")
        return SentError(text, summary, pickle.dumps(stand_in, 5))


def in_words(error: BaseException) -> str:
    """Type and text of an exception, whatever its own methods do."""
    try:
        return f"{type(error).__name__}: {error}"
    except BaseException:
        return f"{type(error).__name__}: its text cannot be had"


def _reduced(obj: Any) -> Any:
    """An exception so that its constructor need not take what ``args`` holds, which many do not."""
    if not isinstance(obj, BaseException):
        return NotImplemented
    kind = type(obj)
    reduces = next(each for each in kind.__mro__ if "__reduce__" in vars(each))
    is_usual = reduces.__module__ == "builtins" and kind.__reduce_ex__ is object.__reduce_ex__
    if not is_usual or kind in copyreg.dispatch_table:
        return NotImplemented
    _, given, *state = cast(Any, obj).__reduce__()
    return remade, (kind, given, obj.args), *state


def remade(kind: Any, given: tuple[Any, ...], args: tuple[Any, ...]) -> BaseException:
    """An exception of this class and these ``args``: by its constructor, if that takes what is given, or past it."""
    made: BaseException
    try:
        made = kind(*given)
    except Exception:
        base: Any = next(each for each in kind.__mro__ if each.__module__ == "builtins")
        made = base.__new__(kind, *given)
        base.__init__(made, *given)
    made.args = args  # a constructor may put other words around what it is given; they are there already
    return made
