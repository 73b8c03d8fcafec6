"""Every error of shmring's own that a docstring names can be raised by that very call: here each of them is.

A docstring that names one for which ways_to_raise.py has no way fails, and so does one that cannot be provoked.
"""

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import shmring
from tests.face.public import public
from tests.face.stand import Stand
from tests.face.ways_to_raise import WAYS, unlink_that_is_held_up

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="truncates files, and forks")

ERRORS = {
    name
    for name in shmring.__all__
    if isinstance(each := getattr(shmring, name), type) and issubclass(each, shmring.ShmringError)
}
PAIRS = [(each.name, name) for each in public() for name in each.raises if name in ERRORS]

HELD_UP = [(call, named) for call, named in PAIRS if (call.rpartition(".")[2], named) == ("unlink", "NotReady")]


def test_every_error_of_shmrings_own_is_named_by_some_call() -> None:
    assert {error for _, error in PAIRS} == {*WAYS} == ERRORS - {"ShmringError"}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("error", WAYS)
def test_a_call_raises_what_its_docstring_names(
    error: str, name: str, tmp_path: Path, start: Callable[..., Any], gate: Any
) -> None:
    calls = [call for call, named in PAIRS if named == error and (call, named) not in HELD_UP]
    other: list[str] = []
    for number, call in enumerate(calls):
        stand = Stand(call, f"{name[-40:]}-{number}", tmp_path, start, gate)
        try:
            WAYS[error](stand)
            other.append(f"{call} raises nothing")
        except getattr(shmring, error):
            pass
        except Exception as raised:
            other.append(f"{call} raises {raised!r}")
        finally:
            stand.clean_up()
    assert other == [], error


@pytest.mark.verify
def test_who_stands_still_in_the_lifecycle_lock_holds_an_unlink_up_for_ten_seconds(
    name: str, tmp_path: Path, start: Callable[..., Any], gate: Any
) -> None:
    stands = [Stand(call, f"{name[-40:]}-{number}", tmp_path, start, gate) for number, (call, _) in enumerate(HELD_UP)]
    with ThreadPoolExecutor(len(stands)) as threads:
        held_up = [threads.submit(unlink_that_is_held_up, stand) for stand in stands]
    assert [type(each.exception()).__mro__[1] for each in held_up] == [shmring.NotReady] * len(stands)
    for stand in stands:
        stand.clean_up()
