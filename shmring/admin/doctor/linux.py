"""What a Linux machine is asked about; kernel.py and memory.py have the larger part of it."""

from __future__ import annotations

import os
import pathlib
import sys
from collections.abc import Callable, Iterator

from shmring.admin.doctor import kernel, memory
from shmring.admin.doctor.finding import Finding

assert sys.platform != "win32"


def _read(path: str) -> str | None:
    try:
        return pathlib.Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:  # not there, or not for everybody: then it is not known
        return None


def _remove_ipc() -> Iterator[Finding]:
    config = _read("/etc/systemd/logind.conf")
    said = [
        line.partition("=")[2].strip().lower() for line in (config or "").splitlines() if line.startswith("RemoveIPC")
    ]
    removes = said[-1] not in ("no", "false", "0", "off") if said else True
    if not pathlib.Path("/run/systemd/system").exists():
        yield Finding("RemoveIPC", "ok", "no systemd-logind here to remove anybody's shared memory")
    elif removes and os.getuid() >= 1000:
        yield Finding(
            "RemoveIPC",
            "note",
            "systemd-logind removes your rings when you log out for good",
            "RemoveIPC=no in /etc/systemd/logind.conf, loginctl enable-linger, or run services as a system user",
        )
    else:
        yield Finding("RemoveIPC", "ok", "switched off, or you are a system user")


def _pages() -> Iterator[Finding]:
    transparent = _read("/sys/kernel/mm/transparent_hugepage/shmem_enabled") or ""
    chosen = transparent.partition("[")[2].partition("]")[0] or "unknown"
    count = _read("/proc/sys/vm/nr_hugepages") or ""
    explicit = int(count) if count.isdecimal() else 0
    text = f"{explicit} explicit, transparent for shared memory: {chosen}"
    if explicit or chosen in ("always", "advise", "within_size", "force"):
        yield Finding("huge pages", "ok", text)
    else:
        remedy = "for segments of hundreds of MiB: echo advise > /sys/kernel/mm/transparent_hugepage/shmem_enabled"
        yield Finding("huge pages", "note", f"{text}; none for large segments", remedy)


def _cores() -> Iterator[Finding]:
    allowed, online = len(os.sched_getaffinity(0)), os.cpu_count() or 1
    quota = (_read("/sys/fs/cgroup/cpu.max") or "max").split()
    text = f"{allowed} of {online} for this process"
    if online == 1:
        yield Finding("cores", "note", f"{text}: nobody spins, every wait is a kernel's wake", "two cores or more")
    elif len(quota) == 2 and quota[0].isdecimal() and int(quota[0]) < 2 * int(quota[1]):
        share = int(quota[0]) / int(quota[1])
        yield Finding("cores", "note", f"{text}, of which the container gets {share:.1f}", "a CPU quota of 2 or more")
    else:
        yield Finding("cores", "ok", text)


def _clock() -> Iterator[Finding]:
    source = _read("/sys/devices/system/clocksource/clocksource0/current_clocksource")
    fast = ("tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter")
    if source is None or source in fast:
        yield Finding("clock", "ok", source or "unknown")
    else:
        yield Finding(
            "clock",
            "note",
            f"{source}: reading it takes a system call, which slows every wait with a deadline",
            "clocksource=tsc on the kernel's command line, if the CPU's is stable",
        )


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    kernel.release, kernel.proc, kernel.locks_of_files, kernel.anonymous_memory, kernel.system_calls,
    memory.space, memory.container_memory, memory.process_limits, _remove_ipc, _cores, _pages, _clock,
)  # fmt: skip
