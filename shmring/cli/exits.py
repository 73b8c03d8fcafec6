"""Exit codes: the one table that maps an exception to the code a command ends with."""

from dataclasses import dataclass

import shmring


@dataclass(frozen=True)
class Exit:
    """An exit code, what it means to the user, and the exceptions that lead to it."""

    code: int
    meaning: str
    causes: tuple[type[BaseException], ...] = ()


class Terminated(BaseException):
    """SIGTERM or SIGHUP arrived; raised by their handler, so that a command ends its ring in order."""


class BadInput(ValueError):
    """Standard input is not in the form that was asked for."""


OK = Exit(0, "done")
ERROR = Exit(
    1,
    "an error that has no code of its own",
    (
        shmring.MessageTooLong,
        shmring.DecodeError,
        shmring.Overwritten,
        shmring.Closed,
        shmring.StageError,
        BadInput,
    ),
)
USAGE = Exit(2, "wrong usage: an unknown option, a name or a capacity that is not one")
UNUSABLE = Exit(8, "not a ring, a damaged one, or one of another layout", (shmring.Corrupt, shmring.LayoutMismatch))
OUTPUT_CLOSED = Exit(141, "the reader of standard output has gone", (BrokenPipeError,))

# What --help shows. The first row with a matching cause counts, so a specific cause stands before its base.
TABLE = (
    OK,
    ERROR,
    USAGE,
    Exit(3, "there is no ring of that name", (FileNotFoundError,)),
    Exit(4, "the name is taken", (FileExistsError,)),
    Exit(5, "timed out: the ring stayed full, empty or unfinished", (shmring.Full, shmring.Empty, shmring.NotReady)),
    Exit(6, "every process at the other end has died", (shmring.PeerDied,)),
    Exit(7, "no space left for the ring", (shmring.NoSpace,)),
    UNUSABLE,
    Exit(9, "not permitted", (PermissionError,)),
    Exit(10, "the ring was shut down and takes no more messages", (shmring.ShutDown,)),
    Exit(11, "somebody else holds that end of the ring", (shmring.Busy,)),
    Exit(130, "interrupted (Ctrl-C)", (KeyboardInterrupt,)),
    OUTPUT_CLOSED,
    Exit(143, "terminated (SIGTERM, SIGHUP)", (Terminated,)),
)

# Asked last, as so much derives from these.
_GENERAL = (
    Exit(USAGE.code, USAGE.meaning, (ValueError, TypeError)),
    Exit(ERROR.code, ERROR.meaning, (shmring.ShmringError, OSError)),
)


def exit_for(error: BaseException) -> Exit | None:
    """Return the exit that an exception leads to; None for one that only a bug raises."""
    return next((row for row in (*TABLE, *_GENERAL) if isinstance(error, row.causes)), None)


def table_for_help() -> str:
    """Return the table as `--help` shows it."""
    return "\n".join(["\b", "Exit codes:", *(f"{row.code:>5}  {row.meaning}" for row in TABLE)])
