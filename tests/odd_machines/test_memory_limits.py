"""Containers with a memory limit: NoSpace before the kernel ends a process, from every call that takes memory."""

import os
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.odd_machines.conftest import ROOT, needs_namespaces, run

pytestmark = needs_namespaces

V1, V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
MIB = 1 << 20
OWN_SHM = "mount -t tmpfs -o size=8g none /dev/shm"


@pytest.fixture
def group() -> Iterator[Callable[..., Path]]:
    """Return a function that makes a control group with a limit on memory, in another or not."""
    made: list[Path] = []
    top, limit = (V1, "memory.limit_in_bytes") if V1.is_dir() else (V2, "memory.max")

    def make(most: int | None, inside: Path | None = None) -> Path:
        path = (inside or top) / f"shmring-test-{os.getpid()}-{len(made)}"
        if top == V2:
            (path.parent / "cgroup.subtree_control").write_text("+memory")
        path.mkdir()
        made.append(path)
        if most is not None:
            (path / limit).write_text(str(most))
        return path

    try:
        make(None)
    except OSError as error:
        pytest.skip(f"needs control groups of its own for memory: {error}")
    yield make
    for path in reversed(made):
        path.rmdir()


def inside(group: Path, program: str, more: str = "") -> list[str]:
    """What a program prints that runs in a group; it fails when a process of it is killed."""
    return run(textwrap.dedent(program), machine=f"{OWN_SHM}; echo $$ > {group}/cgroup.procs; {more}").splitlines()


EVERY_KIND = """
import shmring
from shmring import segment
def told(call):
    try:
        call().close()
        print("went")
    except shmring.NoSpace as error:
        assert error.needed > error.free >= 0 and str(error.free) in str(error) and error.path in str(error), error
        print(error.limit, error.path)
big = "500 MiB"
for name in ("n", None):
    for kind in ("spsc", "mpmc", "semaphore"):
        told(lambda: shmring.Ring.create(name, capacity=big, kind=kind))
    told(lambda: shmring.Topic.create(name, capacity=big))
    told(lambda: shmring.Latest.create(name, size=big))
    told(lambda: shmring.Queue(name=name, capacity=big))
told(lambda: shmring.Ring.open("n", capacity=big))
told(lambda: segment.create("n", big))
told(lambda: segment.anonymous(big))
told(lambda: segment.anonymous(big, transferable=True))
with segment.anonymous(4096, transferable=True) as memory:
    told(lambda: memory.grow(big))
import os
assert os.listdir("/dev/shm") == [], os.listdir("/dev/shm")
"""


@pytest.mark.parametrize("nested", [False, True], ids=["its own limit", "the limit of a group above"])
def test_what_does_not_fit_into_the_container_is_no_space_that_names_the_limit(group, nested: bool) -> None:
    limited = group(200 * MIB)
    said = inside(group(None, limited) if nested else limited, EVERY_KIND)
    assert said == [f"group {limited}"] * 17


def test_a_container_that_is_shown_its_group_as_the_root_finds_its_limit(group) -> None:
    own = V1 if V1.is_dir() else V2
    kind = "cgroup -o memory" if V1.is_dir() else "cgroup2"
    more = f'exec unshare --cgroup sh -ec \'umount {own}; mount -t {kind} none {own}; exec "$@"\' sh "$@"'
    assert inside(group(200 * MIB), EVERY_KIND, more) == [f"group {own}"] * 17


def test_a_process_that_is_moved_into_a_container_finds_its_limit(group) -> None:
    limited = group(200 * MIB)
    program = f"""
        import os, shmring
        shmring.Ring.create(capacity="1 MiB").close()
        with open("{limited}/cgroup.procs", "w") as file:
            file.write(str(os.getpid()))
        try:
            shmring.Ring.create(capacity="500 MiB")
        except shmring.NoSpace as error:
            print(error.limit)
    """
    assert inside(group(None), program) == ["group"]


def test_all_that_is_left_can_be_filled_and_emptied_by_others(group) -> None:
    program = """
        import os, shmring
        from shmring.segment.posix import reserve
        size, ring = reserve.least_room(None, "memory").free, None
        while ring is None:
            try:
                ring = shmring.Ring.create(capacity=size)
            except shmring.NoSpace as error:
                size -= error.needed - error.free
        message, count = bytes(1 << 20), 0
        try:
            while True:
                ring.put(message, timeout=0)
                count += 1
        except shmring.Full:
            pass
        if os.fork() == 0:
            assert sum(len(ring.get(timeout=0)) for _ in range(count)) == count << 20
            os._exit(0)
        assert os.wait()[1] == 0
        assert count > 100, count
    """
    inside(group(200 * MIB), program)


