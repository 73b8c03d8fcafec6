"""One trial: a contestant at work once, in processes of its own, which never outlive it.

    shmring bench ──fork──▶ leader ──fork──▶ producer, consumer, ...
                  ◀─outcome─        ◀─report─

The leader and all below it are one process group. When the outcome does not come before the deadline, when the leader
dies, or when the bench itself is interrupted, the group is killed, and what it left behind is removed.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import os
import pathlib
import pickle
import select
import shutil
import signal
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

from .channel import Corrupt, Lost, NotInThisVersion, Unsupported
from .leftovers import remove_leftovers

OK, MISSING, UNSUPPORTED, ABSENT = "ok", "missing", "unsupported", "absent"
FAILED, HUNG, LOST, CORRUPT = "failed", "hung", "lost", "corrupt"
STATUSES = (OK, MISSING, UNSUPPORTED, ABSENT, FAILED, HUNG, LOST, CORRUPT)
_OF_EXCEPTION: tuple[tuple[type[BaseException], str], ...] = (
    (ImportError, MISSING),
    (Unsupported, UNSUPPORTED),
    (NotInThisVersion, ABSENT),
    (Lost, LOST),
    (Corrupt, CORRUPT),
    (TimeoutError, HUNG),
)
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER, _PR_GET_CHILD_SUBREAPER = 1, 36, 37
_LENGTH = struct.Struct("=Q")
_PATIENCE = 3.0  # seconds that a leader gets to clean up by itself


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a trial ended: a status, its reason unless it is ok, and what it measured if it is."""

    status: str
    reason: str = ""
    measured: Any = None


@dataclasses.dataclass(frozen=True)
class Site:
    """What a trial may call its own: a tag for names, an empty folder for sockets, seconds until it counts as hung."""

    tag: str
    folder: str
    deadline: float


def run(
    work: Callable[[Site], Any],
    deadline: float,
    litter: tuple[str, ...] = (),
    clear: Callable[[str], None] | None = None,
) -> Outcome:
    """Do the work in a process of its own; whatever it does, this returns soon after the deadline, in seconds."""
    with (
        _adopting_orphans(),
        tempfile.TemporaryDirectory(prefix="shmring-bench-") as folder,
        tempfile.TemporaryFile() as said,
    ):
        site = Site(pathlib.Path(folder).name, folder, deadline)
        outcome: Outcome | None = None
        with _leader(work, site, said.fileno()) as (pid, pipe):
            try:
                outcome = _await_outcome(pid, pipe, deadline + _PATIENCE)
            finally:
                with _signals_later():
                    _end_group(pid, gently=outcome is not None and outcome.status != HUNG)
                    if clear and (outcome is None or outcome.status != OK):
                        clear(site.tag)
                    remove_leftovers(site.tag, litter)
                    shutil.rmtree(folder, ignore_errors=True)
                    os.mkdir(folder)  # what TemporaryDirectory expects to remove
        if outcome.status in (FAILED, HUNG) and (words := _last_words(said)) not in outcome.reason:
            outcome = dataclasses.replace(outcome, reason=f"{outcome.reason}; it said: {words}")
        return outcome


