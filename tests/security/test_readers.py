"""A user who may only read a ring locks its bytes, as a reader can: nobody is held up, or taken for alive."""

import glob
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from two_users import STRANGER, VICTIM, AsUser

import shmring
from shmring import _core
from shmring.names import registry

LOCKS = """
import fcntl, os, struct, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
try:
    os.open(sys.argv[1], os.O_RDWR)
except PermissionError:
    pass
else:
    sys.exit("this user may write")
for at, length in zip(*[iter(map(int, sys.argv[2:]))] * 2):
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_RDLCK, 0, at, length, 0))
fcntl.flock(fd, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""
OPENS = """
import os, sys
for each in sys.argv[1:]:
    try: os.open(each, os.O_RDONLY)
    except PermissionError: print('no')
"""
TAKES = """
import shmring, sys
with shmring.Ring.attach(sys.argv[1]).borrow() as view:
    print('taken', flush=True)
    sys.stdin.read()
"""
RANGES = {
    "the lifecycle lock": [(0, 1)],
    "the claim": [(1, 1)],
    "handles on their way": [(64, 64)],
    "each entry": [(4096 + 128 * slot, 1) for slot in range(256)],
    "all of it": [(0, 0)],
}
MODES = [0o640, 0o644, 0o664, 0o646, 0o604]


def program(uid: int, gid: int, code: str, *arguments: str) -> "subprocess.Popen[str]":
    become = ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups"]
    return subprocess.Popen(
        [*become, sys.executable, "-c", code, *arguments],
        cwd="/",
        env={"PATH": os.environ["PATH"], "PYTHONSAFEPATH": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


Locker = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def locker(_another_user_can_import: None) -> Iterator[Locker]:
    """Return a function that starts a reader who locks ranges of a file."""
    started = []

    def start(path: Path, ranges: list[tuple[int, int]], *, gid: int = STRANGER) -> "subprocess.Popen[str]":
        words = [str(number) for each in ranges for number in each]
        locker = program(STRANGER, gid, LOCKS, str(path), *words)
        started.append(locker)
        assert locker.stdout is not None
        assert locker.stdout.readline() == "locked\n"
        return locker

    yield start
    for each in started:
        each.communicate("")


def lock_files(path: Path) -> list[str]:
    return glob.glob(str(path.parent / "shmring-*.locks"))


CALLS = """
import shmring, sys
name = sys.argv[1]
with shmring.Ring.attach(name) as ring, shmring.Ring.attach(name) as other:
    ring.put(b"m")
    print(other.get(timeout=5))
    other.close()
    print([each.alive for each in shmring.inspect(name).attachments].count(True))
