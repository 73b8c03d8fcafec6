"""What people send to pools arrives as what it is, however the program runs and however its workers are started.

docs/workers.md has the table of these things beside concurrent.futures and loky.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import ways

from tests.ring.conftest import METHODS

PROGRAM = Path(__file__).with_name("things.py")
ALL = [*METHODS, *(f"multiprocess.{each}" for each in METHODS)]
# A worker that has the program's own module has its own of these, as with the standard library.
BY_NAME_TOO = {"a script": {"a sentinel"}, "frozen": {"a sentinel"}}


def check(way: str, run: Callable[[Path, ways.Environment], str], program: Path, method: str) -> None:
    said = run(program, {"THINGS_METHOD": method})
    outcomes = json.loads(next(line for line in said.splitlines() if line.startswith("{")))
    assert len(outcomes) >= 50
    wrong = {name: outcome for name, outcome in outcomes.items() if outcome != "right"}
    assert wrong.keys() <= BY_NAME_TOO.get(way, set()), wrong


@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize("way", ["a script", "a pipe"])
def test_each_of_fifty_things_arrives_as_what_it_is_or_is_refused(way, method):
    check(way, ways.WAYS[way], PROGRAM, method)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("way", ["a prompt", "-c"])
def test_they_do_as_statements_are_typed_and_from_the_command_line(way, method):
    check(way, ways.WAYS[way], PROGRAM, method)


@pytest.mark.programs
@pytest.mark.parametrize("method", METHODS)
def test_they_do_in_a_notebook(method):
    check("a notebook", ways.notebook, PROGRAM, method)


@pytest.fixture(scope="module")
def frozen_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ways.freeze(PROGRAM, tmp_path_factory.mktemp("frozen"))


@pytest.mark.programs
@pytest.mark.parametrize("method", METHODS)
def test_they_do_in_a_frozen_program(frozen_program, method):
    check("frozen", ways.frozen, frozen_program, method)
