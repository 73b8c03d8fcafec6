"""Memory for one parcel that is too long for a ring: made by its sender, mapped by its receiver.

A received one takes no descriptor, since a program may keep more results than it may have files open. On Linux Python's
own mmap keeps one until 3.13, so before that the C library's is called.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import mmap
import os
import pickle
import sys
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from shmring import segment
from shmring.segment.descriptors import shortage_explained

if TYPE_CHECKING:
    from typing_extensions import Buffer

_FAILED = ctypes.c_void_p(-1).value


def make(length: int, parts: Sequence[Buffer]) -> tuple[segment.Segment, bytes]:
    """A memory that holds these, and a handle for its receiver: keep the memory until it has been taken."""
    memory = segment.anonymous(length, transferable=True)
    try:
        memory.fill(parts)
        return memory, pickle.dumps(_handle(memory), 5)
    except BaseException:
        memory.close()
        raise


def taken(handle: memoryview) -> memoryview:
    """The memory behind a handle, which lives as long as anything looks at it. Raises what opening it raises."""
    with shortage_explained():
        return _memory(*pickle.loads(handle))


if sys.platform == "win32":

    def _handle(memory: segment.Segment) -> tuple[Any, ...]:
        return (memory,)

    def _memory(memory: segment.Segment) -> memoryview:
        return memoryview(memory)

else:
    from shmring.segment.posix.transfer import Descriptor

    def _handle(memory: segment.Segment) -> tuple[Any, ...]:
        return Descriptor(memory.fd), len(memory)

    def _memory(descriptor: Descriptor, length: int) -> memoryview:
        fd = descriptor.detach()
        try:
            return _mapped(fd, length)
        finally:
            os.close(fd)

    def _mapped(fd: int, length: int) -> memoryview:
        """A shared, writable mapping that keeps no descriptor."""
        if sys.version_info >= (3, 13):
            return memoryview(mmap.mmap(fd, length, trackfd=False))
        libc = _libc()
        address = libc.mmap(None, length, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, fd, 0)
        if address == _FAILED:
            number = ctypes.get_errno()
            reason = f"{os.strerror(number)}: a parcel of {length} bytes cannot be mapped"
            raise OSError(number or errno.ENOMEM, reason)
        block = (ctypes.c_char * length).from_address(address)
        weakref.finalize(block, libc.munmap, address, length).atexit = False
        return memoryview(block).cast("B")


@functools.cache
def _libc() -> Any:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
    libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    return libc
