"""What every test has: the installed package, a ring name of its own, a check that nothing is left behind.

The tests run against the installed package. A checkout in front of it on sys.path would hide it behind a
`shmring/` without a compiled core, so the checkout is taken off the path here, and for the programs that
tests start.
"""

import gc
import io
import itertools
import os
import random
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
SHM = Path("/dev/shm")
PROC = Path("/proc")
LINUX = sys.platform == "linux"  # under Wine there is a /proc too, and it is not ours
TAGS = (f"test-{os.getpid()}-", f"demo-{os.getpid()}-")

if not any((CHECKOUT / "shmring").glob("_core*.so")):
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != CHECKOUT]
    os.environ["PYTHONSAFEPATH"] = "1"

# A shell's background jobs ignore Ctrl-C, and what nohup starts a hangup; so would every program that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

_counter = itertools.count()
_failed = pytest.StashKey[bool]()
_figures: list[str] = []


def pytest_report_header() -> str:
    """Say which package is tested."""
    from importlib.util import find_spec

    spec = find_spec("shmring")
    return f"shmring: {spec.origin if spec else 'not installed: run `make test`, or `pip install .`'}"


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """Return a ring name that no other test and no other run uses."""
    test = re.sub(r"[^A-Za-z0-9]+", "-", request.node.name)[:60]
    return f"{TAGS[0]}{next(_counter)}-{test}"


@pytest.fixture
def chance() -> random.Random:
    """Return a source of random numbers; a failed test shows its seed, with which SHMRING_SEED repeats it."""
    seed = os.environ.get("SHMRING_SEED") or str(secrets.randbelow(1 << 32))
    print(f"SHMRING_SEED={seed}")
    return random.Random(seed)


@pytest.fixture
def names_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test that cleans up do it where no other has its names: under Wine they run side by side."""
    if sys.platform == "win32":
        monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))


@pytest.fixture
def no_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a wake that is lost be lost for good, where else a waiter looks up every 50 ms."""
    monkeypatch.setattr("shmring.aio.waiting.LOOK_UP_SECONDS", 3600)


# Ctrl-C is a signal, which one process sends to another, or a key, which a process has to press in its own console.
PRESSES_CTRL_C = (
    """
import ctypes, sys, threading
console = ctypes.WinDLL("kernel32")
console.FreeConsole()
console.AllocConsole()
press = lambda: sys.stdin.readline() and console.GenerateConsoleCtrlEvent(0, 0)
threading.Thread(target=press, daemon=True).start()
"""
    if sys.platform == "win32"
    else ""
)


def press_ctrl_c(child: "subprocess.Popen[Any]") -> None:
    """Send SIGINT; or tell a program that begins with PRESSES_CTRL_C to do it. Its standard input is a pipe."""
    if sys.platform == "win32":
        assert child.stdin is not None
        child.stdin.write("\n" if isinstance(child.stdin, io.TextIOBase) else b"\n")
        child.stdin.flush()
    else:
        child.send_signal(signal.SIGINT)


def file_of(name: str) -> Path:
    """Return the file that stands for a named ring: on Linux it is the ring."""
    from shmring.admin import inspection

    return Path(inspection.registry.place_of(name, None).path)


@pytest.fixture(scope="session")
def effort() -> float:
    """Return how many times as long as in `make verify` a part of the programme is to run; `make soak` says more."""
    return float(os.environ.get("SHMRING_EFFORT", "1"))


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Return a function that notes what was done and counted; the summary lists it all."""

    def note(text: str) -> None:
        _figures.append(f"{request.node.path.stem.removeprefix('test_')}: {text}")

    return note


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List what the reliability programme counted."""
    if _figures:
        terminalreporter.section("figures")
        for line in _figures:
            terminalreporter.write_line(line)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Remember that a test failed: its traceback keeps its rings alive, which is no second failure."""
    report = yield
    if report.when in ("setup", "call") and not report.passed:
        item.stash[_failed] = True
    return report


@pytest.fixture(autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaks a segment, a semaphore, a child process or a descriptor; remove what it leaked.

    Set up before every other function-scoped fixture, hence torn down after them.
    """
    if not LINUX:
        from shmring import unlink

        before = named_rings()
        yield
        gc.collect()
        left = sorted(entry for entry in named_rings() - before if any(tag in entry for tag in TAGS))
        for entry in left:
            unlink(entry)
        if left and not request.node.stash.get(_failed, False):
            pytest.fail(f"left behind: {len(left)} names: {', '.join(left[:5])}")
        return
    objects, children, descriptors = shared_objects(), child_processes(), open_descriptors()
    yield
    gc.collect()
    left = {
        "shared memory": leaked_objects(objects),
        "child processes": leaked_children(children),
        "file descriptors": leaked_descriptors(descriptors),
    }
    for entry in left["shared memory"]:
        if not entry.startswith("sem."):
            (SHM / entry).unlink(missing_ok=True)
    found = "; ".join(f"{len(entries)} {what}: {', '.join(entries[:5])}" for what, entries in left.items() if entries)
    if found and not request.node.stash.get(_failed, False):
        pytest.fail(f"left behind: {found}")


