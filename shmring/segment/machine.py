"""Which machine this is: handles that travel say where their memory lies."""

from __future__ import annotations

import errno
import functools
import pathlib
import platform
import sys

from shmring.segment.descriptors import has_proc, no_proc


@functools.cache
def machine() -> str:
    """What tells this machine, since it was started, from any other; containers on one machine share it."""
    if sys.platform == "linux":
        try:
            return pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except (FileNotFoundError, PermissionError):  # gVisor, and containers that hide it
            if not has_proc():
                raise no_proc() from None
    return platform.node()


def check_machine(origin: str, what: str) -> None:
    """FileNotFoundError for a handle that was made on another machine, or before this one was started again."""
    if origin != machine():
        raise FileNotFoundError(
            errno.ENOENT,
            f"this handle of {what} was made on another machine (or before a reboot), and shared memory ends where its "
            "machine does: connect the two with `shmring bridge`, and attach by name to the ring on this side",
        )
