"""Two users share a ring: what one leaves does not block the other, and nobody sees what was not meant for him."""

import os
import re
from pathlib import Path

import pytest
from two_users import STRANGER, VICTIM, AsUser

import shmring

SERVES = """
import shmring, sys
with shmring.Ring.create(sys.argv[1], kind=sys.argv[2], mode=0o666) as ring:
    ring.put(b"hello")
"""
GETS = (
    "import shmring, sys; ring = shmring.Ring.attach(sys.argv[1], owner=int(sys.argv[2])); print(ring.get(timeout=0))"
)


@pytest.mark.parametrize("ends", ["; ring.close()", ""])
def test_the_last_to_leave_is_not_the_owner(as_user: AsUser, name: str, path: Path, ends: str) -> None:
    assert as_user(VICTIM, SERVES, name, "mpmc") == ""
    try:
        assert as_user(STRANGER, GETS + ends, name, str(VICTIM)) == "b'hello'\n"
        assert shmring.inspect(name).state == "ready"
        assert "Empty" in as_user(STRANGER, GETS, name, str(VICTIM))
        opened = f"import shmring; shmring.Ring.open({name!r}, owner={VICTIM}).close()"
        assert as_user(STRANGER, opened) == ""
        seen = as_user(STRANGER, f"import shmring; shmring.Ring.create({name!r})")
        assert re.search(rf"FileExistsError.*belongs to user {VICTIM}, who alone, or root, may remove it", seen), seen
        seen = as_user(STRANGER, f"import shmring; shmring.unlink({name!r})")
        assert re.search(rf"PermissionError.*stays.*{VICTIM}", seen), seen
        for call in ("clean()", "clean(dry_run=True)", "clean(force=True)", "clean(force=True, dry_run=True)"):
            assert as_user(STRANGER, f"import shmring; print({name!r} in str(shmring.{call}))") == "False\n"
        assert shmring.inspect(name).state == "ready"
        assert as_user(VICTIM, opened) == ""
        assert not path.exists()
    finally:
        path.unlink(missing_ok=True)


def test_a_ring_that_is_over_and_stays_says_whose_it_is(as_user: AsUser, name: str, path: Path) -> None:
    assert as_user(VICTIM, f"import shmring; shmring.Ring.create({name!r}, mode=0o666, persist=True).close()") == ""
    try:
        retires = f"""
            from shmring import _core
            from shmring.names import registry
            with registry.mapped(registry.place_of({name!r}, None)) as memory: _core.retire(memory)
            """
        assert as_user(STRANGER, retires) == ""
        for call in ("attach", "open"):
            seen = as_user(STRANGER, f"import shmring; shmring.Ring.{call}({name!r}, owner={VICTIM})")
            assert re.search(rf"PermissionError.*is over.*belongs to user {VICTIM}.*shmring clean", seen), seen
        assert "FileExistsError" in as_user(STRANGER, f"import shmring; shmring.Ring.create({name!r})")
        assert as_user(VICTIM, f"import shmring; shmring.Ring.open({name!r}).close()") == ""
    finally:
        path.unlink(missing_ok=True)


@pytest.mark.skipif(os.name == "nt", reason="a ring admits the user who made it, and nobody else")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o604, 0o666])
def test_a_claim_that_others_may_read_begins_with_zeros(name: str, mode: int) -> None:
    with shmring.Ring.create(name, capacity=4096, mode=mode) as ring, shmring.Ring.attach(name) as other:
        leaked = False
        for made in (ring, other):
            made.put(b"PASSWORD=hunter2 " * 40)
            made.get()
            for _ in range(6):
                with made.claim(600) as buffer:
                    buffer[:5] = b"hello"
                message = made.get()
                assert message.startswith(b"hello")
                leaked |= b"hunter2" in message
        assert leaked == (mode == 0o600)
    assert "older messages" in str(shmring.Ring.claim.__doc__)


@pytest.mark.skipif(os.name == "nt", reason="a topic admits the user who made it, and nobody else")
def test_a_claim_of_a_topic_that_others_may_read_begins_with_zeros(name: str) -> None:
    with shmring.Topic.create(name, capacity=4096, mode=0o644) as topic, topic.subscribe() as subscription:
        topic.publish(b"PASSWORD=hunter2 " * 40)
        subscription.get()
        for _ in range(6):
            with topic.claim(600) as buffer:
                buffer[:5] = b"hello"
            assert subscription.get() == b"hello" + bytes(595)
