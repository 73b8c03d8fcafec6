"""Every error of shmring's own that a docstring names can be raised by that very call: here each of them is.

A docstring that names one for which ways_to_raise.py has no way fails, and so does one that cannot be provoked.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import shmring
from tests.face.public import public
from tests.face.stand import Stand
from tests.face.ways_to_raise import WAYS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="truncates files, and forks")

# Of these the docstring is true, and it takes ten seconds: another process stands still in the lifecycle lock.
TAKES_TEN_SECONDS = {("close", "NotReady"), ("unlink", "NotReady")}
ERRORS = {
    name
    for name in shmring.__all__
    if isinstance(each := getattr(shmring, name), type) and issubclass(each, shmring.ShmringError)
}
PAIRS = [
    (each.name, name)
    for each in public()
    for name in each.raises
    if name in ERRORS and (each.name.rpartition(".")[2], name) not in TAKES_TEN_SECONDS
]


def test_every_error_of_shmrings_own_is_named_by_some_call() -> None:
    assert {error for _, error in PAIRS} == {*WAYS} == ERRORS - {"ShmringError"}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("error", WAYS)
def test_a_call_raises_what_its_docstring_names(
    error: str, name: str, tmp_path: Path, start: Callable[..., Any], gate: Any
) -> None:
    calls = [call for call, named in PAIRS if named == error]
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
