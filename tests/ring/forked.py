"""Children that are forks of this process."""

import os
import pickle
import signal
import traceback
from collections.abc import Callable
from typing import Any


class Child:
    """A forked process that runs a function; its answer or exception comes back through a pipe."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._answer, write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            self._run(write, function, arguments)
        os.close(write)
        self._collected = False

    @staticmethod
    def _run(write: int, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        try:
            result = (True, function(*arguments))
        except BaseException as error:
            traceback.print_exc()
            result = (False, repr(error))
        with os.fdopen(write, "wb") as pipe:
            pipe.write(pickle.dumps(result))
        os._exit(0)

    def result(self) -> Any:
        """Wait for the end; what the function returned."""
        with os.fdopen(self._answer, "rb") as pipe:
            data = pipe.read()
        self.reap()
        fine, value = pickle.loads(data)
        assert fine, value
        return value

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal; by default the one that nothing can be done about."""
        os.kill(self.pid, number)

    def reap(self) -> int:
        """Wait until the process has ended; its wait status."""
        if self._collected:
            return 0
        self._collected = True
        return os.waitpid(self.pid, 0)[1]

    def abandon(self) -> None:
        """Reap a process that was killed, and forget its answer."""
        self.reap()
        os.close(self._answer)


class Gate:
    """A pipe on which one process waits until another opens it."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()

    def open(self) -> None:
        """Let one waiter through."""
        os.write(self._write, b".")

    def wait(self) -> None:
        """Block until somebody opens."""
        assert os.read(self._read, 1) == b"."

    def close(self) -> None:
        """Close both ends here."""
        os.close(self._read)
        os.close(self._write)
