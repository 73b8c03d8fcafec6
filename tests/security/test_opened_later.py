"""A ring that is opened to others while a process is attached: from then on nothing of it is decoded there."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from two_users import STRANGER, VICTIM, AsUser

import shmring


def later() -> None:
    """Wait as long as a look at the file's mode is taken for the present one."""
    end = time.monotonic_ns() + 200_000
    while time.monotonic_ns() < end:
        pass


def to_all(path: Path) -> None:
    path.chmod(0o666)


def to_a_group(path: Path) -> None:
    path.chmod(0o620)


def to_another_owner(path: Path) -> None:
    os.chown(path, STRANGER, -1)


OPENS = [to_all, to_a_group, pytest.param(to_another_owner, marks=pytest.mark.skipif(os.geteuid() != 0, reason="root"))]


class Own:
    name = "own"

    def encode(self, value: bytes) -> bytes:
        return value

    def decode(self, record: memoryview) -> object:
        return bytes(record)

    view = decode


class Both:
    def __init__(self, *rings: object) -> None:
        self.rings = rings

    def close(self) -> None:
        for each in self.rings:
            each.close()  # type: ignore[attr-defined]


FACES: dict[str, Callable[[str], tuple[object, Callable[[], object], Callable[[], object]]]] = {}


def face(make: Callable[[str], tuple[object, Callable[[], object], Callable[[], object]]]) -> None:
    FACES[make.__name__] = make


@face
def ring_get(name):
    made = shmring.Ring.create(name, codec="pickle", on_dead_peer="wait")
    return made, lambda: made.put([1]), lambda: made.get(timeout=5)


@face
def ring_get_of_an_array(name):
    import numpy

    made = shmring.Ring.create(name, codec="pickle", on_dead_peer="wait")
    return made, lambda: made.put(numpy.zeros(10_000)), lambda: made.get(timeout=5)


@face
def ring_get_many(name):
    made = shmring.Ring.create(name, codec="pickle", on_dead_peer="wait")
    return made, lambda: made.put_many([[1], [2]]), lambda: made.get_many(timeout=5)


@face
def ring_borrow(name):
    made = shmring.Ring.create(name, codec="pickle", on_dead_peer="wait")

    def borrow():
        with made.borrow(timeout=5) as value:
            return value

    return made, lambda: made.put([1]), borrow


@face
def ring_aget(name):
    import asyncio

    made = shmring.Ring.create(name, codec="pickle", on_dead_peer="wait")
    return made, lambda: made.put([1]), lambda: asyncio.run(made.aget(timeout=5))


@face
def ring_of_a_codec_of_ones_own(name):
    shmring.codecs.register(Own())
    made = shmring.Ring.create(name, codec="own", on_dead_peer="wait")
    other = shmring.Ring.attach(name, on_dead_peer="wait")  # which goes by the header
    return Both(made, other), lambda: made.put(b"x"), lambda: other.get(timeout=5)


@face
def ring_of_tables(name):
    import pyarrow

    made = shmring.Ring.create(name, codec="arrow", on_dead_peer="wait")
    return made, lambda: made.put(pyarrow.table({"a": [1]})), lambda: made.get(timeout=5)


@face
def queue_get(name):
    made = shmring.Queue(name=name)
    return made, lambda: made.put([1]), lambda: made.get(timeout=5)


@face
def topic_get(name):
    made = shmring.Topic.create(name, codec="pickle", overflow="overwrite")
    subscription = made.subscribe()
    return Both(subscription, made), lambda: made.publish([1]), lambda: subscription.get(timeout=5)


@face
def latest_get(name):
    made = shmring.Latest.create(name, size=100, codec="pickle")
    return made, lambda: made.set([1]), made.get


@pytest.fixture(params=FACES)
def made(request: pytest.FixtureRequest, name: str) -> Iterator[tuple[Callable[[], object], Callable[[], object]]]:
    """Return what puts one message, and what gets it."""
    it, put, get = FACES[request.param](name)
    yield put, get
    it.close()  # type: ignore[attr-defined]
    path = Path(f"/dev/shm/shmring.{name}")
    path.unlink(missing_ok=True)


@pytest.mark.parametrize("opens", OPENS)
def test_what_is_opened_is_not_decoded_any_more(made, path: Path, opens: Callable[[Path], None]) -> None:
    put, get = made
    put()
    get()
    opens(path)
    later()
    put()
    for _ in range(2):
        with pytest.raises(PermissionError, match=r"was opened to others since.*not decoded any more.*make it anew"):
            get()


def test_what_was_open_for_a_while_may_be_mapped_by_others(name: str, path: Path) -> None:
    with shmring.Ring.create(name, codec="pickle", on_dead_peer="wait") as ring:
        ring.put([1])
        path.chmod(0o666)
        later()
        with pytest.raises(PermissionError, match="0o666"):
            ring.get()
        path.chmod(0o600)
        later()
        with pytest.raises(PermissionError, match="may have kept it"):
            ring.get()
        with shmring.Ring.attach(name, codec="raw") as raw:  # the message was handed back
            assert raw.get(timeout=0)


def test_a_mode_that_lets_others_read_is_no_reason(name: str, path: Path) -> None:
    with shmring.Ring.create(name, codec="pickle") as ring:
        for mode in (0o644, 0o600):
            path.chmod(mode)
            later()
            ring.put([mode])
            assert ring.get(timeout=0) == [mode]


@pytest.mark.parametrize("codec", ["bytes", "numpy", Own()])
def test_what_is_safe_from_anybody_goes_on(name: str, path: Path, codec: object) -> None:
    import numpy

    with shmring.Ring.create(name, codec=codec) as ring:
        path.chmod(0o666)
        later()
        ring.put(numpy.zeros(1) if codec == "numpy" else b"x")
        assert len(ring.get(timeout=0)) == 1


def test_a_descriptor_that_somebody_closed_does_not_hide_it(name: str, path: Path, tmp_path: Path) -> None:
    with shmring.Ring.create(name, codec="pickle", on_dead_peer="wait") as ring:
        ring.put([1])
        number = ring._segment.fd
        other = os.open(tmp_path / "other", os.O_CREAT | os.O_RDWR)
        os.dup2(other, number)
        assert ring.get() == [1]
        path.chmod(0o666)
        later()
        ring.put([1])
        with pytest.raises(PermissionError, match="was opened to others"):
            ring.get()
    os.close(number)
    os.close(other)
    path.unlink(missing_ok=True)


def test_another_user_comes_as_soon_as_he_may(as_user: AsUser, name: str, path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    victim = f"""
        import shmring, sys
        with shmring.Ring.create({name!r}, codec="pickle", on_dead_peer="wait") as ring:
            while True: print(ring.get(timeout=30), flush=True)
        """
    stranger = f"""
        import pickle, shmring, time
        class Evil:
            def __reduce__(self): return (print, ("planted code runs",))
        evil = pickle.dumps(Evil())
        while True:
            try:
                ring = shmring.Ring.attach({name!r}, owner={VICTIM}, codec="raw")
                break
            except (FileNotFoundError, PermissionError): pass
        ring.put(evil)
        """
    with ThreadPoolExecutor() as threads:
        try:
            seen = threads.submit(as_user, VICTIM, victim)
            while not path.exists():
                assert not seen.done(), seen.result()
            comes = threads.submit(as_user, STRANGER, stranger)
            path.chmod(0o666)
            assert comes.result() == ""
            assert "planted" not in seen.result()
            assert "was opened to others" in seen.result()
        finally:
            path.unlink(missing_ok=True)
