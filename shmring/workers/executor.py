"""ProcessPoolExecutor: ``concurrent.futures``' executor, whose tasks and results go through shared memory."""

from __future__ import annotations

import collections
import functools
import itertools
import multiprocessing
import operator
import os
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import Any, ParamSpec, TypeVar, TypeVarTuple

from shmring.segment.descriptors import shortage_explained
from shmring.workers import parcels
from shmring.workers.beginning import Beginning
from shmring.workers.crew import MOST_WORKERS
from shmring.workers.failures import KILL
from shmring.workers.pickles import PACKAGES, Names
from shmring.workers.pool import Pool
from shmring.workers.tasks import Task

P = ParamSpec("P")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")

DEFAULT_CAPACITY = "16 MiB"
_BUNDLE = 64
_PRELOADED = "shmring.workers.child"  # by the fork server
_NOT_LATER = 0.0005  # seconds
_GREEN = (
    ("gevent.monkey", "is_module_patched", "threading", "gevent.monkey.patch_all(thread=False)"),
    ("eventlet.patcher", "is_monkey_patched", "thread", "eventlet.monkey_patch(thread=False)"),
)
_BEFORE_CHILDREN = 100  # priority of a finalizer, in a child: its queues have less
_registered: set[object] = set()
_pools: weakref.WeakSet[Pool] = weakref.WeakSet()
_interpreter_ends = False