def named_rings() -> set[str]:
    """Return the names of the rings that exist now."""
    import shmring

    return {ring.name for ring in shmring.list()}


def shared_objects() -> set[str]:
    """Return the segments and semaphores of shmring that exist now."""
    return {entry.name for entry in SHM.iterdir() if entry.name.startswith(("shmring", "sem.shmring"))}


def leaked_objects(before: set[str]) -> list[str]:
    """Return the new segments and semaphores that are ours, on a machine where others may use shmring as well.

    A ring of ours has one of our tags in its name. A semaphore's name says nothing, so one counts only while no
    process but ours uses shmring.
    """
    new = shared_objects() - before
    ours = {entry for entry in new if any(tag in entry for tag in TAGS)}
    semaphores = {entry for entry in new if entry.startswith("sem.")}
    if semaphores and not somebody_else_uses_shmring():
        ours |= semaphores & shared_objects()
    return sorted(ours)


def somebody_else_uses_shmring() -> bool:
    """Whether a process outside this test run has our core loaded."""
    ours = descendants() | {os.getpid()}
    return any("/shmring/_core." in maps_of(pid) for pid in processes() if pid not in ours)


def processes() -> list[int]:
    """Return every process id."""
    return [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()]


def maps_of(pid: int) -> str:
    """Return what a process has mapped; nothing when it is gone or somebody else's."""
    try:
        return (PROC / str(pid) / "maps").read_text()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return ""


def parents() -> dict[int, int]:
    """Return each process's parent."""
    found = {}
    for pid in processes():
        try:
            found[pid] = int((PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
    return found


def child_processes() -> set[int]:
    """Return our children's process ids."""
    return {pid for pid, parent in parents().items() if parent == os.getpid()}


def descendants() -> set[int]:
    """Return the process ids of our children, theirs, and so on."""
    table, found = parents(), {os.getpid()}
    while more := {pid for pid, parent in table.items() if parent in found} - found:
        found |= more
    return found - {os.getpid()}


def leaked_children(before: set[int]) -> list[str]:
    """Return the new children, less the two that multiprocessing keeps for the life of the interpreter."""
    leaked = child_processes() - before - {pid for pid, _ in multiprocessing_servers()}
    return [f"{pid} ({command_of(pid)})" for pid in sorted(leaked)]


def command_of(pid: int) -> str:
    """Return a process's command line."""
    try:
        words = (PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return "gone meanwhile"
    return b" ".join(words).decode(errors="replace").strip() or "zombie"


def multiprocessing_servers() -> Iterator[tuple[int | None, int | None]]:
    """Yield process id and descriptor of the resource tracker and the fork server.

    They outlive the test that first needed them, on purpose, for the life of the interpreter.
    """
    for package in ("multiprocessing", "multiprocess"):
        tracker = getattr(sys.modules.get(f"{package}.resource_tracker"), "_resource_tracker", None)
        server = getattr(sys.modules.get(f"{package}.forkserver"), "_forkserver", None)
        if tracker is not None:
            yield tracker._pid, tracker._fd
        if server is not None:
            yield server._forkserver_pid, server._forkserver_alive_fd


def open_descriptors() -> dict[int, str]:
    """Return each open descriptor and what it refers to."""
    found = {}
    for entry in (PROC / "self/fd").iterdir():
        try:
            found[int(entry.name)] = str(entry.readlink())
        except FileNotFoundError:
            continue  # the descriptor that listed the directory
    return found


def leaked_descriptors(before: dict[int, str]) -> list[str]:
    """Return the descriptors that are new, or refer to something else than before.

    Less those of multiprocessing's servers, and of its heap (`pym-...`, under Value and Array), which it keeps and
    uses again.
    """
    kept = {descriptor for _, descriptor in multiprocessing_servers()}
    return [
        f"{number} ({target})"
        for number, target in sorted(open_descriptors().items())
        if before.get(number) != target and number not in kept and "/pym-" not in target
    ]
