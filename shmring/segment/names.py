"""Names and paths of rings and segments, and what the operating system calls them."""

from __future__ import annotations

import os
import re
import sys

SHARED_MEMORY = "/dev/shm"  # where Linux keeps named shared memory, and named semaphores
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


def printable(text: str, keep: str = "") -> str:
    """Text that others may have written, for people: what is no printable character, and not to ``keep``, is escaped.

    A terminal obeys some of the others: it changes its title, its screen or the clipboard.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in keep else _escaped(each) for each in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def check_path(path: str | os.PathLike[str]) -> str:
    """The whole path, which means the same after a chdir. ValueError for what leads to no file; TypeError."""
    text: object = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(text, str):
        raise TypeError(f"path is {path!r}; it is text, or a pathlib.Path")
    if "\0" in text:
        raise ValueError(f"path is {text!r}; no path has a NUL character in it: take it out, and what follows it")
    whole = os.path.abspath(text)
    if sys.platform == "win32" and whole.startswith("\\\\.\\"):
        raise ValueError(f"path is {text!r}, which Windows takes for the device {whole}; give the file another name")
    return whole


def os_name(prefix: str, name: str) -> str:
    """What shm_open is told. Where that has a short limit (macOS: 31), long names are hashed."""
    full = f"/{prefix}{check_name(name)}"
    if sys.platform == "darwin" and len(full) > _DARWIN_LIMIT:
        import hashlib  # takes a tenth of what `import shmring` does

        return "/sr." + hashlib.blake2b(full.encode(), digest_size=12).hexdigest()
    return full
