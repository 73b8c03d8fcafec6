"""What the numbers were taken on: CPUs, memory, versions, clock, and who else was using it."""

from __future__ import annotations

import contextlib
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import time
from importlib import metadata
from typing import Any

_CPUS = pathlib.Path("/sys/devices/system/cpu")
_TICKS = os.sysconf("SC_CLK_TCK")
TICK = 1 / _TICKS  # seconds


def describe() -> dict[str, Any]:
    """The machine, in plain values."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    room = shutil.disk_usage("/dev/shm").total if os.path.isdir("/dev/shm") else 0
    return {
        "cpu": _cpu_model(),
        "cpus": os.cpu_count() or 1,
        "cpus_allowed": len(os.sched_getaffinity(0)),
        "caches": _caches(),
        "governor": _read(_CPUS / "cpu0/cpufreq/scaling_governor") or "unknown",
        "memory_bytes": memory,
        "shared_memory_bytes": room,
        "system": f"{platform.system()} {platform.release()}",
        "virtual": "hypervisor" in _read(pathlib.Path("/proc/cpuinfo")).partition("flags")[2].partition("\n")[0],
        "libc": " ".join(platform.libc_ver()),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "load": os.getloadavg()[0],
    }


def in_one_line(machine: dict[str, Any]) -> str:
    """The machine for a heading."""
    return (
        f"{machine['cpu']}, {machine['cpus']} CPUs{' (virtual machine)' if machine['virtual'] else ''}, "
        f"{machine['memory_bytes'] / 2**30:.0f} GiB, {machine['system']}, {machine['python']}"
    )


def versions(distributions: list[str]) -> dict[str, str]:
    """The installed version of each distribution; "not installed"."""
    found = {}
    for name in ["shmring", *sorted(set(distributions) - {""})]:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def compiler() -> str:
    """The first line that the C compiler says of itself; nothing without one."""
    for name in ("cc", "gcc", "clang"):
        if path := shutil.which(name):
            said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
            return said.partition("\n")[0]
    return ""


def clock() -> dict[str, float]:
    """What reading the clock costs, and its least step, in nanoseconds. Nothing is subtracted anywhere."""
    read = time.perf_counter_ns
    steps = [-(read() - read()) for _ in range(20_000)]
    return {"overhead_ns": float(statistics.median(steps)), "least_step_ns": float(min(s for s in steps if s > 0))}


def cpus_to_pin(wish: str | None) -> list[int | None]:
    """The CPUs for participants, in order: as wished ("0,2"; "none"), else allowed ones, one for each core first."""
    allowed = sorted(os.sched_getaffinity(0))
    if wish == "none":
        return [None]
    if wish:
        try:
            chosen = [int(word) for word in wish.split(",")]
        except ValueError:
            raise ValueError(f"pin is {wish!r}; it is CPU numbers with commas, such as 0,2, or none") from None
        if bad := [cpu for cpu in chosen if cpu not in allowed]:
            raise ValueError(f"pin has CPU {bad[0]}; allowed here are {', '.join(map(str, allowed))}")
        return list(chosen)
    cores: dict[str, list[int]] = {}
    for cpu in allowed:
        cores.setdefault(_read(_CPUS / f"cpu{cpu}/topology/thread_siblings_list") or str(cpu), []).append(cpu)
    widest = max(len(core) for core in cores.values())
    return [core[turn] for turn in range(widest) for core in cores.values() if turn < len(core)]


def busy_seconds() -> tuple[float, float]:
    """CPU seconds that the whole machine has been busy since it started, and those that its host took away."""
    fields = [int(word) for word in _read(pathlib.Path("/proc/stat")).partition("\n")[0].split()[1:9]]
    user, nice, system, _idle, _iowait, interrupts, soft, stolen = fields
    return (user + nice + system + interrupts + soft) / _TICKS, stolen / _TICKS


def _cpu_model() -> str:
    for line in _read(pathlib.Path("/proc/cpuinfo")).splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _caches() -> str:
    found = []
    for index in sorted(_CPUS.glob("cpu0/cache/index*")):
        level, kind, size = (_read(index / name) for name in ("level", "type", "size"))
        if kind != "Instruction":
            found.append(f"L{level} {size}")
    return ", ".join(found)


def _read(path: pathlib.Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text().strip()
    return ""
