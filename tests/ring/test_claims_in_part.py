"""lease.commit(length): a claim becomes a message of fewer bytes than were claimed."""

import asyncio
import os

import pytest

import shmring


def test_the_first_bytes_of_a_claim_become_the_message(ring: shmring.Ring) -> None:
    for claimed, length in [(600, 5), (600, 0), (600, 600), (600, 64), (600, 65), (65, 64), (1, 0), (0, 0)] * 40:
        claim = ring.claim(claimed)
        with claim as buffer:
            buffer[:length] = bytes(range(256))[:length] * (length <= 256) or bytes(length)
            assert claim.commit(length) is None
        assert ring.get(timeout=0) == (bytes(range(256))[:length] if length <= 256 else bytes(length))
    assert ring.stats().messages_put == 320
    assert ring.stats().aborted == 0


def test_it_is_there_at_once_and_the_block_goes_on(ring: shmring.Ring) -> None:
    claim = ring.claim(100)
    with claim as buffer:
        buffer[:2] = b"ab"
        claim.commit(2)
        assert ring.get(timeout=0) == b"ab"
        with pytest.raises(ValueError, match="released"):
            buffer[0]
        ring.put(b"another")
    assert ring.get(timeout=0) == b"another"
    with pytest.raises(shmring.Empty):
        ring.get(timeout=0)


def test_what_was_committed_stays_when_its_block_fails(ring: shmring.Ring) -> None:
    claim = ring.claim(100)
    with pytest.raises(TypeError), claim:
        raise TypeError(claim.commit(0))
    assert ring.get(timeout=0) == b""


def test_room_that_was_not_needed_is_room_again(kind: str) -> None:
    with shmring.Ring.create(capacity=4096, kind=kind, slots=64) as ring:
        for _ in range(3):
            put = 0
            while True:
                claim = ring.claim(1000, timeout=0)
                try:
                    with claim as buffer:
                        buffer[:1] = bytes([put])
                        claim.commit(1)
                except shmring.Full:
                    break
                put += 1
            assert put >= (30 if kind == "spsc" else 4)  # others may have claimed behind it
            assert ring.get_many(timeout=0) == [bytes([number]) for number in range(put)]


@pytest.mark.parametrize("length", [-1, 6, 2**70, -(2**70)])
def test_a_length_that_was_not_claimed_is_refused_and_the_claim_stays_open(ring: shmring.Ring, length: int) -> None:
    claim = ring.claim(5)
    with claim as buffer:
        with pytest.raises(ValueError, match=rf"length is {length}; this claim has 5 bytes, so 0 to 5"):
            claim.commit(length)
        buffer[:] = b"whole"
    assert ring.get(timeout=0) == b"whole"


@pytest.mark.parametrize("length", [None, "3", 3.0, b"3"])
def test_a_length_that_is_no_number_is_refused_and_the_claim_stays_open(ring: shmring.Ring, length: object) -> None:
    claim = ring.claim(5)
    with claim as buffer:
        with pytest.raises(TypeError, match=r"length is .*; it is a number of bytes, from 0 to the 5"):
            claim.commit(length)  # type: ignore[arg-type]
        buffer[:] = b"whole"
    assert ring.get(timeout=0) == b"whole"


def test_a_claim_of_which_something_shows_the_memory_stays_open(ring: shmring.Ring) -> None:
    claim = ring.claim(5)
    with claim as buffer:
        part = buffer[:3]
        with pytest.raises(BufferError, match=r"still in use.*stays open"):
            claim.commit(3)
        part[:] = b"abc"
        part.release()
        claim.commit(3)
    assert ring.get(timeout=0) == b"abc"


def test_only_a_claim_that_is_open_can_be_committed(ring: shmring.Ring) -> None:
    claim = ring.claim(5)
    with pytest.raises(RuntimeError, match="not open yet"):
        claim.commit(1)
    with claim:
        claim.commit(1)
        with pytest.raises(RuntimeError, match="already"):
            claim.commit(1)
    with pytest.raises(RuntimeError, match="already"):
        claim.commit(1)
    borrow = ring.borrow()
    with borrow, pytest.raises(TypeError, match="is for what claim"):
        borrow.commit(1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_cannot_commit_what_its_parent_claimed(ring: shmring.Ring) -> None:
    claim = ring.claim(5)
    with claim as buffer:
        buffer[:] = b"whole"
        pid = os.fork()
        if pid == 0:
            try:
                claim.commit(1)
            except shmring.Closed:
                os._exit(7)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert ring.get(timeout=0) == b"whole"


@pytest.mark.parametrize("overflow", ["block", "overwrite"])
def test_a_topic_has_messages_of_a_part_and_numbers_them_as_others(overflow: str) -> None:
    with shmring.Topic.create(capacity=4096, overflow=overflow) as topic, topic.subscribe() as subscription:
        for number in range(200):
            claim = topic.claim(1000)
            with claim as buffer:
                buffer[:3] = f"{number:03}".encode()
                claim.commit(3)
            topic.publish(b"whole")
            assert subscription.get_many(timeout=0) == [f"{number:03}".encode(), b"whole"]
        assert subscription.lost == 0
        assert topic.stats().next == 400


def test_a_claim_of_an_event_loop_is_committed_in_part(ring: shmring.Ring) -> None:
    async def program() -> None:
        claim = ring.aclaim(100)
        async with claim as buffer:
            buffer[:2] = b"ab"
            claim.commit(2)
        assert await ring.aget() == b"ab"

    asyncio.run(program())
