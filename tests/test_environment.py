"""Rings where the machine is short of something, in other namespaces, and after hundreds of killed processes."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import shmring

SHM = Path("/dev/shm")
ROOT = hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("unshare") is not None
needs_namespaces = pytest.mark.skipif(not ROOT, reason="needs root and unshare, for namespaces of its own")

needs_limits = pytest.mark.skipif(sys.platform == "win32", reason="about POSIX resource limits")


def python(program: str, *wrapper: str, **options: object) -> "subprocess.CompletedProcess[str]":
    command = [*wrapper, sys.executable, "-c", textwrap.dedent(program)]
    return subprocess.run(command, capture_output=True, text=True, **options)  # type: ignore[call-overload]


@needs_namespaces
def test_a_full_shared_memory_is_no_space_at_create_and_at_grow_and_leaves_nothing() -> None:
    program = """
        import os, subprocess
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", "/dev/shm"], check=True)
        import shmring
        from shmring import segment
        def no_space(what):
            try:
                what()
            except shmring.NoSpace as error:
                return error
            raise AssertionError("there was space")
        for kind in ("spsc", "mpmc", "semaphore"):
            error = no_space(lambda: shmring.Ring.create("big", capacity="8 GiB", kind=kind))
            assert error.needed > error.free
        error = no_space(lambda: shmring.Ring.create("big", capacity="4 MiB"))
        assert error.free <= 1 << 20 and "--shm-size" in str(error), error
        assert os.listdir("/dev/shm") == [], os.listdir("/dev/shm")
        with shmring.Ring.create("fits", capacity="256 KiB") as ring:
            ring.put(bytes(100_000))
            with segment.create("grows", 4096) as memory:
                no_space(lambda: memory.grow("4 MiB"))
                assert len(memory) == 4096
            segment.unlink("grows")
            assert len(ring.get()) == 100_000
        assert os.listdir("/dev/shm") == []
        print("fine")
    """
    done = python(program, "unshare", "--mount", "--propagation", "private")
    assert done.stdout == "fine\n", done.stderr


@needs_limits
@pytest.mark.parametrize(
    ("limit", "value", "error"),
    [("RLIMIT_NOFILE", 5, "ulimit -n"), ("RLIMIT_FSIZE", 8192, "ulimit -f")],
)
def test_a_tight_limit_is_an_error_that_names_it_and_leaves_nothing(
    limit: str, value: int, error: str, name: str
) -> None:
    program = f"""
        import posix_ipc, resource, signal, shmring
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.{limit}, ({value}, {value}))
        for kind in ("mpmc", "semaphore"):
            try:
                for i in range(8):
                    globals()[f"{{kind}}{{i}}"] = shmring.Ring.create("{name}" + kind + str(i), kind=kind)
            except OSError as error:
                print(error)
    """
    done = python(program)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(error) == 2
    assert not [entry for entry in os.listdir(SHM) if name in entry]


@needs_limits
def test_too_little_locked_memory_is_an_error_that_names_the_limit() -> None:
    program = """
        import os, resource, shmring
        from shmring import segment
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (4096, 4096))
        with segment.anonymous(1 << 20) as memory:
            if os.geteuid() == 0:
                os.setuid(65534)  # root may lock whatever it likes
            try:
                memory.lock()
            except PermissionError as error:
                print("RLIMIT_MEMLOCK is 4096" in str(error))
    """
    assert python(program).stdout == "True\n"


@needs_namespaces
def test_a_process_in_another_pid_namespace_is_alive_until_it_is_killed(name: str) -> None:
    program = f"""
        import os, signal, shmring
        assert os.getpid() < 10
        ring = shmring.Ring.attach("{name}")
        ring.put(b"from afar")
        lease = ring.claim(10); lease.__enter__()
        print("ready", flush=True)
        signal.pause()
    """
    with shmring.Ring.create(name) as ring:
        command = ["unshare", "--pid", "--fork", "--kill-child", sys.executable, "-c", textwrap.dedent(program)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as far:
            assert far.stdout
            assert far.stdout.readline() == "ready\n"
            assert ring.get() == b"from afar"
            with pytest.raises(shmring.Empty):
                ring.get(timeout=0.3)  # looked up several times: alive
            assert [each.alive for each in shmring.inspect(name).attachments] == [True, True]
            far.send_signal(signal.SIGKILL)
        with pytest.raises(shmring.PeerDied):
            ring.get(timeout=20)


CYCLE = """
import os, signal, sys, shmring
name, kind, what = sys.argv[1:]
if what == "create":
    ring = shmring.Ring.create(name, capacity=4096, kind=kind)
else:
    ring = shmring.Ring.attach(name)
    ring.put(b"x", timeout=0)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="counts what is left in /dev/shm")
@pytest.mark.verify
@pytest.mark.timeout(1200)
def test_two_hundred_cycles_of_create_attach_and_kill_leave_nothing(
    name: str, effort: float, figure: Callable[[str], None]
) -> None:
    files, descriptors = set(os.listdir(SHM)), len(os.listdir("/proc/self/fd"))
    cycles = int(200 * effort)
    for cycle in range(cycles):
        kind = ("mpmc", "spsc", "semaphore")[cycle % 3]
        if cycle % 2:
            subprocess.run([sys.executable, "-c", CYCLE, f"{name}-{cycle}", kind, "create"])
        else:
            with shmring.Ring.create(f"{name}-{cycle}", capacity=4096, kind=kind) as ring:
                subprocess.run([sys.executable, "-c", CYCLE, f"{name}-{cycle}", kind, "attach"])
                assert ring.get(timeout=20) == b"x"
    gone = {each.name for each in shmring.clean() if each.removed}
    assert len([each for each in gone if each.startswith(name)]) == cycles // 2
    left = set(os.listdir(SHM)) - files
    assert not [entry for entry in left if name in entry or entry.startswith("sem.shmring")]
    assert len(os.listdir("/proc/self/fd")) == descriptors
    figure(f"{cycles} cycles of create, attach and kill: 0 files, 0 semaphores, 0 descriptors left")


@needs_limits
@pytest.mark.parametrize("look", [shmring.list, lambda: shmring.clean(dry_run=True)])
def test_want_of_descriptors_hides_no_ring_and_condemns_none(name: str, look: Callable[[], list[Any]]) -> None:
    import resource

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    found, refused = [], 0
    with shmring.Ring.create(name):
        lowest_free = os.dup(0)
        os.close(lowest_free)
        for more in range(12):  # from none to enough
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free + more, limits[1]))
            try:
                found.append([each.name for each in look()])
            except OSError:
                refused += 1
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert refused
    assert found
    for names in found:
        assert (name in names) == (look is shmring.list)
