"""Sending a descriptor inside a pickle: by inheritance where a child is being started, else by the sender's /proc."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any

from shmring.segment import inheritance
from shmring.segment.descriptors import has_proc, no_proc
from shmring.segment.machine import check_machine, machine


class Descriptor:
    """A descriptor on its way to another process of this machine; the receiver detaches it once."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __reduce__(self) -> tuple[Callable[..., Descriptor], tuple[Any, ...]]:
        if inheritance.is_starting():
            return _from_inherited, (inheritance.sent_along(self._fd),)
        status = os.fstat(self._fd)
        return _from_sender, (os.getpid(), self._fd, status.st_dev, status.st_ino, machine())

    def detach(self) -> int:
        """The descriptor, now the caller's to close."""
        fd, self._fd = self._fd, -1
        return fd


def _from_inherited(inherited: Any) -> Descriptor:
    return Descriptor(inheritance.taken(inherited))


def _from_sender(pid: int, fd: int, device: int, inode: int, origin: str) -> Descriptor:
    check_machine(origin, "anonymous memory")
    gone = f"the sender (pid {pid}) has closed this anonymous memory, or is not on this machine; give it a name instead"
    try:
        mine = os.open(f"/proc/{pid}/fd/{fd}", os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)
    except (FileNotFoundError, IsADirectoryError):
        if not has_proc():
            raise no_proc() from None
        raise FileNotFoundError(errno.ENOENT, gone) from None
    except PermissionError:
        raise PermissionError(
            errno.EACCES,
            f"this process may not open the memory of the sender (pid {pid}): that one belongs to another user, or is "
            "protected (hidepid=, a security module); give it a name instead, or hand it to a child as it starts",
        ) from None
    except OSError as error:
        if error.errno == errno.ENXIO:  # the descriptor is a socket's by now
            raise FileNotFoundError(errno.ENOENT, gone) from None
        raise
    status = os.fstat(mine)
    if (status.st_dev, status.st_ino) != (device, inode):
        os.close(mine)
        raise FileNotFoundError(errno.ENOENT, gone)
    return Descriptor(mine)
