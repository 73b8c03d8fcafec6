"""How a queue turns objects into messages: by pickle, as data.

multiprocessing sends some objects by reference: for a socket, a connection or a tensor only an address goes through its
queues, and whoever gets that asks the sender for the thing, who must still be there. What is in a queue outlives its
sender, and may be got a second time. So what can travel as data does, whatever reducer multiprocessing has for it, and
what cannot is refused when it is put.
"""

from __future__ import annotations

import copyreg
import io
import pickle
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from shmring.codecs.pickling import PickleCodec

_PACKAGES = ("multiprocessing", "multiprocess")
_WITH_REFERENCES = (*_PACKAGES, "torch")  # whose own reducers may send an address
_DATA = ("_reduce_method", "_reduce_method_descriptor", "_reduce_partial")  # of theirs


def _refuse(handle: object) -> NoReturn:
    kind = f"{type(handle).__module__}.{type(handle).__qualname__}"
    raise TypeError(
        f"a {kind} cannot be put into a queue: it is a handle of this process and no data, so that it would be lost "
        "with this process, or with whoever gets it first; pass it as an argument of Process(), or send it through a "
        "multiprocessing.Pipe()"
    )


def _reducers() -> tuple[dict[Any, Any], int]:
    """What pickle is told about types, by whoever registered something; and how many there are, to see a new one."""
    table, known = dict(copyreg.dispatch_table), len(copyreg.dispatch_table)
    for package in _PACKAGES:
        sharer = sys.modules.get(f"{package}.resource_sharer")
        for name in ("DupFd", "DupSocket"):
            if hasattr(sharer, name):
                table[getattr(sharer, name)] = _refuse
        reduction = sys.modules.get(f"{package}.reduction")
        if reduction is None:
            continue
        theirs: dict[Any, Callable[..., Any]] = reduction.ForkingPickler._extra_reducers
        known += len(theirs) + (sharer is not None)
        for kind, reducer in [*theirs.items()]:
            origin = (getattr(reducer, "__module__", None) or "").partition(".")[0]
            if origin not in _WITH_REFERENCES or getattr(reducer, "__name__", "") in _DATA:
                table[kind] = reducer
            elif origin in _PACKAGES:
                table[kind] = _refuse
    return table, known


def _count() -> int:
    known = len(copyreg.dispatch_table)
    for package in _PACKAGES:
        reduction = sys.modules.get(f"{package}.reduction")
        if reduction is not None:
            known += len(reduction.ForkingPickler._extra_reducers) + (f"{package}.resource_sharer" in sys.modules)
    return known


class QueueCodec(PickleCodec):
    """Pickle with the reducers that users have registered with multiprocessing or copyreg.

    ``by_dill``: what plain pickle cannot, dill may (lambdas, for one), as multiprocess does it.
    """

    def __init__(self, by_dill: bool = False) -> None:
        super().__init__(self._dump)
        self.by_dill = by_dill
        self._table: dict[Any, Any] = {}
        self._known = -1

    def _dump(self, value: Any, protocol: int, *, buffer_callback: Callable[[pickle.PickleBuffer], Any]) -> bytes:
        file = io.BytesIO()
        pickler = pickle.Pickler(file, protocol, buffer_callback=buffer_callback)
        if self._known != _count():  # one plain dict, for speed
            self._table, self._known = _reducers()
        pickler.dispatch_table = self._table
        pickler.dump(value)
        return file.getvalue()

    def encode(self, value: Any, /) -> Any:
        try:
            return super().encode(value)
        except (pickle.PicklingError, TypeError, AttributeError):
            if not self.by_dill:
                raise
            import dill

            return dill.dumps(value)
