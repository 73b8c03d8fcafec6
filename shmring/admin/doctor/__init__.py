"""Whether this machine is fit for rings: each finding with its remedy. Looks only; changes nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

from shmring.admin import leftovers
from shmring.admin.doctor.finding import Finding
from shmring.errors import ShmringError

if sys.platform == "win32":
    from shmring.admin.doctor.windows import CHECKS
else:
    from shmring.admin.doctor.linux import CHECKS

__all__ = ["Finding", "examine"]


def _leftovers() -> Iterator[Finding]:
    found = leftovers.clean(dry_run=True)
    removable = [each.name for each in found if each.removed]
    kept = [each.name for each in found if not each.removed]
    if removable:
        text = f"{len(removable)} that nobody uses: {', '.join(removable[:5])}"
        yield Finding("leftovers", "problem", text, "shmring clean")
    if kept:
        text = f"{len(kept)} with undelivered messages, persistent or damaged: {', '.join(kept[:5])}"
        yield Finding("leftovers", "note", text, "shmring get or rm each; shmring clean --force removes all of them")
    if not found:
        yield Finding("leftovers", "ok", "none")


def examine() -> list[Finding]:
    """Look at the machine: shared memory, what the kernel refuses, limits of the container and the process, leftovers.

    Changes nothing, and raises nothing on whatever machine.

    Waits:
        Never.
    Threads:
        Any thread of any process may call it.
    """
    return [finding for check in (*CHECKS, _leftovers) for finding in _safely(check)]


def _safely(check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """A check that fails is a finding, too: what it asked for is refused."""
    try:
        yield from check()
    except (OSError, ShmringError) as error:
        subject = check.__name__.strip("_").replace("_", " ")
        yield Finding(subject, "problem", f"could not be looked at: {error}", "see the other findings, or the sandbox")
