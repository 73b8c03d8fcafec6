"""What this process may have (ulimit), and why the kernel maps no more memory for it."""

from __future__ import annotations

import errno
import resource
import sys

from shmring.errors import NoSpace

assert sys.platform != "win32"


def of(which: int) -> int | None:
    """A limit of this process; None for none, and where a sandbox does not say."""
    try:
        most = resource.getrlimit(which)[0]
    except OSError:
        return None
    return None if most == resource.RLIM_INFINITY else most


def mapping_refused(error: OSError, size: int, what: str) -> OSError:
    """The same refusal of mmap in words; ``what`` was to be mapped. An errno that is not known is passed on."""
    if error.errno == errno.ENOMEM:
        return _no_more(size, what)
    if error.errno == errno.ENODEV:
        return OSError(errno.ENODEV, f"{what} is on a file system whose files cannot be mapped; put it elsewhere")
    if error.errno in (errno.EMFILE, errno.ENFILE):  # descriptors.py has the words
        return error
    return OSError(error.errno, f"{error.strerror}: {size} bytes of {what} could not be mapped; see `shmring doctor`")


def check_mapping(size: int) -> None:
    """NoSpace at once for more than this process may map, before all of it is reserved."""
    short = _short_of(size, _SHARED)
    if short is not None:
        raise short


_SHARED = ((resource.RLIMIT_AS, "VmSize", "the limit on address space (ulimit -v, RLIMIT_AS, LimitAS=)"),)
_PRIVATE = ((resource.RLIMIT_DATA, "VmData", "the limit on private memory (ulimit -d, RLIMIT_DATA, LimitDATA=)"),)


def _short_of(size: int, which: tuple[tuple[int, str, str], ...]) -> NoSpace | None:
    for limit, key, name in which:
        most = of(limit)
        if most is not None and (left := max(0, most - used(key))) < size:
            return NoSpace(size, left, name, "address space")
    return None


def _no_more(size: int, what: str) -> OSError:
    """Which limit it is; ENOMEM says none."""
    return _short_of(size, _SHARED + _PRIVATE) or OSError(
        errno.ENOMEM, f"the kernel does not map {size} bytes of {what}: {_MAPPINGS}"
    )


_MAPPINGS = (
    "this process has too many mappings (sysctl vm.max_map_count), or the machine promises no more memory than it has "
    "(sysctl vm.overcommit_memory); close what is not used, ask for less, or change the one or the other"
)


def why_no_more() -> str:
    """Why the kernel may have refused to map something of a size that is not known here."""
    for which, key, name in _SHARED + _PRIVATE:
        most = of(which)
        if most is not None:
            return f"{used(key)} of {most} bytes are in use of {name}, or {_MAPPINGS}"
    return _MAPPINGS


def used(key: str) -> int:
    """Of this process's memory, in bytes; 0 where /proc does not say: then the limit alone has to be the reason."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            return next((int(line.split()[1]) * 1024 for line in file if line.startswith(f"{key}:")), 0)
    except OSError:
        return 0
