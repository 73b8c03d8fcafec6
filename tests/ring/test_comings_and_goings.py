"""A name that comes and goes under those who look for it: they find a ring, or are told that there is none."""

import mmap
import sys
import time
from collections.abc import Callable

import pytest

import shmring
from shmring import _core
from shmring.errors import NotThere
from tests.conftest import file_of
from tests.ring.conftest import needs_fork

is_the_ring = pytest.mark.skipif(sys.platform == "win32", reason="about names that are the ring itself")


def come_and_go(enter: Callable[[], object], rounds: int) -> int:
    """Enter and leave so many times; how often there was nothing to enter."""
    missed = 0
    for _ in range(rounds):
        try:
            enter().close()  # type: ignore[attr-defined]
        except FileNotFoundError:
            missed += 1
    return missed


@needs_fork
def test_who_opens_always_gets_a_ring_and_who_attaches_finds_one_or_none(kind: str, name: str, start: Callable) -> None:
    openers = [start(come_and_go, lambda: shmring.Ring.open(name, kind=kind), 150) for _ in range(3)]
    comers = [start(come_and_go, lambda: shmring.Ring.attach(name, timeout=0), 600) for _ in range(2)]
    waiter = start(come_and_go, lambda: shmring.Ring.attach(name, timeout=None), 20)
    assert [child.result() for child in openers] == [0, 0, 0]
    with shmring.Ring.open(name, kind=kind):  # for a waiter who came last
        assert waiter.result() == 0
    assert all(child.result() <= 600 for child in comers)


@needs_fork
def test_who_opens_a_queue_always_gets_one(name: str, start: Callable) -> None:
    children = [start(come_and_go, lambda: shmring.Queue(name=name), 100) for _ in range(4)]
    assert [child.result() for child in children] == [0] * 4


def retire(name: str) -> None:
    with open(file_of(name), "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        _core.retire(memory)


@is_the_ring
def test_a_retired_ring_whose_name_stays_is_none_and_its_place_is_free(kind: str, name: str) -> None:
    """As when its last process was killed between the two."""
    with shmring.Ring.create(name, kind=kind, persist=True) as ring:
        ring.put(b"x")
    retire(name)
    began = time.monotonic()
    with pytest.raises(FileNotFoundError, match=r"no ring .* appeared within 0\.2 s"):
        shmring.Ring.attach(name, timeout=0.2)
    assert time.monotonic() - began >= 0.2
    with shmring.Ring.open(name, kind=kind) as ring, pytest.raises(shmring.Empty):
        ring.get(timeout=0)


@is_the_ring
def test_a_retired_queue_whose_name_stays_is_none_and_its_place_is_free(name: str) -> None:
    with shmring.Queue(name=name) as queue:
        queue.put("gone")
    retire(name)
    assert [each.removed for each in shmring.clean(dry_run=True) if each.name == name] == [True]
    with shmring.Queue(name=name) as queue:
        assert queue.empty()


def test_a_ring_that_goes_each_time_as_it_is_attached_is_none_when_the_time_is_over(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = 0

    def gone(*arguments: object) -> shmring.Ring:
        nonlocal tries
        tries += 1
        raise NotThere(2, f"{name} was removed while it was being attached")

    with shmring.Ring.create(name):
        monkeypatch.setattr(shmring.Ring, "_on", gone)
        with pytest.raises(FileNotFoundError, match="removed while it was being attached"):
            shmring.Ring.attach(name, timeout=0)
        assert tries == 2, "once more, as another may have come to the name"
        with pytest.raises(FileNotFoundError, match="removed while it was being attached"):
            shmring.Ring.attach(name, timeout=0.05)
        assert tries > 4


def test_another_error_than_that_it_is_not_there_is_not_tried_again(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = 0

    def broken(*arguments: object, **options: object) -> shmring.Ring:
        nonlocal tries
        tries += 1
        raise FileNotFoundError(2, "something else is missing")

    with shmring.Ring.create(name), shmring.Queue(name=f"{name}-queue"):
        monkeypatch.setattr(shmring.Ring, "_on", broken)
        for call in (shmring.Ring.attach, shmring.Ring.open):
            with pytest.raises(FileNotFoundError, match="something else"):
                call(name)
        with pytest.raises(FileNotFoundError, match="something else"):
            shmring.Ring.attach(name, timeout=None)
        monkeypatch.setattr("shmring.queues.chain.Chain._on", broken)
        with pytest.raises(FileNotFoundError, match="something else"):
            shmring.Queue(name=f"{name}-queue")
    assert tries == 4
