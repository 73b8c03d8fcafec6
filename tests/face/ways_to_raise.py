"""For each error of shmring's own a way to have a public call raise it."""

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import shmring
from shmring import _core
from tests.conftest import file_of
from tests.face.stand import KINDS, QUEUES, Made, Stand, Undecodable
from tests.ring.conftest import for_ever


def closed(stand: Stand) -> object:
    if stand.kind == "Pipeline":
        return _pipeline_closed()
    made = stand.make()
    if stand.kind in QUEUES and stand.call == "empty":
        stand.put(made, b"mine")
    made.close() if stand.kind not in ("Producer", "Consumer") else made.ring.close()
    return stand.invoke(made)


def shut_down(stand: Stand) -> object:
    made = stand.make()
    if stand.kind == "SimpleQueue":
        with shmring.Queue(name=stand.name) as queue:
            queue.shutdown()
    else:
        stand.source(made).shutdown(immediate=True)
    return stand.invoke(made)


def empty(stand: Stand) -> object:
    return stand.invoke(stand.make())


def full(stand: Stand) -> object:
    if stand.kind == "SimpleQueue":
        made = stand.make(max_bytes="2 MiB")
        _stuff(stand, made)
        return stand.invoke(made)
    made = stand.make(**({"maxsize": 1} if stand.kind in QUEUES else {}))
    if stand.kind == "Topic":
        stand.stack.enter_context(made.subscribe())
    _fill(made)
    return stand.invoke(made)


def _fill(made: Made) -> None:
    put = getattr(made, "put", None) or made.publish
    with contextlib.suppress(shmring.Full):
        while True:
            put(b"x", timeout=0) if not isinstance(made, shmring.Queue) else put(b"x", block=False)


def too_long(stand: Stand) -> object:
    stand.message = bytes(10_000)
    return stand.invoke(stand.make())


def no_space(stand: Stand) -> object:
    huge = "900 GiB"
    if stand.kind == "segment.Segment":
        memory = stand.stack.enter_context(shmring.segment.anonymous(4096, transferable=True))
        return memory.grow(huge)
    if stand.kind == "segment":
        place = {"anonymous": (), "file": (stand.tmp_path / stand.name,)}.get(stand.call, (stand.name,))
        return getattr(shmring.segment, stand.call)(*place, huge, **({"create": True} if stand.call == "file" else {}))
    if stand.call in ("", "create", "open"):
        return stand.make_by_the_call(**{"size" if stand.kind == "Latest" else "capacity": "200 GiB"})
    stand.message = bytes(3_000_000)
    return stand.invoke(stand.make(max_bytes="2 MiB"))


def busy(stand: Stand) -> object:
    if stand.call in ("attach", "open", "subscribe", ""):
        made = stand.make()
        others = [stand.stack.enter_context(_another(stand, made)) for _ in range(255)]
        assert len(others) == 255
        return made.subscribe() if stand.call == "subscribe" else _another(stand, made)
    if stand.call in ("producer", "consumer"):
        made = stand.make()
        kept = getattr(made, stand.call)()
        assert kept
        return stand.invoke(made)
    if stand.kind == "Subscription":
        made = stand.make()
        stand.put(made, b"x")
        stand.put(made, b"y")
        with made.borrow():
            return stand.invoke(made)
    if stand.kind == "Topic":
        made = stand.make()
        with made.claim(1):
            return stand.invoke(made)
    made = stand.make(**({"kind": "spsc"} if stand.kind == "Ring" else {}))
    other = stand.stack.enter_context(KINDS[stand.kind].attach(stand.name))
    if stand.kind == "Latest":
        other.set(b"mine")
    else:
        stand.stack.enter_context(other.producer())
        stand.stack.enter_context(other.consumer())
    return stand.invoke(made)


def _another(stand: Stand, made: Made) -> Made:
    if stand.kind in QUEUES:
        return KINDS[stand.kind](name=stand.name)
    return getattr(KINDS[stand.kind], "open" if stand.call == "open" else "attach")(stand.name)


def peer_died(stand: Stand) -> object:
    """Somebody who put, or got, is killed."""
    options: dict[str, Any] = {"on_dead_peer": "raise"}
    puts = stand.call.removeprefix("a") in ("put", "put_many", "claim")
    if stand.kind in QUEUES and puts:
        options |= {"maxsize": 1} if stand.kind != "SimpleQueue" else {"max_bytes": "2 MiB"}
    if stand.call in ("join", "ajoin"):
        return _died_with_a_task(stand)
    made = stand.make(**options)
    source = stand.source(made)
    if stand.kind == "Subscription":  # this process's own Topic could publish as well
        with contextlib.suppress(shmring.Closed):
            source._note_subscribing()

    def be_there() -> None:
        if stand.kind in QUEUES or stand.kind == "Ring":
            _take_part(made, puts)
        elif stand.kind == "Latest":
            with contextlib.suppress(shmring.MessageTooLong):
                made.set(bytes(10_000))  # it has the role, and has set nothing
        else:
            with shmring.Topic.attach(stand.name) as topic:
                topic.publish(b"x")
                stand.gate.open()
                for_ever()
        stand.gate.open()
        for_ever()

    child = stand.start(be_there)
    stand.gate.wait()
    child.kill()
    child.abandon()
    if puts and stand.kind == "SimpleQueue":
        _stuff(stand, made)
    elif puts:
        _fill(made)
    elif stand.kind == "Subscription":
        made.get(timeout=20)
    elif stand.kind != "Latest":
        made.get()
    stand.timeout = 20
    return stand.invoke(made)


