"""ulimit: each limit is an error that names it, at the door; and nothing is left behind."""

import os

import pytest

import shmring
from tests.odd_machines.conftest import needs_linux, needs_namespaces, run

pytestmark = [needs_linux, needs_namespaces]

OWN_SHM = "mount -t tmpfs none /dev/shm"
LARGE = {
    "Ring": "shmring.Ring.create('odd', capacity='1 GiB')",
    "semaphore": "shmring.Ring.create('odd', capacity='1 GiB', kind='semaphore')",
    "open": "shmring.Ring.open('odd', capacity='1 GiB')",
    "Topic": "shmring.Topic.create('odd', capacity='1 GiB')",
    "Latest": "shmring.Latest.create('odd', size='1 GiB')",
    "Queue": "shmring.Queue(name='odd', capacity='1 GiB')",
    "segment": "shmring.segment.create('odd', '1 GiB')",
    "sparse segment": "shmring.segment.create('odd', '1 GiB', reserve=False)",
    "anonymous Ring": "shmring.Ring.create(capacity='1 GiB')",
    "anonymous Queue": "shmring.Queue(capacity='1 GiB')",
    "anonymous segment": "shmring.segment.anonymous('1 GiB', transferable=True)",
}
ADDRESS_SPACE = """
import resource
from shmring.segment.posix import limits
resource.setrlimit(resource.RLIMIT_AS, (limits.used("VmSize") + (200 << 20),) * 2)
"""


def test_too_little_address_space_is_no_space_that_names_the_limit_and_leaves_nothing(ask) -> None:
    answers = ask(OWN_SHM, ADDRESS_SPACE, LARGE | {"segment of forks": "shmring.segment.anonymous('1 GiB')"})
    assert answers.told(*answers.said, words=("ulimit -v",))
    assert {said.limit for said in answers.said.values()} == {"address space"}
    assert not answers.left


def test_too_little_address_space_is_told_by_who_attaches() -> None:
    program = f"""
import os, shmring
with shmring.Ring.create("odd", capacity="64 MiB", persist=True), shmring.segment.create("odd", "64 MiB"):
    if os.fork() == 0:
        try:
{ADDRESS_SPACE.replace(chr(10), chr(10) + " " * 12)}
            resource.setrlimit(resource.RLIMIT_AS, (limits.used("VmSize") + (1 << 20),) * 2)
            for call in (shmring.Ring.attach, shmring.inspect, shmring.segment.attach):
                try:
                    call("odd")
                except shmring.NoSpace as error:
                    print(error.limit, flush=True)
        finally:
            os._exit(0)
    os.wait()
"""
    assert run(program, machine=OWN_SHM).splitlines() == ["address space"] * 3


def test_too_little_private_memory_is_no_space_that_names_the_limit(ask) -> None:
    prepare = """
import resource
from shmring.segment.posix import limits
shmring.segment.create("odd", "256 MiB", reserve=False).close()
resource.setrlimit(resource.RLIMIT_DATA, (limits.used("VmData") + (64 << 20),) * 2)
"""
    answers = ask(OWN_SHM, prepare, {"private": "shmring.segment.attach('odd', private=True)"})
    assert answers.told("private", words=("ulimit -d",))


@pytest.mark.parametrize("handler", ["SIG_IGN", "SIG_DFL"])
def test_too_short_files_are_no_space_that_names_the_limit_and_no_signal(ask, handler: str) -> None:
    """SIGXFSZ ends a process, unless it is ignored, as Python does at first."""
    prepare = f"""
import resource, signal
signal.signal(signal.SIGXFSZ, signal.{handler})
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
"""
    answers = ask(OWN_SHM, prepare, LARGE)
    assert answers.told(*LARGE, words=("ulimit -f",))
    assert {said.limit for said in answers.said.values()} == {"file size"}
    assert not answers.left


def test_a_queue_says_which_limit_keeps_it_from_growing() -> None:
    program = """
import resource, shmring
with shmring.Queue(capacity="64 KiB") as queue:
    resource.setrlimit(resource.RLIMIT_FSIZE, (512 << 10, 512 << 10))
    try:
        while True:
            queue.put(bytes(10000), timeout=0.1)
    except shmring.Full as error:
        print("ulimit -f" in str(error), queue.qsize() > 5, error)
    count = queue.qsize()
    print(sum(len(queue.get(timeout=20)) for _ in range(count)) == 10000 * count)
"""
    first, second = run(program).splitlines()
    assert first.startswith("True True the anonymous queue")
    assert second == "True"


def test_a_queue_that_may_not_map_what_it_grows_by_says_so_and_loses_nothing() -> None:
    program = """
import resource, shmring
from shmring.segment.posix import limits
queue, put = shmring.Queue(), 0
resource.setrlimit(resource.RLIMIT_AS, (limits.used("VmSize") + (3 << 20),) * 2)
try:
    while put < 1_000_000:
        queue.put(put.to_bytes(4, "little") * 250)
        put += 1
except OSError as error:
    print(error)
print(put, all(queue.get(timeout=0)[:4] == each.to_bytes(4, "little") for each in range(put)), queue.empty())
"""
    refusal, account = run(program).splitlines()
    assert "the anonymous queue" in refusal
    assert "ulimit -v" in refusal
    put, *rest = account.split()
    assert int(put) > 0
    assert rest == ["True", "True"]


def test_no_descriptor_is_told_by_every_call_that_needs_one(ask) -> None:
    prepare = """
import resource
shmring.list()
resource.setrlimit(resource.RLIMIT_NOFILE, (os.dup(0),) * 2)
"""
    answers = ask(OWN_SHM, prepare)
    labels = [label for label in answers.said if label not in ("segment of forks", "segment.unlink")]
    assert answers.told(*labels, words=("no file descriptor is left", "ulimit -n"))
    assert answers.said["segment of forks"].value is not None
    assert not answers.left


def test_memory_is_reserved_in_steps_that_end_between_two_signals(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before Linux 6.17 a signal makes the kernel begin a step again: beside a timer a large one never ends."""
    steps: list[int] = []
    reserve = os.posix_fallocate

    def counted(fd: int, offset: int, length: int) -> None:
        steps.append(length)
        reserve(fd, offset, length)

    monkeypatch.setattr(os, "posix_fallocate", counted)
    shmring.Ring.create(capacity="64 MiB").close()
    shmring.Ring.create(name, capacity="64 MiB").close()
    assert max(steps) <= 1 << 20
    assert sum(steps) > 2 * 64 << 20