class ProcessPoolExecutor(Executor):
    """A pool of worker processes; ``concurrent.futures.ProcessPoolExecutor``'s calls, through shared memory.

    ``max_workers`` is one for each CPU by default. ``mp_context`` is a context of multiprocessing or multiprocess; by
    default workers come from multiprocessing's fork server, because a fork of this process, which has threads, could
    inherit a lock that no thread will release; only where ``initargs`` hold locks that the program made to be inherited
    by a fork are they forked. A forked child, which its parent's fork server does not serve, spawns them.
    ``capacity`` is the room for tasks, and for results ("16 MiB" or an int of bytes); what is longer than a quarter of
    it travels in memory of its own. ``leased=True`` returns large arrays in the shared memory itself, without a copy;
    the memory is freed when the last array that uses it is deleted. ``progress=True`` shows how far each ``map`` is
    (needs ``shmring[cli]``).

    A task is one pickle. Functions and classes that a worker cannot import go by value (lambdas, closures, what is
    defined in a notebook), and a class is one in each worker; what else pickle refuses is refused.

    Waits:
        For results, in ``shutdown`` and, with ``buffersize``, in the iteration of ``map``.
    When a peer dies:
        A worker that is killed or crashes takes nothing but its own task with it: that future raises WorkerDied, or
        with ``retries=n`` the task is run again elsewhere, up to n times; the pool starts another worker and goes on.
    Copies:
        A task and its result each once into shared memory and once out of it; with ``leased`` large arrays are not
        copied out.
    Threads:
        Any thread may use it, and a signal handler too; one that interrupts a call of the same executor cannot wait for
        its end, so ``shutdown`` returns at once there. In a forked child its calls, and the futures that are pending,
        raise
        RuntimeError: it stays the parent's, and goes on there. Under gevent's or eventlet's threads it raises
        RuntimeError.

    >>> with shmring.ProcessPoolExecutor(max_workers=2) as pool:
    ...     print(pool.submit(pow, 2, 10).result(), list(pool.map(abs, [-1, -2])))
    1024 [1, 2]
    """

    @shortage_explained()
    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: Any = None,
        initializer: Callable[[*Ts], object] | None = None,
        initargs: tuple[*Ts] = (),  # type: ignore[assignment]
        *,
        max_tasks_per_child: int | None = None,
        retries: int = 0,
        capacity: int | str = DEFAULT_CAPACITY,
        leased: bool = False,
        progress: bool | str = False,
    ) -> None:
        _check_threads()
        self._max_workers = _checked_size(max_workers)
        if initializer is not None and not callable(initializer):
            raise TypeError(f"initializer is {initializer!r}; it must be a callable")
        if not isinstance(retries, int) or retries < 0:
            raise ValueError(f"retries is {retries!r}; it is how often a task is run again, from 0")
        self._mp_context = _checked_context(mp_context, max_tasks_per_child)
        self._retries, self._leased, self._progress = retries, leased, progress
        names = Names(_package_of(self._mp_context))
        beginning = Beginning(initializer, initargs, names)
        _register_at_exit()
        forked = _forked_context() if mp_context is None and max_tasks_per_child is None else None
        self._pool = Pool(self._mp_context, self._max_workers, beginning, names, max_tasks_per_child, capacity, forked)
        _pools.add(self._pool)
        self._finalizer = weakref.finalize(self, _end, self._pool, os.getpid())
        self._finalizer.atexit = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Schedule a call and return its future.

        What cannot be pickled is raised by the future.

        Waits:
            Never.
        Raises:
            BrokenProcessPool: The pool is broken.
            RuntimeError: The executor was shut down, or is the parent's in a forked child.
        """
        task = Task(fn, args, kwargs, self._retries, flags=self._flags(None))
        self._pool.submit((task,), self._refusal)
        return task.future

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
        progress: bool | str | None = None,
        leased: bool | None = None,
    ) -> Iterator[T]:
        """Call ``fn`` with the items of the iterables, in workers, and return an iterator of the results, in order.

        All is submitted at once, unless ``buffersize`` bounds how many results wait to be taken. ``chunksize`` items
        travel in one task. ``progress`` and ``leased`` override the executor's.

        Waits:
            Never here; the iterator waits for the next result, until ``timeout`` seconds after this call (None: without
            limit).
        Raises:
            TimeoutError: The next result is not there in time, as the iterator is used.
            WorkerDied: As the future of a task, as the iterator is used.
            BrokenProcessPool: The pool is broken.
            RuntimeError: The executor was shut down.
            ValueError: ``chunksize`` or ``buffersize`` is less than 1.
            TypeError: ``buffersize`` is no integer.
        """
        if chunksize < 1:
            raise ValueError(f"chunksize is {chunksize}; it must be >= 1")
        if buffersize is not None and not isinstance(buffersize, int):
            raise TypeError(f"buffersize must be an integer or None; it is {buffersize!r}")
        if buffersize is not None and buffersize < 1:
            raise ValueError(f"buffersize must be None or > 0; it is {buffersize} (None submits all at once)")
        give_up = None if timeout is None else time.monotonic() + timeout
        calls: Iterator[tuple[Any, ...]] = zip(*iterables, strict=False)
        kind = parcels.CALL
        if chunksize > 1:
            kind = parcels.CHUNK
            calls = _chunks(calls, chunksize)
        flags, retries = self._flags(leased), self._retries
        tasks = (Task(fn, args, {}, retries, kind, flags) for args in calls)
        submitted = collections.deque(self._submit_all(tasks, buffersize))
        # Its iterator keeps an executor that it submits more to, and no other: that may be collected before it.
        more = None if buffersize is None else functools.partial(self._submit_all, tasks, 1)
        results = _results(submitted, more, give_up)
        if kind == parcels.CHUNK:
            results = itertools.chain.from_iterable(results)
        shown = self._progress if progress is None else progress
        if shown:
            from shmring.workers.progress import shown_while

            total = None if buffersize else len(submitted)
            results = shown_while(results, shown, fn, None if total is None else total * chunksize)
        return results

    def _submit_batch(
        self, run: Callable[..., T], fn: Callable[[Any], Any], items: list[Any], expand: bool, retries: int
    ) -> Future[T]:
        """For pipelines: ``run(fn, items, expand)`` in a worker."""
        task = Task(fn, (run, items, expand), {}, retries, parcels.BATCH, self._flags(None))
        self._pool.submit((task,), self._refusal)
        return task.future

    def _flags(self, leased: bool | None) -> int:
        return parcels.LEASED if (self._leased if leased is None else leased) else 0

    def _submit_all(self, tasks: Iterator[Task], limit: int | None) -> Iterator[Future[Any]]:
        """Many at a time, unless the next one is long in coming."""
        bundle: list[Task] = []
        began = 0.0
        for task in itertools.islice(tasks, limit):
            bundle.append(task)
            now = time.monotonic()
            if len(bundle) == _BUNDLE or now - began > _NOT_LATER:
                self._pool.submit(bundle, self._refusal)
                yield from (each.future for each in bundle)
                bundle, began = [], time.monotonic()
        if bundle:
            self._pool.submit(bundle, self._refusal)
            yield from (each.future for each in bundle)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls, and end when those pending are done; ``cancel_futures`` drops what has not begun.

        May be called again.

        Waits:
            With ``wait`` until all workers have ended.
        """
        self._pool.end(cancel_futures)
        if wait:
            self._pool.join()

    def terminate_workers(self) -> None:
        """End the workers with SIGTERM; what was pending raises BrokenProcessPool.

        Waits:
            Never.
        Raises:
            RuntimeError: The executor is the parent's in a forked child.
        """
        self._pool.kill(signal.SIGTERM)

    def kill_workers(self) -> None:
        """End the workers with SIGKILL; what was pending raises BrokenProcessPool.

        Waits:
            Never.
        Raises:
            RuntimeError: The executor is the parent's in a forked child.
        """
        self._pool.kill(KILL)

    @property
    def _processes(self) -> dict[int, Any]:
        """The workers by process id, as the standard library's has them; for debuggers and tests."""
        return {member.pid: member.process for member in [*self._pool.crew.members.values()]}

    @property
    def _broken(self) -> str | bool:
        return self._pool.broken or False

    def _refusal(self) -> str | None:
        if _interpreter_ends:
            return "interpreter shutdown"
        return "shutdown" if self._pool.ending else None

    def __repr__(self) -> str:
        return f"<ProcessPoolExecutor max_workers={self._max_workers}{' broken' if self._broken else ''}>"


def _results(
    futures: collections.deque[Future[Any]], more: Callable[[], Iterator[Future[Any]]] | None, give_up: float | None
) -> Iterator[Any]:
    try:
        while futures:
            if more is not None:
                futures.extend(more())
            yield _result_of(futures.popleft(), None if give_up is None else give_up - time.monotonic())
    finally:
        for future in futures:
            future.cancel()


