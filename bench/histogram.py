"""Latencies as HDR histograms: from 1 ns to a minute with three digits, so that the tail is as exact as the middle."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Sequence
from typing import Any

from .channel import Unsupported

PERCENTILES = (50.0, 90.0, 99.0, 99.9, 99.99)
_LEAST, _MOST, _DIGITS = 1, 60 * 10**9, 3


def name_of(percentile: float) -> str:
    """p50, p99.9."""
    return f"p{percentile:g}"


def _new() -> Any:
    try:
        from hdrh.histogram import HdrHistogram
    except ImportError:
        raise Unsupported('latencies need hdrhistogram, which is missing: pip install "shmring[bench]"') from None
    return HdrHistogram(_LEAST, _MOST, _DIGITS)


def encoded(nanoseconds: Iterable[int]) -> tuple[str, dict[str, float]]:
    """A histogram as text, and its percentiles."""
    histogram = _new()
    for value, count in collections.Counter(nanoseconds).items():
        histogram.record_value(min(max(_LEAST, value), _MOST), count)
    return histogram.encode().decode(), percentiles_of(histogram)


def merged(texts: Sequence[str]) -> tuple[str, dict[str, float]]:
    """Several histograms as one, and its percentiles."""
    histogram = _new()
    for text in texts:
        histogram.decode_and_add(text)
    return histogram.encode().decode(), percentiles_of(histogram)


def percentiles_of(histogram: Any) -> dict[str, float]:
    """p50 to p99.99 and the most, in nanoseconds, and how many values there were."""
    found = {name_of(each): float(histogram.get_value_at_percentile(each)) for each in PERCENTILES}
    return {**found, "max": float(histogram.get_max_value()), "count": float(histogram.get_total_count())}


def curve(text: str) -> list[tuple[float, float]]:
    """Points of the percentile curve of an encoded histogram: (percentile below 100, nanoseconds)."""
    histogram = _new()
    histogram.decode_and_add(text)
    points = []
    for item in histogram.get_percentile_iterator(5):
        if item.percentile_level_iterated_to < 100:
            points.append((item.percentile_level_iterated_to, float(item.value_iterated_to)))
    return points
