"""What the stages of these tests do."""

import os
import signal
import time

import shmring


def double(number):
    return 2 * number


def odd_only(number):
    if number % 2 == 0:
        raise ValueError(f"{number} is even")
    return number


def spin(number):
    for _ in range(5000):
        pass
    return number


def slow_when_early(number):
    time.sleep(0.02 if number < 4 else 0)
    return number


def first_waits_for_the_rest(name, rest, number):
    with shmring.Ring.attach(name, on_dead_peer="wait") as others_done:
        if number == 0:
            for _ in range(rest):
                others_done.get()
        else:
            others_done.put(b"")
    return number


def span(number):
    return range(number)


def die_on_seven(number):
    if number == 7:
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
    return number


def sleep_long(number):
    time.sleep(1000)
    return number


class CannotBePickled:
    def __reduce__(self):
        raise TypeError("not over any wire")


def sometimes_unpicklable(number):
    return CannotBePickled() if number == 3 else number


class OddError(Exception):
    def __init__(self, first, second):
        super().__init__(first)


def raise_odd(number):
    raise OddError("odd", number)