def _result_of(future: Future[Any], timeout: float | None) -> Any:
    """Its result, of which nothing keeps a reference afterwards, not a traceback either."""
    try:
        try:
            return future.result(timeout)
        finally:
            future.cancel()
    finally:
        del future


def _chunks(calls: Iterator[tuple[Any, ...]], size: int) -> Iterator[tuple[Any, ...]]:
    """Calls in bundles, each the arguments of one task."""
    while chunk := tuple(itertools.islice(calls, size)):
        yield (chunk,)


def _checked_size(max_workers: int | None) -> int:
    if max_workers is None:
        return min(os.cpu_count() or 1, MOST_WORKERS)
    try:
        max_workers = operator.index(max_workers)
    except TypeError:
        raise TypeError(f"max_workers must be an integer; it is {max_workers!r}") from None
    if max_workers <= 0:
        raise ValueError(f"max_workers must be greater than 0; it is {max_workers}")
    if max_workers > MOST_WORKERS:
        raise ValueError(f"max_workers must be <= {MOST_WORKERS}; it is {max_workers}")
    return max_workers


def _package_of(context: Any) -> str:
    """Whose processes a context starts, multiprocessing's or multiprocess'."""
    return type(context).__module__.partition(".")[0]


def _default_context() -> Any:
    """The fork server's where there is one that serves us, unless the program has chosen to spawn."""
    methods = multiprocessing.get_all_start_methods()
    if "forkserver" not in methods or multiprocessing.get_start_method(allow_none=True) == "spawn":
        return multiprocessing.get_context("spawn")
    from multiprocessing import forkserver

    if _is_of_another(forkserver._forkserver._forkserver_pid):  # type: ignore[attr-defined]
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    loaded = [*forkserver._forkserver._preload_modules]  # type: ignore[attr-defined]
    if _PRELOADED not in loaded:
        context.set_forkserver_preload([*loaded, _PRELOADED])
    return context


def _is_of_another(server: int | None) -> bool:
    """Is this fork server the child of a process that we were forked from? Multiprocessing waits for it as for ours."""
    if sys.platform != "win32" and server is not None and hasattr(os, "waitid"):
        try:
            os.waitid(os.P_PID, server, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return True
    return False


def _forked_context() -> Any:
    """What a program that forks by default gets where its initializer's arguments can go no other way: locks, for one.

    The standard library forks there in any case, until Python 3.14.
    """
    is_beginning = getattr(multiprocessing.current_process(), "_inheriting", False)  # itself, without a main guard
    chosen = multiprocessing.get_start_method(allow_none=True)
    return multiprocessing.get_context("fork") if chosen == "fork" and not is_beginning else None


def _check_threads() -> None:
    """A greenlet in the place of a thread would wait for processes, and with it all others."""
    for patcher, asks, threads, remedy in _GREEN:
        module = sys.modules.get(patcher)
        if module is not None and getattr(module, asks)(threads):
            raise RuntimeError(
                f"{patcher} has replaced threads by greenlets in this program, and a pool of processes needs a thread "
                f"that waits beside them; leave threads as they are: {remedy}"
            )


def _checked_context(context: Any, max_tasks: int | None) -> Any:
    if context is None:
        context = _default_context()
    if max_tasks is not None:
        if not isinstance(max_tasks, int):
            raise TypeError(f"max_tasks_per_child must be an integer; it is {max_tasks!r}")
        if max_tasks <= 0:
            raise ValueError(f"max_tasks_per_child must be >= 1; it is {max_tasks}")
        if context.get_start_method(allow_none=False) == "fork":
            raise ValueError(
                "max_tasks_per_child is incompatible with the 'fork' multiprocessing start method; supply a different "
                "mp_context"
            )
    return context


def _end(pool: Pool, owner: int) -> None:
    if os.getpid() == owner:
        pool.end()


def _disown_all() -> None:
    for pool in [*_pools]:
        pool.disown()


if hasattr(os, "register_at_fork"):  # where processes fork
    os.register_at_fork(after_in_child=_disown_all)


def _end_all() -> None:
    """Before the interpreter ends: what was submitted is done first, as in the standard library."""
    global _interpreter_ends
    _interpreter_ends = True
    pools = [*_pools]
    for pool in pools:
        pool.end()
    for pool in pools:
        try:
            pool.join()
        except BaseException:  # Ctrl-C: whoever waits for it has had enough
            for each in pools:
                each.kill()
            raise


def _register_at_exit() -> None:
    """As concurrent.futures does: before the interpreter waits for threads, and before any atexit function.

    A child of multiprocessing waits for its own children before that, so there it is done earlier.
    """
    if "main" not in _registered:
        _registered.add("main")
        threading._register_atexit(_end_all)  # type: ignore[attr-defined]
    for package in PACKAGES:
        process = sys.modules.get(f"{package}.process")
        if (package, os.getpid()) in _registered or process is None or process.parent_process() is None:
            continue
        _registered.add((package, os.getpid()))
        sys.modules[f"{package}.util"].Finalize(None, _end_all, exitpriority=_BEFORE_CHILDREN)
