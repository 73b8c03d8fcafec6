"""Pipeline: how one is put together, and run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar, TypeVarTuple, Unpack, cast, overload

from shmring.pipeline.running import Run
from shmring.pipeline.stages import OnDeath, OnError, StageSpec, StageStats

T = TypeVar("T")
U = TypeVar("U")
Ts = TypeVarTuple("Ts")


class Pipeline(Generic[T]):
    """Items from a source through stages of worker processes to a sink, each stage at work while the others are.

    ``Pipeline().source(lines).stage(parse, workers=4).stage(score).sink(store).run()``; without a sink, ``run()``
    returns the results, and a pipeline is an iterator of them. Each call returns a new pipeline, so a beginning can
    be used for several. No stage runs further ahead than the next has room for.

    Leaving its ``with`` block, an error and Ctrl-C end all workers at once; nothing is left behind.

    When a peer dies:
        A killed worker is replaced, and what it was doing is done again: see :meth:`stage`.
    Threads:
        A pipeline is put together and run by one thread; any may call :meth:`stats` and :meth:`close`.

    >>> with shmring.Pipeline().source(range(4)).stage(abs, workers=2) as pipeline:
    ...     pipeline.run()
    [0, 1, 2, 3]
    """

    def __init__(self) -> None:
        self._sources: tuple[Callable[[], Iterable[Any]], ...] = ()
        self._stages: tuple[StageSpec, ...] = ()
        self._sink: Callable[[Any], object] | None = None
        self._run: Run | None = None

    def _with(self, **changes: Any) -> Pipeline[Any]:
        if self._run is not None:
            raise ValueError("this pipeline is running; put it together before, or begin another")
        copy: Pipeline[Any] = type(self)()
        copy.__dict__.update({**self.__dict__, **changes})
        return copy

    def source(self, *sources: Iterable[U] | Callable[[], Iterable[U]]) -> Pipeline[U]:
        """Say where items come from: an iterable, or a function that returns one. Several flow together as they come.

        Each is iterated in a thread of its own, in this process.

        Raises:
            TypeError: A source is no iterable, and no function.
            ValueError: There is a source, or a stage, already; or none is given.
        """
        if self._sources or self._stages:
            raise ValueError("a pipeline has one call of source(), its first; give it several sources at once")
        if not sources:
            raise ValueError("source() needs an iterable, or a function that returns one")
        for each in sources:
            if not callable(each) and not hasattr(type(each), "__iter__"):
                raise TypeError(f"source is {each!r}; it is an iterable, or a function that returns one")
        made = tuple(each if callable(each) else lambda each=each: each for each in sources)
        return self._with(_sources=made)

    @overload
    def stage(
        self,
        fn: Callable[[T], Iterable[U]],
        *,
        workers: int = 1,
        ordered: bool = True,
        batch: int = 64,
        expand: Literal[True],
        on_error: OnError = "raise",
        on_death: OnDeath = "retry",
        retries: int = 3,
        executor: Executor | None = None,
        name: str | None = None,
        mp_context: Any = None,
        initializer: Callable[[Unpack[Ts]], object] | None = None,
        initargs: tuple[*Ts] = ...,
        max_tasks_per_child: int | None = None,
        capacity: int | str | None = None,
        leased: bool = False,
    ) -> Pipeline[U]: ...
    @overload
    def stage(
        self,
        fn: Callable[[T], U],
        *,
        workers: int = 1,
        ordered: bool = True,
        batch: int = 64,
        expand: Literal[False] = False,
        on_error: OnError = "raise",
        on_death: OnDeath = "retry",
        retries: int = 3,
        executor: Executor | None = None,
        name: str | None = None,
        mp_context: Any = None,
        initializer: Callable[[Unpack[Ts]], object] | None = None,
        initargs: tuple[*Ts] = ...,
        max_tasks_per_child: int | None = None,
        capacity: int | str | None = None,
        leased: bool = False,
    ) -> Pipeline[U]: ...
    @overload
    def stage(
        self,
        fn: Sequence[Callable[[T], Any]],
        *,
        workers: int = 1,
        ordered: bool = True,
        batch: int = 64,
        expand: Literal[False] = False,
        on_error: OnError = "raise",
        on_death: OnDeath = "retry",
        retries: int = 3,
        executor: Executor | None = None,
        name: str | None = None,
        mp_context: Any = None,
        initializer: Callable[[Unpack[Ts]], object] | None = None,
        initargs: tuple[*Ts] = ...,
        max_tasks_per_child: int | None = None,
        capacity: int | str | None = None,
        leased: bool = False,
    ) -> Pipeline[tuple[Any, ...]]: ...
    def stage(
        self,
        fn: Callable[[T], Any] | Sequence[Callable[[T], Any]],
        *,
        workers: int = 1,
        ordered: bool = True,
        batch: int = 64,
        expand: bool = False,
        on_error: OnError = "raise",
        on_death: OnDeath = "retry",
        retries: int = 3,
        executor: Executor | None = None,
        name: str | None = None,
        mp_context: Any = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        max_tasks_per_child: int | None = None,
        capacity: int | str | None = None,
        leased: bool = False,
    ) -> Pipeline[Any]:
        """Add a stage: ``fn`` is called with each item, in ``workers`` processes, and what it returns goes on.

        ``ordered`` keeps the order of the items; else results go on as they come. ``batch`` is how many items travel
        together at most. ``expand=True`` sends on each thing that ``fn`` yields. Several functions, in a list, are all
        called with each item, and the tuple of their results goes on.

        An item on which ``fn`` raises follows ``on_error``: "raise" ends the pipeline with a StageError that has the
        item, "skip" leaves it out, a function is called with the StageError and what it returns goes on in the item's
        place (None: nothing).

        ``executor`` runs the stage on another concurrent.futures.Executor (Dask's ``Client.get_executor()``, say),
        which stays open; ``workers`` is then how much to keep going there. ``mp_context``, ``initializer``,
        ``initargs``, ``max_tasks_per_child``, ``capacity`` and ``leased`` are those of ProcessPoolExecutor.

        Waits:
            Never; the workers are started when the pipeline runs.
        Raises:
            TypeError: ``fn`` is no callable, or there is no such parameter.
            ValueError: A value is out of range, there is no source yet, or there is a sink already.
        When a peer dies:
            A worker that is killed is replaced; what it was doing is done again, up to ``retries`` times, and then
            follows ``on_error``; with ``on_death="drop"`` its batch is left out instead.
        """
        functions = (fn,) if callable(fn) else tuple(fn)
        if not self._sources:
            raise ValueError("a pipeline begins with source(), then come stages")
        if self._sink is not None:
            raise ValueError("sink() is the end of a pipeline; add stages before it")
        for each in functions:
            if not callable(each):
                raise TypeError(f"a stage's function is {each!r}; it must be a callable")
        if not functions:
            raise ValueError("a stage needs a function, or a list of at least one")
        for what, value, least in (("workers", workers, 1), ("batch", batch, 1), ("retries", retries, 0)):
            if not isinstance(value, int) or value < least:
                raise ValueError(f"{what} is {value!r}; it is an int from {least}")
        if on_error not in ("raise", "skip") and not callable(on_error):
            raise ValueError(f"on_error is {on_error!r}; it is 'raise', 'skip' or a function of the StageError")
        if on_death not in ("retry", "drop"):
            raise ValueError(f"on_death is {on_death!r}; it is 'retry' or 'drop'")
        options = {
            option: value
            for option, value, unless in (
                ("mp_context", mp_context, None),
                ("initializer", initializer, None),
                ("initargs", initargs, ()),
                ("max_tasks_per_child", max_tasks_per_child, None),
                ("capacity", capacity, None),
                ("leased", leased, False),
            )
            if value != unless
        }
        if executor is not None and options:
            raise ValueError(f"{', '.join(options)}: these are options of an executor of the stage's own; drop them")
        if expand and len(functions) > 1:
            raise ValueError("expand is for a stage of one function; several give a tuple for each item")
        spec = StageSpec(
            functions,
            name or str(getattr(functions[0], "__name__", f"stage {len(self._stages) + 1}")),
            workers,
            ordered,
            batch,
            expand,
            not callable(fn),
            on_error,
            on_death,
            0 if on_death == "drop" else retries,
            executor,
            options,
        )
        return self._with(_stages=(*self._stages, spec))

    def sink(self, fn: Callable[[T], object]) -> Pipeline[T]:
        """Say where results go: ``run()`` calls ``fn`` with each, in the caller's thread.

        Raises:
            TypeError: ``fn`` is no callable.
            ValueError: There is a sink already.
        """
        if not callable(fn):
            raise TypeError(f"sink is {fn!r}; it is a function of one result")
        if self._sink is not None:
            raise ValueError("this pipeline has a sink already")
        return cast("Pipeline[T]", self._with(_sink=fn))

    def run(self, progress: bool = False) -> list[T] | None:
        """Run it all, and return the list of results; or None when a sink has taken them.

        ``progress=True`` shows a table of the stages on the terminal as it runs (needs ``shmring[cli]``). What a source
        or the sink raises is raised.

        Waits:
            Until the last item is done.
        Raises:
            StageError: An item failed, and the stage's ``on_error`` is "raise".
            Closed: Another thread, or the sink, closed the pipeline.
            ValueError: There is no source.
        When a peer dies:
            As ``stage`` says.
        """
        with contextlib.ExitStack() as stack:
            stack.enter_context(self)
            results = iter(self)
            if progress:
                from shmring.pipeline.table import shown

                stack.enter_context(shown(self.stats))
            if self._sink is None:
                return [*results]
            for result in results:
                self._sink(result)
        return None

    def stats(self) -> tuple[StageStats, ...]:
        """Return what each stage has done so far in the latest run, exact when it is over.

        Waits:
            Never.
        """
        return self._run.stats() if self._run else ()

    def __iter__(self) -> Iterator[T]:
        """The results, as they come (and not through the sink). One run at a time: another one closes it.

        An iterator that is dropped ends its run; one whose run was closed raises Closed.
        """
        if not self._sources:
            raise ValueError("a pipeline begins with source()")
        self.close()
        self._run = Run(self._sources, self._stages)
        results = self._run.results()
        next(results)  # begun, so that it ends the run also if it is dropped before anybody takes a result
        return results

    def close(self) -> None:
        """End a run that is under way, and all its workers; the thread that takes its results gets Closed.

        Any thread may call it, a sink too. May be called again.

        Waits:
            For the workers to end.
        """
        if self._run is not None:
            self._run.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
