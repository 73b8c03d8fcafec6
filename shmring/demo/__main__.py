"""`python -m shmring.demo`: the demonstration without the command line's extra."""

import argparse
import sys
from pathlib import Path

import shmring
import shmring.demo
from shmring.demo.run import default_tokenizers, demonstrate
from shmring.demo.work import standard_library


def main() -> int:
    """Run it; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m shmring.demo", description=shmring.demo.__doc__)
    parser.add_argument("--files-from", type=Path, default=standard_library(), metavar="DIR")
    parser.add_argument("--tokenizers", type=int, default=default_tokenizers(), metavar="N")
    parser.add_argument("--rounds", type=int, default=1, metavar="N")
    parser.add_argument("--no-queues", action="store_true", help="leave multiprocessing.Queue out")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    return demonstrate(options.files_from, options.tokenizers, options.rounds, not options.no_queues, options.json)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (shmring.ShmringError, OSError) as error:
        sys.exit(f"demo: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
