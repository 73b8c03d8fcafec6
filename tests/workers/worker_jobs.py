"""What the workers of these tests do; they import it from here, as the test modules have no place on their path."""

import ctypes
import os
import pickle
import signal
import sys
import threading
import time
import types

STATE = "not set"
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)


def set_state(value):
    global STATE
    STATE = value


def get_state():
    return STATE


def fail():
    raise ZeroDivisionError("on purpose")


def both(first, second, *, third=0):
    return first, second, third


def double(value):
    return 2 * value


def wait_for(path):
    while not os.path.exists(path):
        time.sleep(0.001)
    return path


def pid_of(_):
    return os.getpid()


class Unpicklable:
    def __reduce__(self):
        raise pickle.PicklingError("not this one")


class NeedsTwo(Exception):
    def __init__(self, first, second):
        super().__init__(first)
        self.second = second


def raise_needs_two():
    raise NeedsTwo(1, 2)


class Worded(Exception):
    def __init__(self, code):
        super().__init__(f"code {code}")
        self.code = code


def raise_worded():
    raise Worded(5)


def raise_group():
    raise ExceptionGroup("several", [ValueError(1), NeedsTwo(1, 2)])


class NeedsTwoOfSystem(OSError):
    def __init__(self, first):
        super().__init__(first, "gone")


def raise_of_system():
    raise NeedsTwoOfSystem(2)


def raise_only_there():
    """Raise an exception of a module that the caller has not."""
    sys.modules["only_there"] = module = types.ModuleType("only_there")
    module.OnlyThere = type("OnlyThere", (Exception,), {"__module__": "only_there"})
    raise module.OnlyThere("of the worker")


class RudeError(Exception):
    def __str__(self):
        raise SystemError("no words")


def raise_rude():
    raise RudeError


class Broken:
    def __reduce__(self):
        return int, ("zz",)


def make_broken():
    return Broken()


class Carrier(Exception):
    def __init__(self):
        super().__init__("carries a lock")
        self.lock = threading.Lock()


def raise_carrier():
    raise Carrier


def make_unpicklable():
    return Unpicklable()


def leave(_=None):
    os._exit(3)


def kill_myself(_=None):
    os.kill(os.getpid(), KILL)


def crash(_=None):
    signal.signal(signal.SIGSEGV, signal.SIG_DFL)
    ctypes.string_at(0)


def pause():
    threading.Event().wait()


def same(value):
    return value


def spin(value):
    for _ in range(2000):
        pass
    return value


def die_the_first_time(path):
    if not os.path.exists(path):
        with open(path, "w"):
            os._exit(1)
    return "the second time"


class DiesInPickle:
    def __reduce__(self):
        return leave, ()


def ignore_sigterm():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def fork_and_die():
    if os.fork() == 0:
        pause()
    os._exit(7)


def doubled_array(array):
    return array * 2


def pause_the_first_time(path):
    if not os.path.exists(path):
        with open(path, "w"):
            pause()
    return "the second time"


def later(count):
    time.sleep(0.5)
    return bytes(count)