print(shmring.inspect(name).state, [each.name for each in shmring.clean() if each.name == name and each.removed])
shmring.unlink(name)
shmring.Ring.create(name, mode=0o644).close()
"""


@pytest.mark.parametrize("ranges", RANGES.values(), ids=RANGES)
@pytest.mark.parametrize("kind", ["mpmc", "spsc", "semaphore"])
def test_a_readers_locks_hold_nobody_up(
    as_user: AsUser, locker: Locker, name: str, path: Path, ranges: list[tuple[int, int]], kind: str
) -> None:
    made = f"import shmring; shmring.Ring.create({name!r}, kind={kind!r}, mode=0o644, persist=True).close()"
    assert as_user(VICTIM, made) == ""
    locker(path, ranges)
    assert as_user(VICTIM, CALLS, name) == "b'm'\n1\nready []\n"  # or NotReady, after 10 s
    assert lock_files(path) == []


@pytest.mark.parametrize("mode", MODES, ids=oct)
def test_whoever_may_read_alone_cannot_open_the_locks(
    as_user: AsUser, locker: Locker, name: str, path: Path, mode: int
) -> None:
    made = f"import shmring; shmring.Ring.create({name!r}, mode={mode}, persist=True, kind='semaphore').close()"
    assert as_user(VICTIM, made) == ""
    gid = VICTIM if not mode & 0o020 and mode & 0o040 else STRANGER
    try:
        (locks,) = lock_files(path)
        identity = Path(locks).name.removeprefix("shmring-").removesuffix(".locks")
        files = [locks, *glob.glob(f"/dev/shm/sem.shmring-{identity}.*")]
        assert len(files) == 4
        locker(path, [(0, 0)], gid=gid)
        reader = program(STRANGER, gid, OPENS, *files)
        assert reader.communicate()[0] == 4 * "no\n"
        got = f"import shmring; ring = shmring.Ring.attach({name!r}); ring.put(b'x'); print(ring.get())"
        assert as_user(VICTIM, got) == "b'x'\n"
    finally:
        shmring.unlink(name)


def test_a_death_is_noticed_beneath_a_readers_locks(locker: Locker, as_user: AsUser, name: str, path: Path) -> None:
    made = f"import shmring; ring = shmring.Ring.create({name!r}, mode=0o644, persist=True); ring.put(b'm')"
    assert as_user(VICTIM, made) == ""
    taker = program(
        VICTIM,
        VICTIM,
        TAKES,
        name,
    )
    assert taker.stdout is not None
    assert taker.stdout.readline() == "taken\n"
    locker(path, [(0, 0)])
    taker.send_signal(signal.SIGKILL)
    taker.communicate()
    got = f"import shmring; print(shmring.Ring.attach({name!r}).get(timeout=5), shmring.inspect({name!r}).redelivered)"
    try:
        assert as_user(VICTIM, got) == "b'm' 1\n"
    finally:
        shmring.unlink(name)


@pytest.fixture
def readable(name: str) -> Iterator[shmring.Ring]:
    with shmring.Ring.create(name, mode=0o644) as ring:
        yield ring


def test_the_locks_come_and_go_with_the_ring(name: str, path: Path) -> None:
    with shmring.Ring.create(name, mode=0o644) as ring:
        (locks,) = lock_files(path)
        assert os.stat(locks).st_mode & 0o777 == 0o600
        with shmring.Ring.attach(name) as other:
            other.put(b"x")
            assert ring.get() == b"x"
    assert lock_files(path) == []
    assert not path.exists()


def test_the_locks_of_a_ring_at_a_path_are_beside_it(tmp_path: Path) -> None:
    with shmring.Ring.create(path=tmp_path / "ring", mode=0o644, persist=True) as ring:
        ring.put(b"x")
    (locks,) = lock_files(tmp_path / "ring")
    with shmring.Ring.attach(path=tmp_path / "ring") as ring:
        assert ring.get() == b"x"
        ring.unlink()
    assert [*tmp_path.iterdir()] == []
    del locks


def test_forked_children_and_sent_handles_have_the_same_locks(readable: shmring.Ring, name: str) -> None:
    import pickle

    pid = os.fork()
    if pid == 0:
        try:
            readable.put(b"from the child")
        finally:
            os._exit(0)
    assert readable.get(timeout=10) == b"from the child"
    os.waitpid(pid, 0)
    with pickle.loads(pickle.dumps(readable)) as other:
        assert [each.alive for each in shmring.inspect(name).attachments].count(True) == 2
        other.put(b"by another way")
    assert readable.get() == b"by another way"


@pytest.mark.parametrize("ends", ["", "; ring.close()", "; import os; os._exit(0)"])
def test_a_process_that_ends_takes_ring_and_locks_along(as_user: AsUser, name: str, path: Path, ends: str) -> None:
    assert as_user(VICTIM, f"import shmring; ring = shmring.Ring.create({name!r}, mode=0o644){ends}") == ""
    if "_exit" in ends:
        assert as_user(VICTIM, "import shmring; print([each.what for each in shmring.clean()])") == "['ring']\n"
    assert lock_files(path) == []
    assert not path.exists()


def test_locks_without_a_ring_are_cleaned_up_and_those_in_use_are_not(name: str, path: Path) -> None:
    with shmring.Ring.create(name, mode=0o644, persist=True) as ring:
        (locks,) = lock_files(path)
        path.unlink()
        for dry_run in (True, False):
            assert not [each for each in shmring.clean(dry_run=dry_run) if each.what == "locks"]
        assert os.path.exists(locks)
        ring.put(b"x")
    if os.path.exists(locks):
        assert [each.what for each in shmring.clean(dry_run=True)] == ["locks"]
        assert [each.what for each in shmring.clean()] == ["locks"]
    assert lock_files(path) == []


def test_locks_that_were_removed_or_replaced_are_told(as_user: AsUser, name: str, path: Path) -> None:
    shmring.Ring.create(name, mode=0o644, persist=True).close()
    (locks,) = lock_files(path)
    os.unlink(locks)
    with pytest.raises(shmring.Corrupt, match=r"somebody has removed it"):
        shmring.Ring.attach(name)
    assert as_user(STRANGER, f"open({locks!r}, 'w').close()") == ""
    with pytest.raises(shmring.Corrupt, match=r"is not its own"):
        shmring.Ring.attach(name)
    assert shmring.inspect(name).state == "corrupt"
    shmring.unlink(name)
    os.unlink(locks)


def test_a_header_does_not_lead_to_the_locks_of_another_ring(name: str, path: Path) -> None:
    other = path.with_name(path.name + "-other")
    shmring.Ring.create(name, mode=0o666, persist=True).close()
    with shmring.Ring.create(name + "-other", mode=0o644):
        with other.open("rb") as file:
            start = file.read(96)
        with path.open("r+b") as file:  # a peer's: flags and identity of the other
            file.seek(24)
            file.write(bytes([start[24] | 1]))
            file.seek(88)
            file.write(start[88:96])
        with pytest.raises(shmring.Corrupt, match="is not its own"):
            shmring.Ring.attach(name)
    shmring.unlink(name)


def test_only_modes_that_let_somebody_read_alone_have_a_file_of_locks(name: str, path: Path) -> None:
    for mode in (0o600, 0o660, 0o666, 0o606, 0o622):
        with shmring.Ring.create(name, mode=mode):
            assert lock_files(path) == []
            with registry.mapped(registry.place_of(name, None)) as memory:
                assert not _core.describe(memory)[3] & _core.FLAG_LOCKS_APART


STEALS_WAKE_UPS = """
import ctypes, mmap, os, sys, threading
libc, FUTEX_WAIT, SYS_futex = ctypes.CDLL(None, use_errno=True), 0, 202
path, address_of = sys.argv[1], {}
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
base = libc.mmap(None, 4096, mmap.PROT_READ, mmap.MAP_SHARED, os.open(path, os.O_RDONLY), 0)
stolen = []
def steal():
    word = ctypes.c_uint32.from_address(base + 1024)
    while True:
        if libc.syscall(SYS_futex, ctypes.c_void_p(base + 1024), FUTEX_WAIT, word.value, None, None, 0) == 0:
            stolen.append(1)
