"""The participants of one trial: started together, pinned, watched, and ended together.

leader ──fork──▶ producer 0 ─┐ ready            go ┌─▶ work ──report──▶ leader ──leave──▶ end
       ──fork──▶ consumer 0 ─┴──────▶ leader ──────┴─▶ work ──report──▶
"""

from __future__ import annotations

import contextlib
import dataclasses
import mmap
import os
import pathlib
import pickle
import resource
import select
import signal
import struct
import time
import traceback
from collections.abc import Callable
from typing import Any

from .trial import die_with_parent

_LENGTH = struct.Struct("=Q")
_SLOTS = 64


@dataclasses.dataclass
class Report:
    """What one participant did: its result, and what that cost from "go" on."""

    result: Any
    cpu_seconds: float
    peak_bytes: int
    shared_bytes: int
    switches: int  # times that it was pushed off its CPU


class Board:
    """Numbers that all participants see: when work begins, how far each one is, how many have finished."""

    _BEGIN, _FINISHED, _FIRST = 0, 1, 2

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 8 * _SLOTS)
        self.words = memoryview(self._memory).cast("q")

    @property
    def begin_ns(self) -> int:
        """When the leader said go, on the monotonic clock."""
        return self.words[self._BEGIN]

    @begin_ns.setter
    def begin_ns(self, value: int) -> None:
        self.words[self._BEGIN] = value

    def cell(self, number: int) -> memoryview:
        """Return a view of the one word in which consumer ``number`` counts what it got."""
        place = self._FIRST + number
        return self.words[place : place + 1]

    @property
    def got(self) -> int:
        """What all consumers counted so far."""
        return sum(self.words[self._FIRST : _SLOTS])


@dataclasses.dataclass
class _Member:
    name: str
    pid: int
    pipe: int
    data: bytearray = dataclasses.field(default_factory=bytearray)
    report: Report | None = None


class Stage:
    """What a participant sees of the crew: the board, and the moment to begin."""

    def __init__(self, board: Board, done: memoryview, place: int, ready: int, go: int) -> None:
        self.board = board
        self.done = done  # one word for each participant, in order of their starting: 1 when it needs nothing more
        self._place, self._ready, self._go = place, ready, go
        self.began = 0.0

    def ready(self) -> None:
        """Everything is open: wait until everybody says so."""
        os.write(self._ready, b"r")
        os.read(self._go, 1)
        self.began = time.process_time()

    def finish(self) -> None:
        """Tell the others, at once, that this one needs nothing more of them."""
        self.done[self._place] = 1


