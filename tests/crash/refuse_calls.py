"""Each system call of create, attach, put, get, grow, shrink, close and unlink is refused once, with several errors.

Run as a program, which forks and so has no threads: refuse_calls.py FACE EFFORT. Whatever was refused, the call works
or says so in an exception of the kind that it documents, nothing is lost or sent twice, the same call works
afterwards, and nothing stays behind. Prints how many were refused.
"""

from __future__ import annotations

import errno
import math
import os
import random
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent))

from refusing import Watched, errors_of, name_of

import shmring
from shmring import errors

SHM = Path("/dev/shm")
NAME = f"refused-{os.getpid()}"
# What no want of the system is an excuse to say.
WRONG = (
    errors.Corrupt, errors.PeerDied, errors.LayoutMismatch, errors.Closed, errors.NotReady, errors.DecodeError,
    errors.Full, errors.Empty, FileExistsError,
)  # fmt: skip


class Case(NamedTuple):
    """One call and what is around it; all in one forked child."""

    prepare: Callable[[], Any]
    act: Callable[[Any], Any]
    finish: Callable[[Any, Any], None]  # looks at everything, with what the call returned, and closes it all
    may_be_full: bool = False  # where there is no more memory, and somebody can make room


def check(case: Case, at: int = -1, code: int = 0) -> list[int]:
    """Run it with one system call refused; the system calls there were. AssertionError when anything went wrong."""
    state: list[Any] = []

    def after(value: object, failed: BaseException | None) -> None:
        if failed is not None:
            assert isinstance(failed, (OSError, MemoryError, errors.ShmringError)), f"undocumented: {failed!r}"
            wrong = isinstance(failed, WRONG) and not (case.may_be_full and isinstance(failed, shmring.Full))
            wrong |= isinstance(failed, FileNotFoundError) and code != errno.ENOENT
            assert not wrong, f"a wrong verdict: {failed!r}"
            value = case.act(state[0])
        case.finish(state[0], value)

    before = {*SHM.iterdir()}
    done = Watched(lambda: state.append(case.prepare()), lambda: case.act(state[0]), after, at=at, code=code)
    left = {*SHM.iterdir()} - before
    for entry in left:
        entry.unlink()
    left = {
        entry for entry in left if not re.fullmatch(r"sem\.\w{6}", entry.name)
    }  # the C library's, on its way to a name
    if left and not done.trouble:
        done.trouble = f"left behind: {', '.join(entry.name for entry in left)}"
    if done.trouble:
        what = (
            f"{name_of(done.calls[at])} (the {at + 1}th call) refused with {errno.errorcode[code]}"
            if code
            else "nothing refused"
        )
        raise AssertionError(f"{what}:\n{done.trouble}")
    return done.calls


def same(wanted: object) -> Callable[[object], None]:
    def compare(found: object) -> None:
        assert found == wanted, f"{found!r}, not {wanted!r}"

    return compare


def drain(get: Callable[[], Any], times: int) -> list[Any]:
    return [get() for _ in range(times)]


def empty(get: Callable[[], Any]) -> None:
    try:
        more = get()
    except shmring.Empty:
        return
    raise AssertionError(f"one too many: {more!r}")


# --- rings ---


