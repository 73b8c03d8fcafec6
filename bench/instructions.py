"""Machine instructions of one message, counted by callgrind: alike on every run, so that a change of ten shows.

put ──▶ [ ring ] ──▶ get, in one process; what CPython's loop takes around them is not counted
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator

from .channel import Unsupported
from .options import Options
from .results import LOWER, Row, Sample, Table
from .rounds import Entry, Plan
from .trial import Site, run

LENGTH = 64
_ROUNDS, _BATCH = 40, 50
_FUNCTIONS = {name: f"sr_ring_{name}" for name in ("put", "get", "put_many", "get_many")}
_DEADLINE = 120.0
_PROGRAM = f"""
import sys
import shmring

ring = shmring.Ring.create(capacity="64 KiB", kind=sys.argv[1])
message = bytes({LENGTH})
for _ in range({_ROUNDS}):
    for _ in range({_BATCH}):
        ring.put(message)
        ring.get()
    ring.put_many([message] * {_BATCH})
    ring.get_many({_BATCH})
"""


def plans(options: Options) -> Iterator[Plan]:
    """One table, of one round: another one would find the same."""
    table = Table("instructions", f"put and get of {LENGTH} B", "instructions", LOWER, {"length": LENGTH})
    table.note = "In one process, neither side waiting; the many are for one message of a batch."

    def entry_of(kind: str) -> Entry:
        row = Row(f"shmring {kind}", ours=True, counted=True)
        return Entry(row, lambda: run(lambda site: count(kind, site), _DEADLINE))

    yield Plan(table, [entry_of(kind) for kind in ("spsc", "mpmc", "semaphore")], 1)


def count(kind: str, site: Site) -> Sample:
    """Run a program under callgrind; what each function took, all that it calls included, for one message."""
    if not shutil.which("valgrind"):
        raise Unsupported("instructions are counted by valgrind, which is missing: install it (Debian: valgrind)")
    found = f"{site.folder}/callgrind.out"
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={found}", sys.executable, "-c", _PROGRAM, kind]
    subprocess.run(command, check=True, capture_output=True, cwd=site.folder)
    annotate = ["callgrind_annotate", "--inclusive=yes", "--threshold=100", found]
    text = subprocess.run(annotate, check=True, capture_output=True, text=True).stdout
    figures = {}
    for name, function in _FUNCTIONS.items():
        line = re.search(rf"^ *([\d,]+) .*:{function}(?: \[.*)?$", text, re.MULTILINE)
        if line is None:
            raise Unsupported(f"callgrind does not know {function}: the installed core has lost its names (strip)")
        figures[name] = int(line[1].replace(",", "")) / (_ROUNDS * _BATCH)
    return Sample(figures["put"] + figures["get"], figures)
