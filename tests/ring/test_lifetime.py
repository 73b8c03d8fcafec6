"""How rings come and go: names, leftovers, files, racing creators, half-made and foreign segments."""

import errno
import os
import pathlib
import random
import struct
import threading
import time
from collections.abc import Callable

import pytest

import shmring
from shmring import _core
from tests.conftest import file_of
from tests.ring.conftest import Gate, for_ever, needs_modes, outlives_its_processes


def test_an_empty_ring_disappears_with_the_last_to_leave(kind: str, name: str) -> None:
    one = shmring.Ring.create(name, kind=kind)
    other = shmring.Ring.attach(name)
    one.close()
    assert file_of(name).exists()
    other.close()
    assert not file_of(name).exists()
    with pytest.raises(FileNotFoundError, match=name):
        shmring.Ring.attach(name)


def test_a_ring_with_messages_stays_until_they_are_taken(kind: str, name: str) -> None:
    with shmring.Ring.create(name, kind=kind) as ring:
        ring.put(b"for later")
    with pytest.raises(FileExistsError, match="1 undelivered"):
        shmring.Ring.create(name)
    with shmring.Ring.attach(name) as ring:
        assert ring.get() == b"for later"
    assert not file_of(name).exists()


def test_a_ring_in_use_cannot_be_created_again(ring: shmring.Ring, name: str) -> None:
    with shmring.Ring.create(name), pytest.raises(FileExistsError, match="alive"):
        shmring.Ring.create(name)


def test_a_persistent_ring_stays_until_it_is_unlinked(kind: str, name: str) -> None:
    shmring.Ring.create(name, kind=kind, persist=True).close()
    with pytest.raises(FileExistsError, match="persistent"):
        shmring.Ring.create(name)
    with shmring.Ring.open(name) as ring:
        assert ring.kind == kind
        ring.put(b"x")
    shmring.unlink(name)
    assert not file_of(name).exists()


def test_those_attached_go_on_after_an_unlink(ring: shmring.Ring, kind: str, name: str) -> None:
    with shmring.Ring.create(name, kind=kind) as one, shmring.Ring.attach(name) as other:
        one.unlink()
        one.put(b"still here")
        assert other.get() == b"still here"
        with shmring.Ring.create(name, kind=kind) as later:
            later.put(b"another ring")
            with pytest.raises(shmring.Empty):
                other.get(timeout=0)
            later.get()
        with pytest.raises(FileNotFoundError):
            one.unlink()


def test_the_leftover_of_a_killed_process_is_replaced(kind: str, name: str, start: Callable, gate) -> None:
    def hold() -> None:
        ring = shmring.Ring.create(name, kind=kind)
        ring.put(b"x")
        ring.get()
        gate.open()
        for_ever()

    for again in (shmring.Ring.create, shmring.Ring.open):
        child = start(hold)
        gate.wait()
        child.kill()
        child.abandon()
        assert file_of(name).exists()
        with again(name, kind=kind) as ring:
            assert ring.stats().messages_put == 0


@outlives_its_processes
def test_what_a_killed_process_left_undelivered_is_kept(kind: str, name: str, start: Callable, gate) -> None:
    def hold() -> None:
        ring = shmring.Ring.create(name, kind=kind)
        ring.put(b"precious")
        gate.open()
        for_ever()

    child = start(hold)
    gate.wait()
    child.kill()
    child.abandon()
    with pytest.raises(FileExistsError, match="undelivered"):
        shmring.Ring.create(name)
    with shmring.Ring.open(name) as ring:
        assert ring.get() == b"precious"


def test_open_attaches_or_creates(kind: str, name: str) -> None:
    with shmring.Ring.open(name, capacity=4096, kind=kind) as one, shmring.Ring.open(name) as other:
        one.put(b"x")
        assert other.get() == b"x"
        assert other.capacity == 4096


@pytest.mark.parametrize("other", [{"capacity": 8192}, {"kind": "other"}, {"slots": 3}])
def test_open_refuses_a_ring_that_is_not_as_asked_for(kind: str, name: str, other: dict) -> None:
    if "kind" in other:
        other = {"kind": "mpmc" if kind == "spsc" else "spsc"}
    with shmring.Ring.create(name, capacity=4096, kind=kind), pytest.raises(shmring.LayoutMismatch):
        shmring.Ring.open(name, **other)


