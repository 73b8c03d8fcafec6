"""What the machine can do at best: small C programs, built on demand into a folder of their own."""

import hashlib
import importlib.util
import pathlib
import subprocess
import sysconfig
import tempfile
from types import ModuleType

HERE = pathlib.Path(__file__).parent


def _built(source: str, *flags: str) -> pathlib.Path:
    """Compile a source of this folder, unless the same one was compiled before; the path of the result."""
    text = b"".join(path.read_bytes() for path in (HERE / "classic_ring.h", HERE / source))
    digest = hashlib.blake2b(text + repr(flags).encode(), digest_size=8).hexdigest()
    folder = pathlib.Path(tempfile.gettempdir()) / f"shmring-limits-{digest}"
    target = folder / (pathlib.Path(source).stem + (".so" if "-shared" in flags else ""))
    if not target.exists():
        folder.mkdir(exist_ok=True)
        subprocess.run(["gcc", "-std=gnu11", "-O3", *flags, str(HERE / source), "-o", str(target)], check=True)
    return target


def _run(program: str, *arguments: int) -> list[float]:
    command = [str(_built(program + ".c")), *map(str, arguments)]
    return [float(word) for word in subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()]


def ring_seconds(length: int, count: int, capacity: int, distinct: int) -> float:
    """Seconds that the classic C ring takes for so many messages of this length, out of a pool of distinct ones."""
    return _run("spsc_ring", length, count, capacity, distinct)[0]


def cache_line_round_trip(rounds: int) -> tuple[float, float]:
    """Median and 99th percentile of the bare cache-line round trip, in microseconds."""
    median, high = _run("cache_line", rounds)
    return median, high


def futex_round_trip(rounds: int) -> tuple[float, float]:
    """Median and 99th percentile of the futex round trip, in microseconds."""
    median, high = _run("futex", rounds)
    return median, high


def copy_floor() -> ModuleType:
    """The module of copy_floor.c."""
    include = sysconfig.get_path("include")
    path = _built("copy_floor.c", "-shared", "-fPIC", f"-I{include}")
    spec = importlib.util.spec_from_file_location("copy_floor", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
