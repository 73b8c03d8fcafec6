"""`shmring rm`: remove rings."""

import sys

import click

import shmring


@click.command("rm", short_help="Remove rings, whoever is attached.")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
def command(names: tuple[str, ...]) -> None:
    """Remove each ring NAME, with the messages in it.

    A name that cannot be removed is reported, and the others are removed all the same. Processes that are attached
    go on with what they have; the name is free at once.
    """
    failed: list[OSError] = []
    for name in names:
        try:
            shmring.unlink(name)
        except OSError as error:
            failed.append(error)
    for other in failed[:-1]:
        print(f"shmring: {other.strerror or other}", file=sys.stderr)
    if failed:
        raise failed[-1]