def ring_cases(kind: str) -> dict[str, Case]:
    big = bytes(100_000)

    def made(*messages: bytes) -> shmring.Ring:
        ring = shmring.Ring.create(NAME, kind=kind, capacity="256 KiB")
        ring.put_many(messages)
        return ring

    def put_finish(ring: shmring.Ring, _: object) -> None:
        same([b"one", big])(drain(lambda: ring.get(timeout=0), 2))
        empty(lambda: ring.get(timeout=0))
        ring.close()

    def get_finish(ring: shmring.Ring, message: object) -> None:
        same(big)(message)
        same(b"two")(ring.get(timeout=0))
        empty(lambda: ring.get(timeout=0))
        ring.close()

    def created(_: object, ring: shmring.Ring) -> None:
        ring.put(b"x")
        with shmring.Ring.attach(NAME, timeout=0) as other:
            same(b"x")(other.get(timeout=0))
        ring.close()

    def attached(ring: shmring.Ring, other: shmring.Ring) -> None:
        ring.put(b"x")
        same(b"x")(other.get(timeout=0))
        other.close()
        ring.close()

    def closed(ring: shmring.Ring, _: object) -> None:
        with shmring.Ring.attach(NAME, timeout=0) as again:  # it had a message
            same(b"kept")(again.get(timeout=0))

    def close_empty(ring: shmring.Ring, _: object) -> None:
        shmring.clean()  # where the name could not be removed
        assert NAME not in {each.name for each in shmring.list()}

    def unlinked(ring: shmring.Ring, _: object) -> None:
        assert NAME not in {each.name for each in shmring.list()}
        ring.close()

    def gone(ring: shmring.Ring) -> None:
        try:
            ring.unlink()
        except FileNotFoundError:  # the first time it went, and then something else was refused
            assert NAME not in {each.name for each in shmring.list()}

    def opened(_: object, ring: shmring.Ring) -> None:
        created(_, ring)

    return {
        "create": Case(lambda: None, lambda _: shmring.Ring.create(NAME, kind=kind, capacity=65536), created),
        "open": Case(lambda: None, lambda _: shmring.Ring.open(NAME, kind=kind, capacity=65536), opened),
        "attach": Case(made, lambda _: shmring.Ring.attach(NAME, timeout=0), attached),
        "put": Case(lambda: made(b"one"), lambda ring: ring.put(big, timeout=0), put_finish),
        "get": Case(lambda: made(big, b"two"), lambda ring: ring.get(timeout=0), get_finish),
        "close": Case(lambda: made(b"kept"), lambda ring: ring.close(), closed),
        "close, empty": Case(made, lambda ring: ring.close(), close_empty),
        "unlink": Case(made, gone, unlinked),
    }


# --- queues ---


def queue_cases() -> dict[str, Case]:
    large, many = "x" * 200_000, 40

    def made(*objects: object) -> shmring.Queue:
        queue: shmring.Queue = shmring.Queue(name=NAME, capacity="64 KiB")
        for each in objects:
            queue.put(each, timeout=0)
        return queue

    def holds(*wanted: object) -> Callable[[shmring.Queue, object], None]:
        def finish(queue: shmring.Queue, _: object) -> None:
            same([*wanted])(drain(lambda: queue.get(timeout=0), len(wanted)))
            empty(lambda: queue.get(timeout=0))
            same(0)(queue.qsize())
            queue.close()

        return finish

    def got(wanted: object, *rest: object) -> Callable[[shmring.Queue, object], None]:
        def finish(queue: shmring.Queue, message: object) -> None:
            same(wanted)(message)
            holds(*rest)(queue, None)

        return finish

    def created(_: object, queue: shmring.Queue) -> None:
        queue.put(1)
        other: shmring.Queue = shmring.Queue(name=NAME)
        same(1)(other.get(timeout=0))
        other.close()
        queue.close()

    def attached(queue: shmring.Queue, other: shmring.Queue) -> None:
        queue.put(1)
        same(1)(other.get(timeout=0))
        other.close()
        queue.close()

    def closed(_: shmring.Queue, __: object) -> None:
        again: shmring.Queue = shmring.Queue(name=NAME)
        same("kept")(again.get(timeout=0))
        again.close()

    def finished(_: object, __: object) -> None:
        shmring.clean()
        assert NAME not in {each.name for each in shmring.list()}

    grown = [str(number) * 3000 for number in range(many)]
    return {
        "create": Case(lambda: None, lambda _: shmring.Queue(name=NAME), created),
        "attach": Case(made, lambda _: shmring.Queue(name=NAME), attached),
        "put": Case(lambda: made(1), lambda queue: queue.put(2, timeout=0), holds(1, 2)),
        "put, a link for one": Case(lambda: made(1), lambda queue: queue.put(large, timeout=0), holds(1, large), True),
        "put, growing": Case(
            lambda: made(*["y" * 30_000] * 2),
            lambda queue: queue.put("z" * 30_000, timeout=0),
            holds(*["y" * 30_000] * 2, "z" * 30_000),
            may_be_full=True,
        ),
        "get": Case(lambda: made(large, 2), lambda queue: queue.get(timeout=0), got(large, 2)),
        "get, a link finished": Case(
            lambda: made(*grown), lambda queue: queue.get(timeout=0), got(grown[0], *grown[1:])
        ),
        "get_many": Case(
            lambda: made(*grown),
            lambda queue: queue.get_many(many, timeout=0),
            lambda queue, all_: got(grown)(queue, all_),
        ),
        "close": Case(lambda: made("kept"), lambda queue: queue.close(), closed),
        "close, empty": Case(made, lambda queue: queue.close(), finished),
    }


