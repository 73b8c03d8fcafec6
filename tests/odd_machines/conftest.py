"""Machines that lack something: a child runs every public call on one, and tells what each said.

A machine is a shell's words in a mount namespace of the child's own (`mount -t tmpfs -o ro none /dev/shm`), or Python's
words in the child before the calls (a limit, a system call that is refused).
"""

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

LINUX = sys.platform == "linux"
ROOT = LINUX and os.geteuid() == 0 and shutil.which("unshare") is not None
needs_linux = pytest.mark.skipif(not LINUX, reason="about Linux: /dev/shm, /proc, control groups, ulimit")
needs_namespaces = pytest.mark.skipif(not ROOT, reason="needs root and unshare, for mounts of its own")
needs_seccomp = pytest.mark.skipif(
    not LINUX or platform.machine() != "x86_64", reason="the filters have the system call numbers of x86-64 Linux"
)

_NO_MOUNT = 32  # what mount ends with

# What is asked of each machine, in this order. What is made is closed at once.
CALLS = {
    "list": "shmring.list()",
    "clean": "shmring.clean()",
    "clean by force": "shmring.clean(force=True)",
    "inspect": "shmring.inspect('odd')",
    "unlink": "shmring.unlink('odd')",
    "attach": "shmring.Ring.attach('odd', timeout=0.05)",
    "attach topic": "shmring.Topic.attach('odd')",
    "attach latest": "shmring.Latest.attach('odd')",
    "create": "shmring.Ring.create('odd', capacity=65536)",
    "open": "shmring.Ring.open('odd', capacity=65536)",
    "create topic": "shmring.Topic.create('odd', capacity=65536)",
    "create latest": "shmring.Latest.create('odd', size=65536)",
    "create semaphore": "shmring.Ring.create('odd', capacity=65536, kind='semaphore')",
    "named queue": "shmring.Queue(name='odd', capacity=65536)",
    "segment.create": "shmring.segment.create('odd', 65536)",
    "segment.attach": "shmring.segment.attach('odd')",
    "segment.unlink": "shmring.segment.unlink('odd')",
    "anonymous": "shmring.Ring.create(capacity=65536)",
    "anonymous spsc": "shmring.Ring.create(capacity=65536, kind='spsc')",
    "anonymous topic": "shmring.Topic.create(capacity=65536)",
    "anonymous latest": "shmring.Latest.create(size=65536)",
    "anonymous semaphore": "shmring.Ring.create(capacity=65536, kind='semaphore')",
    "queue": "shmring.Queue(capacity=65536)",
    "segment.anonymous": "shmring.segment.anonymous(65536, transferable=True)",
    "segment of forks": "shmring.segment.anonymous(65536)",
}
MAKE_BY_NAME = ["create", "open", "create topic", "create latest", "create semaphore", "named queue", "segment.create"]
FIND_BY_NAME = ["inspect", "unlink", "attach", "attach topic", "attach latest", "segment.attach", "segment.unlink"]
BY_NAME = [*MAKE_BY_NAME, *FIND_BY_NAME]
SEMAPHORES = ["create semaphore", "anonymous semaphore"]
ANONYMOUS = ["anonymous", "anonymous spsc", "anonymous topic", "anonymous latest", "queue", "segment.anonymous"]

_PROGRAM = """
import errno, json, os, sys, shmring
calls = json.loads(sys.argv[1])
{prepare}
said = {{}}
for label, call in calls.items():
    try:
        value = eval(call)
        said[label] = {{"value": repr(value)}}
        if hasattr(value, "close"):
            value.close()
        if label == "segment.create":
            shmring.segment.unlink("odd")
    except BaseException as error:
        kinds = [each.__name__ for each in type(error).__mro__]
        said[label] = {{"kinds": kinds, "errno": getattr(error, "errno", None), "text": str(error)}}
        said[label]["limit"] = getattr(error, "limit", None)
try:
    left = [each for each in os.listdir("/dev/shm") if "odd" in each or "sem." in each]
except OSError:
    left = []
print(json.dumps([said, left]))
"""

