"""Medians, and how sure a ratio is."""

import itertools
import random

import pytest
from shmring.bench import statistics


def test_the_ratio_of_equal_series_is_one_and_its_interval_has_it_inside():
    ratio = statistics.ratio([9, 10, 11, 10, 10], [10, 9, 10, 11, 10])
    assert ratio.value == 1
    assert ratio.low < 1 < ratio.high


def test_five_rounds_each_are_enough_for_95_percent_and_three_are_not():
    assert statistics.ratio([1] * 5, [2] * 5).confidence == pytest.approx(1 - 8 / 252)
    assert statistics.ratio([1] * 3, [2] * 3).confidence == pytest.approx(0.9)


def test_too_few_rounds_give_the_widest_interval_there_is():
    ratio = statistics.ratio([10, 20], [10, 40])
    assert (ratio.low, ratio.high) == (0.5, 4)


@pytest.mark.parametrize("sizes", [(3, 3), (4, 5), (5, 5)])
def test_the_confidence_is_what_counting_all_orders_gives(sizes):
    n, m = sizes
    ratio = statistics.ratio(range(1, n + 1), range(1, m + 1))
    rank = sorted(b / a for a in range(1, n + 1) for b in range(1, m + 1)).index(ratio.low)
    orders = list(itertools.combinations(range(n + m), n))
    few = sum(_wins(order, n + m) <= rank for order in orders)
    assert ratio.confidence >= 1 - 2 * few / len(orders) - 1e-9


def _wins(firsts, total):
    others = [place for place in range(total) if place not in firsts]
    return sum(other < first for first in firsts for other in others)


def test_the_interval_holds_the_true_ratio_as_often_as_it_says():
    source = random.Random(7)
    hits = 0
    for _ in range(400):
        before = [source.gauss(100, 5) for _ in range(5)]
        after = [source.gauss(200, 10) for _ in range(5)]
        ratio = statistics.ratio(before, after)
        hits += ratio.low <= 2 <= ratio.high
    assert hits / 400 > 0.92


def test_an_empty_series_is_refused():
    with pytest.raises(ValueError, match="0 values before and 2 after"):
        statistics.ratio([], [1, 2])


def test_spread_is_the_width_in_medians():
    assert statistics.spread([90, 100, 110]) == pytest.approx(0.2)
    assert statistics.spread([5]) == 0
