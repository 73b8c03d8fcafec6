"""The globals of functions that a worker was sent by value: one namespace for all that came from ``__main__``."""

from __future__ import annotations

import pickle
import sys
import types
from typing import Any


class Namespace:
    """The globals of a worker's functions that came from a ``__main__`` which it has not: one for all of them.

    What the worker's code has set there, an initializer for one, stays until the caller's own value changes.
    """

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values
        self._received: dict[str, tuple[Any, int | None]] = {}  # the caller's own, and its contents as it came

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


def begin(is_forked: bool) -> None:
    """This process is a worker. Where it has no ``__main__`` of a program, the caller's comes to be that."""
    global _namespace
    main = sys.modules["__main__"]
    values = {"__name__": "__main__", "__builtins__": __builtins__}
    if not is_forked and getattr(main, "__file__", None) is None:
        values = main.__dict__
        for name in [*values]:
            if not name.startswith("__"):
                del values[name]  # the words that started this process, which are nobody's
    _namespace = Namespace(values)


def receive(into: dict[str, Any], values: dict[str, Any]) -> bool:
    """Take the globals that a function brings along, if it lives in this worker's namespace."""
    if _namespace is None or into is not _namespace.values:
        return False
    _namespace.receive(values)
    return True


def main_globals() -> dict[str, Any]:
    """A worker's namespace; anywhere else, globals of their own for the functions of one pickle."""
    return {"__name__": "__main__"} if _namespace is None else _namespace.values
