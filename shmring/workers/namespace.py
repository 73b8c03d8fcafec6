"""The globals of functions that a worker was sent by value: one namespace for all that came from ``__main__``."""

from __future__ import annotations

import pickle
import sys
import types
from typing import Any

_LONG = 10_000  # items; a change within more of them is not noticed where they came by a fork


class Namespace:
    """The globals of a worker's functions that came from a ``__main__`` which it has not: one for all of them.

    What the worker's code has set there, an initializer for one, stays until the caller's own value changes.
    """

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values
        self._received: dict[str, tuple[Any, int | None]] = {}  # the caller's own, and its contents as it came

    def inherit(self) -> None:
        """What is there is the caller's own."""
        for name, value in [*self.values.items()]:
            is_long = hasattr(value, "__len__") and not isinstance(value, type) and len(value) > _LONG
            self._received[name] = value, None if is_long else _contents(value)

    def receive(self, values: dict[str, Any]) -> None:
        """Take the globals that a function brings along."""
        for name, value in values.items():
            contents = _contents(value)
            if name not in self._received:
                is_ours = name in self.values
            else:
                before, then = self._received[name]
                here = self.values.get(name, self)
                touched = here is not before or _contents(here) != then
                is_ours = touched and then is not None and then == contents
            if is_ours:
                self._received[name] = self._received.get(name, (None, None))[0], contents
            else:
                self.values[name] = value
                self._received[name] = value, contents


def _contents(value: Any) -> int | None:
    """A number that changes with the contents of a value, but for large arrays; None for code."""
    if isinstance(value, (type, types.FunctionType, types.ModuleType)):
        return None
    try:
        return hash(pickle.dumps(value, 5, buffer_callback=lambda _: None))
    except Exception:  # it cannot be pickled by reference: as good as code
        return None


_namespace: Namespace | None = None


def begin(is_forked: bool, has_main: bool) -> None:
    """This process is a worker. Where it has no ``__main__`` of a program, the caller's comes to be that.

    ``has_main`` tells whether it finds the functions and classes of the caller's there.
    """
    global _namespace
    main = sys.modules["__main__"]
    if has_main:
        _namespace = Namespace({"__name__": "__main__", "__builtins__": __builtins__})
        return
    _namespace = Namespace(main.__dict__)
    if is_forked:
        _namespace.inherit()
        return
    for name in [*main.__dict__]:
        if not name.startswith("__"):
            del main.__dict__[name]  # the words that started this process, which are nobody's


def receive(into: dict[str, Any], values: dict[str, Any]) -> bool:
    """Take the globals that a function brings along, if it lives in this worker's namespace."""
    if _namespace is None or into is not _namespace.values:
        return False
    _namespace.receive(values)
    return True


def main_globals() -> dict[str, Any]:
    """A worker's namespace; anywhere else, globals of their own for the functions of one pickle."""
    return {"__name__": "__main__"} if _namespace is None else _namespace.values