def race(start: Callable, enter: Callable[[], shmring.Ring]) -> list[str]:
    """Six processes enter at once; each tells which ring it has, or that one exists, and holds it until all did."""
    go, end = Gate(), Gate()
    with shmring.Ring.create() as answers:

        def run() -> None:
            go.wait()
            try:
                ring = enter()
            except FileExistsError:
                answers.put(b"exists")
                return
            answers.put(b"%d" % ring._identity)
            end.wait()
            ring.close()

        children = [start(run) for _ in range(6)]
        for _ in children:
            go.open()
        told = [answers.get(timeout=60).decode() for _ in children]
        for _ in children:
            end.open()
        for child in children:
            child.result()
    go.close()
    end.close()
    return told


def test_of_many_racing_creators_one_wins(kind: str, name: str, start: Callable) -> None:
    assert race(start, lambda: shmring.Ring.create(name, kind=kind)).count("exists") == 5


def test_everyone_who_races_to_open_gets_the_same_ring(kind: str, name: str, start: Callable) -> None:
    told = race(start, lambda: shmring.Ring.open(name, kind=kind))
    assert len(set(told)) == 1
    assert "exists" not in told


def test_a_thread_that_attaches_lets_one_that_is_leaving_go_on(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one has the ring's lifecycle lock and needs the interpreter; the other must not keep that while it waits."""
    leaving, attaching = threading.Event(), threading.Event()

    def keep(*_: object) -> None:
        leaving.set()
        attaching.wait()
        time.sleep(0.05)  # until the other is inside its wait, which nothing tells

    with shmring.Ring.create(name):
        monkeypatch.setattr(shmring.ring.registry, "keep", keep)
        thread = threading.Thread(target=shmring.Ring.attach(name).close)
        thread.start()
        leaving.wait()
        attaching.set()
        with shmring.Ring.attach(name):
            monkeypatch.undo()
        thread.join()


def test_attach_waits_for_a_ring_to_appear(kind: str, name: str, start: Callable) -> None:
    def attach() -> bytes:
        with shmring.Ring.attach(name, timeout=30) as ring:
            return ring.get()

    child = start(attach)
    with shmring.Ring.create(name, kind=kind) as ring:
        ring.put(b"welcome")
        assert child.result() == b"welcome"


def test_a_lifecycle_lock_that_is_held_is_a_timeout_that_says_so(name: str) -> None:
    with shmring.Ring.create(name) as ring:
        locks = _core.locks_open(ring._segment.fd)
        assert _core.locks_take(locks, 0)
        try:
            with pytest.raises(TimeoutError, match="lifecycle lock"):
                shmring.Ring.attach(name)
        finally:
            _core.locks_close(locks)
        shmring.Ring.attach(name).close()


def test_attach_gives_up_in_time(name: str) -> None:
    with pytest.raises(FileNotFoundError, match=r"0\.05 s"):
        shmring.Ring.attach(name, timeout=0.05)


def test_a_name_of_two_hundred_characters_is_kept_whole(name: str, kind: str) -> None:
    name = f"{name[:60]}-".ljust(200, "n")
    with shmring.Ring.create(name, kind=kind) as ring:
        assert ring.name == name
        assert name in [info.name for info in shmring.list()]


def test_a_ring_may_live_in_a_file(kind: str, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "ring"
    with shmring.Ring.create(path=path, kind=kind, capacity=4096, persist=True) as ring:
        ring.put(b"on disk")
        assert shmring.inspect(path=path).messages == 1
    with shmring.Ring.attach(path=path) as ring:
        assert ring.get() == b"on disk"
        ring.unlink()
    assert not path.exists()


def test_a_ring_cannot_be_made_where_a_folder_is(tmp_path: pathlib.Path) -> None:
    for make in (shmring.Ring.create, shmring.Ring.open):
        with pytest.raises(IsADirectoryError, match=r"[Dd]irectory|folder"):
            make(path=tmp_path)
    assert not os.listdir(tmp_path)


@needs_modes
def test_a_ring_has_the_mode_it_was_made_with(name: str) -> None:
    before = os.umask(0o077)
    try:
        with shmring.Ring.create(name, mode=0o660):
            assert file_of(name).stat().st_mode & 0o777 == 0o660
        with shmring.Ring.create(name):
            assert file_of(name).stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(before)


@needs_modes
@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="needs another user to try")
def test_another_user_is_refused(name: str, start: Callable) -> None:
    def attach() -> str:
        os.setuid(65534)
        try:
            shmring.Ring.attach(name)
        except PermissionError as error:
            return str(error)
        return "attached"

    with shmring.Ring.create(name):
        assert "belongs to another user" in start(attach).result()


def write(name: str, content: bytes) -> pathlib.Path:
    """Put bytes where a ring would be."""
    path = file_of(name)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("content", [b"", bytes(100), bytes(8192)], ids=len)
def test_a_half_made_ring_is_not_ready(name: str, content: bytes) -> None:
    path = write(name, content)
    try:
        with pytest.raises(shmring.NotReady, match="half made"):
            shmring.Ring.attach(name, timeout=0.02)
        with pytest.raises(FileExistsError, match="incomplete"):
            shmring.Ring.create(name)
        assert shmring.inspect(name).state == "incomplete"
    finally:
        shmring.unlink(name)
    assert not path.exists()


def test_a_file_that_is_no_ring_is_refused_and_kept(name: str) -> None:
    path = write(name, random.Random(3).randbytes(8192))
    try:
        with pytest.raises(shmring.LayoutMismatch, match="not a ring"):
            shmring.Ring.attach(name)
        assert shmring.inspect(name).state == "not-a-ring"
        with pytest.raises(FileExistsError):
            shmring.Ring.create(name)
    finally:
        path.unlink()


def damaged(name: str, offset: int, replacement: bytes) -> None:
    """Change bytes of a persistent ring of 4096 bytes that nobody has open."""
    shmring.Ring.create(name, capacity=4096, persist=True).close()
    with file_of(name).open("r+b") as file:
        file.seek(offset)
        file.write(replacement)


@pytest.mark.parametrize(
    ("offset", "replacement", "error"),
    [
        (8, struct.pack("<I", 99), shmring.LayoutMismatch),
        (12, struct.pack(">I", 0x01020304), shmring.LayoutMismatch),
        (16, struct.pack("<I", 3), shmring.Corrupt),
        (20, struct.pack("<I", 7), shmring.Corrupt),
        (28, struct.pack("<I", 2**31), shmring.Corrupt),
        (32, struct.pack("<Q", 2**60), shmring.Corrupt),
        (40, struct.pack("<Q", 2**50), shmring.Corrupt),
        (48, struct.pack("<Q", 0), shmring.Corrupt),
        (72, struct.pack("<Q", 2**40), shmring.Corrupt),
        (80, struct.pack("<Q", 8), shmring.Corrupt),
    ],
)
def test_a_damaged_header_is_refused(name: str, offset: int, replacement: bytes, error: type[Exception]) -> None:
    damaged(name, offset, replacement)
    try:
        with pytest.raises(error):
            shmring.Ring.attach(name)
        assert shmring.inspect(name).state in ("corrupt", "other-layout")
    finally:
        shmring.unlink(name)


def test_a_truncated_ring_is_refused(name: str) -> None:
    shmring.Ring.create(name, capacity=4096, persist=True).close()
    os.truncate(file_of(name), 36864)
    try:
        with pytest.raises(shmring.Corrupt):
            shmring.Ring.attach(name)
    finally:
        shmring.unlink(name)


@pytest.mark.parametrize("seed", range(30))
def test_random_bytes_in_a_ring_never_crash_anyone(name: str, kind: str, seed: int) -> None:
    source = random.Random(seed)
    with shmring.Ring.create(name, capacity=4096, kind=kind, persist=True) as ring:
        ring.put_many([b"x" * source.randrange(500) for _ in range(5)])
    with file_of(name).open("r+b") as file:
        for _ in range(4):
            file.seek(source.choice([640, 768, 776, 896, source.randrange(512, 1400), 36864 + source.randrange(512)]))
            file.write(source.randbytes(8))
    try:
        with shmring.Ring.attach(name) as ring:
            for call in (ring.get, lambda timeout: ring.put(b"y" * 300, timeout), ring.get_many):
                try:
                    call(timeout=0)
                except (shmring.ShmringError, ValueError):
                    continue
    except (shmring.Corrupt, shmring.LayoutMismatch):
        pass
    finally:
        shmring.unlink(name)


def test_a_ring_that_does_not_fit_is_refused_and_leaves_nothing(kind: str, name: str) -> None:
    # Whichever is less is named: what the file system has, or what the machine's memory has.
    with pytest.raises(shmring.NoSpace, match=r"\d+ bytes are needed and \d+ (are free on|can be had of) ") as caught:
        shmring.Ring.create(name, capacity=2**39, kind=kind)
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.needed > caught.value.free > 0
    assert not file_of(name).exists()
