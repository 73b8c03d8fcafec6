"""A process is killed before and after each system call of create, open, attach, grow, close, unlink and their kin.

Run as a program, which forks and so has no threads: kill_calls.py EFFORT. Wherever it was killed, whoever was there
goes on with every message, whoever comes finds a whole ring or none, and nothing stays behind. Prints the number of
kills.
"""

from __future__ import annotations

import contextlib
import math
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent))

from refusing import Watched

import shmring

SHM = Path("/dev/shm")
NAME = f"killed-{os.getpid()}"
LARGE = bytes(100_000)
KINDS = ("spsc", "mpmc", "semaphore")


class Case(NamedTuple):
    """What the survivor has, what the victim brings along and does, and what must hold then."""

    survivor: Callable[[], Any]  # in our process
    prepare: Callable[[], Any]  # in the victim
    act: Callable[[Any], Any]
    finish: Callable[[Any], None]


def ring_of(kind: str, *messages: bytes, create: bool = True) -> shmring.Ring:
    make = shmring.Ring.create if create else shmring.Ring.open
    ring = make(NAME, kind=kind, capacity="256 KiB", on_dead_peer="wait")
    ring.put_many(messages)
    return ring


def attach() -> shmring.Ring:
    return shmring.Ring.attach(NAME, timeout=0, on_dead_peer="wait")


def messages_of(source: Any, least: int, most: int) -> list[Any]:
    """All that is there; what a dead one had taken shows when he is found, within 50 ms of waiting."""
    found: list[Any] = []
    with contextlib.suppress(shmring.Empty):
        while True:
            found.append(source.get(timeout=20 if len(found) < least else 0.15 if len(found) < most else 0))
    return found


def rings(kind: str) -> dict[str, Case]:
    def nobody_left(_: object) -> None:
        """Whoever opens it finds nothing, or what was made, which is empty."""
        with ring_of(kind, create=False) as ring:
            ring.put(b"new")
            assert messages_of(ring, 1, 1) == [b"new"]

    def goes_on(ring: shmring.Ring) -> None:
        """Both messages are there, and others come and go."""
        role = attach() if kind != "spsc" else contextlib.nullcontext()
        with role:
            assert messages_of(ring, 2, 2) == [b"one", LARGE]
        ring.close()

    def unlinked(ring: shmring.Ring) -> None:
        with contextlib.suppress(FileNotFoundError):
            ring.unlink()
        goes_on_without_name(ring)

    def goes_on_without_name(ring: shmring.Ring) -> None:
        assert messages_of(ring, 2, 2) == [b"one", LARGE]
        ring.close()

    two = (b"one", LARGE)
    return {
        "create": Case(lambda: None, lambda: None, lambda _: ring_of(kind), nobody_left),
        "open": Case(lambda: None, lambda: None, lambda _: ring_of(kind, create=False), nobody_left),
        "create and close": Case(lambda: None, lambda: ring_of(kind), lambda ring: ring.close(), nobody_left),
        "attach": Case(lambda: ring_of(kind, *two), lambda: None, lambda _: attach(), goes_on),
        "close": Case(lambda: ring_of(kind, *two), attach, lambda ring: ring.close(), goes_on),
        "unlink": Case(lambda: ring_of(kind, *two), lambda: None, lambda _: shmring.unlink(NAME), unlinked),
    }


def queue(*objects: object) -> shmring.Queue:
    made: shmring.Queue = shmring.Queue(name=NAME, capacity="64 KiB")
    made.put_many(objects)
    return made


def queues() -> dict[str, Case]:
    def holds(*sets: list[object]) -> Callable[[shmring.Queue], None]:
        def finish(there: shmring.Queue | None) -> None:
            survivor = queue() if there is None else there
            found = messages_of(survivor, min(map(len, sets)), max(map(len, sets)))
            in_order = sorted(found, key=str)  # what comes again may come behind others
            wanted = [sorted(each, key=str) for each in sets]
            assert in_order in wanted, [len(each) if isinstance(each, str) else each for each in found]
            survivor.put("x" * 200_000, timeout=5)
            assert len(survivor.get(timeout=5)) == 200_000
            survivor.close()

        return finish

    small, big = [f"{number}" * 3000 for number in range(20)], "y" * 200_000
    return {
        "create": Case(lambda: None, lambda: None, lambda _: queue(), holds([])),
        "attach": Case(lambda: queue(1), lambda: None, lambda _: queue(), holds([1])),
        "close": Case(lambda: queue(1), queue, lambda mine: mine.close(), holds([1])),
        "close, as the last": Case(lambda: None, queue, lambda mine: mine.close(), holds([])),
        "grow": Case(lambda: queue(*small), queue, lambda mine: mine.put(big), holds([*small], [*small, big])),
        "finish a link": Case(
            lambda: queue(*small, big), queue, lambda mine: mine.get_many(), holds([*small, big], [big], [])
        ),
    }


def topics() -> dict[str, Case]:
    def topic() -> tuple[shmring.Topic, Any]:
        made = shmring.Topic.create(NAME, capacity="256 KiB")
        return made, made.subscribe()

    def goes_on(both: tuple[shmring.Topic, Any]) -> None:
        both[0].publish(b"news", timeout=5)
        assert both[1].get(timeout=5) == b"news"
        both[1].close()
        both[0].close()

    def attached() -> Any:
        return shmring.Topic.attach(NAME, timeout=0)

    return {
        "attach": Case(topic, lambda: None, lambda _: attached(), goes_on),
        "subscribe": Case(topic, attached, lambda mine: mine.subscribe(), goes_on),
        "unsubscribe": Case(topic, lambda: attached().subscribe(), lambda mine: mine.close(), goes_on),
    }


FACES: dict[str, Callable[[], dict[str, Case]]] = {
    **{kind: lambda kind=kind: rings(kind) for kind in KINDS},  # type: ignore[misc]
    "queue": queues,
    "topic": topics,
}


def kill(case: Case, at: int) -> list[int]:
    """Kill it there; the system calls it came to. AssertionError when anything went wrong."""
    survivor, state = case.survivor(), []

    def after(_: object, failed: BaseException | None) -> None:
        if failed is not None:
            raise failed

    done = Watched(lambda: state.append(case.prepare()), lambda: case.act(state[0]), after, at=at, kill=True)
    assert not done.trouble, done.trouble
    case.finish(survivor)
    shmring.clean()
    left = [entry for entry in SHM.iterdir() if NAME in entry.name]
    for entry in left:
        entry.unlink()
    assert not left, f"left behind: {', '.join(entry.name for entry in left)}"
    return done.calls


def main(effort: float) -> int:
    chance, kills = random.Random(1), 0
    for face, cases in FACES.items():
        for label, case in cases().items():
            moments = len(kill(case, -1))
            chosen = sorted(chance.sample(range(moments), math.ceil(moments * min(1.0, effort))))
            for at in chosen:
                try:
                    kill(case, at)
                except BaseException as error:
                    error.add_note(
                        f"{face}: {label}, killed {'after' if at % 2 else 'before'} its {at // 2 + 1}th call"
                    )
                    raise
            kills += len(chosen)
            print(f"{face}, {label}: {moments} moments, {len(chosen)} kills", file=sys.stderr)
    for entry in SHM.iterdir():  # of those who were killed as they made a ring: young ones are left alone
        if entry.name.startswith("sem.shmring-"):
            entry.unlink()
    print(kills)
    return 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1])))
