"""Functions and classes that a worker cannot import: cloudpickle, and one namespace for ``__main__`` in each worker.

cloudpickle gives each class that it sends a number, by which a process that has it finds it again: so a class is one in
each worker, and one that comes back is the sender's own. It would copy other things as well, files for one; here only
code goes by value, and what pickle refuses stays refused.
"""

from __future__ import annotations

import functools
import pickle
import sys
import types
import typing
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cloudpickle import Pickler
from cloudpickle import cloudpickle as inner

from shmring.workers import namespace

if TYPE_CHECKING:
    import io

    from shmring.workers.pickles import Names

_NOT_CODE = ("_io", "io", "logging", "_weakrefset", "builtins.memoryview", "builtins.dict", "builtins.odict")
_Reduced = tuple[Any, ...]


def _is_code(kind: type) -> bool:
    return not f"{kind.__module__}.{kind.__qualname__}".startswith(_NOT_CODE)


_CODE = {kind: reducer for kind, reducer in Pickler._dispatch_table.items() if _is_code(kind)}
_OWN = ("cloudpickle.cloudpickle", __name__, "shmring.workers.namespace")  # of which pickles are made
_SINGLE_DISPATCH = ("dispatch", "register", "registry", "_clear_cache", "__wrapped__")
_CACHED = type(functools.lru_cache(len))


_made: tuple[Any, dict[Any, Any]] = None, {}


def _with_code(table: dict[Any, Any]) -> dict[Any, Any]:
    """The same reducers and those for code; made anew when they change, which makes another table."""
    global _made
    made = _made
    if made[0] is not table:
        _made = made = table, {**_CODE, **table}
    return made[1]


class ValuePickler(Pickler):  # type: ignore[misc]
    """Pickles by reference what the receiver can import, and functions and classes by value."""

    def __init__(
        self,
        file: io.BytesIO,
        table: dict[Any, Any],
        names: Names,
        keep: Callable[[pickle.PickleBuffer], Any] | None,
        first: Callable[[Any], Any] | None,
    ) -> None:
        self.dispatch_table = _with_code(table)
        if names.lacks_modules:
            self.dispatch_table = {**self.dispatch_table, types.ModuleType: self._module}
        self._names, self._first = names, first
        super().__init__(file, 5, keep)

    def reducer_override(self, obj: Any) -> Any:
        if self._first is not None:
            reduced = self._first(obj)
            if reduced is not NotImplemented:
                return reduced
        kind = type(obj)
        if kind is types.FunctionType:
            if obj.__module__ in _OWN or self._is_by_reference(obj):
                return NotImplemented
            is_dispatch = obj.__dict__ and all(hasattr(obj, name) for name in _SINGLE_DISPATCH)
            return _dispatch_by_value(obj) if is_dispatch else self._function(obj)
        if issubclass(kind, type):
            if obj.__module__ == "builtins":
                return super().reducer_override(obj)  # which knows the types that have no name there
            return NotImplemented if self._is_by_reference(obj) else inner._dynamic_class_reduce(obj)
        return _cache_by_value(obj) if kind is _CACHED and not self._is_there(obj) else NotImplemented

    def _is_by_reference(self, obj: Any) -> bool:
        if obj.__module__ == "__main__":
            return self._is_there(obj)
        return inner._should_pickle_by_reference(obj) and not self._names.lacks(obj)

    def _is_there(self, obj: Any) -> bool:
        """Will the receiver find this very object under its name?"""
        if self._names.lacks(obj):
            return False
        found = sys.modules.get(obj.__module__)
        for part in obj.__qualname__.split("."):
            found = getattr(found, part, None)
        return found is obj

    def _function(self, function: types.FunctionType) -> _Reduced:
        make, arguments, state, *rest = self._dynamic_function_reduce(function)
        if function.__globals__.get("__name__") == "__main__":
            arguments = arguments[0], _MAIN, *arguments[2:]
            rest[-1] = _set_function
        return make, arguments, state, *rest

    def _module(self, module: types.ModuleType) -> _Reduced:
        if (module.__name__, "") in self._names.absent:
            state = {name: value for name, value in vars(module).items() if name != "__builtins__"}
            return inner.dynamic_subimport, (module.__name__, state)
        reduced: _Reduced = inner._module_reduce(module)
        return reduced


def number_class(kind: type) -> None:
    """Give a class its number now, for processes that inherit both."""
    inner._get_or_create_tracker_id(kind)


# --- what cloudpickle cannot do ---


def _dispatch_by_value(function: Any) -> _Reduced:
    """A ``functools.singledispatch``; its functions may refer to it, so it is there before they are."""
    registry = {kind: each for kind, each in function.registry.items() if kind is not object}
    state = function.__wrapped__, registry
    return _make_dispatch, (), state, None, None, _set_dispatch


def _undispatched(*args: Any) -> typing.NoReturn:
    raise RuntimeError("this single-dispatch function has not arrived whole")


def _make_dispatch() -> Any:
    return functools.singledispatch(_undispatched)


def _set_dispatch(function: Any, state: tuple[Any, dict[type, Any]]) -> None:
    general, registry = state
    function.register(object, general)
    for kind, each in registry.items():
        function.register(kind, each)
    functools.update_wrapper(function, general)


def _cache_by_value(function: Any) -> _Reduced:
    """A function behind ``functools.lru_cache``, with an empty cache; it may call itself."""
    parameters = function.cache_parameters()
    return _make_cache, (parameters["maxsize"], parameters["typed"]), function.__wrapped__, None, None, _set_cache


def _make_cache(maxsize: int | None, typed: bool) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        return made.__wrapped__(*args, **kwargs)

    made: Any = functools.lru_cache(maxsize, typed)(call)
    return made


def _set_cache(function: Any, wrapped: Any) -> None:
    functools.update_wrapper(function, wrapped)


# --- the globals of functions of __main__ ---


class _Main:
    """Stands in a pickle for the globals of ``__main__``."""

    def __reduce__(self) -> tuple[Callable[[], dict[str, Any]], tuple[()]]:
        return namespace.main_globals, ()


_MAIN = _Main()


def _set_function(function: Any, state: tuple[Any, dict[str, Any]]) -> Any:
    attributes, slots = state
    if namespace.receive(function.__globals__, slots["__globals__"]):
        slots = {**slots, "__globals__": {}}
    return inner._function_setstate(function, (attributes, slots))
