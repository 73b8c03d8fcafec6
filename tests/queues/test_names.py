"""Queues with a name: who comes while the last one leaves finds the queue, or a new one, and loses nothing."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import pytest

import shmring
from shmring import queues
from shmring.names import registry

ROUNDS = 200


def test_who_opens_a_queue_while_its_last_user_leaves_has_one_that_stays(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    comers: list[shmring.Queue] = []
    remove_name = registry.remove_name

    def come() -> None:
        comers.append(shmring.Queue(name=name))
        comers[0].put("kept")

    coming = threading.Thread(target=come)

    def remove_late(*arguments: Any) -> None:
        monkeypatch.undo()
        coming.start()
        remove_name(*arguments)

    monkeypatch.setattr(registry, "remove_name", remove_late)
    shmring.Queue(name=name).close()
    coming.join()
    with shmring.Queue(name=name) as queue:
        assert queue.get(timeout=30) == "kept"
    comers[0].close()


def test_a_queue_that_goes_while_it_is_being_opened_is_made_anew(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = queues.found
    gone: list[str] = []

    def found_and_removed(*arguments: Any) -> Any:
        memory = found(*arguments)
        if not gone:
            shmring.unlink(name)
            gone.append(name)
        return memory

    shmring.Queue(name=name).close()
    monkeypatch.setattr(queues, "found", found_and_removed)
    with shmring.Queue(name=name) as queue, shmring.Queue(name=name) as other:
        queue.put("anew")
        assert other.get(timeout=30) == "anew"


def test_processes_that_open_and_leave_a_queue_all_the_time_lose_nothing(name: str, start: Callable) -> None:
    def put_all(name: str) -> None:
        for number in range(ROUNDS):
            with shmring.Queue(name=name) as queue:
                queue.put(number)

    child = start(put_all, name)
    got: list[int] = []
    while got[-1:] != [ROUNDS - 1]:
        with shmring.Queue(name=name) as queue, contextlib.suppress(shmring.Empty):
            got.append(queue.get(timeout=0.01))
    child.result()
    assert got == [*range(ROUNDS)]
