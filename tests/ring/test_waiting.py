"""Waiting: whoever waits can be woken by a message, room, shutdown, close, a signal or the clock."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

import shmring
from tests.conftest import PRESSES_CTRL_C, press_ctrl_c
from tests.ring.conftest import needs_signals


def test_a_message_wakes_a_waiting_process(ring: shmring.Ring, start: Callable) -> None:
    child = start(ring.get)
    ring.put(b"wake up")
    assert child.result() == b"wake up"


def test_room_wakes_a_waiting_process(ring: shmring.Ring, start: Callable) -> None:
    def fill() -> int:
        return ring.put_many([bytes(1000)] * 40)

    child = start(fill)
    got = 0
    while got < 40:
        got += len(ring.get_many())
    assert child.result() == 40


def test_ping_pong_between_processes_never_loses_a_wake(kind: str, start: Callable) -> None:
    with (
        shmring.Ring.create(capacity=1024, kind=kind, spin=0) as there,
        shmring.Ring.create(capacity=1024, kind=kind, spin=0) as back,
    ):

        def answer() -> None:
            for message in there:
                back.put(message)

        child = start(answer)
        for number in range(2000):
            there.put(b"%d" % number)
            assert back.get(timeout=20) == b"%d" % number
        there.shutdown()
        child.result()


@pytest.mark.parametrize("immediate", [False, True])
def test_shutdown_wakes_waiters_in_every_process(ring: shmring.Ring, start: Callable, immediate: bool) -> None:
    def wait() -> str:
        try:
            ring.get()
        except shmring.ShutDown:
            return "shut down"
        return "a message"

    child = start(wait)
    ring.shutdown(immediate)
    assert child.result() == "shut down"
    with pytest.raises(shmring.ShutDown):
        ring.put(b"late")


def test_after_a_shutdown_what_is_there_is_still_delivered(ring: shmring.Ring) -> None:
    ring.put_many([b"a", b"b"])
    ring.shutdown()
    assert [*ring] == [b"a", b"b"]
    with pytest.raises(shmring.ShutDown):
        ring.get(timeout=0)


def test_an_immediate_shutdown_delivers_nothing_more(ring: shmring.Ring) -> None:
    ring.put(b"dropped")
    ring.shutdown(immediate=True)
    with pytest.raises(shmring.ShutDown):
        ring.get()


def test_every_put_that_returned_before_a_shutdown_is_got_once(kind: str, start: Callable) -> None:
    producers = 1 if kind == "spsc" else 3
    for _ in range(15 if hasattr(os, "fork") else 4):  # a fork is cheap
        with shmring.Ring.create(capacity=2048, kind=kind) as ring:

            def make(number: int, ring: shmring.Ring = ring) -> list[bytes]:
                done = []
                try:
                    for i in range(100000):
                        ring.put(b"%d %d" % (number, i))
                        done.append(b"%d %d" % (number, i))
                except shmring.ShutDown:
                    pass
                return done

            makers = [start(make, number) for number in range(producers)]
            got = [ring.get() for _ in range(200)]
            ring.shutdown()
            got += [*ring]
            put = [message for maker in makers for message in maker.result()]
            assert sorted(got) == sorted(put)


def test_close_wakes_a_thread_that_waits(ring: shmring.Ring) -> None:
    outcome: list[BaseException] = []
    began = threading.Event()

    def wait() -> None:
        began.set()
        try:
            ring.get()
        except shmring.ShmringError as error:
            outcome.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    began.wait()
    ring.close()
    thread.join()
    assert isinstance(outcome[0], shmring.Closed)
    assert ring.closed


def test_use_after_close_is_an_error_that_says_so(ring: shmring.Ring) -> None:
    ring.close()
    ring.close()
    for call in (lambda: ring.put(b"x"), ring.get, lambda: ring.claim(1), ring.borrow, ring.stats, ring.shutdown):
        with pytest.raises(shmring.Closed, match="closed"):
            call()


def test_other_threads_run_while_one_waits(ring: shmring.Ring) -> None:
    thread = threading.Thread(target=ring.get)
    thread.start()
    total = sum(range(200000))
    ring.put(b"done")
    thread.join()
    assert total == 19999900000


WAITER = (
    PRESSES_CTRL_C
    + """
import sys, shmring
ring = shmring.Ring.attach(sys.argv[1])
print("ready", flush=True)
try:
    ring.get() if sys.argv[2] == "get" else ring.put(bytes(64))
except KeyboardInterrupt:
    print("interrupted")
"""
)


@pytest.mark.parametrize("call", ["get", "put"])
def test_ctrl_c_ends_a_wait(kind: str, name: str, call: str) -> None:
    with shmring.Ring.create(name, kind=kind, capacity=128) as ring:
        if call == "put":
            with shmring.Ring.attach(name) as filler:
                filler.put_many([bytes(64)] * 2)
        command = [sys.executable, "-c", WAITER, name, call]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            press_ctrl_c(child)
            out = child.stdout.read()
            if child.wait() == -signal.SIGINT:
                out = "interrupted\n"  # the signal came before the program was inside its try
        assert out == "interrupted\n"
        if call == "put":
            ring.get_many()


@needs_signals
def test_a_signal_handler_that_returns_lets_the_wait_go_on_until_its_deadline(ring: shmring.Ring) -> None:
    served = []
    before = signal.signal(signal.SIGALRM, lambda *_: served.append(time.monotonic()))
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    began = time.monotonic()
    try:
        with pytest.raises(shmring.Empty):
            ring.get(timeout=0.3)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - began >= 0.3
    assert len(served) >= 3


@needs_signals
def test_a_signal_handler_may_close_the_ring_it_interrupts(ring: shmring.Ring) -> None:
    before = signal.signal(signal.SIGALRM, lambda *_: ring.close())
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        with pytest.raises(shmring.Closed):
            ring.get()
    finally:
        signal.signal(signal.SIGALRM, before)
    assert ring.closed


def test_waiting_on_an_idle_ring_costs_almost_no_cpu(ring: shmring.Ring) -> None:
    before = time.process_time()
    with pytest.raises(shmring.Empty):
        ring.get(timeout=2)
    spent = time.process_time() - before
    assert spent < 0.5, "a quarter of a core; the bench measures it exactly"


def test_a_process_may_wait_without_spinning(kind: str) -> None:
    with shmring.Ring.create(kind=kind, spin=0) as ring, pytest.raises(shmring.Empty):
        ring.get(timeout=0.01)


@needs_signals
def test_a_stopped_producer_is_waited_for(ring: shmring.Ring, start: Callable, gate) -> None:
    def produce() -> None:
        ring.put(b"before")
        gate.wait()
        ring.put(b"after")

    child = start(produce)
    assert ring.get() == b"before"
    child.kill(signal.SIGSTOP)
    gate.open()
    with pytest.raises(shmring.Empty, match=f"pid {child.pid}"):
        ring.get(timeout=0.2)
    os.kill(child.pid, signal.SIGCONT)
    assert ring.get() == b"after"
    child.result()
