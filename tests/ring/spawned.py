"""Children that are new processes: function and arguments reach them by dill, their answer comes through a pipe."""

import ctypes
import os
import pickle
import secrets
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dill

CHECKOUT = Path(__file__).resolve().parent.parent.parent
# The answer goes to what was standard output; what the function prints, to standard error.
RUN = """
import os, pickle, sys, traceback
answer = os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)
sys.path += [sys.argv[1], os.path.join(sys.argv[1], "tests")]  # behind the installed package, or it would be hidden
import dill
function, arguments = dill.load(sys.stdin.buffer)
try:
    result = (True, function(*arguments))
except BaseException as error:
    traceback.print_exc()
    result = (False, repr(error))
answer.write(pickle.dumps(result))
answer.close()
os._exit(0)
"""


def interpreter() -> tuple[str, dict[str, str]]:
    """Return Python itself, and not the launcher of a virtual environment, whose process id would be another."""
    base = getattr(sys, "_base_executable", sys.executable)
    launcher = {} if base == sys.executable else {"__PYVENV_LAUNCHER__": sys.executable}
    return base, {**os.environ, **launcher}


class Child:
    """A process that runs a function; its answer or exception comes back through a pipe."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        executable, environment = interpreter()
        self._process = subprocess.Popen(
            [executable, "-c", RUN, str(CHECKOUT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
        self.pid = self._process.pid
        assert self._process.stdin is not None
        with self._process.stdin as pipe:
            pipe.write(dill.dumps((function, arguments), recurse=True))
        self._collected = False

    def result(self) -> Any:
        """Wait for the end; what the function returned."""
        data, _ = self._process.communicate()
        self.reap()
        fine, value = pickle.loads(data)
        assert fine, value
        return value

    def kill(self) -> None:
        """TerminateProcess."""
        self._process.kill()

    def reap(self) -> int:
        """Wait until the process has ended; its exit code."""
        self._collected = True
        return self._process.wait()

    def abandon(self) -> None:
        """Wait for the end of a process that was killed, and forget its answer."""
        self.reap()
        assert self._process.stdout is not None
        self._process.stdout.close()


class Gate:
    """A semaphore of the kernel on which one process waits until another opens it."""

    def __init__(self, name: str | None = None) -> None:
        self._kernel = ctypes.WinDLL("kernel32")
        self._name = name or f"test-gate-{secrets.token_hex(8)}"
        self._kernel.CreateSemaphoreW.restype = ctypes.c_void_p
        self._semaphore = ctypes.c_void_p(self._kernel.CreateSemaphoreW(None, 0, 1000, self._name))

    def __reduce__(self) -> tuple[type["Gate"], tuple[str]]:
        return Gate, (self._name,)

    def open(self) -> None:
        """Let one waiter through."""
        self._kernel.ReleaseSemaphore(self._semaphore, 1, None)

    def wait(self) -> None:
        """Block until somebody opens; a child that failed never will."""
        assert self._kernel.WaitForSingleObject(self._semaphore, 60_000) == 0, "nobody opened the gate in a minute"

    def close(self) -> None:
        """Close it here."""
        self._kernel.CloseHandle(self._semaphore)
