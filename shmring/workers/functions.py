"""Functions on their way to workers: by reference where a worker can import them, by value (dill) where it cannot."""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
import types
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import multiprocess.process

from shmring.workers.parcels import by_dill

_NAMED = (types.FunctionType, types.BuiltinFunctionType, type)
_by_reference: weakref.WeakKeyDictionary[Any, bytes] = weakref.WeakKeyDictionary()
_MOST_LOADED = 256


def children_have_main() -> bool:
    """Can a started child import this program's ``__main__``? Not when it is a prompt, a notebook, ``-c`` or stdin."""
    main = sys.modules.get("__main__")
    if getattr(main, "__spec__", None) is not None:
        return True
    path = getattr(main, "__file__", None)
    return path is not None and os.path.exists(os.path.join(multiprocess.process.ORIGINAL_DIR or "", path))


@contextlib.contextmanager
def main_as_children_find_it() -> Iterator[None]:
    """Within this, a process is started without the ``__main__`` that it could not import, instead of failing in it."""
    main = sys.modules["__main__"]
    named = getattr(main, "__file__", None)
    if named is None or children_have_main():
        yield
        return
    del main.__file__  # "<stdin>", say
    try:
        yield
    finally:
        main.__file__ = named


def function_pickle(function: Callable[..., Any], by_value: bool) -> tuple[bytes, bool]:
    """A function's pickle, and whether it is dill's. Empty for a callable that is rather pickled with its arguments.

    A pickle by reference is kept with the function. One by value is not: what the function closes over may change.
    """
    if not isinstance(function, _NAMED):
        return b"", False
    known = _by_reference.get(function)
    if known is not None and not by_value:
        return known, False
    if not by_value and not (function.__module__ == "__main__" and not children_have_main()):
        try:
            data = pickle.dumps(function, 5)
        except (pickle.PicklingError, AttributeError, TypeError):
            pass
        else:
            _by_reference[function] = data
            return data, False
    return by_dill(function), True


_loaded: dict[bytes, Callable[..., Any]] = {}


def function_of(data: bytes, is_dill: bool) -> Callable[..., Any]:
    """The function of a pickle; unpickled once in a process, so that it is called again as a module's function is."""
    function = _loaded.get(data)
    if function is None:
        if is_dill:
            import dill

            function = dill.loads(data)
        else:
            function = pickle.loads(data)
        if len(_loaded) >= _MOST_LOADED:
            _loaded.clear()
        _loaded[data] = function
    return function


class PickledFunction:
    """A function that any pickler can send: it is called as the function, and unpickled when it first is."""

    def __init__(self, data: bytes, is_dill: bool) -> None:
        self._data, self._is_dill = data, is_dill

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return function_of(self._data, self._is_dill)(*args, **kwargs)
