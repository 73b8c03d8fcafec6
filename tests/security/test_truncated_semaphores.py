"""A peer who may write to a ring's semaphores truncates their files: Corrupt, and the process lives on."""

import glob
import os
from pathlib import Path

import pytest
from two_users import STRANGER, VICTIM, AsUser

import shmring

CALLS = {
    "get": lambda ring: ring.get(timeout=1),
    "put": lambda ring: ring.put(b"y", timeout=1),
    "get_many": lambda ring: ring.get_many(timeout=1),
    "borrow": lambda ring: ring.borrow(timeout=1).__enter__(),
    "claim": lambda ring: ring.claim(5, timeout=1).__enter__(),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("which", ["mutex", "full", "empty"])
def test_a_truncated_semaphore_is_corrupt(name: str, call: str, which: str) -> None:
    ring = shmring.Ring.create(name, kind="semaphore")
    try:
        ring.put(b"x")
        ends = []
        for each in (which, "mutex"):  # of some calls only the second is in the way
            os.truncate(f"/dev/shm/sem.shmring-{ring._identity:016x}.{each}", 0)
            try:
                CALLS[call](ring)
            except shmring.Corrupt as error:
                ends.append(error)
        assert "truncated the file of one of its semaphores" in str(ends[0])
        with pytest.raises(shmring.Corrupt):
            CALLS[call](ring)
        ring.close()
        with shmring.Ring.create(kind="semaphore") as another:
            another.put(b"works")
            assert another.get() == b"works"
    finally:
        for file in glob.glob(f"/dev/shm/sem.shmring-{ring._identity:016x}.*"):
            os.unlink(file)
        Path(f"/dev/shm/shmring.{name}").unlink(missing_ok=True)


def test_another_user_truncates_a_semaphore(as_user: AsUser, name: str, path: Path) -> None:
    victim = f"""
        import os, shmring, subprocess, sys
        ring = shmring.Ring.create({name!r}, kind="semaphore", mode=0o666)
        ring.put(b"x")
        open("/dev/shm/{name}.identity", "w").write(f"{{ring._identity:016x}}")
        # Until it is done, and not while its size is 0: that is so a moment before the pages are gone.
        while os.path.exists("/dev/shm/{name}.identity"): pass
        print(ring.get(timeout=1))
        """
    from concurrent.futures import ThreadPoolExecutor

    note = Path(f"/dev/shm/{name}.identity")
    with ThreadPoolExecutor() as threads:
        try:
            seen = threads.submit(as_user, VICTIM, victim)
            while not note.exists() or not note.read_text():
                assert not seen.done(), seen.result()
            identity = note.read_text()
            truncates = f"import os; os.truncate('/dev/shm/sem.shmring-{identity}.mutex', 0)"
            assert as_user(STRANGER, truncates) == ""
            note.unlink()
            assert "Corrupt" in seen.result()
        finally:
            note.unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            for file in glob.glob(f"/dev/shm/sem.shmring-{identity}.*"):
                os.unlink(file)


def test_a_peer_who_locks_a_semaphore_for_himself_is_told(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    monkeypatch.setattr("shmring.names.semaphores.posix._PATIENCE", 0.05)
    with shmring.Ring.create(name, kind="semaphore", mode=0o666) as ring:
        with open(f"/dev/shm/sem.shmring-{ring._identity:016x}.mutex", "rb") as file:
            fcntl.flock(file, fcntl.LOCK_UN)
            with pytest.raises(BlockingIOError):  # those who use the ring share it
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        ring._hold.close()
        with open(f"/dev/shm/sem.shmring-{ring._identity:016x}.mutex", "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            with pytest.raises(shmring.NotReady, match="another process has locked the POSIX semaphores"):
                shmring.Ring.attach(name)
        shmring.Ring.attach(name).close()
