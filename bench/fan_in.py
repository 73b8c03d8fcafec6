"""Messages a second from several processes to one.

producer ──╮
producer ──┼──▶  [ channel ]  ──▶  consumer
producer ──╯
"""

from __future__ import annotations

from collections.abc import Iterator

from . import fans
from .channel import FAN_IN
from .options import Options
from .rounds import Plan


def plans(options: Options) -> Iterator[Plan]:
    """A table for each number of producers."""
    return fans.plans(options, FAN_IN)
