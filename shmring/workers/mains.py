"""The caller's program in its workers: whether they have its ``__main__``, and how they start in its environment."""

from __future__ import annotations

import contextlib
import multiprocessing.process
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from shmring.workers.forks import nothing_left_by_a_failed_fork

_ABSENT = object()
_lock = threading.Lock()  # __main__ is one for all threads

# What a worker does first, before it has the caller's sys.path and can import anything of ours: note that it is one,
# and, of a fork server, take the caller's environment.
_BEGIN = "(setattr(__import__('sys'), mark, True), name)[1]"
_TAKE_ENVIRONMENT = (
    "(lambda here: ([here.pop(key) for key in [*here] if key not in environment], here.update(environment)))"
    "(__import__('os').environ) and " + _BEGIN
)
_MARK = "_is_shmring_worker"

NO_GUARD = 97  # exit code of a worker that was about to run the program's main part again
NEEDS_GUARD = (
    "a worker imports the program's main module, which starts workers as it is imported; put the part that does under "
    '`if __name__ == "__main__":`'
)


def workers_have_main() -> bool:
    """Can a worker import this program's ``__main__``? Not when it is a prompt, a notebook, ``-c`` or stdin."""
    main = sys.modules.get("__main__")
    if getattr(sys, "frozen", False) or getattr(main, "__spec__", None) is not None:
        return True
    path = getattr(main, "__file__", None)
    return path is not None and os.path.exists(
        os.path.join(getattr(multiprocessing.process, "ORIGINAL_DIR", None) or "", path)
    )


class _Name(str):
    """The name of a process that is about to start. As it is unpickled, the process notes that it is a worker, and
    takes our environment where it has not got it.
    """

    __slots__ = ("environment",)
    environment: dict[str, str] | None

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        what = _BEGIN if self.environment is None else _TAKE_ENVIRONMENT
        return eval, (what, {"name": str(self), "mark": _MARK, "environment": self.environment})


def check_guard() -> None:
    """End a worker that still imports the program's ``__main__``, and so runs a main part that is under no guard: its
    pool says so, once. RuntimeError in a process that is no worker of ours.
    """
    for package in ("multiprocessing", "multiprocess"):
        module = sys.modules.get(f"{package}.process")
        if module is None or not getattr(module.current_process(), "_inheriting", False):
            continue
        if hasattr(sys, _MARK):
            os._exit(NO_GUARD)
        raise RuntimeError(f"cannot start workers here: {NEEDS_GUARD}")


@contextlib.contextmanager
def ready_to_start(process: Any, method: str) -> Iterator[None]:
    """Within this, a process can be started that finds no more of ``__main__`` than there is, and our environment.

    A fork server has the environment of the moment when it started, so ours goes along with the process's name, the
    first thing that the process is sent.
    """
    if method == "fork":
        if not workers_have_main():
            _number_classes()
        with nothing_left_by_a_failed_fork(process):
            yield
        return
    name = process._name
    process._name = _Name(name)
    process._name.environment = {**os.environ} if method == "forkserver" else None
    try:
        with _lock, _main_as_workers_find_it(), _start_method_that_workers_know(process, method):
            yield
    finally:
        process._name = name


def _number_classes() -> None:
    """Let a forked worker find the classes that it inherits from ``__main__`` when they are sent to it by value."""
    from shmring.workers.by_value import number_class  # late: cloudpickle takes a while, and few fork from a prompt

    for value in [*sys.modules["__main__"].__dict__.values()]:
        if isinstance(value, type) and value.__module__ == "__main__":
            number_class(value)


@contextlib.contextmanager
def _start_method_that_workers_know(process: Any, method: str) -> Iterator[None]:
    """A new process takes its parent's default start method; it has none that a library has added, as loky does."""
    package = type(process).__module__.partition(".")[0]
    known = sys.modules[f"{package}.context"]
    default: Any = known._default_context
    chosen = default._actual_context
    if chosen is None or chosen.get_start_method() in default.get_all_start_methods():
        yield
        return
    default._actual_context = known._concrete_contexts[method]
    try:
        yield
    finally:
        default._actual_context = chosen


@contextlib.contextmanager
def _main_as_workers_find_it() -> Iterator[None]:
    main = sys.modules["__main__"]
    named = main.__dict__.get("__file__", _ABSENT)
    is_there = workers_have_main()
    specified = hasattr(main, "__spec__")  # not under pdb, and multiprocessing asks for it
    if not specified:
        main.__spec__ = None
    if named is not _ABSENT and not is_there:
        del main.__file__  # "<stdin>", say
    try:
        yield
    finally:
        if not specified:
            del main.__spec__
        if named is not _ABSENT and not is_there:
            main.__dict__["__file__"] = named
