"""`shmring doctor`: whether this machine is fit for rings."""

import dataclasses

import click

import shmring
from shmring.cli import exits, options, text


@click.command("doctor", short_help="Check the machine, with remedies.")
@options.as_json
def command(as_json: bool) -> int:
    """Check what rings need of this machine: room in /dev/shm, limits, cores, clock, leftovers.

    Each finding comes with its remedy. The exit code is 1 when there is a problem; notes are no problem.
    """
    findings = shmring.examine()
    if as_json:
        text.print_json([dataclasses.asdict(each) for each in findings])
    else:
        text.print_table(
            ("", "SUBJECT", "FINDING", "REMEDY"),
            ([each.verdict, each.subject, each.finding, each.remedy] for each in findings),
        )
    return exits.ERROR.code if any(each.verdict == "problem" for each in findings) else exits.OK.code
