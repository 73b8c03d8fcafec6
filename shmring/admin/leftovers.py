"""What killed processes left behind, and removing it."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator

from shmring import _core
from shmring.errors import Corrupt, NotReady, NotThere
from shmring.names import places, registry, semaphores
from shmring.segment.descriptors import is_shortage, shortage_explained


@dataclasses.dataclass(frozen=True)
class Leftover:
    """Something that no living process uses.

    A "ring", the "semaphores" or "locks" of one, or a "name" that leads nowhere.

    ``removed`` says whether clean() removed it (or, with ``dry_run``, would); ``reason`` why, or why not.

    >>> with shmring.Ring.create("docs-leftover", persist=True):
    ...     pass
    >>> [(each.what, each.removed, each.reason) for each in shmring.clean(dry_run=True) if each.name == "docs-leftover"]
    [('ring', False, 'it is persistent')]
    >>> shmring.unlink("docs-leftover")
    """

    name: str
    what: str
    removed: bool
    reason: str


def _ring(place: places.Place, force: bool, dry_run: bool) -> Leftover | None:
    name = place.name or str(place.path)
    with registry.mapped(place) as memory:
        if registry.is_held(memory) or not places.may_remove(memory, place):
            return None
    kept = registry.reclaim(place, only_look=dry_run)
    if kept is None:
        return Leftover(name, "ring", True, "no process is attached, and nothing is undelivered")
    if kept.is_in_use:  # somebody has come meanwhile
        return None
    if force:
        gone = dry_run or registry.remove_by_force(place)
        return Leftover(name, "ring", True, f"by force, though {kept}") if gone else None
    return Leftover(name, "ring", False, str(kept))


def _no_ring(place: places.Place, force: bool, dry_run: bool, why: str) -> Leftover | None:
    """What has the name of a ring and is none, if it is this user's to remove."""
    try:
        if not places.may_remove_file(place):
            return None
        if force and not dry_run:
            registry.remove_by_force(place)
    except (NotThere, PermissionError):
        return None
    return Leftover(place.name or "", "ring", force, why)


def _rings(force: bool, dry_run: bool) -> Iterator[Leftover]:
    for place in registry.named_places():
        try:
            found = _ring(place, force, dry_run)
        except (NotThere, PermissionError):  # gone meanwhile, or somebody else's
            continue
        except NotReady:  # an empty file
            found = _no_ring(place, force, dry_run, "it is empty: whoever created it did not finish")
        except Corrupt as error:  # an entry that leads to less than it says
            found = _no_ring(place, force, dry_run, str(error))
        except OSError as error:  # the others are looked at all the same
            if is_shortage(error):
                raise
            found = Leftover(place.name or "", "ring", False, f"it cannot be looked at: {error}")
        if found:
            yield found


def _in_rings() -> set[int]:
    """Identities of the named rings there are; their semaphores go with them."""
    known = set()
    for place in registry.named_places():
        # Gone meanwhile, somebody else's, empty, no ring. Of any other nobody knows which semaphores it has.
        with contextlib.suppress(NotThere, PermissionError, NotReady, ValueError), registry.mapped(place) as memory:
            known.add(_core.describe(memory)[2])
    return known


def _semaphores(dry_run: bool) -> Iterator[Leftover]:
    there = semaphores.identities()  # first: a ring's semaphores are older than its name
    for identity in sorted(there - _in_rings()) if there else ():
        name = f"{identity:016x}"
        try:
            if semaphores.remove_if_unused(identity, only_look=dry_run):
                yield Leftover(name, "semaphores", True, "no named ring has them, and nobody uses them")
        except PermissionError:  # those of others
            continue
        except OSError as error:
            if is_shortage(error):
                raise
            yield Leftover(name, "semaphores", False, f"they cannot be opened: {error}")


def _locks(dry_run: bool) -> Iterator[Leftover]:
    there = places.lock_identities()  # first: a ring's locks are older than its name
    for identity in sorted(there - _in_rings()) if there else ():
        if places.remove_lock_file(identity, only_look=dry_run):
            yield Leftover(f"{identity:016x}", "locks", True, "no named ring has them, and nobody holds them")


def _names(dry_run: bool) -> Iterator[Leftover]:
    for name in places.sweep(only_look=dry_run):
        yield Leftover(name, "name", True, "every process that had it has ended, and its memory with them")


@shortage_explained()
def clean(force: bool = False, *, dry_run: bool = False) -> list[Leftover]:
    """Remove what no process has: rings without a living attachment and without messages, and what is left of others.

    Never anything that a living process uses, according to the kernel's file locks, and safe while others create and
    attach. Rings with undelivered messages, persistent and damaged ones are kept and listed; ``force`` removes those as
    well. ``dry_run`` removes nothing. What belongs to other users is left out.

    Waits:
        Never for messages; for another process that joins or leaves a ring.
    Raises:
        OSError: This process has no descriptor left to look with.
    When a peer dies:
        What a process leaves that is killed here, the next call removes.
    """
    return [*_names(dry_run), *_rings(force, dry_run), *_semaphores(dry_run), *_locks(dry_run)]
