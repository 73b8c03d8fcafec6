"""The middle of the pipeline, as often as there are CPUs: takes files, tokenizes them, puts what it counted.

python -m shmring.demo.tokenizer FILES COUNTS
"""

import argparse

import shmring
from shmring.demo import programs
from shmring.demo.messages import tokenized


def tokenize(files: str, counts: str) -> None:
    """Answer every file until their ring is shut down and drained.

    A file is acknowledged once its counts have been put: were we killed before, another tokenizer gets it.
    """
    with (
        shmring.Ring.attach(files, timeout=programs.PATIENCE) as source,
        shmring.Ring.attach(counts, timeout=programs.PATIENCE) as sink,
    ):
        try:
            while True:
                with source.borrow() as message:
                    sink.put(tokenized(bytes(message)))
        except shmring.ShutDown:
            return  # no more files, or nobody needs their counts


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="tokenizer", description=__doc__)
    parser.add_argument("files", help="the name of the ring that files come from")
    parser.add_argument("counts", help="the name of the ring that counts go into")
    arguments = parser.parse_args()
    programs.end_with(lambda: tokenize(arguments.files, arguments.counts), "tokenizer")
