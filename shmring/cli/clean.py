"""`shmring clean`: remove what killed processes left behind."""

import dataclasses
import sys

import click

import shmring
from shmring.cli import options, text


@click.command("clean", short_help="Remove what nobody uses any more.")
@click.option("--force", is_flag=True, help="Also what holds messages, is persistent or damaged.")
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@options.as_json
def command(force: bool, dry_run: bool, as_json: bool) -> None:
    """Remove rings and semaphores that no living process uses. Safe while others run.

    Rings with undelivered messages, persistent and damaged ones are listed and kept, unless --force is given.
    Nothing that is in use is ever removed.
    """
    found = shmring.clean(force, dry_run=dry_run)
    if as_json:
        text.print_json([dataclasses.asdict(each) for each in found])
    elif found:
        done = "would go" if dry_run else "removed"
        text.print_table(
            ("NAME", "WHAT", "", "WHY"),
            ([each.name, each.what, done if each.removed else "kept", each.reason] for each in found),
        )
    else:
        print("nothing to clean", file=sys.stderr)
