"""Stopping a forked child before any machine instruction of a call, and killing it there. x86-64 Linux, by ptrace(2).

A call is traced once, a step at a time, which takes 20 µs each. Later children run to one *moment* of the trace by a
breakpoint: to the instruction at an address, when it is about to be executed for the so-maniest time.
"""

from __future__ import annotations

import ctypes
import os
import platform
import random
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, TypeVar

AVAILABLE = platform.machine() == "x86_64" and platform.system() == "Linux"

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long
_TRACEME, _PEEK, _POKE, _CONTINUE, _STEP, _GET_REGISTERS, _SET_REGISTERS = 0, 1, 4, 7, 9, 12, 13
_BREAKPOINT = 0xCC
_LONGEST = 100_000
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


class Moment(NamedTuple):
    """A point in the run of a function."""

    address: int  # of the instruction that comes next
    before: int  # how often it was executed before
    returned: bool  # out of the function, to its caller


EVERY_UP_TO = 4000  # moments; of longer operations, so many at random:
OF_LONGER_ONES = 200
TRACES = 8  # of one operation: a message that wraps takes another way
TRIES = 8  # to come to a moment that not every run comes to
MOST_MISSED = 0.05  # share: how often the kernel's clock divides, say, is chance


def moments_of(traces: Iterable[list[int]]) -> list[Moment]:
    """All that one of these runs came to, in order of appearance."""
    found: dict[Moment, None] = {}
    for trace in traces:
        times: Counter[int] = Counter()
        for number, address in enumerate(trace, start=1):
            found[Moment(address, times[address], number == len(trace))] = None
            times[address] += 1
    return [*found]


class Stepped:
    """A child that stands at the entry of a C function, which it calls in running ``act`` after ``prepare``."""

    def __init__(self, prepare: Callable[[], None], act: Callable[[], None], function: int) -> None:
        self._ended = False
        self.pid = os.fork()
        if self.pid == 0:
            self._run(prepare, act)
        self._wait()
        assert self._continue_to(function), "the child never came to the function"
        self._entry_stack = self._registers().rsp

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

    def _go(self, request: int) -> None:
        """Let it run until it stops at a breakpoint, or after a step; or ends."""
        self._call(request)
        status = os.waitpid(self.pid, 0)[1]
        if status != _STEPPED:
            assert os.WIFEXITED(status), f"the child stopped or ended by a signal: status {status:#x}"
            self._ended = True

    def _continue_to(self, address: int) -> bool:
        """Run until this instruction is the next; False when the child ended before."""
        word = self._peek(address)
        self._call(_POKE, address, (word & ~0xFF) | _BREAKPOINT)
        self._go(_CONTINUE)
        if self._ended:
            return False
        registers = self._registers()
        assert registers.rip == address + 1, f"stopped at {registers.rip:#x}, not at {address:#x}"
        registers.rip = address
        self._call(_POKE, address, word)
        self._call(_SET_REGISTERS, 0, ctypes.addressof(registers))
        return True

    def run_to(self, moment: Moment) -> bool:
        """Run on from the function's entry; False when this run went another way, and has come to its end."""
        hits = moment.before + 1
        if self._registers().rip == moment.address:
            hits -= 1
        for _ in range(hits):
            if self._registers().rip == moment.address:
                self._go(_STEP)
            if self._ended or not self._continue_to(moment.address):
                return False
            if self.has_returned():
                return moment.returned
        return not moment.returned

    def has_returned(self) -> bool:
        """Whether the function has returned."""
        return self._ended or bool(self._registers().rsp > self._entry_stack)

    def trace(self) -> list[int]:
        """The addresses of all instructions until the function has returned, and of the next; the child is killed."""
        addresses = [self._registers().rip]
        while not self.has_returned():
            assert len(addresses) < _LONGEST, f"more than {_LONGEST} instructions"
            self._go(_STEP)
            assert not self._ended, "the child ended before the function returned"
            addresses.append(self._registers().rip)
        self.kill()
        return addresses

    def kill(self) -> None:
        """End it here."""
        if self._ended:
            return
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


Fresh = TypeVar("Fresh")


class Course:
    """Kills at every moment of one operation after the other; ``effort`` of 1 for all of them, less for so many."""

    def __init__(self, effort: float, seed: str) -> None:
        self.effort = effort
        self.kills = self.missed = 0
        self._random = random.Random(seed)

    def run(
        self,
        what: str,
        fresh: Callable[[], AbstractContextManager[Fresh]],
        trace: Callable[[Fresh], list[int]],
        kill: Callable[[Fresh, Moment], bool],
        reusable: bool = True,
    ) -> None:
        """Trace in one object, and kill at every moment in it; at the moments of a first use, in one of their own.

        ``kill`` says whether it came to the moment: not every run does. After an operation that is the end of its
        object, each kill takes one of its own.
        """
        with fresh() as first:
            moments = moments_of(trace(first) for _ in range(TRACES if reusable else 1))
            late = chosen = self._chosen(moments)
            if reusable:
                late = [moment for moment in chosen if not any(kill(first, moment) for _ in range(TRIES))]
        missed = 0
        for moment in late:
            with fresh() as own:
                missed += not any(kill(own, moment) for _ in range(TRIES if reusable else 1))
        print(f"{what}: {len(moments)} moments, {len(chosen)} chosen, {missed} missed", file=sys.stderr)
        self.kills += len(chosen) - missed
        self.missed += missed

    def _chosen(self, moments: list[Moment]) -> list[Moment]:
        """The moments at which to kill: every one, or some of very many."""
        wanted = EVERY_UP_TO if len(moments) <= EVERY_UP_TO else OF_LONGER_ONES
        return sorted(self._random.sample(moments, min(len(moments), int(wanted * self.effort) or 1)))

    def check(self) -> None:
        """Every moment that was found should have been come to again; a rare few are not."""
        if self.missed > MOST_MISSED * self.kills:
            raise AssertionError(f"{self.missed} moments were missed, beside {self.kills} kills")
