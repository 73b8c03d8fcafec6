"""What the machine can do at best: small C programs, compiled with the machine's compiler when they are first needed.

memcpy        one process copies messages into a ring's worth of memory
cache line    one word goes to another CPU and back, both spinning
futex         the same with both sides asleep
C ring        the classic fixed-slot ring between two processes, without Python
call floor    what CPython takes to call a function that does nothing
new bytes     the C ring from a Python loop, a new bytes object for each message
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import pathlib
import shutil
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from ..channel import Channel, Shape, Unsupported

HERE = pathlib.Path(__file__).parent
_PATIENCE = 60
_CALLS = 200_000


def cache_folder() -> pathlib.Path:
    """Where compiled programs are kept, by what they were compiled from."""
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(base) / "shmring" / "bench-limits"


def compiler() -> str:
    """The machine's C compiler; Unsupported when there is none."""
    for name in ("cc", "gcc", "clang"):
        if found := shutil.which(name):
            return found
    raise Unsupported("no C compiler on this machine (cc, gcc or clang): install one, or do without this limit")


def _built(source: str, *flags: str) -> pathlib.Path:
    """Compile a source of this folder, unless the same one was compiled before; the path of the result."""
    text = b"".join(path.read_bytes() for path in (HERE / "classic_ring.h", HERE / source))
    digest = hashlib.blake2b(text + repr((flags, sysconfig.get_platform())).encode(), digest_size=8).hexdigest()
    target = cache_folder() / digest / (pathlib.Path(source).stem + (".so" if "-shared" in flags else ""))
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            made = pathlib.Path(folder) / target.name
            command = [compiler(), "-std=gnu11", "-O3", *flags, str(HERE / source), "-o", str(made)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise Unsupported(f"{source} does not compile here: {done.stderr.strip().partition(chr(10))[0]}")
            whole = target.with_name(f"{target.name}.{os.getpid()}")
            shutil.copy2(made, whole)
            os.replace(whole, target)  # at once, as two runs may meet here
    return target


def _run(program: str, cpus: Sequence[int | None], *arguments: float) -> list[float]:
    command = [str(_built(program + ".c")), *map(str, arguments)]
    pins = ",".join("-1" if cpu is None else str(cpu) for cpu in cpus)
    environment = {**os.environ, "SHMRING_BENCH_CPUS": pins}
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=_PATIENCE, env=environment)
    if done.returncode:
        raise RuntimeError(f"{program} failed: {done.stderr.strip() or done.returncode}")
    return [float(word) for word in done.stdout.split()]


def ring_rate(length: int, seconds: float, capacity: int, distinct: int, cpus: Sequence[int | None]) -> float:
    """Messages a second through the classic C ring, out of a pool of distinct ones."""
    return _run("spsc_ring", cpus, length, seconds, capacity, distinct)[0]


def memcpy_rate(length: int, seconds: float, capacity: int, distinct: int, cpus: Sequence[int | None]) -> float:
    """Messages a second that one CPU copies from that pool into that much memory."""
    return _run("memcpy", cpus, length, seconds, capacity, distinct)[0]


def cache_line_round_trips(seconds: float, cpus: Sequence[int | None]) -> list[float]:
    """Percentiles of the bare cache-line round trip, in nanoseconds: p50, p90, p99, p99.9, p99.99, most."""
    return _run("cache_line", cpus, seconds)


def futex_round_trips(seconds: float, cpus: Sequence[int | None]) -> list[float]:
    """The same of the futex round trip."""
    return _run("futex", cpus, seconds)


@functools.cache
def copy_floor() -> ModuleType:
    """The module of copy_floor.c; Unsupported without a compiler or without the Python headers."""
    include = sysconfig.get_path("include")
    if not pathlib.Path(include, "Python.h").exists():
        raise Unsupported(f"{include}/Python.h is missing: install the Python headers (Debian, Ubuntu: python3-dev)")
    path = _built("copy_floor.c", "-shared", "-fPIC", f"-I{include}")
    spec = importlib.util.spec_from_file_location("copy_floor", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def call_rate() -> float:
    """Calls a second of a C function that takes one argument and does nothing, from a Python loop."""
    nothing, argument, again = copy_floor().nothing, b"", range(_CALLS)
    began = time.perf_counter()
    for _ in again:
        nothing(argument)
    return _CALLS / (time.perf_counter() - began)


class NewBytes(Channel):
    """The C ring from Python loops, as put and get: the least that they can cost."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.module = copy_floor()
        self.module.make(shape.capacity, shape.length)

    def sender(self, number: int) -> Callable[[bytes], Any]:
        return self.module.put  # type: ignore[no-any-return]

    def receiver(self, number: int) -> Callable[[], Any]:
        return self.module.get  # type: ignore[no-any-return]
