"""The first program of the pipeline: maps every file and puts its bytes into a ring.

python -m shmring.demo.reader FILES [DIRECTORY]
"""

import argparse
from pathlib import Path

import shmring
from shmring.demo import programs
from shmring.demo.messages import FILE, files_of, now
from shmring.demo.work import standard_library


def read(files: str, directory: Path) -> None:
    """Put every file of a directory into the ring, straight from its mapping; then shut the ring down.

    Tokenizers that die are replaced, so it waits on when none is left.
    """
    with shmring.Ring.attach(files, timeout=programs.PATIENCE, on_dead_peer="wait") as ring:
        for number, content in files_of(directory):
            with ring.claim(FILE.size + len(content)) as buffer:
                buffer[FILE.size :] = content
                FILE.pack_into(buffer, 0, number, now())
        ring.shutdown()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="reader", description=__doc__)
    parser.add_argument("files", help="the name of the ring that files go into")
    parser.add_argument("directory", type=Path, nargs="?", default=standard_library())
    arguments = parser.parse_args()
    programs.end_with(lambda: read(arguments.files, arguments.directory), "reader")
