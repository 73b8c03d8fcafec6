"""A segment that somebody truncates is Corrupt; the process lives, and so does whoever handled SIGBUS before."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import shmring
from shmring import _core
from shmring.names import registry
from shmring.segment import Segment
from tests.conftest import file_of

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows does not let a mapped file be truncated")


@pytest.fixture
def truncated(kind: str, tmp_path: Path) -> shmring.Ring:
    """Return a ring in a file with two messages, of which only the first page of the arena is left."""
    path = tmp_path / "ring"
    ring = shmring.Ring.create(path=path, capacity="1 MiB", kind=kind)
    ring.put(bytes(1000))
    ring.put(b"x" * 400_000)
    arena = path.stat().st_size - (1 << 20)
    os.truncate(path, arena + 4096)
    return ring


def test_a_copy_out_of_missing_pages_is_corrupt_and_not_the_end(truncated: shmring.Ring) -> None:
    with truncated:
        assert truncated.get(timeout=0) == bytes(1000)
        with pytest.raises(shmring.Corrupt, match="somebody truncated its file, to "):
            truncated.get(timeout=0)


def test_a_copy_into_missing_pages_is_corrupt(truncated: shmring.Ring) -> None:
    with truncated, pytest.raises(shmring.Corrupt):
        truncated.put(b"y" * 100_000)


def test_a_borrowed_view_of_missing_pages_stays_readable(truncated: shmring.Ring) -> None:
    with truncated:
        truncated.get()
        with pytest.raises(shmring.Corrupt), truncated.borrow() as view:
            assert len(bytes(view)) == 400_000


def test_once_truncated_every_call_is_corrupt(truncated: shmring.Ring) -> None:
    with truncated:
        truncated.get()
        calls: list[Callable[[], object]] = [
            lambda: truncated.get(timeout=0),
            lambda: truncated.get(timeout=0.2),
            lambda: truncated.put(b"y", timeout=0),
            lambda: truncated.put_many([b"y"]),
            truncated.stats,
        ]
        for call in calls:
            with pytest.raises(shmring.Corrupt):
                call()


def test_a_waiter_whose_ring_is_truncated_to_nothing_is_told(kind: str, tmp_path: Path, start: Callable, gate) -> None:
    path = tmp_path / "ring"

    def fill() -> str:
        with shmring.Ring.attach(path=path) as mine:
            big = bytes(mine.max_message)
            mine.put(big)
            gate.open()
            with pytest.raises(shmring.Corrupt):
                mine.put_many([big] * 3)  # more than fits, and nobody takes any
            return "told"

    with shmring.Ring.create(path=path, kind=kind):
        child = start(fill)
        gate.wait()
        os.truncate(path, 0)
        assert child.result() == "told"


def test_the_last_of_many_rings_is_guarded_like_the_first(tmp_path: Path) -> None:
    program = """
import os, resource, sys
import shmring
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192) if hard > 0 else 8192, hard))
rings = [shmring.Ring.create(capacity="4 KiB") for _ in range(1100)]
for ring in rings[:300]:
    ring.close()  # leaves gaps
rings += [shmring.Ring.create(path=f"{sys.argv[1]}{i}", capacity="4 KiB") for i in range(400)]
for i, ring in enumerate(rings[1100:]):
    ring.put(b"x")
    os.truncate(f"{sys.argv[1]}{i}", 0)
    try:
        ring.get(timeout=0)
    except shmring.Corrupt:
        print("corrupt")
rings[500].put(b"x")
print(rings[500].get())
"""
    done = subprocess.run([sys.executable, "-c", program, tmp_path / "ring"], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["corrupt"] * 400 + ["b'x'"], done.stderr


OWN_HANDLER = """
import ctypes, mmap, os, signal, sys, tempfile
import faulthandler
if "early" in sys.argv: faulthandler.enable()
import shmring
ring = shmring.Ring.create(path=sys.argv[2], capacity=4096)
if "late" in sys.argv: faulthandler.enable()
if "between" in sys.argv or "damaged" in sys.argv:
    faulthandler.enable()
    second = shmring.Ring.create(capacity=4096)