# --- topics and latest values ---


def topic_cases() -> dict[str, Case]:
    def made() -> tuple[shmring.Topic, Any]:
        topic = shmring.Topic.create(NAME, capacity="256 KiB")
        return topic, topic.subscribe()

    def with_one() -> tuple[shmring.Topic, Any]:
        topic, subscription = made()
        topic.publish(b"one")
        return topic, subscription

    def end(both: tuple[shmring.Topic, Any]) -> None:
        empty(lambda: both[1].get(timeout=0))
        both[1].close()
        both[0].close()

    def published(both: tuple[shmring.Topic, Any], _: object) -> None:
        same(b"one")(both[1].get(timeout=0))
        end(both)

    def received(both: tuple[shmring.Topic, Any], message: object) -> None:
        same(b"one")(message)
        end(both)

    def subscribed(both: tuple[shmring.Topic, Any], more: Any) -> None:
        both[0].publish(b"one")
        same([b"one"] * 2)([both[1].get(timeout=0), more.get(timeout=0)])
        more.close()
        end(both)

    def created(_: object, topic: shmring.Topic) -> None:
        end((topic, topic.subscribe()))

    def close_both(both: tuple[shmring.Topic, Any]) -> None:
        both[1].close()
        both[0].close()

    def closed(_: object, __: object) -> None:
        shmring.clean()
        assert NAME not in {each.name for each in shmring.list()}

    return {
        "create": Case(lambda: None, lambda _: shmring.Topic.create(NAME), created),
        "subscribe": Case(made, lambda both: both[0].subscribe(), subscribed),
        "publish": Case(made, lambda both: both[0].publish(b"one", timeout=0), published),
        "get": Case(with_one, lambda both: both[1].get(timeout=0), received),
        "close": Case(made, close_both, closed),
    }


def latest_cases() -> dict[str, Case]:
    def made() -> shmring.Latest:
        return shmring.Latest.create(NAME, size=1000)

    def with_one() -> shmring.Latest:
        latest = made()
        latest.set(b"one")
        return latest

    def is_set(latest: shmring.Latest, _: object) -> None:
        same((1, b"one"))((latest.version, latest.get()))
        latest.close()
        shmring.clean(force=True)

    def got(latest: shmring.Latest, value: object) -> None:
        same(b"one")(value)
        is_set(latest, None)

    def attached(latest: shmring.Latest, other: shmring.Latest) -> None:
        same(b"one")(other.get())
        other.close()
        is_set(latest, None)

    def created(_: object, latest: shmring.Latest) -> None:
        latest.set(b"one")
        is_set(latest, None)

    return {
        "create": Case(lambda: None, lambda _: shmring.Latest.create(NAME, size=1000), created),
        "attach": Case(with_one, lambda _: shmring.Latest.attach(NAME, timeout=0), attached),
        "set": Case(made, lambda latest: latest.set(b"one"), is_set),
        "get": Case(with_one, lambda latest: latest.get(), got),
    }


FACES: dict[str, Callable[[], dict[str, Case]]] = {
    "spsc": lambda: ring_cases("spsc"),
    "mpmc": lambda: ring_cases("mpmc"),
    "semaphore": lambda: ring_cases("semaphore"),
    "queue": queue_cases,
    "topic": topic_cases,
    "latest": latest_cases,
}


def main(face: str, effort: float) -> int:
    chance, refused = random.Random(face), 0
    for label, case in FACES[face]().items():
        calls = check(case)
        each = [(at, code) for at, number in enumerate(calls) for code in errors_of(number)]
        chosen = chance.sample(each, math.ceil(len(each) * min(1.0, effort)))
        for at, code in sorted(chosen):
            try:
                check(case, at, code)
            except AssertionError as error:
                error.add_note(f"{face}: {label}")
                raise
        refused += len(chosen)
        print(f"{face}, {label}: {len(calls)} system calls, {len(chosen)} refused", file=sys.stderr)
    print(refused)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], float(sys.argv[2])))
