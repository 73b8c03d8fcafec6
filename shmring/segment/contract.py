"""What a Segment promises on every platform: which arguments it takes, and what it says of itself."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

from shmring.segment.sizes import parse_size

if TYPE_CHECKING:
    from shmring.segment import Segment

ADVICE = ("normal", "sequential", "random", "willneed", "dontneed", "hugepage", "nohugepage")


def checked_range(offset: int, length: int | None, *, size: int, page: int) -> tuple[int, int]:
    """A byte range of a segment whose start is on a page, as the kernel wants it; ValueError with what is allowed."""
    if not 0 <= offset <= size:
        raise ValueError(f"offset is {offset}; it is 0 to {size} in this segment")
    if offset % page:
        below = offset // page * page
        raise ValueError(
            f"offset is {offset}; it must be a multiple of the page size, {page}: {below} or {below + page}"
        )
    length = size - offset if length is None else length
    if not 0 <= length <= size - offset:
        raise ValueError(f"length is {length}; it is 0 to {size - offset} from offset {offset}")
    return offset, length


def check_mode(mode: object) -> None:
    """ValueError for what are no permission bits."""
    if not isinstance(mode, int) or mode & ~0o777:
        shown = oct(mode) if isinstance(mode, int) else repr(mode)
        raise ValueError(f"mode is {shown}; it is permission bits, such as 0o600")


def check_flush_mode(mode: str) -> None:
    """ValueError for what flush() does not know."""
    if mode not in ("sync", "async"):
        raise ValueError(f'mode is {mode!r}; it is "sync" or "async"')


def check_advice(advice: str) -> None:
    """ValueError for what advise() does not know anywhere."""
    if advice not in ADVICE:
        raise ValueError(f"advice is {advice!r}; it is one of {', '.join(ADVICE)}")


def grown_size(size: int | str, before: int) -> int:
    """What grow() is asked for, in bytes; ValueError for less than there is."""
    new = parse_size(size, what="size")
    if new < before:
        raise ValueError(f"size is {new}; the segment has {before} bytes, and grow() never shrinks")
    return new


def check_view(offset: int, length: int, *, size: int) -> None:
    """ValueError for a view of nothing."""
    if not length:
        raise ValueError(f"length is 0; a view has 1 to {size - offset} bytes from offset {offset}")


def copied(itself: Any, memo: object = None) -> Any:
    """For copy.copy and copy.deepcopy: a handle of its own on the same memory, as another process gets one."""
    return pickle.loads(pickle.dumps(itself))


def described(memory: Segment) -> str:
    """Its repr."""
    if memory.closed:
        return "<Segment closed>"
    kind = repr(memory.name) if memory.name else repr(memory.path) if memory.path else "anonymous"
    manner = (" readonly" if memory.readonly else "") + (" private" if memory.private else "")
    return f"<Segment {kind} {len(memory)} bytes{manner}>"
