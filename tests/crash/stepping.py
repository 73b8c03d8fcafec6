"""Running a forked child one machine instruction at a time, and killing it anywhere. x86-64 Linux, by ptrace(2)."""

from __future__ import annotations

import ctypes
import os
import platform
import signal
from collections.abc import Callable
from typing import Any

AVAILABLE = platform.machine() == "x86_64" and platform.system() == "Linux"

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long
_TRACEME, _PEEK, _POKE, _CONTINUE, _STEP, _GET_REGISTERS, _SET_REGISTERS = 0, 1, 4, 7, 9, 12, 13
_BREAKPOINT = 0xCC
_STEPPED = signal.SIGTRAP << 8 | 0x7F  # the wait status of a child stopped by SIGTRAP


_GENERAL = "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss"
_SEGMENTS = "fs_base gs_base ds es fs gs"


class _Registers(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulong) for name in f"{_GENERAL} {_SEGMENTS}".split()]


def function_of(method: Any) -> int:
    """Address of the C function behind a method descriptor of an extension type."""
    # struct PyMethodDescrObject: object head, type, name, qualified name, then a PyMethodDef: name, function
    definition = ctypes.c_void_p.from_address(id(method) + 40).value
    assert definition is not None
    address = ctypes.c_void_p.from_address(definition + 8).value
    assert address is not None
    return address


class Stepped:
    """A child that stands at the entry of a C function, which it calls in running ``act`` after ``prepare``."""

    def __init__(self, prepare: Callable[[], None], act: Callable[[], None], function: int) -> None:
        self._ended = False
        self.pid = os.fork()
        if self.pid == 0:
            self._run(prepare, act)
        self._wait()
        word = self._peek(function)
        self._call(_POKE, function, (word & ~0xFF) | _BREAKPOINT)
        self._call(_CONTINUE)
        self._wait()
        registers = self._registers()
        assert registers.rip == function + 1, "the child never came to the function"
        registers.rip = function
        self._call(_POKE, function, word)
        self._call(_SET_REGISTERS, 0, ctypes.addressof(registers))
        self._entry_stack = registers.rsp

    @staticmethod
    def _run(prepare: Callable[[], None], act: Callable[[], None]) -> None:
        code = 1
        try:
            prepare()
            _libc.ptrace(_TRACEME, 0, None, None)
            os.kill(os.getpid(), signal.SIGSTOP)
            act()
            code = 0
        finally:
            os._exit(code)

    def _call(self, request: int, address: int = 0, data: int = 0) -> int:
        return int(_libc.ptrace(request, self.pid, address, data))

    def _wait(self) -> None:
        status = os.waitpid(self.pid, 0)[1]
        assert os.WIFSTOPPED(status), f"the child ended by itself: status {status}"

    def _peek(self, address: int) -> int:
        return self._call(_PEEK, address) & 0xFFFFFFFFFFFFFFFF

    def _registers(self) -> _Registers:
        registers = _Registers()
        self._call(_GET_REGISTERS, 0, ctypes.addressof(registers))
        return registers

    def step(self, count: int) -> None:
        """Execute so many instructions, or, where this run takes fewer, all there are."""
        pid, ptrace, waitpid = self.pid, _libc.ptrace, os.waitpid
        for _ in range(count):
            ptrace(_STEP, pid, None, None)
            status = waitpid(pid, 0)[1]
            if status != _STEPPED:
                assert os.WIFEXITED(status), f"the child stopped or ended by a signal: status {status:#x}"
                self._ended = True
                return

    def has_returned(self) -> bool:
        """Whether the function has returned."""
        return self._ended or bool(self._registers().rsp > self._entry_stack)

    def steps_to_return(self, most: int) -> int:
        """Instructions until the function returns; the child is then killed."""
        for steps in range(1, most):
            self.step(1)
            if self.has_returned():
                self.kill()
                return steps
        raise AssertionError(f"more than {most} instructions")

    def kill(self) -> None:
        """End it here."""
        if self._ended:
            return
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
