"""`python -m shmring`, and the console script: the command line, or how to get it."""

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line and exit with its code."""
    try:
        from shmring.cli.main import run
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in ("click", "rich"):
            raise
        sys.exit(f'shmring: the command line needs {missing}, which is missing: pip install "shmring[cli]"')
    sys.exit(run())


if __name__ == "__main__":
    main()
