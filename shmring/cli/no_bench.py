"""`shmring bench` where there is none."""

import click


@click.command("bench", short_help="Not on Windows yet.", context_settings={"ignore_unknown_options": True})
@click.argument("words", nargs=-1)
def command(words: tuple[str, ...]) -> None:
    """Say that the benchmarks, which pin and kill processes as Linux lets them, are not on Windows yet."""
    raise click.UsageError("the benchmarks are not on Windows yet")
