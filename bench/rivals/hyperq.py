"""hyperq 1.0: BytesHyperQ, a C++ ring with a mutex and condition variables. No timeouts, no batches."""

from __future__ import annotations

import itertools
import os

from measure import Channel, plain_consume, plain_produce

_numbers = itertools.count()


def open(capacity: int, length: int) -> Channel:
    """Make a queue of this capacity; ImportError when hyperq is not installed."""
    import hyperq

    queue = hyperq.BytesHyperQ(max(capacity, 4 * length), name=f"bench_{os.getpid()}_{next(_numbers)}")
    return Channel(plain_produce(queue.put), plain_consume(queue.get))
