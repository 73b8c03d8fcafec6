"""Another user truncates a segment under one who looks at it: zeros, and a word about it, and no SIGBUS."""

import gc
import mmap
import os
import subprocess
import sys
from pathlib import Path

import pytest
from two_users import STRANGER, VICTIM, AsUser

import shmring
from shmring import segment

PAGE = mmap.PAGESIZE


@pytest.fixture
def memory(tmp_path: Path):
    with segment.file(tmp_path / "memory", 4 * PAGE, create=True) as made:
        made[:] = b"x" * len(made)
        yield made


LOOKS = {
    "a byte": lambda memory: memory[3 * PAGE] == 0,
    "a slice": lambda memory: memory[2 * PAGE :] == bytes(2 * PAGE),
    "a memoryview": lambda memory: bytes(memoryview(memory)[3 * PAGE :]) == bytes(PAGE),
    "find": lambda memory: memory.find(b"\0") == PAGE,
    "an array": lambda memory: not __import__("numpy").frombuffer(memory, "u1")[PAGE:].any(),
    "a write": lambda memory: memory.__setitem__(slice(3 * PAGE, 4 * PAGE), b"y" * PAGE) is None,
}


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_what_is_missing_reads_as_zeros_and_is_told(memory: segment.Segment, look) -> None:
    assert not memory.damaged
    os.truncate(memory.path, PAGE)
    assert look(memory)
    gc.collect()
    assert memory.damaged
    assert memory[:PAGE] == b"x" * PAGE
    with pytest.raises(shmring.Corrupt):
        memory.view()


@pytest.mark.parametrize("manner", [{"readonly": True}, {"private": True}])
def test_other_views_are_guarded_too(memory: segment.Segment, manner: dict[str, bool]) -> None:
    with memory.view(**manner) as other, segment.file(memory.path, **manner) as third:
        os.truncate(memory.path, PAGE)
        for each in (other, third):
            assert each[3 * PAGE] == 0
            assert each.damaged
    assert not memory.damaged


def test_what_grew_is_guarded_where_it_is_now(memory: segment.Segment) -> None:
    memory.grow(64 * PAGE)
    os.truncate(memory.path, PAGE)
    assert memory[63 * PAGE] == 0
    assert memory.damaged


def test_a_mapping_that_is_closed_leaves_no_guard_behind(tmp_path: Path) -> None:
    program = f"""
import mmap, os, sys
from shmring import segment
for _ in range(300):
    segment.file({str(tmp_path / "one")!r}, 16 * {PAGE}, create=True).close()
    os.unlink({str(tmp_path / "one")!r})
    kept = segment.anonymous(16 * {PAGE}, transferable=True); del kept
with open({str(tmp_path / "two")!r}, "w+b") as file:
    file.truncate(16 * {PAGE})
    plain = mmap.mmap(file.fileno(), 16 * {PAGE})
    file.truncate(0)
print("touches", flush=True)
plain[0]
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (-7, "touches\n"), done.stderr


def test_another_user_truncates_a_segment(as_user: AsUser, name: str) -> None:
    path, done = f"/dev/shm/shmring-segment.{name}", f"/dev/shm/{name}.done"
    victim = f"""
        import os, sys
        from shmring import segment
        with segment.create({name!r}, 4 * {PAGE}, mode=0o666) as memory:
            memory[:] = b"x" * len(memory)
            # Until it is done, and not while its size is 0: that is so a moment before the pages are gone.
            while not os.path.exists({done!r}): pass
            print(memory[0], memory.damaged)
        segment.unlink({name!r})
        """
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor() as threads:
        seen = threads.submit(as_user, VICTIM, victim)
        while not (os.path.exists(path) and os.path.getsize(path) and Path(path).read_bytes()[-1:] == b"x"):
            assert not seen.done(), seen.result()
        try:
            assert as_user(STRANGER, f"import os; os.truncate({path!r}, 0)") == ""
        finally:
            Path(done).touch()
        assert seen.result() == "0 True\n"
    Path(done).unlink()
