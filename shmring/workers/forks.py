"""A fork that fails leaves nothing open: multiprocessing makes pipes first, and leaves them then.

A pool tries again for a while, and would come to have no descriptor left.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import threading
from collections.abc import Iterator
from typing import Any

from shmring.segment.descriptors import Descriptor


class _System(threading.local):
    """The module ``os``, as the module that forks sees it; notes the pipes of a thread that asks for it."""

    pipes: list[Descriptor] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def pipe(self) -> tuple[int, int]:
        ends = os.pipe()
        if self.pipes is not None:
            with contextlib.suppress(OSError):
                self.pipes += map(Descriptor, ends)
        return ends


@contextlib.contextmanager
def nothing_left_by_a_failed_fork(process: Any) -> Iterator[None]:
    """Within this, a process may be forked."""
    module: Any = importlib.import_module(type(process).__module__.partition(".")[0] + ".popen_fork")
    if not isinstance(module.os, _System):
        module.os = _System()
    system, pipes = module.os, list[Descriptor]()
    system.pipes = pipes
    try:
        yield
    except BaseException:
        for each in pipes:
            with contextlib.suppress(OSError):
                each.close()
        raise
    finally:
        system.pipes = None
