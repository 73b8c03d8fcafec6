"""What the tests of event loops look at from outside: the descriptors and threads of this process."""

import asyncio
import contextlib
import os
import sys

import pytest

needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="looks at descriptors and threads in /proc")
TICKS = 0.05  # how often a waiter looks up


def bells() -> list[str]:
    """The eventfds of this process."""
    found = []
    for entry in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            if "eventfd" in (target := os.readlink(f"/proc/self/fd/{entry}")):
                found.append(target)
    return found


def watching_threads() -> int:
    """How many threads of this process watch on behalf of loops."""
    found = 0
    for thread in os.listdir("/proc/self/task"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError), open(f"/proc/self/task/{thread}/comm") as file:
            found += file.read().strip() == "shmring-watch"
    return found


async def no_thread_left() -> None:
    """Until nothing watches any more."""
    while watching_threads():
        await asyncio.sleep(TICKS)
