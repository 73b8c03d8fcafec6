"""What a careless program does: rings never attached, leases dropped, names reused, roles released twice."""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest

import shmring
from tests.ring.conftest import needs_modes

SHM = Path("/dev/shm")


class Unfinished(shmring.Ring):
    """Forgets to call the base."""

    def __init__(self) -> None:
        pass


@pytest.mark.parametrize(
    "use",
    [
        lambda ring: ring.get(0),
        lambda ring: ring.get(),
        lambda ring: ring.put(b""),
        lambda ring: ring.get_into(bytearray(1)),
        lambda ring: ring.put_many([b""]),
        lambda ring: ring.get_many(),
        lambda ring: ring.claim(0).__enter__(),
        lambda ring: ring.borrow().__enter__(),
        lambda ring: next(iter(ring)),
        lambda ring: ring.stats(),
        lambda ring: ring.shutdown(),
    ],
)
@pytest.mark.parametrize("make", [Unfinished, lambda: shmring.Ring.__new__(shmring.Ring)])
def test_a_ring_that_was_never_attached_is_closed(make: Callable, use: Callable) -> None:
    with pytest.raises((shmring.Closed, shmring.MessageTooLong)):
        use(make())


def test_unlink_takes_its_own_ring_and_never_the_next_of_that_name(name: str) -> None:
    with shmring.Ring.create(name) as first:
        first.unlink()
        with shmring.Ring.create(name) as second:
            second.put(b"precious")
            with pytest.raises(FileNotFoundError, match="another one"):
                first.unlink()
            with shmring.Ring.attach(name) as again:
                assert again.get() == b"precious"


def test_a_lease_that_is_dropped_without_an_exit_is_settled(ring: shmring.Ring) -> None:
    ring.put(b"one")
    stack = contextlib.ExitStack()
    stack.enter_context(ring.borrow())
    del stack
    assert ring.get(timeout=0) == b"one"
    stack = contextlib.ExitStack()
    stack.enter_context(ring.claim(8))
    del stack
    ring.put(b"two")
    assert ring.get(timeout=0) == b"two"


LEFT_OPEN = """
import numpy, sys, shmring
ring = shmring.Ring.create(sys.argv[1] or None, capacity=4096, kind=sys.argv[2])
ring.put(b"kept")
view = (ring.claim(5) if sys.argv[3] == "claim" else ring.borrow()).__enter__()
array = numpy.frombuffer(view, dtype="u1")
print(f"{ring._identity:016x}", file=sys.stderr)
import atexit
atexit.register(lambda: print(array.sum() >= 0))
"""


@pytest.mark.parametrize("open_one", ["claim", "borrow"])
def test_a_process_that_ends_inside_a_claim_or_a_borrow_leaves_as_any_other(
    kind: str, name: str, open_one: str
) -> None:
    command = [sys.executable, "-c", LEFT_OPEN, name, kind, open_one]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
    with shmring.Ring.attach(name) as ring:
        assert ring.get(timeout=0) == b"kept"


@pytest.mark.skipif(not SHM.is_dir() or sys.platform == "win32", reason="semaphores are nowhere to be seen here")
@pytest.mark.parametrize("open_one", ["claim", "borrow"])
def test_an_anonymous_semaphore_ring_leaves_nothing_at_exit(open_one: str) -> None:
    command = [sys.executable, "-c", LEFT_OPEN, "", "semaphore", open_one]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert len(done.stderr.strip()) == 16
    assert not [entry for entry in os.listdir(SHM) if done.stderr.strip() in entry]


def test_a_role_that_was_given_back_cannot_be_given_back_again(name: str) -> None:
    with shmring.Ring.create(name, kind="spsc") as mine, shmring.Ring.attach(name) as other:
        old = mine.producer()
        old.release()
        new = mine.producer()
        old.release()
        with pytest.raises(shmring.Busy):
            other.producer()
        new.release()
        other.producer().release()


