"""The newest value: whole, never older than what was known, and in nobody's way."""

import os
import pickle
import signal
import threading
from collections.abc import Callable

import pytest

import shmring
from shmring import diagnosis
from tests.conftest import file_of
from tests.ring.conftest import for_ever, needs_signals


def test_a_reader_gets_the_newest_value_only() -> None:
    with shmring.Latest.create(size=16) as cell:
        for number in range(1, 20):
            cell.set(b"%d" % number)
            assert (cell.get(), cell.version) == (b"%d" % number, number)
        assert cell.get_versioned() == (19, b"19")
        assert cell.get() == b"19"


def test_before_the_first_value_there_is_none() -> None:
    with shmring.Latest.create() as cell:
        assert cell.version == 0
        with pytest.raises(shmring.Empty, match="no value yet"):
            cell.get()
        with pytest.raises(shmring.Empty):
            cell.get(timeout=0.01)
        setter = threading.Timer(0.05, cell.set, [b"first"])
        setter.start()
        assert cell.get(timeout=20) == b"first"
        setter.join()


@pytest.mark.parametrize("length", [0, 1, 63, 64, 65, 100])
def test_values_have_any_length_up_to_the_size(length: int) -> None:
    with shmring.Latest.create(size=100) as cell:
        cell.set(b"x" * length)
        assert cell.get() == b"x" * length
        buffer = bytearray(100)
        assert cell.get_into(buffer) == length
        assert buffer[:length] == b"x" * length


def test_a_value_that_does_not_fit_is_told_with_both_sizes() -> None:
    with shmring.Latest.create(size=100) as cell:
        with pytest.raises(shmring.MessageTooLong, match=r"101 bytes .* at most 100; create it with size=101"):
            cell.set(bytes(101))
        cell.set(bytes(100))
        with pytest.raises(ValueError, match="100 bytes and the buffer room for 99"):
            cell.get_into(bytearray(99))


def test_a_newer_value_is_waited_for() -> None:
    with shmring.Latest.create(size=16) as cell:
        cell.set(b"one")
        assert cell.wait_newer(0) == 1
        with pytest.raises(shmring.Empty, match="no newer value"):
            cell.wait_newer(1, timeout=0.01)
        setter = threading.Timer(0.05, cell.set, [b"two"])
        setter.start()
        assert cell.wait_newer(1, timeout=20) == 2
        setter.join()
        for none in (-1, 2**64):
            with pytest.raises(ValueError, match=f"version is {none}"):
                cell.wait_newer(none)


def test_every_waiter_is_woken(start: Callable, gate) -> None:
    with shmring.Latest.create(size=16) as cell:

        def wait() -> tuple[int, bytes]:
            gate.open()
            return cell.wait_newer(0), cell.get()

        waiters = [start(wait) for _ in range(4)]
        for _ in waiters:
            gate.wait()
        cell.set(b"for all")
        assert [waiter.result() for waiter in waiters] == [(1, b"for all")] * 4


def test_one_process_sets_at_a_time(name: str) -> None:
    with shmring.Latest.create(name, size=16) as first, shmring.Latest.attach(name) as second:
        first.set(b"mine")
        with pytest.raises(shmring.Busy, match=f"one writer already: pid {os.getpid()}"):
            second.set(b"not yours")
        assert second.get() == b"mine"
        first.close()
        second.set(b"now mine")
        assert second.get_versioned() == (2, b"now mine")


def test_a_killed_writer_leaves_its_value_and_the_next_goes_on(name: str, start: Callable, gate) -> None:
    def write() -> None:
        cell = shmring.Latest.attach(name)
        cell.set(b"last words")
        gate.open()
        for_ever()

    with shmring.Latest.create(name, size=16) as cell:
        child = start(write)
        gate.wait()
        with pytest.raises(shmring.Busy, match=f"pid {child.pid}"):
            cell.set(b"too early")
        child.kill()
        assert cell.get() == b"last words"
        cell.set(b"successor")
        assert cell.get_versioned() == (2, b"successor")


def test_when_the_writer_has_died_a_waiter_is_told(start: Callable, gate) -> None:
    with shmring.Latest.create(size=16) as cell:

        def write() -> None:
            cell.set(b"last words")
            gate.open()
            for_ever()

        child = start(write)
        gate.wait()
        child.kill()
        assert cell.wait_newer(0) == 1
        with pytest.raises(shmring.PeerDied, match=f"pid {child.pid}"):
            cell.wait_newer(1)


