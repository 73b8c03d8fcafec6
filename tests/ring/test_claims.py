"""claim and borrow: memory in place, for the length of a with block."""

import os

import pytest

import shmring
from tests.ring.conftest import needs_fork


def test_a_claim_is_committed_when_its_block_ends(ring: shmring.Ring) -> None:
    with ring.claim(5) as buffer:
        assert not buffer.readonly
        assert len(buffer) == 5
        buffer[:] = b"hello"
        with pytest.raises(shmring.Empty):
            ring.get(timeout=0)
    assert ring.get() == b"hello"


def test_a_claim_that_fails_is_no_message(ring: shmring.Ring) -> None:
    with pytest.raises(RuntimeError, match="mine"), ring.claim(5):
        raise RuntimeError("mine")
    ring.put(b"next")
    assert ring.get() == b"next"
    assert ring.stats().aborted == 1


def test_a_borrowed_view_is_read_only_and_acknowledged_at_the_end(ring: shmring.Ring) -> None:
    ring.put(b"hello")
    with ring.borrow() as view:
        assert view.readonly
        assert view == b"hello"
    assert ring.stats().messages_got == 1
    with pytest.raises(shmring.Empty):
        ring.get(timeout=0)


def test_a_borrow_that_fails_hands_its_message_back_first_in_line(ring: shmring.Ring) -> None:
    ring.put_many([b"first", b"second"])
    with pytest.raises(RuntimeError, match="mine"), ring.borrow():
        raise RuntimeError("mine")
    lease = ring.borrow()
    with lease as view:
        assert view == b"first"
        assert lease.redelivered
    assert ring.get() == b"second"
    assert ring.stats().redelivered == 1


@pytest.mark.parametrize("length", [64, 65, 1000])
def test_longer_payloads_begin_on_a_cache_line(ring: shmring.Ring, length: int) -> None:
    numpy = pytest.importorskip("numpy")
    for _ in range(5):
        with ring.claim(length) as buffer:
            array = numpy.frombuffer(buffer, dtype="uint8")
            assert array.ctypes.data % 64 == 0
            del array
        ring.get()


def test_a_claim_inside_a_claim_is_refused(ring: shmring.Ring) -> None:
    with ring.claim(5) as buffer:
        with pytest.raises(shmring.Busy), ring.claim(5):
            pass
        buffer[:] = b"outer"
    assert ring.get() == b"outer"


def test_a_lease_is_entered_once(ring: shmring.Ring) -> None:
    lease = ring.claim(1)
    with lease as buffer:
        buffer[:] = b"x"
    with pytest.raises(RuntimeError, match="entered before"), lease:
        pass
    assert ring.get() == b"x"


def test_a_claim_that_is_never_entered_takes_nothing(ring: shmring.Ring) -> None:
    ring.claim(100)
    assert ring.stats().used == 0


def test_a_borrowed_view_kept_too_long_stays_valid_and_is_acknowledged_when_it_goes(ring: shmring.Ring) -> None:
    ring.put(b"kept alive")
    lease = ring.borrow()
    view = lease.__enter__()
    kept = view[5:]
    with pytest.raises(BufferError, match="copy what you keep"):
        lease.__exit__(None, None, None)
    assert kept == b"alive"
    assert ring.stats().messages_got == 0
    with pytest.raises(BufferError, match="still open"):
        ring.close()
    kept.release()
    assert ring.stats().messages_got == 1
    ring.put(b"next")
    assert ring.get() == b"next"


def test_an_array_kept_too_long_keeps_its_memory(ring: shmring.Ring) -> None:
    numpy = pytest.importorskip("numpy")
    ring.put(bytes(range(100)))
    with pytest.raises(BufferError, match=r"array\.copy"), ring.borrow() as view:
        array = numpy.frombuffer(view, dtype="uint8")
    del view
    assert array.tolist() == [*range(100)]
    del array
    ring.put(b"next")
    assert ring.get() == b"next"


def test_a_claimed_view_kept_too_long_aborts_the_claim(ring: shmring.Ring) -> None:
    with pytest.raises(BufferError, match="will be aborted"), ring.claim(10) as buffer:
        kept = buffer[2:]
    del buffer
    with pytest.raises(shmring.Busy), ring.claim(1):
        pass
    kept[:] = b"harmless"
    kept.release()
    ring.put(b"next")
    assert ring.get() == b"next"
    assert ring.stats().aborted == 1


def test_a_ring_with_an_open_claim_cannot_be_closed(ring: shmring.Ring) -> None:
    with ring.claim(3) as buffer:
        with pytest.raises(BufferError, match="still open"):
            ring.close()
        buffer[:] = b"abc"
    assert ring.get() == b"abc"


@needs_fork
@pytest.mark.parametrize("kind", ["mpmc", "semaphore"])
def test_a_child_forked_inside_a_claim_cannot_settle_it_and_the_parent_can(kind: str) -> None:
    with shmring.Ring.create(capacity=4096, kind=kind) as ring:
        lease = ring.claim(6)
        buffer = lease.__enter__()
        child = os.fork()
        if child == 0:
            try:
                lease.__exit__(None, None, None)
                os._exit(1)
            except shmring.Closed:
                ring.put(b"child's own")
                os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        buffer[:] = b"parent"
        buffer.release()
        lease.__exit__(None, None, None)
        assert sorted(ring.get_many()) == [b"child's own", b"parent"]


@pytest.mark.parametrize("length", [-1, 2049, 2**62])
def test_a_claim_of_an_impossible_length_is_a_value_error(ring: shmring.Ring, length: int) -> None:
    with pytest.raises(ValueError, match="2048"):
        ring.claim(length)
