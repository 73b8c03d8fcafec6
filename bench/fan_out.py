"""Messages a second from one process to several that share the work: each message goes to one of them.

                                 ╭──▶ consumer
producer  ──▶  [ channel ]  ─────┼──▶ consumer
                                 ╰──▶ consumer
"""

from __future__ import annotations

from collections.abc import Iterator

from . import fans
from .channel import FAN_OUT
from .options import Options
from .rounds import Plan


def plans(options: Options) -> Iterator[Plan]:
    """A table for each number of consumers."""
    return fans.plans(options, FAN_OUT)