if "damaged" in sys.argv:
    os.truncate(sys.argv[2], 0)
file = tempfile.TemporaryFile(); file.truncate(4096)
other = mmap.mmap(file.fileno(), 4096)
file.truncate(0)
print("before", flush=True)
other[0]
"""


def test_a_process_whose_pages_were_taken_away_does_not_remove_the_ring(kind: str, name: str) -> None:
    """Zeros say that it is empty and not persistent; what is read there decides nothing."""
    with shmring.Ring.create(name, kind=kind, capacity="1 MiB") as ring:
        ring.put(b"still on the disk, for all that this process knows")
        os.truncate(file_of(name), 4096)
    assert file_of(name).exists()
    shmring.unlink(name)


@pytest.fixture
def looks_at() -> Iterator[Callable[[str], Segment]]:
    """Return a function that maps a named ring without attaching to it."""
    with contextlib.ExitStack() as stack:
        yield lambda name: stack.enter_context(registry.open_segment(registry.place_of(name, None)))


@pytest.mark.parametrize(
    "look",
    [
        _core.describe,
        lambda memory: _core.snapshot(memory, memory.fd, memory.fd),
        lambda memory: _core.count_living(memory, -1, memory.fd),
    ],
    ids=["describe", "snapshot", "count_living"],
)
@pytest.mark.parametrize("left", [0, 4096])
def test_a_look_at_a_segment_that_is_truncated_meanwhile_is_corrupt(
    look: Callable, left: int, name: str, kind: str, looks_at: Callable[[str], Segment]
) -> None:
    with shmring.Ring.create(name, kind=kind):
        memory = looks_at(name)
        os.truncate(f"/dev/shm/shmring.{name}", left)
        shmring.unlink(name)
        if look is _core.describe and left:
            assert look(memory)[0] == kind  # it needs no more than the first page
            return
        with pytest.raises(shmring.Corrupt):
            look(memory)


def test_checking_and_retiring_a_segment_that_is_truncated_meanwhile(
    name: str, looks_at: Callable[[str], Segment]
) -> None:
    with shmring.Ring.create(name):
        one, other = looks_at(name), looks_at(name)
        os.truncate(f"/dev/shm/shmring.{name}", 0)
        assert _core.check(one) == "corrupt"
        _core.retire(other)
        shmring.unlink(name)


@pytest.mark.parametrize("left", [0, 100, 4096])
def test_a_file_truncated_while_it_is_being_mapped_is_found_damaged_or_not_ready(
    name: str, left: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fstat = os.fstat

    def then_truncate(fd: int) -> os.stat_result:
        status = fstat(fd)
        os.truncate(f"/dev/shm/shmring.{name}", left)
        return status

    with shmring.Ring.create(name), monkeypatch.context() as patch:
        patch.setattr(os, "fstat", then_truncate)
        with pytest.raises((shmring.Corrupt, shmring.NotReady, shmring.LayoutMismatch)):
            shmring.Ring.attach(name)
        patch.undo()
        shmring.unlink(name)


def test_a_queue_whose_file_shrinks_at_this_moment_is_found(name: str) -> None:
    """Its size is asked for once: what it was just before is no reason to call it half made."""
    with shmring.Queue(name=name, capacity="64 KiB") as queue:
        over = threading.Event()

        def grow_and_shrink() -> None:
            while not over.is_set():
                queue.put_many([bytes(30_000)] * 10)
                queue.get_many(10)

        with ThreadPoolExecutor(1) as pool:
            done = pool.submit(grow_and_shrink)
            try:
                for _ in range(500):
                    shmring.Queue(name=name).close()
                    shmring.inspect(name)
            finally:
                over.set()
            done.result()


def _send_behind_the_end(topic: shmring.Topic) -> None:
    """A subscription shares its topic's mapping: what begins in the part that is left finds out where that ends."""
    with topic.subscribe() as subscription:
        topic.publish(bytes(120_000))
        subscription.get(timeout=0)


