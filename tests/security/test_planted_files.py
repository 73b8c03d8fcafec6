"""A huge sparse file under a ring's name, which costs whoever plants it nothing, hinders nobody."""

import re
from pathlib import Path

import pytest
from two_users import STRANGER, VICTIM, AsUser

import shmring


@pytest.mark.parametrize("size", [2**50, 2**63 - 4097])
def test_a_file_larger_than_any_ring_is_told_and_listed_and_can_be_removed(
    as_user: AsUser, name: str, path: Path, size: int
) -> None:
    plants = f"import os; open({str(path)!r}, 'w').close(); os.chmod({str(path)!r}, 0o666); "
    assert as_user(STRANGER, plants + f"os.truncate({str(path)!r}, {size})") == ""
    try:
        for call in ("Ring.attach", "Ring.open", "Latest.open", "Topic.attach"):
            seen = as_user(VICTIM, f"import shmring; shmring.{call}({name!r})")
            assert re.search(rf"Corrupt.*{size} bytes.*at most.*planted.*shmring rm", seen), seen
        assert "FileExistsError" in as_user(VICTIM, f"import shmring; shmring.Ring.create({name!r})")
        for look in (f"[shmring.inspect({name!r})]", "shmring.list()"):
            states = f"import shmring; print([ring.state for ring in {look} if ring.path == {str(path)!r}])"
            assert as_user(VICTIM, states) == "['corrupt']\n"
        seen = as_user(VICTIM, f"import shmring; shmring.unlink({name!r})")
        assert re.search(rf"PermissionError.*stays: it belongs to user {STRANGER}", seen), seen
        shmring.unlink(name)
        assert not path.exists()
    finally:
        path.unlink(missing_ok=True)


@pytest.mark.parametrize("size", [0, 100, 2**50])
def test_what_a_stranger_planted_is_left_out_by_clean_and_stops_nothing(
    as_user: AsUser, name: str, path: Path, size: int
) -> None:
    plants = f"import os; open({str(path)!r}, 'w').close(); os.chmod({str(path)!r}, 0o666); "
    assert as_user(STRANGER, plants + f"os.truncate({str(path)!r}, {size})") == ""
    mine = f"import shmring; shmring.Ring.create('{name}-mine', persist=True).close()"
    assert as_user(VICTIM, mine) == ""
    try:
        for call in ("clean(dry_run=True)", "clean(force=True, dry_run=True)", "clean(force=True)"):
            assert as_user(VICTIM, f"import shmring; print({name!r} in [x.name for x in shmring.{call}])") == "False\n"
        assert path.exists()
        assert not path.with_name(path.name + "-mine").exists()
        assert name in [each.name for each in shmring.clean(dry_run=True)], "root may"
    finally:
        path.unlink(missing_ok=True)
        path.with_name(path.name + "-mine").unlink(missing_ok=True)
