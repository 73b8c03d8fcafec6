"""What is done to the files, wherever it is done: find, map, tokenize, add up. No rings, no queues."""

import io
import keyword
import mmap
import sysconfig
import tokenize
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# What tokenize raises on files that are no Python: the test suite has some on purpose.
_NOT_PYTHON = (SyntaxError, tokenize.TokenError, ValueError, LookupError)


@dataclass
class Counts:
    """What was counted, in one file or in many."""

    files: int = 0
    not_python: int = 0
    bytes: int = 0
    lines: int = 0
    tokens: int = 0
    names: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Counts") -> None:
        """Add another's counts to these."""
        self.files += other.files
        self.not_python += other.not_python
        self.bytes += other.bytes
        self.lines += other.lines
        self.tokens += other.tokens
        self.names.update(other.names)

    def asdict(self) -> dict[str, Any]:
        """Return them as plain data, for JSON."""
        return {**vars(self), "names": dict(self.names)}

    @classmethod
    def fromdict(cls, data: dict[str, Any]) -> "Counts":
        """Return what asdict() gave."""
        return cls(**{**data, "names": Counter(data["names"])})


def standard_library() -> Path:
    """Return the directory of the running interpreter's standard library."""
    return Path(sysconfig.get_path("stdlib"))


def find_files(directory: Path) -> list[Path]:
    """Return every Python file below a directory, in order, without what was installed into it."""
    return sorted(
        path
        for path in directory.rglob("*.py")
        if path.is_file() and "site-packages" not in path.relative_to(directory).parts
    )


@contextmanager
def mapped(path: Path) -> Iterator[mmap.mmap | bytes]:
    """Map a file for reading; an empty one, which cannot be mapped, is b""."""
    with path.open("rb") as file:
        if not path.stat().st_size:
            yield b""
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            yield content


def count_source(source: bytes) -> Counts:
    """Tokenize one file; one that is no Python counts as that, with its bytes and lines."""
    counts = Counts(files=1, bytes=len(source), lines=source.count(b"\n") + (source != b"" and source[-1:] != b"\n"))
    tokens = 0
    names: Counter[str] = Counter()
    try:
        for token in tokenize.tokenize(io.BytesIO(source).readline):
            tokens += 1
            if token.type == tokenize.NAME and not keyword.iskeyword(token.string):
                names[token.string] += 1
    except _NOT_PYTHON:
        counts.not_python = 1
    else:
        counts.tokens, counts.names = tokens, names
    return counts


def count_in_one_process(directory: Path, on_file: Callable[[int], None] = lambda done: None) -> Counts:
    """Count everything here and now: what the pipelines must agree with."""
    total = Counts()
    for path in find_files(directory):
        with mapped(path) as content:
            total.add(count_source(bytes(content)))
        on_file(total.files)
    return total
