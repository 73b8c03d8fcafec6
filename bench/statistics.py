"""What is computed from repeated measurements: medians, and how sure a ratio of two of them is.

The ratio of two series is estimated by Hodges and Lehmann: the median of all quotients b/a. Its confidence interval is
that of quotients of rank k and n*m+1-k, with k from the distribution of the Mann-Whitney U, whatever that of the values
is: exact up to forty of them, and by the normal approximation beyond.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import statistics
from collections.abc import Sequence

CONFIDENCE = 0.95
EXACT_UP_TO = 40


@dataclasses.dataclass(frozen=True)
class Ratio:
    """b/a, its interval, and how sure that is: less than asked for when there are too few rounds."""

    value: float
    low: float
    high: float
    confidence: float


def median(values: Sequence[float]) -> float:
    """The middle value; 0 when there is none."""
    return statistics.median(values) if values else 0.0


def spread(values: Sequence[float]) -> float:
    """(most - least) / median; 0 when there are fewer than two."""
    middle = median(values)
    return (max(values) - min(values)) / middle if len(values) > 1 and middle else 0.0


def ratio(before: Sequence[float], after: Sequence[float], confidence: float = CONFIDENCE) -> Ratio:
    """How many times ``before`` is ``after``; both hold positive numbers. ValueError when one is empty."""
    if not before or not after:
        raise ValueError(f"there are {len(before)} values before and {len(after)} after; each needs at least one")
    quotients = sorted(b / a for a in before for b in after)
    k, reached = _rank(len(before), len(after), confidence)
    return Ratio(statistics.median(quotients), quotients[k - 1], quotients[-k], reached)


def _rank(n: int, m: int, confidence: float) -> tuple[int, float]:
    """The largest k whose interval is that sure; k = 1, the widest, when none is."""
    if n + m > EXACT_UP_TO:
        deviation = math.sqrt(n * m * (n + m + 1) / 12)
        k = int(n * m / 2 + statistics.NormalDist().inv_cdf((1 - confidence) / 2) * deviation)
        if k >= 1:
            return k, confidence
    total = sum(_ways(n, m, u) for u in range(n * m + 1))
    tail = below = 0.0
    k = 0
    while True:
        tail += _ways(n, m, k) / total
        if 1 - 2 * tail < confidence:
            break
        below, k = tail, k + 1
    if k == 0:
        return 1, 1 - 2 * tail
    return k, 1 - 2 * below


@functools.cache
def _ways(n: int, m: int, u: int) -> int:
    """In how many orders of n and m values the Mann-Whitney U is u."""
    if u < 0:
        return 0
    if n == 0 or m == 0:
        return int(u == 0)
    return _ways(n - 1, m, u - m) + _ways(n, m - 1, u)
