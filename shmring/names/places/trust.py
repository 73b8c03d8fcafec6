"""Whom the memory at a place obliges this process to trust: whose it is, and who else may write to it."""

from __future__ import annotations

import errno

from shmring import segment
from shmring.names import places
from shmring.names.places.place import Place


def check_owner(memory: segment.Segment, place: Place, owner: int | None) -> None:
    """PermissionError for a ring that a stranger may have planted under this name, for us to put messages into."""
    found = places.owner_of(memory)
    if not places.owner_is_known(memory):
        raise PermissionError(
            errno.EACCES,
            f"{place.title} is shown as one of user {places.user_name(found)}, whom this user namespace shows for "
            "every user that it has no number for: it may be anybody's. Let both processes share a user namespace, or "
            "map their users (newuidmap, --userns=keep-id), and run them as other users than this one",
        )
    if found == owner or (owner is None and places.trusted(found)):
        return
    wanted = "you or root" if owner is None else f"user {places.user_name(owner)}"
    raise PermissionError(
        errno.EACCES,
        f"{place.title} belongs to user {places.user_name(found)}, not to {wanted}: somebody may have planted it. If "
        f"you trust that user, pass owner={places.user_name(found)}",
    )


def is_shared_with_others(memory: segment.Segment, place: Place | None) -> bool:
    """May any user other than this one and root write to it? Memory that no name leads to is its processes' alone."""
    return place is not None and why_shared(memory) is not None


def is_open_to_others(memory: segment.Segment) -> bool:
    """May any user other than this one and root read it?"""
    return why_shared(memory) is not None or bool(places.status(memory).mode & 0o044)


def why_shared(memory: segment.Segment) -> str | None:
    """Who else may write to what stands at a place, in words: its owner, or whoever its mode admits. None: nobody."""
    if not (places.owner_is_known(memory) and places.trusted(places.owner_of(memory))):
        return f"it belongs to user {places.user_name(places.owner_of(memory))}"
    mode = places.status(memory).mode
    return f"its mode {mode:#o} lets others write" if mode & 0o022 else None  # with an ACL, 0o020 is its mask


def opened_since(memory: segment.Segment, place: Place | None, stored: str) -> PermissionError:
    """The error for memory that was opened to others while it was attached."""
    try:
        why = why_shared(memory)
    except OSError:  # its descriptor is gone, and only these words with it: the verdict is there already
        why = None
    why = why or "it was open to others for a while, who may have kept it"
    what = place.title if place is not None else "this memory"
    return PermissionError(
        errno.EACCES,
        f"{what} was opened to others since this process attached to it ({why}), so its {stored!r} messages are not "
        "decoded any more: make it anew, with mode=0o600; or attach again, if they only hold data",
    )


def check_runs_code(memory: segment.Segment, place: Place | None, stored: str, noun: str) -> None:
    """PermissionError where others than this user and root may put messages that run code as they are decoded."""
    why = None if place is None else why_shared(memory)
    if why is not None and place is not None:
        raise PermissionError(
            errno.EACCES,
            f"the {stored!r} messages of this {noun} could run anything here, and {why}, so they are not decoded; "
            f"keep it to yourself (make it anew with mode=0o600: whoever could write to {place.path} may have it "
            'open), or choose a codec that only holds data ("numpy", "arrow", "msgspec", "bytes")',
        )
