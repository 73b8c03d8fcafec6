"""The exception tree: what each error also is, and that it travels."""

import pickle
import queue
from concurrent.futures.process import BrokenProcessPool

import pytest

import shmring

BASES = {
    shmring.Full: queue.Full,
    shmring.Empty: queue.Empty,
    shmring.ShutDown: getattr(queue, "ShutDown", Exception),
    shmring.Closed: ValueError,
    shmring.PeerDied: BrokenPipeError,
    shmring.Busy: RuntimeError,
    shmring.MessageTooLong: ValueError,
    shmring.NoSpace: OSError,
    shmring.LayoutMismatch: ValueError,
    shmring.Corrupt: ValueError,
    shmring.NotReady: TimeoutError,
    shmring.DecodeError: ValueError,
    shmring.StageError: RuntimeError,
    shmring.WorkerDied: BrokenProcessPool,
    shmring.Overwritten: RuntimeError,
}


@pytest.mark.parametrize(("error", "base"), BASES.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_an_error_is_also_what_python_programmers_catch(error: type, base: type) -> None:
    assert issubclass(error, base)
    assert issubclass(error, shmring.ShmringError)


def test_every_error_is_public_and_in_the_table() -> None:
    public = {getattr(shmring, name) for name in shmring.__all__}
    found = {one for one in public if isinstance(one, type) and issubclass(one, shmring.ShmringError)}
    assert found == {*BASES, shmring.ShmringError}


def test_errors_keep_their_fields_in_a_pickle() -> None:
    died = shmring.PeerDied("gone", (shmring.DeadPeer(7, "producer", 1.5),))
    full = shmring.NoSpace(100, 7, "/dev/shm")
    stage, worker = shmring.StageError("failed", "parse", 3), shmring.WorkerDied("killed", 7, -9)
    for error in (died, full, stage, worker, shmring.Busy("x")):
        copy = pickle.loads(pickle.dumps(error))
        assert type(copy) is type(error)
        assert str(copy) == str(error)
        assert copy.__dict__ == error.__dict__


def test_no_space_in_a_container_says_how_to_get_more() -> None:
    assert "--shm-size" in str(shmring.NoSpace(100, 7, "/dev/shm"))
