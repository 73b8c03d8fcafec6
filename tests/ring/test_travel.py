"""Handles travel: pickled into children of every start method, through a pipe to any program, by fork."""

import base64
import ctypes
import multiprocessing
import operator
import os
import pathlib
import pickle
import subprocess
import sys
from collections.abc import Callable

import multiprocess
import pytest

import shmring
from tests.conftest import file_of
from tests.ring.conftest import METHODS, Gate, for_ever, needs_fork


@pytest.mark.parametrize("anonymous", [True, False], ids=["anonymous", "named"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("package", [multiprocessing, multiprocess], ids=["multiprocessing", "multiprocess"])
def test_handles_are_arguments_of_processes(package, method: str, anonymous: bool, kind: str, name: str) -> None:
    context = package.get_context(method)
    with shmring.Ring.create(None if anonymous else name, kind=kind) as ring:
        child = context.Process(target=operator.methodcaller("put", b"from a child"), args=(ring,))
        child.start()
        assert ring.get(timeout=60) == b"from a child"
        child.join()
        assert child.exitcode == 0
        child.close()


PROGRAM = """
import base64, pickle, sys
ring = pickle.loads(base64.b64decode(sys.argv[1]))
ring.put(b"from a program")
"""


@pytest.mark.parametrize("anonymous", [True, False], ids=["anonymous", "named"])
def test_a_handle_reaches_any_program(kind: str, name: str, anonymous: bool) -> None:
    with shmring.Ring.create(None if anonymous else name, kind=kind) as ring:
        text = base64.b64encode(pickle.dumps(ring)).decode()
        subprocess.run([sys.executable, "-c", PROGRAM, text], check=True)
        assert ring.get() == b"from a program"


def test_a_handle_of_a_file_backed_ring_travels(kind: str, tmp_path: pathlib.Path) -> None:
    with shmring.Ring.create(path=tmp_path / "ring", kind=kind) as ring:
        text = base64.b64encode(pickle.dumps(ring)).decode()
        subprocess.run([sys.executable, "-c", PROGRAM, text], check=True)
        assert ring.get() == b"from a program"


def test_a_handle_keeps_its_manner(name: str) -> None:
    with shmring.Ring.create(name, spin=0, on_dead_peer="wait") as ring, pickle.loads(pickle.dumps(ring)) as copy:
        assert copy._manner == ring._manner


@needs_fork
def test_a_handle_of_a_ring_that_is_gone_says_so(name: str, start: Callable) -> None:
    with shmring.Ring.create(name) as ring:
        handle = start(lambda: pickle.dumps(ring)).result()
    assert not file_of(name).exists()
    with pytest.raises(FileNotFoundError, match=name):
        pickle.loads(handle)
    with shmring.Ring.create(name), pytest.raises(FileNotFoundError, match="another one has its name"):
        pickle.loads(handle)


@needs_fork
def test_a_handle_of_an_anonymous_ring_whose_sender_has_ended_says_so(start: Callable) -> None:
    handle = start(lambda: pickle.dumps(shmring.Ring.create())).result()
    with pytest.raises(FileNotFoundError, match="closed this anonymous memory"):
        pickle.loads(handle)


@pytest.mark.parametrize("anonymous", [True, False], ids=["anonymous", "named"])
def test_a_handle_that_is_on_its_way_keeps_what_its_sender_closes(kind: str, name: str, anonymous: bool) -> None:
    with shmring.Ring.create(None if anonymous else name, kind=kind) as ring:
        handle = pickle.dumps(ring)
    with pickle.loads(handle) as arrived:
        arrived.put(b"in time")
        assert arrived.get() == b"in time"
    assert not file_of(name).exists()


EXITS = """
import pickle, sys
import shmring
with shmring.Ring.create(sys.argv[1]) as ring:
    pickle.dumps(ring)
"""


def test_a_handle_that_never_arrives_keeps_nothing_longer_than_its_sender_lives(name: str) -> None:
    subprocess.run([sys.executable, "-c", EXITS, name], check=True)
    assert not file_of(name).exists()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("package", [multiprocessing, multiprocess], ids=["multiprocessing", "multiprocess"])
def test_a_ring_stays_for_a_child_that_has_not_attached_when_its_parent_leaves(
    package, method: str, kind: str, name: str
) -> None:
    context = package.get_context(method)
    with shmring.Ring.create(name, kind=kind) as ring:
        child = context.Process(target=operator.methodcaller("put", b"do not lose me"), args=(ring,))
        child.start()
    child.join()
    assert child.exitcode == 0
    child.close()
    with shmring.Ring.attach(name) as ring:
        assert ring.get(timeout=0) == b"do not lose me"
    assert not file_of(name).exists()


@needs_fork
def test_a_child_whose_own_close_is_the_last_removes_an_empty_ring(kind: str, name: str, start: Callable, gate) -> None:
    ring = shmring.Ring.create(name, kind=kind)

    def leave_last() -> None:
        gate.wait()
        ring.close()

    child = start(leave_last)
    ring.close()
    assert file_of(name).exists()
    gate.open()
    child.result()
    assert not file_of(name).exists()


@needs_fork
def test_a_child_forked_by_c_keeps_a_ring_it_has_not_attached_to(kind: str, name: str, start: Callable, gate) -> None:
    """No hook of the interpreter runs there: it attaches with its first call."""

    closed = Gate()

    def parent() -> None:
        ring = shmring.Ring.create(name, kind=kind)
        if ctypes.PyDLL(None).fork() == 0:
            gate.wait()
            ring.put(b"do not lose me")
            ring.close()
            os._exit(0)
        ring.close()
        closed.open()

    child = start(parent)
    closed.wait()
    closed.close()
    child.abandon()
    assert file_of(name).exists()
    with pytest.raises(FileExistsError, match="may yet attach"):
        shmring.Ring.create(name)
    assert [found.name for found in shmring.clean(force=True) if found.name == name] == []
    gate.open()
    with shmring.Ring.attach(name, on_dead_peer="wait") as ring:
        assert ring.get(timeout=60) == b"do not lose me"
        while any(entry.pid != os.getpid() for entry in shmring.inspect(name).attachments):
            continue


@needs_fork
def test_a_forked_child_is_an_attachment_of_its_own(ring: shmring.Ring, start: Callable, gate) -> None:
    def attached() -> tuple[int, int]:
        return os.getpid(), ring._slot

    pid, slot = start(attached).result()
    assert pid != os.getpid()
    assert slot != ring._slot


@needs_fork
def test_a_forked_child_lets_go_of_its_parent(kind: str, name: str, start: Callable, gate) -> None:
    """A child that outlives its parent must not keep it alive in the eyes of others."""
    answer, tell = os.pipe()

    def parent() -> None:
        ring = shmring.Ring.create(name, kind=kind, persist=True)
        if os.fork() == 0:
            os.write(tell, b"%d" % os.getpid())
            gate.wait()
            ring.close()
            os._exit(0)
        for_ever()

    process = start(parent)
    dead, orphan = process.pid, int(os.read(answer, 100))
    process.kill()
    process.abandon()
    os.close(tell)
    alive = {entry.pid: entry.alive for entry in shmring.inspect(name).attachments}
    gate.open()
    os.close(answer)
    assert alive == {dead: False, orphan: True}
    while any(entry.alive for entry in shmring.inspect(name).attachments):
        continue
    shmring.unlink(name)


@pytest.mark.parametrize("anonymous", [True, False], ids=["anonymous", "named"])
def test_a_handle_from_another_machine_names_the_bridge(name: str, anonymous: bool) -> None:
    from shmring.segment.machine import machine

    with shmring.Ring.create(None if anonymous else name) as ring:
        handle = pickle.dumps(ring)
        assert handle.count(machine().encode()) == 1
        elsewhere = handle.replace(machine().encode(), b"x" * len(machine()))
        with pytest.raises(FileNotFoundError, match=r"another machine.*shmring bridge"):
            pickle.loads(elsewhere)
        pickle.loads(handle).close()