for _ in range(20): threading.Thread(target=steal, daemon=True).start()
print("steals", flush=True)
sys.stdin.read()
print(len(stolen) > 0, flush=True)
os._exit(0)
"""
ANSWERS = """
import shmring, sys
with shmring.Ring.attach(sys.argv[1], on_dead_peer="wait", spin=0) as ring:
    print("ready", flush=True)
    for _ in range(20): print(ring.get(timeout=20), flush=True)
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="calls futex by its number")
def test_a_reader_who_takes_wake_ups_delays_a_wait_by_a_look(as_user: AsUser, name: str, path: Path) -> None:
    made = f"import shmring; shmring.Ring.create({name!r}, mode=0o644, persist=True).close()"
    assert as_user(VICTIM, made) == ""
    thief = program(STRANGER, STRANGER, STEALS_WAKE_UPS, str(path))
    consumer = program(VICTIM, VICTIM, ANSWERS, name)
    try:
        assert thief.stdout is not None
        assert consumer.stdout is not None
        assert thief.stdout.readline() == "steals\n"
        assert consumer.stdout.readline() == "ready\n"
        with shmring.Ring.attach(name, owner=VICTIM, on_dead_peer="wait") as ring:
            for number in range(20):
                while not int.from_bytes(path.read_bytes()[1028:1032], sys.byteorder):  # until it waits
                    pass
                ring.put(b"%d" % number)
                assert consumer.stdout.readline() == f"b'{number}'\n"
    finally:
        consumer.communicate("")
        assert thief.communicate("")[0] == "True\n", "no wake-up was taken"
        shmring.unlink(name)
