"""Whether an exception came out of a signal handler: then it is not the fault of the code that it interrupted."""

from __future__ import annotations

import functools
import inspect
import signal
import traceback
import types
from collections.abc import Iterator
from typing import Any


def _with_its_origins(error: BaseException) -> Iterator[BaseException]:
    """The exception, and each that it came of: a codec may have raised one of its own because of another."""
    pending: list[BaseException | None] = [error]
    seen: set[int] = set()
    while pending:
        each = pending.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        pending += [each.__cause__, each.__context__]
        if isinstance(each, BaseExceptionGroup):
            pending += each.exceptions


def _code_of(handler: Any) -> types.CodeType | None:
    while isinstance(handler, functools.partial):
        handler = handler.func
    function = handler if hasattr(handler, "__code__") else getattr(handler, "__func__", None)
    if function is None and callable(handler):  # an object of a class that says what a call does
        function = type(handler).__call__
    code = getattr(function, "__code__", None)
    return code if isinstance(code, types.CodeType) else None


def _handlers() -> set[types.CodeType | None]:
    """The code of every handler that is installed now."""
    found = {_code_of(signal.getsignal(number)) for number in signal.valid_signals()}
    return found - {None}


def _got_what_it_interrupted(frame: types.FrameType) -> bool:
    """A handler is called with the frame that it interrupts, which is then its caller's."""
    code = frame.f_code
    count = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & inspect.CO_VARARGS)
    local = frame.f_locals
    values = [local.get(name) for name in code.co_varnames[:count]]
    if isinstance(local, dict):  # before Python 3.13 a copy, which the frame keeps when it is cleared
        local.clear()
    values += [each for value in values if isinstance(value, tuple) for each in value]
    return frame.f_back is not None and any(value is frame.f_back for value in values)


def is_raised_by_handler(error: BaseException) -> bool:
    """Did it, or anything that it came of, leave a handler of signals?"""
    handlers = _handlers()
    return any(
        frame.f_code in handlers or _got_what_it_interrupted(frame)
        for each in _with_its_origins(error)
        for frame, _ in traceback.walk_tb(each.__traceback__)
    )
