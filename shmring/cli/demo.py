"""`shmring demo`: the main job, as a demonstration."""

from pathlib import Path

import click

from shmring.cli import options
from shmring.demo.run import default_tokenizers, demonstrate
from shmring.demo.work import standard_library


@click.command("demo", short_help="Count tokens with separate programs, connected by ring names.")
@click.option(
    "--files-from",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="The .py files to work on [default: the standard library of this Python].",
)
@click.option(
    "--tokenizers",
    type=click.IntRange(1, 100),
    metavar="N",
    help="How many tokenizers [default: one for each CPU but one, at least two].",
)
@click.option("--rounds", type=click.IntRange(1), default=1, metavar="N", help="Show the median of N runs.")
@click.option("--no-queues", is_flag=True, help="Leave the comparison with multiprocessing.Queue out.")
@options.as_json
def command(files_from: Path | None, tokenizers: int | None, rounds: int, no_queues: bool, as_json: bool) -> int:
    """Count the tokens of many Python files with a pipeline of separately started programs.

    A reader puts every file into a ring, tokenizers take them and put their counts into another, a reducer
    adds up. The programs share nothing but the names of the rings. The result is checked against one process
    (exit code 1 when it differs), and the speed is shown beside the same pipeline on multiprocessing.Queue.
    """
    return demonstrate(
        directory=files_from or standard_library(),
        tokenizers=tokenizers or default_tokenizers(),
        rounds=rounds,
        queues=not no_queues,
        as_json=as_json,
    )
