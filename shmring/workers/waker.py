"""What interrupts a thread that waits for processes to end: something that multiprocessing's wait takes beside them."""

from __future__ import annotations

import contextlib
import errno
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
    _ONE = (1).to_bytes(8, sys.byteorder)

    class Waker:
        """An event of the kernel, which takes a wake where no memory is left; a pipe where there is none."""

        def __init__(self) -> None:
            self.sign, self._waker = _ends()

        def wake(self) -> None:
            """Does not block; safe in a finalizer."""
            with contextlib.suppress(OSError):  # full: it will wake anyway
                os.write(self._waker, _ONE)

        def clear(self) -> None:
            """What comes from now on is a wake of its own."""
            os.read(self.sign, 1 << 12)

        def close(self) -> None:
            """Once nobody waits any more."""
            for end in {self._waker, self.sign}:
                os.close(end)

    def _ends() -> tuple[int, int]:
        if sys.platform == "linux":
            try:
                event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            except OSError as error:
                if error.errno not in (errno.ENOSYS, errno.EPERM):  # a kernel or a filter without it
                    raise
            else:
                return event, event
        sign, waker = os.pipe()
        os.set_blocking(waker, False)
        return sign, waker
