"""What a consumer costs that waits on an idle ring.

    [ empty ring ]  ──▶  consumer, asleep

python bench/idle.py [--seconds 10]
"""

from __future__ import annotations

import argparse
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import shmring
from measure import Target, machine, print_targets


def main() -> None:
    """Wait on each kind, and print the CPU time that it took."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    print(machine())
    found = []
    for kind in ("spsc", "mpmc", "semaphore"):
        with shmring.Ring.create(capacity="1 MiB", kind=kind) as ring:
            before = time.process_time()
            try:
                ring.get(timeout=options.seconds)
            except shmring.Empty:
                milliseconds = (time.process_time() - before) * 1000
        wanted = 2 * options.seconds
        found.append(Target(f"{kind}: CPU milliseconds in {options.seconds:g} s", milliseconds, wanted, at_most=True))
    print_targets(found)


if __name__ == "__main__":
    main()
