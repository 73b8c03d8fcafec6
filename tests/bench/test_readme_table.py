"""The README's main table: each of its rows is one that a whole run fills."""

from shmring.bench import words
from shmring.bench.options import Options
from shmring.bench.readme_table import MAIN
from shmring.bench.session import plans


def test_a_whole_run_has_every_table_that_the_readme_shows():
    tables = {(plan.table.topology, plan.table.title) for plan in plans(Options())}
    assert set(MAIN) <= tables


def test_a_number_just_below_the_next_unit_is_said_in_that():
    assert [words.rate(999_950), words.span(999_950), words.rate(999_000)] == ["1 M", "1 ms", "999 k"]
