"""The last program of the pipeline: adds up what the tokenizers counted, and prints the sum as JSON.

python -m shmring.demo.reducer COUNTS
"""

import argparse
import json

import shmring
from shmring.demo import programs
from shmring.demo.messages import Reduction


def reduce(counts: str) -> Reduction:
    """Add up until every file was counted; then shut the ring down.

    Tokenizers that die are replaced, so it waits on when none is left.
    """
    reduction = Reduction()
    with shmring.Ring.attach(counts, timeout=programs.PATIENCE, on_dead_peer="wait") as ring:
        try:
            while not reduction.complete:
                reduction.add(ring.get())
        except shmring.ShutDown:
            return reduction
        ring.shutdown(immediate=True)
    return reduction


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="reducer", description=__doc__)
    parser.add_argument("counts", help="the name of the ring that counts come from")
    arguments = parser.parse_args()
    programs.end_with(lambda: print(json.dumps(reduce(arguments.counts).asdict())), "reducer")
