"""What a Linux machine is asked about: shared memory, limits of the container and the process, cores, clock."""

from __future__ import annotations

import os
import pathlib
import resource
import sys
from collections.abc import Callable, Iterator

from shmring.doctor.finding import Finding
from shmring.segment.sizes import show_size

assert sys.platform != "win32"

_SHARED_MEMORY = "/dev/shm"
_SMALL = 256 << 20
_FEW_DESCRIPTORS = 256


def _read(path: str) -> str | None:
    try:
        return pathlib.Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return None


def _space() -> Iterator[Finding]:
    try:
        status = os.statvfs(_SHARED_MEMORY)
    except OSError as error:
        yield Finding("space", "problem", f"{_SHARED_MEMORY}: {error.strerror}", "mount a tmpfs there")
        return
    size, free = status.f_blocks * status.f_frsize, status.f_bavail * status.f_frsize
    text = f"{_SHARED_MEMORY} has {show_size(free)} free of {show_size(size)}"
    larger = "in a container, start it with --shm-size=1g; else mount -o remount,size=1g /dev/shm"
    if size and size < _SMALL:
        yield Finding("space", "problem", f"{text}: rings of more than that raise NoSpace", larger)
    elif size and free < size // 10:
        yield Finding("space", "problem", f"{text}: nearly full", f"shmring clean, shmring ls; or {larger}")
    else:
        yield Finding("space", "ok", text)
    if not os.access(_SHARED_MEMORY, os.R_OK | os.W_OK | os.X_OK):
        yield Finding("space", "problem", f"{_SHARED_MEMORY} is not writable for you", "chmod 1777 /dev/shm (as root)")


def _container() -> Iterator[Finding]:
    limit = _read("/sys/fs/cgroup/memory.max") or _read("/sys/fs/cgroup/memory/memory.limit_in_bytes")
    if not limit or not limit.isdigit() or int(limit) > 1 << 60:
        yield Finding("container memory", "ok", "no memory limit")
        return
    status = os.statvfs(_SHARED_MEMORY)
    text = f"the container may use {show_size(int(limit))}, shared memory included"
    if status.f_blocks * status.f_frsize > int(limit):
        yield Finding(
            "container memory",
            "note",
            f"{text}, and {_SHARED_MEMORY} is larger than that: filling it ends a process, not an allocation",
            "keep the sum of capacities well below the limit, or raise it",
        )
    else:
        yield Finding("container memory", "ok", text)


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
    explicit = int(_read("/proc/sys/vm/nr_hugepages") or 0)
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
    elif quota[0].isdigit() and int(quota[0]) < 2 * int(quota[1]):
        share = int(quota[0]) / int(quota[1])
        yield Finding("cores", "note", f"{text}, of which the container gets {share:.1f}", "a CPU quota of 2 or more")
    else:
        yield Finding("cores", "ok", text)


def _limits() -> Iterator[Finding]:
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if descriptors != resource.RLIM_INFINITY and descriptors < _FEW_DESCRIPTORS:
        finding = f"{descriptors} descriptors; a ring takes two or three"
        yield Finding("limits", "problem", finding, "ulimit -n 1024, LimitNOFILE=")
    size = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if size != resource.RLIM_INFINITY:
        finding = f"no file, and so no ring, may be larger than {show_size(size)}"
        yield Finding("limits", "problem" if size < _SMALL else "note", finding, "ulimit -f unlimited, LimitFSIZE=")
    locked = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    if locked != resource.RLIM_INFINITY and locked < 64 << 20:
        finding = f"segment.lock() can lock {show_size(locked)}"
        yield Finding("limits", "note", finding, "ulimit -l, LimitMEMLOCK=, where memory is to be locked")
    if descriptors == resource.RLIM_INFINITY or descriptors >= _FEW_DESCRIPTORS:
        yield Finding("limits", "ok", f"{descriptors if descriptors > 0 else 'unlimited'} descriptors")


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


def _kernel() -> Iterator[Finding]:
    try:
        fd = os.open(_SHARED_MEMORY, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        text = f"{_SHARED_MEMORY} makes no unnamed files ({error.strerror}), which named rings begin as"
        yield Finding("kernel", "problem", text, "a tmpfs on /dev/shm, and Linux 3.11 or later")
        return
    try:
        if not os.path.exists(f"/proc/self/fd/{fd}"):
            yield Finding(
                "kernel", "problem", "/proc is missing; rings are named through it", "mount -t proc proc /proc"
            )
            return
    finally:
        os.close(fd)
    yield Finding("kernel", "ok", f"{os.uname().sysname} {os.uname().release}, Python {sys.version.split()[0]}")


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    _kernel, _space, _container, _remove_ipc, _limits, _cores, _pages, _clock,
)  # fmt: skip