def test_shutdown_wakes_who_waits_and_leaves_the_value() -> None:
    told: list[type] = []
    with shmring.Latest.create(size=16) as cell:
        cell.set(b"stays")

        def wait() -> None:
            try:
                cell.wait_newer(1)
            except shmring.ShmringError as error:
                told.append(type(error))

        waiter = threading.Thread(target=wait)
        waiter.start()
        cell.shutdown()
        waiter.join()
        assert told == [shmring.ShutDown]
        assert cell.get() == b"stays"
        with pytest.raises(shmring.ShutDown):
            cell.set(b"too late")
        cell.shutdown(immediate=True)
        with pytest.raises(shmring.ShutDown):
            cell.get()


@needs_signals
def test_no_value_is_ever_torn_however_long_it_is(start: Callable) -> None:
    """A writer at full speed; readers that are stopped and go on; values that say in every part which they are."""
    words = 4096
    with shmring.Latest.create(size=8 * words) as cell:

        def write() -> None:
            for number in range(1, 30_000):
                cell.set(number.to_bytes(8, "little") * words)
            cell.shutdown()

        def read() -> int:
            buffer, known, seen = bytearray(8 * words), 0, 0
            while True:
                try:
                    known = cell.wait_newer(known)
                except shmring.ShutDown:
                    return seen
                length = cell.get_into(buffer)
                assert length == 8 * words
                assert buffer == buffer[:8] * words, "parts of two values"
                assert int.from_bytes(buffer[:8], "little") >= known
                seen += 1

        readers = [start(read) for _ in range(2)]
        writer = start(write)
        for _ in range(20):
            os.kill(readers[0].pid, signal.SIGSTOP)
            seen = cell.version
            while cell.version == seen and seen < 29_999:
                continue
            os.kill(readers[0].pid, signal.SIGCONT)
        writer.result()
        assert all(reader.result() > 0 for reader in readers)


def test_a_writer_that_never_rests_does_not_hide_the_value_from_a_reader_that_does_not_wait(start: Callable) -> None:
    with shmring.Latest.create(size=64) as cell:

        def write() -> None:
            while True:
                cell.set(bytes(64))

        writer = start(write)
        cell.wait_newer(0)
        for _ in range(300_000):
            assert cell.get() == bytes(64)
        writer.kill()
        said = diagnosis.diagnose(cell, "outrun", "get", 0, False)
        assert isinstance(said, shmring.Empty)
        assert "faster than who reads it" in str(said)


def test_it_goes_with_its_last_user(name: str) -> None:
    with shmring.Latest.create(name, size=16) as cell:
        cell.set(b"value")
        assert shmring.inspect(name).kind == "latest"
    assert not file_of(name).exists()
    with shmring.Latest.create(name, size=16, persist=True) as cell:
        cell.set(b"kept")
    with shmring.Latest.open(name) as cell:
        assert cell.get() == b"kept"
        cell.unlink()


def test_it_travels_and_is_open_to_any_thread(name: str) -> None:
    with shmring.Latest.create(name, size=16) as cell, pickle.loads(pickle.dumps(cell)) as copy:
        cell.set(b"value")
        assert copy.get() == b"value"
        with pytest.raises(shmring.LayoutMismatch, match="size 16, not 17"):
            shmring.Latest.open(name, size=17)
        got: list[bytes] = []
        threads = [threading.Thread(target=lambda: got.append(copy.get())) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert got == [b"value"] * 4


@pytest.mark.parametrize("codec", ["pickle", "numpy"])
def test_objects_are_values_too(codec: str) -> None:
    numpy = pytest.importorskip("numpy")
    value = numpy.arange(5.0)
    with shmring.Latest.create(size="64 KiB", codec=codec) as cell:
        cell.set(value)
        got = cell.get()
        assert got.tolist() == value.tolist()
        cell.set(value + 1)
        assert got.tolist() == value.tolist()  # it owns its memory
        version, newer = cell.get_versioned()
        assert (version, newer.tolist()) == (2, (value + 1).tolist())


def test_counters_are_exact() -> None:
    with shmring.Latest.create(size=16) as cell:
        for _ in range(3):
            cell.set(b"four")
        cell.get()
        stats = cell.stats()
        assert (stats.version, stats.values_set, stats.bytes_set, stats.values_got, stats.size) == (3, 3, 12, 1, 16)
