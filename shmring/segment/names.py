"""Names of rings and segments, and what the operating system calls them."""

from __future__ import annotations

import re
import sys

_NAME = re.compile(r"[A-Za-z0-9._-]{1,200}", re.ASCII)
_DARWIN_LIMIT = 31


def check_name(name: object) -> str:
    """The name itself, if it is one: 1 to 200 of A-Z a-z 0-9 . _ -; else ValueError or TypeError."""
    if not isinstance(name, str):
        raise TypeError(f"name is {name!r}; it is text of 1 to 200 characters out of A-Z a-z 0-9 . _ -")
    if not _NAME.fullmatch(name):
        shown = repr(name) if len(name) <= 60 else f"{name[:40]!r}... ({len(name)} characters)"
        raise ValueError(f"name is {shown}; it must be 1 to 200 characters out of A-Z a-z 0-9 . _ -")
    return name


def os_name(prefix: str, name: str) -> str:
    """What shm_open is told. Where that has a short limit (macOS: 31), long names are hashed."""
    full = f"/{prefix}{check_name(name)}"
    if sys.platform == "darwin" and len(full) > _DARWIN_LIMIT:
        import hashlib  # takes a tenth of what `import shmring` does

        return "/sr." + hashlib.blake2b(full.encode(), digest_size=12).hexdigest()
    return full