@pytest.mark.parametrize("bound", ["", "max_bytes='10 GiB'"], ids=["by default", "however large it was to be"])
def test_a_queue_that_nobody_drains_is_full_before_the_container_is(group, bound: str) -> None:
    program = f"""
        import os, shmring
        queue = shmring.Queue(capacity="1 MiB", {bound})
        most, count = queue._chain.control.max_bytes, 0
        try:
            while True:
                queue.put(bytes(1 << 20), timeout=0.1)
                count += 1
        except shmring.Full as error:
            print(most >> 20, "max_bytes" in str(error), "container" in str(error))
        for _ in range(count):
            assert len(queue.get(timeout=20)) == 1 << 20
        queue.put("again", timeout=20)
        print(queue.get())
    """
    ((most, *told), again) = map(str.split, inside(group(200 * MIB), program))
    assert (int(most) < 100) == (not bound)
    assert told == ["True", str(bool(bound))]
    assert again == ["again"]


def test_a_file_on_a_disk_is_not_bounded_by_the_memory_of_the_container(group, tmp_path: Path) -> None:
    program = f"""
        import os, shmring
        from shmring.segment.posix import reserve
        if not reserve.in_memory(os.open({str(tmp_path)!r}, os.O_TMPFILE | os.O_RDWR)):
            shmring.Ring.create(path={str(tmp_path / "ring")!r}, capacity="200 MiB").close()
        print("fine")
    """
    assert inside(group(100 * MIB), program) == ["fine"]


def test_the_doctor_says_how_much_the_container_has_left(group) -> None:
    program = """
        import shmring
        found = [each for each in shmring.examine() if each.subject == "container memory"]
        print(*[(each.verdict, each.finding) for each in found])
        taken = shmring.segment.anonymous("180 MiB", transferable=True)
        found = [each for each in shmring.examine() if each.subject == "container memory"]
        print(*[(each.verdict, each.finding) for each in found])
    """
    first, second = inside(group(200 * MIB), program)
    assert first.startswith("('note', ")
    assert "of a limit of 200 MiB" in first
    assert "/dev/shm is larger" in first
    assert second.startswith("('problem', ")


# --- what version 2 writes, on machines that have version 1 as well ---

MOUNTED = "36 25 0:31 {root} /mnt/groups rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n"
MEMORY = {"memory.current": "60000000", "memory.stat": "anon 1\ninactive_file 7000000\nactive_file 3000000\nshmem 9\n"}
MAX = {"memory.max": "max", "memory.high": "max"} | MEMORY
OVERHEAD = 2 * MIB


def left(unused: int) -> int:
    return unused - unused // 128 - OVERHEAD


VERSION_2 = {
    "its own": ("/a", "/", {"a": MAX | {"memory.max": "100000000"}}, left(50000000), "/mnt/groups/a"),
    "none": ("/a", "/", {"a": MAX, "": MAX}, None, None),
    "above": ("/a/b", "/", {"a": MAX | {"memory.max": "100000000"}, "a/b": MAX}, left(50000000), "/mnt/groups/a"),
    "the tightest": (
        "/a/b",
        "/",
        {"a": MAX | {"memory.max": "100000000"}, "a/b": MAX | {"memory.max": "80000000"}},
        left(30000000),
        "/mnt/groups/a/b",
    ),
    "where it is slowed down": (
        "/a",
        "/",
        {"a": MAX | {"memory.max": "900000000", "memory.high": "100000000"}},
        left(50000000),
        "/mnt/groups/a",
    ),
    "the root of what is shown": ("/", "/", {"": MAX | {"memory.max": "100000000"}}, left(50000000), "/mnt/groups"),
    "a part that is mounted": ("/x/y", "/x/y", {"": MAX | {"memory.max": "100000000"}}, left(50000000), "/mnt/groups"),
    "a path from outside": ("/x/y", "/", {"": MAX | {"memory.max": "100000000"}}, left(50000000), "/mnt/groups"),
    "a path above": ("/../z", "/", {"": MAX | {"memory.max": "100000000"}}, left(50000000), "/mnt/groups"),
    "over it already": ("/a", "/", {"a": MAX | {"memory.max": "50000000"}}, 0, "/mnt/groups/a"),
}


@pytest.mark.skipif(not ROOT, reason="needs mounts of its own")
@pytest.mark.parametrize(("own", "root", "groups", "free", "where"), VERSION_2.values(), ids=VERSION_2)
def test_version_2_is_read_as_the_kernel_writes_it(own, root, groups, free, where) -> None:
    program = f"""
        import math, os, pathlib, subprocess
        top = pathlib.Path("/mnt/groups")
        for folder, files in {groups!r}.items():
            (top / folder).mkdir(parents=True, exist_ok=True)
            for name, text in files.items():
                (top / folder / name).write_text(text + "\\n")
        for name, text in ("cgroup", "0::{own}\\n"), ("mountinfo", {MOUNTED.format(root=root)!r}):
            pathlib.Path("/mnt", name).write_text(text)
            subprocess.run(["mount", "--bind", f"/mnt/{{name}}", f"/proc/{{os.getpid()}}/{{name}}"], check=True)
        from shmring.segment.posix import groups
        groups.machine_memory = dict  # no swap
        found = groups.least_left(math.inf)
        print(None if found is None else found[0], None if found is None else found[1].folder)
    """
    assert run(textwrap.dedent(program), machine="mount -t tmpfs none /mnt") == f"{free} {where}\n"
