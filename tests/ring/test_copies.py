"""copy.copy and copy.deepcopy give another handle on the same memory, as a pickle does: each is closed by itself."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import shmring
from shmring import segment

MAKE: dict[str, Callable[[str, Path], Any]] = {
    "ring": lambda name, _: shmring.Ring.create(name),
    "anonymous ring": lambda *_: shmring.Ring.create(),
    "ring at a path": lambda _, folder: shmring.Ring.create(path=folder / "ring"),
    "semaphore": lambda *_: shmring.Ring.create(kind="semaphore"),
    "topic": lambda *_: shmring.Topic.create(),
    "latest": lambda *_: shmring.Latest.create(size=100),
    "queue": lambda name, _: shmring.Queue(name=name),
    "anonymous queue": lambda *_: shmring.JoinableQueue(),
    "segment": lambda *_: segment.anonymous(4096, transferable=True),
}
PASS: dict[str, Callable[[Any, Any], Any]] = {
    "topic": lambda one, other: (other.subscribe(), one.publish(b"x"))[0].get(timeout=20),
    "latest": lambda one, other: (one.set(b"x"), other.get())[1],
    "segment": lambda one, other: (one.__setitem__(0, ord("x")), other[:1])[1],
}


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
@pytest.mark.parametrize("what", MAKE)
def test_a_copy_is_another_handle_of_the_same(
    what: str, copied: Callable[[Any], Any], name: str, tmp_path: Path
) -> None:
    original = MAKE[what](name, tmp_path)
    pass_on = PASS.get(what, lambda one, other: (one.put(b"x"), other.get(timeout=20))[1])
    other = copied(original)
    assert pass_on(original, other) == b"x"
    if what != "latest":  # which has one writer
        assert pass_on(other, original) == b"x"
    original.close()
    assert not getattr(other, "closed", False)
    assert pass_on(other, other) == b"x"
    other.close()


def test_a_copy_of_what_is_closed_is_refused_in_words() -> None:
    ring = shmring.Ring.create()
    ring.close()
    with pytest.raises(shmring.Closed, match="attach it again first"):
        copy.copy(ring)
