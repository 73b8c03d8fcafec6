"""A forked child attaches again: what the machine refuses it then is told by its first call, and nobody loses by it."""

import pytest

from tests.odd_machines.conftest import needs_linux, needs_namespaces, run

pytestmark = [needs_linux, needs_namespaces]

OWN_SHM = "mount -t tmpfs none /dev/shm"
# What befalls a process between its making and the fork; and the words for it.
LACKS = {
    "another user": ("os.setgid(65534); os.setuid(65534)", "another user"),
    "no /proc": ("libc = ctypes.CDLL(None); assert not libc.umount2(b'/proc', 2)", "mount -t proc"),
    "no descriptors": ("resource.setrlimit(resource.RLIMIT_NOFILE, (os.dup(0),) * 2)", "no file descriptor is left"),
}
PROGRAM = """
import ctypes, os, resource, shmring
things = {{
    "spsc": shmring.Ring.create("odd-spsc", capacity=65536, kind="spsc"),
    "mpmc": shmring.Ring.create("odd-mpmc", capacity=65536),
    "semaphore": shmring.Ring.create("odd-semaphore", capacity=65536, kind="semaphore"),
    "anonymous": shmring.Ring.create(capacity=65536),
    "topic": shmring.Topic.create("odd-topic", capacity=65536),
    "latest": shmring.Latest.create("odd-latest", size=64),
    "queue": shmring.Queue(name="odd-queue"),
    "anonymous queue": shmring.Queue(),
}}
put = {{"topic": lambda it: it.publish(b"child"), "latest": lambda it: it.set(b"child")}}
{lack}
if os.fork() == 0:
    for label, thing in things.items():
        try:
            put.get(label, lambda it: it.put(b"child"))(thing)
            print(label, "went on", sep=": ", flush=True)
        except OSError as error:
            print(label, error, sep=": ", flush=True)
    os._exit(0)
assert os.wait()[1] == 0
for label, thing in things.items():
    if label not in put:
        thing.put(b"parent")
        while (message := thing.get(timeout=0)) != b"parent":
            assert message == b"child"
print("the parent went on")
"""


@pytest.mark.parametrize("lack", LACKS)
def test_a_forked_child_that_cannot_attach_again_says_why_and_its_parent_goes_on(lack: str) -> None:
    words = LACKS[lack][1]
    *children, parent = run(PROGRAM.format(lack=LACKS[lack][0]), machine=OWN_SHM).splitlines()
    assert parent == "the parent went on"
    assert len(children) == 8
    refused = [line for line in children if not line.endswith(": went on")]
    assert refused, "this machine lacks nothing"
    assert all(words in line for line in refused), refused
