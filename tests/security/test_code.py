"""No code runs because of bytes that another user can write."""

import os
import re
from pathlib import Path

import pytest
from two_users import STRANGER, VICTIM, AsUser

RUNS = "could run anything"
EVIL = """
import mmap, os, pickle, shmring, sys
name, *words = sys.argv[1:]
class Evil:
    def __reduce__(self): return (print, ("planted code runs",))
"""
REWRITES_THE_CODEC = EVIL + (
    """
with shmring.Ring.attach(name, owner=int(words[0]), codec="raw") as ring:
    ring.put(pickle.dumps(Evil()))
with open(f"/dev/shm/shmring.{name}", "r+b") as file, mmap.mmap(file.fileno(), 4096) as header:
    header[368:432] = words[1].encode().ljust(64, b"\\0")
"""
)
OWN = """
import shmring, sys
class Own:
    name = "own"
    def encode(self, value): return value
    def decode(self, record): return "decoded"
    view = decode
shmring.codecs.register(Own())
name = sys.argv[1]
"""
GETS = "import shmring, sys; print(shmring.Ring.attach(sys.argv[1], owner=int(sys.argv[2])).get(timeout=1))"


@pytest.mark.parametrize("codec", ["numpy", "bytes", "arrow"])
@pytest.mark.parametrize("mode", [0o666, 0o662])
def test_a_codec_that_another_user_wrote_into_the_header_runs_nothing(
    as_user: AsUser, name: str, path: Path, codec: str, mode: int
) -> None:
    made = f"import shmring; shmring.Ring.create({name!r}, codec={codec!r}, mode={mode}, persist=True).close()"
    assert as_user(VICTIM, made) == ""
    try:
        if mode & 0o004:
            assert as_user(STRANGER, REWRITES_THE_CODEC, name, str(VICTIM), "pickle") == ""
        else:  # whoever may write and not read maps nothing; his is the file all the same
            path.write_bytes(path.read_bytes().replace(codec.encode().ljust(64, b"\0"), b"pickle".ljust(64, b"\0")))
        for uid, why in (VICTIM, "its mode 0o66[26] lets others write"), (0, f"it belongs to user {VICTIM}"):
            for attach in ("attach", "open"):
                seen = as_user(uid, GETS.replace("attach", attach), name, str(VICTIM))
                assert re.search(rf"PermissionError.*{RUNS}.*{why}.*mode=0o600", seen), seen
    finally:
        path.unlink()


def test_a_group_and_an_access_control_list_are_others_too(as_user: AsUser, name: str, path: Path) -> None:
    assert as_user(VICTIM, f"import shmring; shmring.Ring.create({name!r}, codec='pickle', persist=True).close()") == ""
    try:
        path.chmod(0o660)  # what setfacl -m u:stranger:rw does to the mode as well
        assert RUNS in as_user(VICTIM, GETS, name, str(VICTIM))
        path.chmod(0o644)  # they may read
        assert "Empty" in as_user(VICTIM, GETS, name, str(VICTIM))
    finally:
        path.unlink()


def test_a_queue_that_others_may_write_to_is_refused(as_user: AsUser, name: str, path: Path) -> None:
    queue = f"import shmring; queue = shmring.Queue(name={name!r})"
    assert as_user(VICTIM, f"{queue}; queue.put(1); queue.close(); import os; os.chmod({str(path)!r}, 0o666)") == ""
    try:
        seen = as_user(VICTIM, f"{queue}; print(queue.get(timeout=1))")
        assert re.search(rf"PermissionError.*{RUNS}.*0o666", seen), seen
    finally:
        path.unlink()


def test_a_codec_of_the_programs_own_is_used_where_it_is_asked_for(as_user: AsUser, name: str, path: Path) -> None:
    made = OWN + "shmring.Ring.create(name, codec='numpy', mode=0o666, persist=True).close()"
    assert as_user(VICTIM, made, name) == ""
    try:
        assert as_user(STRANGER, REWRITES_THE_CODEC, name, str(VICTIM), "own") == ""
        attach = OWN + "print(shmring.Ring.attach(name{}).get())"
        seen = as_user(VICTIM, attach.format(""), name)
        assert re.search(r"LayoutMismatch.*others may write.*'own'.*codec=", seen), seen
        assert as_user(VICTIM, attach.format(", codec='own'"), name) == "decoded\n"
    finally:
        path.unlink()


@pytest.mark.parametrize("owner", [None, 65534])
@pytest.mark.parametrize("codec", ["pickle", "numpy"])
def test_an_owner_without_a_number_here_is_nobody_in_particular(
    as_user: AsUser, name: str, path: Path, owner: int | None, codec: str
) -> None:
    planted = f"{EVIL}\nwith shmring.Ring.create(name, persist=True, codec='{codec}') as ring: pass\n"
    assert as_user(STRANGER, planted, name) == ""
    os.chmod(path, 0o666)
    try:
        with_own = f"import shmring; print(shmring.Ring.attach({name!r}, owner={owner}).get(timeout=0))"
        seen = as_user(VICTIM, with_own, namespace=True)
        assert re.search(r"PermissionError.*may be anybody's.*user namespace", seen), seen
    finally:
        path.unlink()


def test_a_user_without_a_number_has_its_own_rings(as_user: AsUser, name: str) -> None:
    both = f"""
        import shmring
        with shmring.Ring.create({name!r}, codec="pickle") as ring, shmring.Ring.attach({name!r}) as other:
            ring.put(["mine"])
            print(other.get())
        """
    assert as_user(VICTIM, both, namespace=True) == "['mine']\n"
