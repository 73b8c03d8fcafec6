"""Checked byte ranges and modes, the same on every platform."""

from __future__ import annotations


def checked(offset: int, length: int | None, *, size: int, page: int) -> tuple[int, int]:
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


def check_flush_mode(mode: str) -> None:
    """ValueError for what flush() does not know."""
    if mode not in ("sync", "async"):
        raise ValueError(f'mode is {mode!r}; it is "sync" or "async"')
