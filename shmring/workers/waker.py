"""What interrupts a thread that waits for processes to end: something that multiprocessing's wait takes beside them."""

from __future__ import annotations

import contextlib
import os
import sys

if sys.platform == "win32":
    from shmring.segment.windows import win32

    class Waker:
        """An event of the kernel."""

        def __init__(self) -> None:
            self.sign = win32.make_event()

        def wake(self) -> None:
            """Does not block; safe in a finalizer."""
            win32.set_event(self.sign)

        def clear(self) -> None:
            """What comes from now on is a wake of its own."""
            win32.reset_event(self.sign)

        def close(self) -> None:
            """Once nobody waits any more."""
            win32.close(self.sign)

else:

    class Waker:
        """A pipe."""

        def __init__(self) -> None:
            self.sign, self._waker = os.pipe()
            os.set_blocking(self._waker, False)

        def wake(self) -> None:
            """Does not block; safe in a finalizer."""
            with contextlib.suppress(OSError):  # full: it will wake anyway
                os.write(self._waker, b".")

        def clear(self) -> None:
            """What comes from now on is a wake of its own."""
            os.read(self.sign, 1 << 12)

        def close(self) -> None:
            """Once nobody waits any more."""
            os.close(self._waker)
            os.close(self.sign)