# refuse("fcntl", errno.EINVAL, second=37): that system call, with that second argument or with any, fails so.
REFUSE = """
import ctypes, struct
_NUMBERS = {"fcntl": 72, "memfd_create": 319, "futex": 202, "membarrier": 324, "futex_waitv": 449, "fallocate": 285,
            "mmap": 9, "linkat": 265, "ftruncate": 77, "openat": 257, "statfs": 137, "fstatfs": 138, "madvise": 28,
            "flock": 73, "unlink": 87, "eventfd2": 290, "fstat": 5, "newfstatat": 262, "getdents64": 217, "dup": 32,
            "fchmod": 91, "prlimit64": 302, "sysinfo": 99, "link": 86, "chmod": 90, "close": 3, "munmap": 11,
            "lstat": 6, "stat": 4, "readlink": 89, "access": 21, "faccessat": 269, "pipe2": 293, "clone3": 435}
def refuse(name, code, second=None):
    one = lambda *fields: struct.pack("HBBI", *fields)
    program = one(0x20, 0, 0, 0) + one(0x15, 0, 1 if second is None else 3, _NUMBERS[name])
    if second is not None:
        program += one(0x20, 0, 0, 24) + one(0x15, 0, 1, second)
    program += one(6, 0, 0, 0x50000 | code) + one(6, 0, 0, 0x7FFF0000)
    buffer = ctypes.create_string_buffer(program, len(program))
    libc = ctypes.CDLL(None, use_errno=True)
    rule = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(buffer))
    assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, ctypes.c_char_p(rule), 0, 0) == 0
"""


@dataclass
class Said:
    """What one call said: the repr of its value, or an error."""

    value: str | None = None
    kinds: tuple[str, ...] = ()
    errno: int | None = None
    text: str = ""
    limit: str | None = None

    def is_told(self, *words: str) -> bool:
        """Is it an OSError in words: these, and more than the system's own?"""
        bare = self.errno is not None and self.text == f"[Errno {self.errno}] {os.strerror(self.errno)}"
        return "OSError" in self.kinds and not bare and all(word in self.text for word in words)


@dataclass
class Answers:
    """What a machine said to each call, and what is left in its /dev/shm."""

    said: dict[str, Said]
    left: list[str]

    def fine(self, *labels: str) -> bool:
        """Did all of these work?"""
        failed = {label: self.said[label].text for label in labels if self.said[label].value is None}
        assert not failed, failed
        return True

    def told(self, *labels: str, words: tuple[str, ...]) -> bool:
        """Did all of these fail with an OSError that has these words?"""
        other = {label: self.said[label] for label in labels if not self.said[label].is_told(*words)}
        assert not other, other
        return True


def run(program: str, *arguments: str, machine: str = "") -> str:
    """What a program prints in a Python of its own; ``machine`` are a shell's words before it, in its own mounts."""
    wrapper = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", f'{machine}\nexec "$@"', "sh"]
    command = [*(wrapper if machine else []), sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == _NO_MOUNT and "mount: " in done.stderr:
        pytest.skip(f"this kernel does not mount that: {done.stderr.splitlines()[0]}")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def ask() -> Callable[..., Answers]:
    """Return a function that asks a machine: mounts in a shell's words, then Python's, then the calls."""

    def asked(machine: str = "", prepare: str = "", calls: dict[str, str] | None = None) -> Answers:
        assert machine or calls, "these calls clean up: not in the /dev/shm of the tests"
        program = (REFUSE if "refuse(" in prepare else "") + _PROGRAM.format(prepare=prepare)
        said, left = json.loads(run(program, json.dumps(calls or CALLS), machine=machine).splitlines()[-1])
        return Answers({label: Said(**each) for label, each in said.items()}, left)

    return asked
