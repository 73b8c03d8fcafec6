"""What this process's control groups let it have in memory: containers, systemd units, batch jobs.

Shared memory is charged to the group of the process that first touches a page, and to all groups above it. A group that
is full has no error for that: the kernel reclaims what it can, then ends a process of the group. So it is asked
beforehand. Which groups have a limit is remembered for a moment; how much is left is read each time.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import sys
import time
from collections.abc import Iterator

assert sys.platform != "win32"

_LONGEST = 1.0  # seconds that the groups are believed to be the same, for what is small
_SMALL = 4 << 20
_NO_LIMIT = 1 << 60  # version 1 says a number near 2^63
_OWN_NEEDS = 2 << 20  # what is left to the processes that use the ring


@dataclasses.dataclass(frozen=True)
class Group:
    """A control group with a limit on memory; ``folder`` is where its files are."""

    folder: str
    version: int

    @property
    def limit(self) -> int | None:
        """In bytes; None for none. memory.high counts: past it, processes are stopped for seconds at a time."""
        names = ("memory.limit_in_bytes",) if self.version == 1 else ("memory.max", "memory.high")
        limits = [value for name in names if (value := self._number(name)) is not None and value < _NO_LIMIT]
        return min(limits, default=None)

    def left(self, enough: float) -> int | None:
        """Bytes that it lets processes take beside what they have; None for no limit, or when there is ``enough``."""
        limit, used = self.limit, self._number("memory.usage_in_bytes" if self.version == 1 else "memory.current")
        if limit is None or used is None:
            return None
        unused = limit - used
        left = _after_overhead(unused)
        if left < enough:
            left = _after_overhead(unused + self._reclaimable() + self._swappable(unused))
        return left if left < enough else None

    def _reclaimable(self) -> int:
        """What is only a cache of files: the kernel drops it before it ends anybody."""
        prefix = "total_" if self.version == 1 else ""
        counted = {f"{prefix}inactive_file", f"{prefix}active_file", "slab_reclaimable"}
        lines = (_read(f"{self.folder}/memory.stat") or "").splitlines()
        return sum(int(value) for key, _, value in (line.partition(" ") for line in lines) if key in counted)

    def _swappable(self, unused: int) -> int:
        """What can go to swap instead: half of it, since a page that is read back holds on to its place there."""
        swap = machine_memory().get("SwapFree", 0)
        if not swap:
            return 0
        if self.version == 1:  # a limit on memory and swap together
            most, used = self._number("memory.memsw.limit_in_bytes"), self._number("memory.memsw.usage_in_bytes")
            allowed = None if most is None or used is None else most - used - unused
        else:
            most, used = self._number("memory.swap.max"), self._number("memory.swap.current")
            allowed = None if most is None or used is None else most - used
        return max(0, swap if allowed is None else min(swap, allowed)) // 2

    def _number(self, name: str) -> int | None:
        text = _read(f"{self.folder}/{name}")
        return int(text) if text is not None and text.strip().isdecimal() else None  # "max" is none


def _after_overhead(unused: int) -> int:
    """Each page takes a share of the kernel's index, and of the page tables of all who map it: 1/450 and 1/512."""
    return max(0, unused - unused // 128 - _OWN_NEEDS)


def least_left(enough: float) -> tuple[int, Group] | None:
    """The least that any group of this process leaves, and which that is; None when all leave ``enough``."""
    found = [(left, group) for group in limited(fresh=enough >= _SMALL) if (left := group.left(enough)) is not None]
    return min(found, key=lambda each: each[0], default=None)


_remembered: tuple[int, float, tuple[Group, ...]] = (0, 0.0, ())


def limited(*, fresh: bool = True) -> tuple[Group, ...]:
    """This process's group and those above it, as far as it sees them, that limit its memory; the innermost first."""
    global _remembered
    pid, when, groups = _remembered
    now = time.monotonic()
    if fresh or pid != os.getpid() or now - when > _LONGEST:
        groups = tuple(group for group in _all_groups(_read("/proc/self/cgroup") or "") if group.limit is not None)
        _remembered = (os.getpid(), now, groups)
    return groups


def machine_memory() -> dict[str, int]:
    """What /proc/meminfo says, in bytes; nothing where it is not there."""
    lines = (_read("/proc/meminfo") or "").splitlines()
    words = (line.split() for line in lines)
    return {each[0].rstrip(":"): int(each[1]) * 1024 for each in words if len(each) == 3 and each[1].isdecimal()}


# --- where they are ---


@functools.lru_cache(maxsize=2)
def _all_groups(own: str) -> tuple[Group, ...]:
    """Of a process of which /proc/self/cgroup says that."""
    place = _own_path(own)
    if place is None:
        return ()
    version, path = place
    mounts = [*_mounts(version)]
    shown = ((mounted_at, _below(path, root)) for root, mounted_at in mounts)
    seen = [(at + below, at) for at, below in shown if below is not None and os.path.isdir(at + below)]
    # A container may be shown its own group as the root, and know the path from outside.
    folder, top = (seen or [(at, at) for _, at in mounts] or [("", "")])[0]
    found = []
    while folder:
        found.append(Group(folder, version))
        folder = os.path.dirname(folder) if len(folder) > len(top) else ""
    return tuple(found)


def _own_path(own: str) -> tuple[int, str] | None:
    """Which version of control groups bounds memory here, and this process's path in it."""
    found = None
    for line in own.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if "memory" in controllers.split(","):
            return 1, path
        if not controllers:
            found = (2, path)
    return found


def _mounts(version: int) -> Iterator[tuple[str, str]]:
    """Which group is shown where, for each place where they are."""
    for line in (_read("/proc/self/mountinfo") or "").splitlines():
        fields, _, rest = line.partition(" - ")
        kind, *options = rest.split()
        if kind == ("cgroup" if version == 1 else "cgroup2") and (version == 2 or "memory" in options[-1].split(",")):
            root, mounted_at = fields.split()[3:5]
            yield _unescaped(root), _unescaped(mounted_at)


def _below(path: str, root: str) -> str | None:
    """What a path adds to a root; None when it lies elsewhere."""
    if root == "/":
        return None if path.startswith("/..") else path.rstrip("/")
    if path == root or path.startswith(root + "/"):
        return path[len(root) :]
    return None


def _unescaped(field: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, character)
    return field


def _read(path: str) -> str | None:
    """A small file of the kernel; None where it cannot be read: then nothing is known of that limit."""
    try:
        # An object that closes itself, as a signal's handler may raise at any moment in here.
        with open(path, "rb", buffering=0) as file:
            return (file.readall() or b"").decode("utf-8", "replace")
    except OSError:
        return None
