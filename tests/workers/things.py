"""What people send to pools: each a function, its arguments, and the answer; run as a script, or piped as a prompt is.

Prints a line of JSON: for each of them "right", or what came instead.
"""

import abc
import collections
import contextlib
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import io
import json
import logging
import math
import operator
import os
import pathlib
import re
import sys
import tempfile
import threading
import types
import typing
import uuid

import numpy

import shmring


@dataclasses.dataclass(frozen=True)
class Point:
    x: int

    def doubled(self):
        return Point(2 * self.x)

    @staticmethod
    def origin():
        return Point(0)

    @classmethod
    def of(cls, x):
        return cls(x)

    @property
    def negative(self):
        return Point(-self.x)


class Colour(enum.Enum):
    RED = 1


class Level(enum.IntFlag):
    LOW = 1
    HIGH = 2


class Slotted:
    __slots__ = ("x",)

    def __init__(self, x):
        self.x = x


class Shape(abc.ABC):
    @abc.abstractmethod
    def area(self): ...


class Square(Shape):
    def area(self):
        return 4


class Counted:
    made = 0

    def __call__(self, x):
        type(self).made += 1
        return x + 1


T = typing.TypeVar("T")


class Box(typing.Generic[T]):
    def __init__(self, x):
        self.x = x


class Trouble(Exception):
    def __init__(self, code, *, reason):
        super().__init__(f"{code}: {reason}")
        self.code = code


Pair = collections.namedtuple("Pair", "a b")


class Typed(typing.NamedTuple):
    a: int


MISSING = object()
SCALE = 3
STATE = None


def begin(value):
    global STATE
    STATE = value


def state():
    return STATE


def scaled(x):
    return x * SCALE


def even(n):
    return n == 0 or odd(n - 1)


def odd(n):
    return n != 0 and even(n - 1)


@functools.lru_cache
def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


@functools.singledispatch
def kind(x):
    return "object"


@kind.register
def _(x: int):
    return "int"


def same(x):
    return x


def is_missing(x):
    return x is MISSING


def raises():
    raise Trouble(5, reason="on purpose")


def catches(function):
    try:
        function()
    except Trouble as error:
        return error.code
    return "not caught"


def match(x):
    match x:
        case Point(y):
            return y
    return "no point"


def reads(file):
    return file.read()


def closure():
    data = [1, 2]

    def inner(x):
        data.append(x)
        return data

    return inner


def locked(lock):
    with lock:
        return 1


def local_class():
    class Local:
        pass

    return Local


Local = local_class()
local = Local()


@contextlib.contextmanager
def managed():
    yield 6


def uses_manager():
    with managed() as value:
        return value


def decorated(function):
    @functools.wraps(function)
    def wrapper(*args):
        return function(*args) + 1

    return wrapper


@decorated
def plus(x):
    return x


