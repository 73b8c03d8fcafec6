"""Stopping a forked child before any machine instruction of a call, and killing it there. x86-64 Linux, by ptrace(2).

A call is traced some times, a step at a time, which takes 20 µs each. Later children run to a *moment* of a trace, the
instruction at an address when it is about to be executed for the so-maniest time, by its *route*: a breakpoint, then
steps.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import platform
import random
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
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


class Route(NamedTuple):
    """The quickest way to a moment."""

    cost: int  # about so many steps
    address: int  # a breakpoint there,
    hits: int  # run into so often,
    steps: int  # and so many steps from there


HIT = 3  # steps that take as long as to run into a breakpoint
EVERY_UP_TO = 2500  # moments that an operation has, but for later
ROUNDS = 8  # of its loops; of longer operations, and of later rounds, so many moments at random:
SOME = 200
TRACES = 8  # of one operation: a message that wraps takes another way
LONG = 5000  # instructions, and two traces will do
TRIES = 8  # to come to a moment that not every run comes to;
TRIES_OF_ITS_OWN = 4  # where each is in an object of its own
MOST_MISSED = 0.01  # share


def _clock() -> range:
    """The addresses of the kernel's clock, which goes round again whenever it ticks meanwhile."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        if line.endswith("[vdso]"):
            return range(*(int(bound, 16) for bound in line.split()[0].split("-")))
    return range(0)


def routes_of(traces: Iterable[list[int]]) -> dict[Moment, Route]:
    """All that one of these runs came to, in order of appearance, and how to come there."""
    found: dict[Moment, Route] = {}
    for trace in traces:
        times: Counter[int] = Counter()
        route = Route(0, trace[0], 0, -1)
        for number, address in enumerate(trace, start=1):
            by_steps = route._replace(cost=route.cost + 1, steps=route.steps + 1)
            hits = times[address] + (address != trace[0])  # where it begins, no breakpoint is run into
            route = min(by_steps, Route(hits * HIT, address, hits, 0))
            moment = Moment(address, times[address], number == len(trace))
            found[moment] = min(route, found.get(moment, route))
            times[address] += 1
    return found


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

    def run_to(self, moment: Moment, route: Route) -> bool:
        """Run on from the function's entry; False when this run went another way, past the function's end it may be."""
        for hit in range(route.hits):
            if hit or self._registers().rip == route.address:
                self._go(_STEP)
            if self._ended or not self._continue_to(route.address):
                return False
            if self.has_returned():
                return moment.returned and not route.steps
        for _ in range(route.steps):
            self._go(_STEP)
            if self._ended:
                return False
        return self._registers().rip == moment.address and self.has_returned() == moment.returned

    def has_returned(self) -> bool:
        """Whether the function has returned."""
        return self._ended or bool(self._registers().rsp > self._entry_stack)

    def trace(self) -> list[int]:
        """The addresses of all instructions until the function has returned, and of the next."""
        addresses = [self._registers().rip]
        while not self.has_returned():
            assert len(addresses) < _LONGEST, f"more than {_LONGEST} instructions"
            self._go(_STEP)
            assert not self._ended, "the child ended before the function returned"
            addresses.append(self._registers().rip)
        return addresses

    def kill(self) -> None:
        """End it here."""
        if self._ended:
            return
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


Fresh = TypeVar("Fresh")
Drive = Callable[[Stepped], bool]  # takes a child on from the function's entry; whether to where it should
Round = Callable[[Fresh, Drive], bool]  # makes a child, drives it, kills it, and looks what the others find


@contextlib.contextmanager
def _saying(where: str) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        error.add_note(where)
        raise


class Course:
    """Kills at every moment of one operation after the other; ``effort`` of 1 for all of them, less for so many."""

    def __init__(self, effort: float, seed: str) -> None:
        self.effort = effort
        self.kills = self.missed = 0
        self._random = random.Random(seed)

    def run(
        self, what: str, fresh: Callable[[], AbstractContextManager[Fresh]], once: Round[Fresh], reusable: bool = True
    ) -> None:
        """Trace in one object, and kill at every moment in it; at the moments of a first use, in one of their own.

        After an operation that is the end of its object, each kill takes one of its own.
        """
        with fresh() as first:
            traces = [self._trace(what, once, first)]
            if reusable:
                in_all = TRACES if len(traces[0]) < LONG else 2
                traces += [self._trace(what, once, first) for _ in range(in_all - 1)]
            routes, again = routes_of(traces), routes_of(traces[1:])
            chosen = self._chosen([*routes])
            late = [
                moment
                for moment in chosen
                if moment not in again or not self._kill(what, once, first, moment, routes[moment])
            ]
        missed = []
        for moment in late:
            for _ in range(1 if reusable else TRIES_OF_ITS_OWN):
                with fresh() as own:
                    if self._kill(what, once, own, moment, routes[moment], TRIES if reusable else 1):
                        break
            else:
                missed.append(moment)
        self.kills += len(chosen) - len(missed)
        clock = _clock()
        missed = [moment for moment in missed if moment.address not in clock]
        self.missed += len(missed)
        print(f"{what}: {len(routes)} moments, {len(chosen)} chosen, {len(missed)} missed", file=sys.stderr)

    def _trace(self, what: str, once: Round[Fresh], target: Fresh) -> list[int]:
        trace: list[int] = []

        def drive(child: Stepped) -> bool:
            trace.extend(child.trace())
            return True

        with _saying(f"{what}, killed after it"):
            once(target, drive)
        return trace

    def _kill(
        self, what: str, once: Round[Fresh], target: Fresh, moment: Moment, route: Route, tries: int = TRIES
    ) -> bool:
        """Whether it came to the moment: not every run does."""
        with _saying(f"{what}, killed at {moment} by {route}"):
            return any(once(target, lambda child: child.run_to(moment, route)) for _ in range(tries))

    def _chosen(self, moments: list[Moment]) -> list[Moment]:
        """The moments at which to kill: every one but for late rounds of loops, or some of very many."""
        more = max(1.0, self.effort)
        early = [moment for moment in moments if moment.before < ROUNDS * more]
        late = [moment for moment in moments if moment.before >= ROUNDS * more]
        wanted = self._some(early, len(early) if len(early) <= EVERY_UP_TO * more else SOME * more)
        return sorted(wanted + self._some(late, SOME * more))

    def _some(self, moments: list[Moment], most: float) -> list[Moment]:
        wanted = min(len(moments), most) * min(1.0, self.effort)
        return self._random.sample(moments, math.ceil(wanted))

    def check(self) -> None:
        """Every moment that was found should have been come to again; a rare few are not."""
        if self.missed > MOST_MISSED * self.kills:
            raise AssertionError(f"{self.missed} moments were missed, beside {self.kills} kills")
