"""Tasks and results as pickles: plain pickle where that is enough, else functions and classes by value (by_value).

One pickle holds the whole of a task, so what is one object here is one object there. Types go as multiprocessing sends
them: connections, sockets, and whatever was registered with ``multiprocessing.reduction`` or copyreg.
"""

from __future__ import annotations

import copyreg
import importlib
import io
import pickle
import pickletools
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from shmring.workers.mains import workers_have_main

PACKAGES = ("multiprocessing", "multiprocess")
_MAIN = "__main__"
PLAIN = frozenset((int, float, str, bytes, bool, type(None)))
_BY_NAME = frozenset((types.FunctionType, type))
_Keep = Callable[[pickle.PickleBuffer], Any]
_First = Callable[[Any], Any]


class Names:
    """What workers cannot import, by module and name; the name is empty for a whole module.

    ``package`` is whose processes they are, multiprocessing's or multiprocess'.
    """

    def __init__(self, package: str = PACKAGES[0], has_main: bool | None = None) -> None:
        self.package = package
        self.absent: frozenset[tuple[str, str]] = frozenset()
        self.has_main = workers_have_main() if has_main is None else has_main
        if not self.has_main:
            self.absent = frozenset([(_MAIN, "")])
        self._mark()

    def _mark(self) -> None:
        """What a pickle contains if it refers to any of these."""
        self.lacks_modules = any(not name and module != _MAIN for module, name in self.absent)
        words = (name or module for module, name in self.absent)
        self.marks = [b"\x8c%c%b" % (len(word), word) for word in map(str.encode, words) if len(word) < 256]

    def add(self, names: Iterator[tuple[str, str]] | list[tuple[str, str]]) -> bool:
        """A worker did not find these; is that news?"""
        before = len(self.absent)
        self.absent = self.absent.union(names)
        self._mark()
        return len(self.absent) > before

    def lacks(self, obj: Any) -> bool:
        """Is it a function or class under a name that a worker does not find?"""
        if not self.absent:
            return False
        module = getattr(obj, "__module__", None)
        return (module, "") in self.absent or (module, getattr(obj, "__qualname__", None)) in self.absent


ALL_THERE = Names(has_main=True)  # for what a worker sends


def whole(value: Any, names: Names = ALL_THERE, first: _First | None = None, *, once: bool = False) -> bytes:
    """A pickle that stands for itself. With ``once`` no object is asked twice how it is pickled."""
    return _dumped(value, names, None, first, once=once)


def apart(value: Any, names: Names, keep: _Keep, forget: Callable[[], None]) -> bytes:
    """A pickle of which ``keep`` takes large buffers away, and ``forget`` drops those, for another try."""
    return _dumped(value, names, keep, None, forget, once=bool(names.absent) or _is_nameless(value))


def call(function: Callable[..., Any], args: tuple[Any, ...], names: Names) -> bytes | None:
    """A short cut for a function of a module and plain arguments; None for anything else."""
    if type(function) not in _BY_NAME:
        return None
    for each in args:
        if type(each) not in PLAIN:
            return None
    try:
        data = pickle.dumps((function, args, {}), 5)
    except (pickle.PicklingError, AttributeError):
        return None
    return None if names.marks and any(mark in data for mark in names.marks) else data


def _dumped(
    value: Any,
    names: Names,
    keep: _Keep | None,
    first: _First | None,
    forget: Callable[[], None] | None = None,
    *,
    once: bool,
) -> bytes:
    """By plain pickle, which is fast, unless it cannot do that: what has a side effect waits for the second try."""
    plain, table = _reducers(names.package)
    file = io.BytesIO()
    if not once:
        pickler: Any = (_FirstPickler if first else pickle.Pickler)(file, 5, buffer_callback=keep)
        pickler.dispatch_table = plain
        if first:
            pickler.first = first
        try:
            pickler.dump(value)
            return file.getvalue()
        except (pickle.PicklingError, AttributeError, TypeError):
            if forget:
                forget()
            file = io.BytesIO()
    from shmring.workers.by_value import ValuePickler  # late, because cloudpickle takes a while and few need it

    ValuePickler(file, table, names, keep, first).dump(value)
    return file.getvalue()


def _is_nameless(value: Any) -> bool:
    """Is it a task with a lambda or the like, which has to go by value anyway?"""
    if type(value) is not tuple or not value or type(value[0]) is not types.FunctionType:
        return False
    return "<" in value[0].__qualname__


class _FirstPickler(pickle.Pickler):
    """A plain pickler with an opinion on some objects."""

    first: _First

    def reducer_override(self, obj: Any) -> Any:
        return self.first(obj)


# --- how types are pickled ---

_Table = dict[Any, Any]
_tables: dict[str, tuple[list[_Table], tuple[_Table, _Table]]] = {}  # and what they were made from, by package
_DATA = ("_reduce_method", "_reduce_method_descriptor", "_reduce_partial")  # reducers that share nothing


def _reducers(package: str) -> tuple[_Table, _Table]:
    """What multiprocessing and copyreg know of types, for a first try and in full; made anew when they learn more.

    Of a type that both packages know, a socket for one, it is the given one's reducer. A reducer of theirs may share a
    descriptor, which is not to be done twice.
    """
    known: list[_Table] = [copyreg.dispatch_table]
    for name in PACKAGES if package == PACKAGES[1] else reversed(PACKAGES):
        reduction = sys.modules.get(f"{name}.reduction")
        if reduction is not None:
            known.append(reduction.ForkingPickler._extra_reducers)
    seen, tables = _tables.get(package, ([], ({}, {})))
    if known != seen:
        common, *theirs = [each.copy() for each in known]
        full = common.copy()
        for each in theirs:
            full.update(each)
        plain = full | {
            kind: _put_off for each in theirs for kind in each if getattr(full[kind], "__name__", "") not in _DATA
        }
        tables = plain, full
        _tables[package] = [common, *theirs], tables
    return tables


def _put_off(thing: object) -> NoReturn:
    raise pickle.PicklingError(f"{type(thing).__qualname__} is left to the second try")


# --- names that cannot be imported here ---


def unresolved(data: bytes | memoryview, error: BaseException) -> list[tuple[str, str]]:
    """Which names that a pickle refers to are missing in this process, after it could not be loaded."""
    missing = {name for name in _globals_of(bytes(data)) if not _is_found(*name)}
    found = [(module, "" if _is_module_missing(module) else name) for module, name in missing]
    if not found and isinstance(error, ModuleNotFoundError) and error.name:
        found.append((error.name, ""))
    return [*dict.fromkeys(found)]


def _globals_of(data: bytes) -> Iterator[tuple[str, str]]:
    """Module and name of each global in a pickle: two strings, or what the memo has under two numbers."""
    memo: list[Any] = []
    recent: list[Any] = [None, None]
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name == "MEMOIZE":
            memo.append(recent[-1])
            continue
        if opcode.name == "STACK_GLOBAL":
            module, name = recent[-2:]
            if isinstance(module, str) and isinstance(name, str):
                yield module, name
        is_text = opcode.name in ("SHORT_BINUNICODE", "BINUNICODE")
        if opcode.name in ("BINGET", "LONG_BINGET"):
            number = int(argument or 0)
            argument, is_text = memo[number] if number < len(memo) else None, True
        recent = [recent[-1], argument if is_text else None]


def _is_found(module: str, name: str) -> bool:
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        return False
    return True


def _is_module_missing(module: str) -> bool:
    try:
        importlib.import_module(module)
    except ImportError:
        return True
    return False