@pytest.mark.parametrize("left", [0, 100, 4096, 100_000])
def test_what_maps_truncated_memory_once_more_finds_it_corrupt(name: str, left: int) -> None:
    with shmring.Topic.create(f"{name}-topic", capacity="256 KiB") as topic:
        os.truncate(f"/dev/shm/shmring.{name}-topic", left)
        with pytest.raises(shmring.Corrupt):
            _send_behind_the_end(topic)
    queue = shmring.JoinableQueue(name=name)
    queue.put(1)
    os.truncate(f"/dev/shm/shmring.{name}", left)
    for call in (queue.join, queue.task_done):
        with pytest.raises(shmring.Corrupt):
            call()
    queue.close()
    Path(f"/dev/shm/shmring.{name}").unlink(missing_ok=True)
    Path(f"/dev/shm/shmring.{name}-topic").unlink(missing_ok=True)


def test_list_and_clean_outlive_truncations_while_they_look(name: str) -> None:
    path = f"/dev/shm/shmring.{name}"
    with shmring.Ring.create(name, capacity="8 MiB"):
        size, over = os.path.getsize(path), threading.Event()

        def truncate() -> None:
            while not over.is_set():
                os.truncate(path, 0)
                os.truncate(path, size)

        truncating = threading.Thread(target=truncate)
        truncating.start()
        try:
            for _ in range(500):
                shmring.list()
                shmring.clean(dry_run=True)
        finally:
            over.set()
            truncating.join()
            shmring.unlink(name)


COVERED_HANDLER = """
import faulthandler, os, signal, sys
import shmring
path = sys.argv[1]
ring = shmring.Ring.create(path=path, capacity="1 MiB")
faulthandler.enable()
ring.put(bytes(1000))
os.truncate(path, 0)
if "thread" in sys.argv:
    def get():
        try:
            ring.get(timeout=0)
        except shmring.Corrupt:
            pass
    import threading
    thread = threading.Thread(target=get)
    thread.start()
    thread.join()
if "raised" in sys.argv:
    signal.raise_signal(signal.SIGBUS)  # may be taken for a fault, once
    signal.raise_signal(signal.SIGBUS)
if "sent" in sys.argv:
    faulthandler.disable()
    os.kill(os.getpid(), signal.SIGBUS)
for call in (lambda: ring.get(timeout=0), lambda: ring.put(b"y", timeout=0), ring.stats):
    try:
        call()
    except shmring.Corrupt:
        print("corrupt", flush=True)
"""


@pytest.mark.parametrize("where", ["main", "thread"])
def test_a_handler_put_over_ours_reports_and_the_process_lives(where: str, tmp_path: Path) -> None:
    program = [sys.executable, "-c", COVERED_HANDLER, tmp_path / "ring", where]
    done = subprocess.run(program, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "corrupt\n" * 3)
    assert done.stderr.count("Fatal Python error: Bus error") == 1


@pytest.mark.parametrize("how", ["raised", "sent"])
def test_a_bus_error_without_a_fault_is_not_excused_for_ever(how: str, tmp_path: Path) -> None:
    program = [sys.executable, "-c", COVERED_HANDLER, tmp_path / "ring", how]
    done = subprocess.run(program, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (-signal.SIGBUS, "")


@pytest.mark.parametrize("when", ["never", "early", "late", "between", "damaged"])
def test_a_bus_error_elsewhere_ends_the_process_as_it_would_have(when: str, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", OWN_HANDLER, when, tmp_path / "ring"], capture_output=True, text=True)
    assert done.returncode == -signal.SIGBUS
    assert done.stdout == "before\n"
    assert done.stderr.count("Fatal Python error: Bus error") == (when != "never")


@pytest.mark.parametrize("call", ["os.kill(os.getpid(), signal.SIGBUS)", "signal.raise_signal(signal.SIGBUS)"])
def test_a_bus_error_that_somebody_sends_ends_the_process(call: str) -> None:
    program = f"import os, signal, shmring; r = shmring.Ring.create(); {call}; print(1)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (-signal.SIGBUS, "")