def _take_part(made: Made, gets: bool) -> None:
    made.put(b"x")
    if gets:
        made.get()


def _stuff(stand: Stand, queue: shmring.SimpleQueue[bytes]) -> None:
    stand.message = bytes(300_000)
    with contextlib.suppress(shmring.Full):
        while True:
            asyncio.run(queue.aput(stand.message, timeout=0))


def _died_with_a_task(stand: Stand) -> object:
    made = stand.make(on_dead_peer="raise")
    made.put("task")

    def take() -> None:
        made.get()
        stand.gate.open()
        for_ever()

    child = stand.start(take)
    stand.gate.wait()
    child.kill()
    child.abandon()
    stand.timeout = 20
    return stand.invoke(made)


def undecodable(stand: Stand) -> object:
    made = stand.make(**({} if stand.kind in QUEUES else {"codec": "pickle"}))
    stand.put(made, Undecodable())
    return stand.invoke(made)


def corrupt(stand: Stand) -> object:
    if stand.call in ("attach", "open", ""):
        with contextlib.suppress(shmring.Corrupt):
            stand.make(**({} if stand.kind in QUEUES else {"persist": True}))
            stand.stack.close()
        path = file_of(stand.name)
        if not path.exists():
            KINDS["Ring"].create(stand.name, persist=True).close()
        os.truncate(path, 8192)
        stand.stack.callback(path.unlink)
        return stand.make_by_the_call()
    made = stand.make()
    if stand.call.removeprefix("a") in ("get", "get_many", "get_into", "get_nowait", "get_versioned", "borrow", "skip"):
        stand.put(made, bytes(1000))
    if stand.call == "task_done":
        stand.put(made, b"task")
        made.get()
    if stand.call in ("join", "ajoin"):
        stand.put(made, b"task")
    os.truncate(file_of(stand.name), 0)
    stand.stack.callback(file_of(stand.name).unlink, missing_ok=True)
    return stand.invoke(made)


def not_ready(stand: Stand) -> object:
    if stand.kind == "segment":
        (stand.tmp_path / "file").touch()
        if stand.call == "file":
            return shmring.segment.file(stand.tmp_path / "file")
        path = Path("/dev/shm") / f"shmring-segment.{stand.name}"
        stand.stack.callback(path.unlink)
        path.touch()
        return shmring.segment.attach(stand.name)
    path = file_of(stand.name)
    path.touch()
    stand.stack.callback(path.unlink)
    return stand.make_by_the_call()


def other_than_asked_for(stand: Stand) -> object:
    if stand.call == "unlink":
        (stand.tmp_path / "file").write_bytes(bytes(100_000))
        return shmring.unlink(path=stand.tmp_path / "file")
    path = file_of(stand.name)
    path.mkdir()
    stand.stack.callback(path.rmdir)
    if stand.call == "inspect":
        return shmring.inspect(stand.name)
    return stand.make_by_the_call()


def overwritten(stand: Stand) -> object:
    made = stand.make(overflow="overwrite")
    stand.put(made, b"x")
    lease = made.borrow(0)
    with lease:
        for _ in range(200):
            stand.put(made, b"y" * 64)
    return None


def stage_failed(stand: Stand) -> object:
    return shmring.Pipeline().source([-1]).stage(chr).run()


def _pipeline_closed() -> object:
    whole = shmring.Pipeline().source(range(1000)).stage(abs, batch=1).sink(lambda result: whole.close())
    return whole.run()


def worker_died(stand: Stand) -> object:
    with shmring.ProcessPoolExecutor(1) as pool:
        return [*pool.map(os._exit, [3])]


def unlink_that_is_held_up(stand: Stand) -> object:
    """Not at once: it waits for ten seconds."""
    made = stand.make()
    locks = _core.locks_open(stand.source(made)._segment.fd)
    try:
        assert _core.locks_take(locks, _core.LIFECYCLE_BYTE)
        return made.unlink() if stand.call != stand.kind and hasattr(made, "unlink") else shmring.unlink(stand.name)
    finally:
        _core.locks_close(locks)


WAYS: dict[str, Callable[[Stand], object]] = {
    "Closed": closed,
    "ShutDown": shut_down,
    "Empty": empty,
    "Full": full,
    "MessageTooLong": too_long,
    "NoSpace": no_space,
    "Busy": busy,
    "PeerDied": peer_died,
    "DecodeError": undecodable,
    "Corrupt": corrupt,
    "NotReady": not_ready,
    "LayoutMismatch": other_than_asked_for,
    "Overwritten": overwritten,
    "StageError": stage_failed,
    "WorkerDied": worker_died,
}
