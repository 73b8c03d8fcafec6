"""A small library to work on, with what large ones have: files that are empty, odd, or no Python at all."""

from pathlib import Path

import pytest

SOURCES = {
    "plain.py": b"import os\n\n\ndef f(path):\n    return os.stat(path)\n",
    "empty.py": b"",
    "no_newline.py": b"x = 1",
    "latin.py": "# coding: latin-1\nname = 'é'\n".encode("latin-1"),
    "bom.py": b"\xef\xbb\xbfname = 1\n",
    "broken_indent.py": b"if x:\n        y\n    z\n",
    "open_bracket.py": b"f(1,\n",
    "bad_coding.py": b"# coding: no-such-codec\nx = 1\n",
    "not_utf8.py": b"x = '\xff\xfe'\n",
    "zeros.py": b"x = 1\0\n",
    "package/inner.py": b"path = path\n" * 50,
    "site-packages/other.py": b"not_counted = 1\n",
    "notes.txt": b"not Python\n",
}


@pytest.fixture
def library(tmp_path: Path) -> Path:
    for name, content in SOURCES.items():
        path = tmp_path / "library" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "library"