REFUSED, BROKEN = TypeError, ("BrokenProcessPool", "TerminatedWorkerError", "TimeoutError")
files = [tempfile.TemporaryFile("w+")]  # noqa: SIM115
THINGS = {
    "a function of the program": (scaled, (2,), 6),
    "a function of a module": (math.sqrt, (4,), 2.0),
    "a method of a built-in object": ({"a": 1}.get, ("a",), 1),
    "a class": (Point, (1,), Point(1)),
    "a bound method": (Point(2).doubled, (), Point(4)),
    "a static method": (Point.origin, (), Point(0)),
    "a class method": (Point.of, (3,), Point(3)),
    "an operator": (operator.itemgetter(1), ([1, 2],), 2),
    "a partial": (functools.partial(scaled, 4), (), 12),
    "a callable object": (Counted(), (1,), 2),
    "a lambda": (lambda x: x + SCALE, (1,), 4),
    "a closure": (closure(), (3,), [1, 2, 3]),
    "a decorated function": (plus, (1,), 2),
    "functions that call each other": (even, (4,), True),
    "a cached function": (fibonacci, (20,), 6765),
    "a single dispatch": (kind, (3,), "int"),
    "a context manager": (uses_manager, (), 6),
    "a function as an argument": (lambda function: function(2), (scaled,), 6),
    "an instance": (isinstance, (Point(1), Point), True),
    "an instance for match": (match, (Point(7),), 7),
    "an instance there and back": (same, (Point(1),), Point(1)),
    "an instance of a local class": (lambda x: type(x) is Local, (local,), True),
    "an enum": (lambda x: x is Colour.RED, (Colour.RED,), True),
    "an enum there and back": (same, (Colour.RED,), Colour.RED),
    "a flag": (same, (Level.LOW | Level.HIGH,), Level.LOW | Level.HIGH),
    "a generic": (lambda box: box.x, (Box(3),), 3),
    "a generic alias": (lambda alias: alias == Box[int], (Box[int],), True),
    "a named tuple": (same, (Pair(1, 2),), Pair(1, 2)),
    "a typed named tuple": (same, (Typed(1),), Typed(1)),
    "slots": (lambda x: x.x, (Slotted(3),), 3),
    "an abstract class": (lambda x: x.area() + isinstance(x, Shape), (Square(),), 5),
    "a sentinel": (is_missing, (MISSING,), True),
    "what the initializer set": (state, (), 5),
    "an exception that is caught there": (catches, (raises,), 5),
    "an exception that is raised here": (raises, (), Trouble),
    "a path": (same, (pathlib.PurePosixPath("a/b"),), pathlib.PurePosixPath("a/b")),
    "numbers": (same, ([decimal.Decimal("1.5"), fractions.Fraction(1, 3), 1j],),
                [decimal.Decimal("1.5"), fractions.Fraction(1, 3), 1j]),
    "a date": (same, (datetime.date(2024, 2, 29),), datetime.date(2024, 2, 29)),
    "a pattern": (lambda pattern: bool(pattern.match("aa")), (re.compile("a+"),), True),
    "a uuid": (same, (uuid.UUID(int=5),), uuid.UUID(int=5)),
    "a logger": (lambda logger: logger.name, (logging.getLogger("a.b"),), "a.b"),
    "an array": (lambda array: float(array.sum()), (numpy.ones(5000),), 5000.0),
    "a module": (lambda: os.path.join("a", "b"), (), os.path.join("a", "b")),
    "bytes in memory": (reads, (io.BytesIO(b"abc"),), b"abc"),
    "a lock": (locked, (threading.RLock(),), REFUSED),
    "an event": (same, (threading.Event(),), REFUSED),
    "a generator": (same, ((x for x in "ab"),), REFUSED),
    "a file": (reads, (files[0],), REFUSED),
    "a view of memory": (same, (memoryview(b"ab"),), REFUSED),
    "a dict's keys": (same, ({}.keys(),), REFUSED),
    "a lock in a closure": ((lambda lock: lambda: locked(lock))(threading.Lock()), (), REFUSED),
}  # fmt: skip


def outcome(pool, function, args, expected):
    """Send one of them."""
    try:
        value = pool.submit(function, *args).result(30)
    except Exception as error:
        fits = isinstance(expected, type) and isinstance(error, expected)
        return "right" if fits else f"{type(error).__name__}: {error}"[:150]
    fits = type(value) is type(expected) and value == expected
    return "right" if fits else f"{value!r:.100}, not {expected!r:.100}"


def make(method):
    """A pool of that start method; another library's to compare with."""
    import multiprocessing

    if method == "loky":
        import loky

        return loky.ProcessPoolExecutor(1, initializer=begin, initargs=(5,))
    if method.startswith("standard"):
        from concurrent.futures import ProcessPoolExecutor

        context = multiprocessing.get_context(method.partition(" ")[2])
        return ProcessPoolExecutor(1, context, initializer=begin, initargs=(5,))
    package, _, name = method.rpartition(".")
    context = __import__(package or "multiprocessing").get_context(name)
    return shmring.ProcessPoolExecutor(1, context, initializer=begin, initargs=(5,))


def main(method):
    told, pool = {}, make(method)
    for name, thing in THINGS.items():
        told[name] = outcome(pool, *thing)
        if told[name].startswith(BROKEN):  # which says nothing of the next one, in another library's pool
            pool.shutdown(wait=False)
            pool = make(method)
    pool.shutdown()
    print("\n" + json.dumps(told), flush=True)


if __name__ == "__main__":
    assert isinstance(sys.modules["__main__"], types.ModuleType)
    main(os.environ["THINGS_METHOD"])
