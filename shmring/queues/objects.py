"""How a queue turns objects into messages: as multiprocessing does."""

from __future__ import annotations

import copyreg
import io
import pickle
import sys
import weakref
from collections.abc import Callable
from typing import Any

from shmring.codecs.pickling import PickleCodec
from shmring.queues.chain import Chain

_PACKAGES = ("multiprocessing", "multiprocess")


class QueueCodec(PickleCodec):
    """Pickle as multiprocessing does it: with its reducers, for connections, sockets and whoever registered one.

    Where plain pickle cannot, and multiprocess is in use, by that one's dill.
    """

    def __init__(self) -> None:
        super().__init__(self._dump)
        self._reducers: dict[Any, Any] = {}
        self._known = 0

    def _dump(self, value: Any, protocol: int, *, buffer_callback: Callable[[pickle.PickleBuffer], Any]) -> bytes:
        file = io.BytesIO()
        pickler = pickle.Pickler(file, protocol, buffer_callback=buffer_callback)
        pickler.dispatch_table = self._dispatch_table()
        pickler.dump(value)
        return file.getvalue()

    def _dispatch_table(self) -> dict[Any, Any]:
        """One plain dict, for speed; made anew when somebody has registered a reducer."""
        tables = [copyreg.dispatch_table]
        for package in _PACKAGES:
            reduction = sys.modules.get(f"{package}.reduction")
            if reduction is not None:
                tables.append(reduction.ForkingPickler._extra_reducers)
        known = sum(map(len, tables))
        if known != self._known:
            self._reducers = {kind: reducer for table in tables for kind, reducer in table.items()}
            self._known = known
        return self._reducers

    def encode(self, value: Any, /) -> Any:
        try:
            return super().encode(value)
        except (pickle.PicklingError, TypeError, AttributeError):
            by_dill = sys.modules.get("multiprocess.reduction")
            if by_dill is None:
                raise
            return by_dill.ForkingPickler.dumps(value)


class CountingCodec(QueueCodec):
    """Counts a task as pending while its record is still taken, so that no look at both misses it."""

    _plain = None

    def __init__(self) -> None:
        super().__init__()
        self.chain: weakref.ref[Chain] | None = None

    def decode(self, record: memoryview, /) -> Any:
        try:
            value = super().decode(record)
        finally:
            del record  # see there
        chain = self.chain() if self.chain else None
        assert chain is not None
        chain.control.add_pending(chain.root._slot, 1)
        return value