def test_one_claim_at_a_time_also_when_the_first_had_to_wait() -> None:
    with shmring.Ring.create(capacity=128) as ring:
        ring.put_many([b"a" * 64, b"b" * 64])
        entered = threading.Event()

        def wait() -> None:
            with ring.claim(64) as view:
                view[:] = bytes(64)
            entered.set()

        thread = threading.Thread(target=wait)
        thread.start()
        while True:  # until it waits in its claim
            try:
                with ring.claim(64, timeout=0):
                    pass
            except shmring.Full:
                continue
            except shmring.Busy:
                break
        ring.get()
        thread.join()
        assert entered.is_set()


def test_a_redelivery_after_a_death_is_flagged_for_every_kind(ring: shmring.Ring, start: Callable) -> None:
    ring.put(b"again")

    def take_and_die() -> None:
        ring.borrow(5).__enter__()
        os._exit(0)

    start(take_and_die).abandon()
    lease = ring.borrow(20)
    with lease as view:
        assert bytes(view) == b"again"
        assert lease.redelivered
    assert ring.stats().redelivered == 1


def test_an_open_borrow_is_counted_as_taken(ring: shmring.Ring) -> None:
    ring.put(b"x")
    with ring.borrow():
        stats = ring.stats()
        assert (stats.messages, stats.taken) == (0, 1)


def test_a_successor_that_has_come_but_not_begun_is_waited_for(name: str, start: Callable, gate) -> None:
    with shmring.Ring.create(name) as ring:

        def produce_and_die() -> None:
            ring.put(b"first")
            os._exit(0)

        start(produce_and_die).abandon()
        assert ring.get() == b"first"
        with pytest.raises(shmring.PeerDied) as told:
            ring.get(timeout=20)
        (dead,) = told.value.peers
        assert dead.role == "producer"
        assert dead.when >= dead.last_active > 0

        go_on = type(gate)()

        def succeed() -> None:
            with shmring.Ring.attach(name) as mine:
                gate.open()
                go_on.wait()
                mine.put(b"second")

        child = start(succeed)
        gate.wait()
        with pytest.raises(shmring.Empty):
            ring.get(timeout=0.2)
        go_on.open()
        assert ring.get(timeout=20) == b"second"
        child.result()
        go_on.close()


def test_what_is_left_after_an_immediate_shutdown_waits_for_nobody(ring: shmring.Ring) -> None:
    ring.put(b"x")
    ring.shutdown(immediate=True)
    assert ring.stats().messages == 0


def test_a_drained_ring_is_not_filled(ring: shmring.Ring) -> None:
    for _ in range(100):
        ring.put(b"x" * 700)
        ring.get()
    assert ring.stats().used == 0


def test_full_by_slots_says_so(kind: str) -> None:
    with shmring.Ring.create(kind=kind, slots=2) as ring:
        ring.put_many([b"a", b"b"])
        with pytest.raises(shmring.Full, match="2 of 2"):
            ring.put(b"c", timeout=0.01)


def test_a_closed_ring_cannot_be_sent(name: str) -> None:
    import pickle

    for ring in (shmring.Ring.create(name), shmring.Ring.create()):
        ring.close()
        with pytest.raises(shmring.Closed):
            pickle.dumps(ring)


@needs_modes
def test_the_mode_holds_for_the_semaphores_too(name: str) -> None:
    with shmring.Ring.create(name, kind="semaphore", mode=0o666) as ring:
        made = [each for each in os.listdir(SHM) if name in each or f"{ring._identity:016x}" in each]
        assert len(made) == 4
        assert {oct((SHM / entry).stat().st_mode & 0o777) for entry in made} == {"0o666"}


def test_an_array_of_a_borrowed_message_outlives_nothing_it_needs(ring: shmring.Ring) -> None:
    ring.put(bytes(range(200)))
    with pytest.raises(BufferError, match="view"), ring.borrow() as view:
        array = numpy.frombuffer(view, dtype="u1")
    assert array.sum() == sum(range(200))
    del array
    assert ring.stats().taken == 0
