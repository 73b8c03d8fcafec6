"""A forked child is refused one system call, which is not made and ends with an error number, or is killed at one.

x86-64 Linux, by ptrace(2).
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import sys
import traceback
from collections.abc import Callable

from stepping import _GET_REGISTERS, _SET_REGISTERS, _TRACEME, _libc, _Registers

_SYSCALL, _DETACH, _SET_OPTIONS = 24, 17, 0x4200
_TRACE_GOOD, _EXIT_KILL = 1, 0x100000
_AT_A_CALL = (signal.SIGTRAP | 0x80) << 8 | 0x7F  # the wait status of a child stopped at a system call

# What each may be refused with on some machine, beside what nobody expects (EIO). By number: x86-64.
_NAMES = {
    2: "open", 4: "stat", 5: "fstat", 6: "lstat", 8: "lseek", 9: "mmap", 10: "mprotect", 21: "access", 25: "mremap",
    26: "msync", 28: "madvise", 32: "dup", 41: "socket", 53: "socketpair", 72: "fcntl", 73: "flock", 77: "ftruncate",
    82: "rename", 86: "link", 87: "unlink", 89: "readlink", 90: "chmod", 91: "fchmod", 97: "getrlimit", 99: "sysinfo",
    137: "statfs", 138: "fstatfs", 217: "getdents64", 257: "openat", 262: "newfstatat", 263: "unlinkat", 265: "linkat",
    285: "fallocate", 290: "eventfd2", 293: "pipe2", 302: "prlimit64", 319: "memfd_create", 324: "membarrier",
    332: "statx", 439: "faccessat2", 449: "futex_waitv",
}  # fmt: skip
_ERRORS = {
    "open": (errno.EMFILE, errno.EACCES),
    "openat": (errno.EMFILE, errno.ENFILE, errno.EACCES),
    "mmap": (errno.ENOMEM,),
    "madvise": (errno.EINVAL, errno.ENOMEM),
    "fcntl": (errno.ENOLCK, errno.EINVAL, errno.EPERM),
    "flock": (errno.ENOLCK,),
    "ftruncate": (errno.EFBIG,),
    "fallocate": (errno.ENOSPC, errno.EOPNOTSUPP, errno.EINTR),
    "memfd_create": (errno.EMFILE,),
    "membarrier": (errno.EPERM, errno.ENOSYS),
    "linkat": (errno.ENOSPC, errno.EPERM),
    "unlink": (errno.EPERM, errno.EROFS),
    "dup": (errno.EMFILE,),
    "fstat": (errno.EOVERFLOW,),
    "mremap": (errno.ENOMEM,),
}


def errors_of(number: int) -> tuple[int, ...]:
    """What a system call may be refused with; nothing for one that is not refused here."""
    name = _NAMES.get(number)
    return () if name is None else (*_ERRORS.get(name, (errno.EPERM,)), errno.EIO)


def name_of(number: int) -> str:
    return _NAMES.get(number, str(number))


class Watched:
    """A forked child that runs ``prepare``, then ``act`` under our eyes, then ``after`` what act returned or raised.

    ``calls`` are the numbers of the system calls that could be refused, or of all where it is to be killed, in the
    order in which they were made.
    """

    def __init__(
        self,
        prepare: Callable[[], None],
        act: Callable[[], object],
        after: Callable[[object, BaseException | None], None],
        *,
        at: int = -1,
        code: int = 0,
        kill: bool = False,
    ) -> None:
        """``at``: which of them is refused, with this error number, or is the last; -1: none.

        With ``kill`` each counts twice: it is killed before it is made, or after.
        """
        self.calls: list[int] = []
        self.killed = False
        self._kill = kill
        reading, writing = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(reading)
            self._run(prepare, act, after, writing)
        os.close(writing)
        self.trouble = ""
        self._trace(at, code)
        with open(reading, encoding="utf-8", errors="replace") as pipe:
            said = pipe.read()
        if not self.trouble and not self.killed:
            status = os.waitpid(self._pid, 0)[1]
            self.trouble = f"{said}ended with status {status}" if status else ""

    @staticmethod
    def _run(
        prepare: Callable[[], None],
        act: Callable[[], object],
        after: Callable[[object, BaseException | None], None],
        writing: int,
    ) -> None:
        code = 1
        try:
            prepare()
            value, failed = None, None
            _libc.ptrace(_TRACEME, 0, None, None)
            os.kill(os.getpid(), signal.SIGSTOP)
            try:
                value = act()
            except BaseException as error:
                failed = error
            os.kill(os.getpid(), signal.SIGSTOP)
            after(value, failed)
            code = 0
        except BaseException:
            os.write(writing, traceback.format_exc().encode())
        finally:
            sys.stderr.flush()
            os._exit(code)

    def _ptrace(self, request: int, data: int = 0) -> None:
        if _libc.ptrace(request, self._pid, None, data) < 0:
            raise OSError(ctypes.get_errno(), f"ptrace({request})")

    def _trace(self, at: int, code: int) -> None:
        status = os.waitpid(self._pid, 0)[1]
        if not os.WIFSTOPPED(status):
            raise AssertionError(f"the child ended before the call: status {status}")
        self._ptrace(_SET_OPTIONS, _TRACE_GOOD | _EXIT_KILL)
        self._ptrace(_SYSCALL)
        registers, refused = _Registers(), False
        entering = True
        while True:
            status = os.waitpid(self._pid, 0)[1]
            if not os.WIFSTOPPED(status):
                self.trouble = f"the child ended in the call: status {status}"
                return
            if status != _AT_A_CALL:
                if os.WSTOPSIG(status) == signal.SIGSTOP:
                    break
                self._ptrace(_SYSCALL, os.WSTOPSIG(status))
                continue
            if self._kill:
                self._ptrace(_GET_REGISTERS, ctypes.addressof(registers))
                self.calls.append(registers.orig_rax)
                if len(self.calls) - 1 == at:
                    os.kill(self._pid, signal.SIGKILL)
                    os.waitpid(self._pid, 0)
                    self.killed = True
                    return
            elif entering:
                self._ptrace(_GET_REGISTERS, ctypes.addressof(registers))
                if errors_of(registers.orig_rax):
                    self.calls.append(registers.orig_rax)
                    refused = len(self.calls) - 1 == at
                    if refused:
                        registers.orig_rax = ctypes.c_ulong(-1).value
                        self._ptrace(_SET_REGISTERS, ctypes.addressof(registers))
            elif refused:
                self._ptrace(_GET_REGISTERS, ctypes.addressof(registers))
                registers.rax = ctypes.c_ulong(-code).value
                self._ptrace(_SET_REGISTERS, ctypes.addressof(registers))
                refused = False
            entering = not entering
            self._ptrace(_SYSCALL)
        self._ptrace(_DETACH)
