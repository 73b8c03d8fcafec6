"""Running out of file descriptors, in words that help."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator

_WHOSE = {
    errno.EMFILE: "this process has {open} open and may have {limit}: close what is not used any more, or allow more "
    "with `ulimit -n` in the shell, or resource.setrlimit(resource.RLIMIT_NOFILE, ...) here",
    errno.ENFILE: "the whole machine has as many open as it may: close some, or allow more with `sysctl fs.file-max`",
}
_SAID = "no file descriptor is left: "


def _number(error: OSError) -> int | None:
    return error.errno or (errno.EMFILE if "number of files open" in str(error) else None)  # posix_ipc has none


def is_shortage(error: OSError) -> bool:
    """Is it want of descriptors, and so nothing that is wrong with what was to be opened?"""
    return _number(error) in _WHOSE


@contextlib.contextmanager
def unreadable_passed_over() -> Iterator[None]:
    """A with block that ends at what cannot be opened, for whatever reason but want of descriptors."""
    try:
        yield
    except OSError as error:
        if is_shortage(error):
            raise


@contextlib.contextmanager
def shortage_explained() -> Iterator[None]:
    """A with block, or a decorator, in which want of descriptors is an OSError that says how many there are."""
    try:
        yield
    except OSError as error:
        number = _number(error)
        if sys.platform == "win32" or number not in _WHOSE or str(error.strerror).startswith(_SAID):
            raise
        open_now, limit = _counts()
        text = _SAID + _WHOSE[number].format(open=open_now, limit=limit)
        raise OSError(number, text) from error


def _counts() -> tuple[int, int]:
    assert sys.platform != "win32"  # where handles do not run out
    import resource

    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    try:
        return len(os.listdir("/proc/self/fd")) - 1, limit
    except OSError:  # that takes one, too: then all are in use
        return limit, limit