class Crew:
    """The participants, in order of their starting. Leaving the with block ends all that still run."""

    def __init__(self, deadline: float) -> None:
        self.board = Board()
        self._deadline = time.monotonic() + deadline
        self._members: list[_Member] = []
        self._done = memoryview(mmap.mmap(-1, 8 * _SLOTS)).cast("q")
        self._ready, self._go, self._leave = os.pipe(), os.pipe(), os.pipe()

    def add(self, name: str, role: Callable[[Stage], Any], leave: Callable[[], None], cpu: int | None) -> None:
        """Start a participant: ``role`` opens, calls ``stage.ready()``, works and returns a result."""
        receive, send = os.pipe()
        pid = os.fork()
        if pid == 0:
            self._play(role, leave, cpu, send)
        os.close(send)
        self._members.append(_Member(name, pid, receive))

    def run(self, settle: float = 0.0) -> dict[str, Report]:
        """Say go, gather every report, let everybody leave; TimeoutError when they do not come before the deadline."""
        self._gather(b"r" * len(self._members))
        time.sleep(settle)
        self.board.begin_ns = time.perf_counter_ns()
        os.write(self._go[1], b"g" * len(self._members))
        while waiting := [member for member in self._members if member.report is None]:
            self._listen(waiting, self._left())
        os.write(self._leave[1], b"l" * len(self._members))
        for member in self._members:
            self._await_end(member)
        return {member.name: member.report for member in self._members if member.report}

    def finished(self, kind: str) -> bool:
        """Whether all whose name begins so have done their work."""
        return all(member.report for member in self._members if member.name.startswith(kind))

    def _play(self, role: Callable[[Stage], Any], leave: Callable[[], None], cpu: int | None, pipe: int) -> None:
        """Be a participant. Never returns."""
        code = 1
        try:
            die_with_parent(signal.SIGKILL)
            if cpu is not None:
                os.sched_setaffinity(0, {cpu})
            stage = Stage(self.board, self._done, len(self._members), self._ready[1], self._go[0])
            try:
                result = role(stage)
                answer: Report | BaseException = _report(result, stage.began)
            except BaseException as error:
                traceback.print_exc()
                answer = error
            data = _pickled(answer)
            os.write(pipe, _LENGTH.pack(len(data)))
            view = memoryview(data)
            while view:
                view = view[os.write(pipe, view) :]
            if isinstance(answer, Report):
                os.read(self._leave[0], 1)
                leave()
            code = 0
        finally:
            os._exit(code)

    def _gather(self, wanted: bytes) -> None:
        """Wait until every participant is ready, or one of them fails."""
        while wanted:
            readable, _, _ = select.select([self._ready[0], *(m.pipe for m in self._members)], [], [], self._left())
            if not readable:
                raise TimeoutError("it was still opening its connections at the deadline")
            if self._ready[0] in readable:
                wanted = wanted[len(os.read(self._ready[0], len(wanted))) :]
            self._listen([m for m in self._members if m.pipe in readable], 0)

    def _listen(self, members: list[_Member], patience: float) -> None:
        readable, _, _ = select.select([member.pipe for member in members], [], [], patience)
        if not readable and patience:
            silent = ", ".join(member.name for member in members)
            raise TimeoutError(
                f"no end at the deadline: {self.board.got} messages had arrived, still at work: {silent}"
            )
        for member in members:
            if member.pipe in readable:
                chunk = os.read(member.pipe, 1 << 20)
                if not chunk:
                    raise RuntimeError(f"the {member.name} {self._how_it_ended(member)}")
                member.data += chunk
                if len(member.data) >= 8 and len(member.data) == 8 + _LENGTH.unpack_from(member.data)[0]:
                    answer = pickle.loads(bytes(member.data[8:]))  # our own child's
                    if isinstance(answer, BaseException):
                        raise answer
                    member.report = answer

    def _left(self) -> float:
        return max(0.001, self._deadline - time.monotonic())

    def _await_end(self, member: _Member) -> None:
        while os.waitid(os.P_PID, member.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            if self._left() <= 0.001:
                raise TimeoutError(f"the {member.name} did its work and then did not end")
            time.sleep(0.001)

    def _how_it_ended(self, member: _Member) -> str:
        status = os.waitpid(member.pid, 0)[1]
        return f"was killed by signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else "ended without a word"

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        for member in self._members:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(member.pid, signal.SIGKILL)
                os.waitpid(member.pid, 0)


def _pickled(answer: Report | BaseException) -> bytes:
    try:
        data = pickle.dumps(answer)
        pickle.loads(data)  # some exceptions cannot be made again
    except Exception:
        return pickle.dumps(RuntimeError(f"{type(answer).__name__}: {answer}"))
    return data


def _report(result: Any, began: float) -> Report:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return Report(
        result=result,
        cpu_seconds=time.process_time() - began,
        peak_bytes=used.ru_maxrss * 1024,
        shared_bytes=_shared_bytes(),
        switches=used.ru_nivcsw,
    )


def _shared_bytes() -> int:
    """This process's share of the shared memory that it has touched."""
    with contextlib.suppress(OSError):
        for line in pathlib.Path("/proc/self/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss_Shmem:"):
                return int(line.split()[1]) * 1024
    return 0