@contextlib.contextmanager
def _signals_later() -> Iterator[None]:
    """Serve signals after the block: a second Ctrl-C must not cut the cleaning short."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _leader(work: Callable[[Site], Any], site: Site, said: int) -> Iterator[tuple[int, int]]:
    """Fork the leader. No signal is served between the fork and the block that ends it."""
    receive, send = os.pipe()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    pid = os.fork()
    if pid == 0:
        _lead(work, site, send, said)
    os.close(send)
    try:
        with contextlib.suppress(PermissionError, ProcessLookupError):
            os.setpgid(pid, pid)  # here as well, or it could be killed before it has done so itself
        try:
            yield pid, _unmasked(receive, before)
        finally:
            _end_group(pid, gently=False)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(receive)


def _unmasked(pipe: int, before: set[signal.Signals]) -> int:
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pipe


def _lead(work: Callable[[Site], Any], site: Site, pipe: int, said: int) -> None:
    """Be the leader: work, report, end. Never returns."""

    def terminated(*_: object) -> None:
        raise SystemExit("terminated")

    code = 1
    try:
        os.setpgid(0, 0)
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN if number == signal.SIGINT else terminated)
        os.register_at_fork(after_in_child=_signals_as_usual)  # pools end their workers by SIGTERM
        die_with_parent(signal.SIGTERM)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        with open(os.devnull, "rb") as nothing:
            os.dup2(nothing.fileno(), 0)
        os.dup2(said, 1)
        os.dup2(said, 2)
        sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)  # whatever stood there before
        sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
        os.environ["TMPDIR"] = tempfile.tempdir = site.folder  # what compilers and rivals put there goes with it
        outcome = _outcome_of(work, site)
        data = pickle.dumps(outcome)
        _write_all(pipe, _LENGTH.pack(len(data)) + data)
        code = 0
    finally:
        if code:  # told to end, perhaps by the death of the bench itself: nothing of this may stay
            shutil.rmtree(site.folder, ignore_errors=True)
            remove_leftovers(site.tag, ())
            os.killpg(0, signal.SIGKILL)
        os._exit(code)


def _signals_as_usual() -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_DFL)


def _outcome_of(work: Callable[[Site], Any], site: Site) -> Outcome:
    try:
        return Outcome(OK, "", work(site))
    except SystemExit:
        raise
    except BaseException as error:
        status = next((status for kind, status in _OF_EXCEPTION if isinstance(error, kind)), FAILED)
        text = str(error) if status != FAILED else f"{type(error).__name__}: {error}"
        return Outcome(status, " ".join(text.split()) or type(error).__name__)


def _await_outcome(pid: int, pipe: int, patience: float) -> Outcome:
    give_up = time.monotonic() + patience
    data = bytearray()
    while True:
        readable, _, _ = select.select([pipe], [], [], 0.05)
        if readable:
            chunk = os.read(pipe, 1 << 20)
            data += chunk
            if len(data) >= _LENGTH.size and len(data) >= _LENGTH.size + _LENGTH.unpack_from(data)[0]:
                outcome = pickle.loads(bytes(data[_LENGTH.size :]))  # our own child's
                assert isinstance(outcome, Outcome)
                return outcome
        elif time.monotonic() > give_up:
            return Outcome(HUNG, f"it did not end within {patience:.0f} s and was killed")
        if not (readable and chunk) and os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return Outcome(FAILED, "its process died without a word")


def _end_group(pid: int, gently: bool) -> None:
    """See to it that no process of the group is left; ``gently`` gives helpers of multiprocessing time to end."""
    give_up = time.monotonic() + (_PATIENCE if gently else 0)
    asked = gently
    while True:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-pid, os.WNOHANG)[0]:
                pass
        try:
            os.killpg(pid, 0)
        except (ProcessLookupError, PermissionError):
            return
        if not asked:  # the leader alone: it ends its participants and removes what it made
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            asked, give_up = True, time.monotonic() + _PATIENCE
        if time.monotonic() > give_up:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        time.sleep(0.002)


def _last_words(said: Any) -> str:
    said.seek(0)
    lines = [line for line in said.read().decode(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip()[:200] if lines else ""


def _write_all(pipe: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(pipe, view) :]


def die_with_parent(number: signal.Signals) -> None:
    """Have the kernel send this process a signal when its parent dies."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(number))
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


@contextlib.contextmanager
def _adopting_orphans() -> Iterator[None]:
    """Have the kernel give us what our leaders leave, so that it can be waited for; and nobody else's afterwards."""
    libc, before = ctypes.CDLL(None), ctypes.c_int()
    libc.prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(before))
    libc.prctl(_PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(1))
    try:
        yield
    finally:
        libc.prctl(_PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(before.value))
