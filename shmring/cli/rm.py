"""`shmring rm`: remove rings."""

import click

import shmring


@click.command("rm", short_help="Remove rings, whoever is attached.")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
def command(names: tuple[str, ...]) -> None:
    """Remove each ring NAME, with the messages in it.

    Processes that are attached go on with what they have; the name is free at once.
    """
    for name in names:
        shmring.unlink(name)
