"""System calls refused as by refusing.py, to programs of several threads and the children they fork: x86-64 Linux.

A *scene* is a forked child that prepares, works between two marks, and looks at what came of it. Of the system calls
that it makes between the marks, in any of its threads (or in the processes that it forks there), one is refused.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from refusing import _AT_A_CALL, _ERRORS, _EXIT_KILL, _NAMES, _SET_OPTIONS, _SYSCALL, _TRACE_GOOD
from stepping import _GET_REGISTERS, _SET_REGISTERS, _TRACEME, _libc, _Registers

_DETACH, _GET_MESSAGE, _SEIZE, _INTERRUPT = 17, 0x4201, 0x4206, 0x4207
_TRACE_FORK, _TRACE_VFORK, _TRACE_CLONE = 2, 4, 8
_FORKED = {1: True, 2: True, 3: False}  # events: fork, vfork, clone; is it a process?
_STOP = 128
_OPTIONS = _TRACE_GOOD | _EXIT_KILL | _TRACE_FORK | _TRACE_VFORK | _TRACE_CLONE
_ALL_THREADS = 0x40000000  # __WALL
# What a thread calls until it runs is not refused: Thread.start() waits forever for one that fails before. CPython has
# it call gettid() as it begins, and by Thread, which notes it before it says that it has started.
_GETTID, _TIMES = 186, 2
_MARK = 146  # sched_get_priority_max, of policies that there are not
_BEGIN, _END = 0x5EAD, 0x5EAE
_PATIENCE = 60.0

# What a pool calls beside what rings do.
NAMES = _NAMES | {
    0: "read", 1: "write", 7: "poll", 42: "connect", 46: "sendmsg", 47: "recvmsg", 56: "clone", 57: "fork", 58: "vfork",
    61: "wait4", 62: "kill", 233: "epoll_ctl", 247: "waitid", 271: "ppoll", 288: "accept4", 291: "epoll_create1",
    424: "pidfd_send_signal", 434: "pidfd_open", 435: "clone3",
}  # fmt: skip
ERRORS: dict[str, tuple[int, ...]] = _ERRORS | {
    "clone": (errno.EAGAIN, errno.ENOMEM),
    "clone3": (errno.EAGAIN, errno.ENOMEM),
    "fork": (errno.EAGAIN,),
    "vfork": (errno.EAGAIN,),
    "connect": (errno.EAGAIN, errno.ECONNREFUSED),
    "sendmsg": (errno.ENOBUFS, errno.EPIPE),
    "recvmsg": (errno.ENOMEM,),
    "poll": (errno.ENOMEM,),
    "pidfd_open": (errno.EMFILE, errno.ENOSYS, errno.EPERM),
    "pidfd_send_signal": (errno.ENOSYS, errno.EPERM),
    "pipe2": (errno.EMFILE, errno.ENFILE),
    "dup": (errno.EMFILE,),
    "wait4": (errno.ECHILD,),
    "waitid": (errno.ECHILD,),
    "epoll_create1": (errno.EMFILE,),
    "epoll_ctl": (errno.ENOMEM,),
}


def errors_of(number: int) -> tuple[int, ...]:
    """What a system call may be refused with; nothing for one that is not refused here."""
    name = NAMES.get(number)
    return () if name is None else (*ERRORS.get(name, (errno.EPERM,)), errno.EIO)


def mark_begin() -> None:
    """From now on system calls are counted, and one is refused."""
    _libc.syscall(_MARK, _BEGIN)


def mark_end() -> None:
    """And no more."""
    _libc.syscall(_MARK, _END)


class Scene:
    """Run ``play`` in a forked child; it calls :func:`mark_begin` and :func:`mark_end`.

    ``calls`` are the numbers of the system calls between them that could be refused; ``trouble`` is what went wrong.
    """

    def __init__(self, play: Callable[[], None], *, in_children: bool = False, at: int = -1, code: int = 0) -> None:
        self.calls: list[int] = []
        self.trouble = ""
        self.refused = ""
        self._in_children, self._at, self._code = in_children, at, code
        self._counting = False
        self._entering: dict[int, bool] = {}  # by thread: is the next stop the beginning of a call?
        self._of_child: dict[int, bool] = {}
        self._young: dict[int, int] = {}  # threads that do not run anything yet: how often they are to call gettid()
        self._refusing: set[int] = set()
        self._registers = _Registers()
        reading, writing = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(reading)
            self._run(play, writing)
        os.close(writing)
        status = self._follow()
        os.set_blocking(reading, False)
        with contextlib.suppress(BlockingIOError):
            self.trouble += os.read(reading, 1 << 16).decode(errors="replace")
        os.close(reading)
        if status and not self.trouble:
            self.trouble = f"ended with status {status}"

    @staticmethod
    def _run(play: Callable[[], None], writing: int) -> None:
        code = 1
        try:
            _libc.ptrace(_TRACEME, 0, None, None)
            os.kill(os.getpid(), signal.SIGSTOP)
            play()
            code = 0
        except BaseException:
            os.write(writing, traceback.format_exc().encode())
        finally:
            sys.stderr.flush()
            os._exit(code)

    def _ptrace(self, request: int, thread: int, data: int = 0) -> bool:
        return _libc.ptrace(request, thread, None, data) >= 0 or ctypes.get_errno() == errno.ESRCH

    def _follow(self) -> int:
        """Until the child has ended; its status."""
        os.waitpid(self._pid, 0)
        self._ptrace(_SET_OPTIONS, self._pid, _OPTIONS)
        self._entering[self._pid], self._of_child[self._pid] = True, False
        self._ptrace(_SYSCALL, self._pid)
        until = time.monotonic() + _PATIENCE
        while True:
            thread, status = os.waitpid(-1, _ALL_THREADS | os.WNOHANG)
            if not thread:
                if time.monotonic() > until:
                    return self._give_up()
                time.sleep(0.0002)
                continue
            if not os.WIFSTOPPED(status):
                if thread == self._pid:
                    return status
                continue
            self._go_on(thread, status)

    def _give_up(self) -> int:
        self.trouble = f"it hangs; the threads and processes that are left: {sorted(self._entering)}"
        os.kill(self._pid, signal.SIGKILL)
        while os.waitpid(-1, _ALL_THREADS)[0] != self._pid:  # it is the last of its threads
            pass
        return 0

    def _go_on(self, thread: int, status: int) -> None:
        if thread not in self._entering:  # it is new, and stopped before its creator has said so
            self._entering[thread] = True
            process = self._process_of(thread)
            self._of_child[thread] = process != self._pid
            if thread != process:
                self._young[thread] = _TIMES
            if self._of_child[thread] and not self._in_children:
                self._ptrace(_DETACH, thread)
                return
            self._ptrace(_SYSCALL, thread)
            return
        if status == _AT_A_CALL:
            self._at_a_call(thread)
        elif status >> 16:  # an event, of which the new thread's own stop tells as well
            self._ptrace(_SYSCALL, thread)
        else:
            number = os.WSTOPSIG(status)
            self._ptrace(_SYSCALL, thread, 0 if number == signal.SIGSTOP else number)

    @staticmethod
    def _process_of(thread: int) -> int:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{thread}/status").read_text().splitlines():
                if line.startswith("Tgid:"):
                    return int(line.split()[1])
        return 0

    def _at_a_call(self, thread: int) -> None:
        registers = self._registers
        entering = self._entering[thread]
        self._entering[thread] = not entering
        if entering:
            self._ptrace(_GET_REGISTERS, thread, ctypes.addressof(registers))
            number = registers.orig_rax
            if number == _MARK and registers.rdi in (_BEGIN, _END):
                self._counting = registers.rdi == _BEGIN
            elif number == _GETTID and self._young.get(thread, 0):
                self._young[thread] -= 1
            elif self._counting and not self._young.get(thread, 0) and self._of_child[thread] == self._in_children:
                self._count(thread, number)
        elif thread in self._refusing:
            self._refusing.discard(thread)
            self._ptrace(_GET_REGISTERS, thread, ctypes.addressof(registers))
            registers.rax = ctypes.c_ulong(-self._code).value
            self._ptrace(_SET_REGISTERS, thread, ctypes.addressof(registers))
        self._ptrace(_SYSCALL, thread)

    def _count(self, thread: int, number: int) -> None:
        if not errors_of(number) or (NAMES[number] in ("read", "write") and self._is_event(thread)):
            return
        self.calls.append(number)
        if len(self.calls) - 1 != self._at:
            return
        self.refused = NAMES[number]
        if self._code not in errors_of(number):  # in another order this time
            self._code = errors_of(number)[0]
        self._refusing.add(thread)
        self._registers.orig_rax = ctypes.c_ulong(-1).value
        self._ptrace(_SET_REGISTERS, thread, ctypes.addressof(self._registers))

    def _is_event(self, thread: int) -> bool:
        """Is it about an eventfd, which needs nothing that there could be a want of?"""
        with contextlib.suppress(OSError):
            return "eventfd" in os.readlink(f"/proc/{thread}/fd/{self._registers.rdi}")
        return False
