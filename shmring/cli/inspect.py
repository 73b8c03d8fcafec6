"""`shmring inspect`: everything that is known about one ring."""

from datetime import datetime

import click

import shmring
from shmring.cli import exits, options, text
from shmring.cli.ls import state

_COLUMNS = ("SLOT", "PID", "ROLE", "ALIVE", "ATTACHED", "LAST ACTIVE", "PUT", "GOT")
_UNUSABLE = ("corrupt", "other-layout", "not-a-ring")
_ALIVE = {True: "yes", False: "no", None: "unknown"}


@click.command("inspect", short_help="Show everything about one ring.")
@options.name
@options.as_json
def command(name: str, as_json: bool) -> int:
    """Show the ring NAME: kind, capacity, fill, positions, counters, creator, age, and who is attached.

    What has a ring's name and is not a usable one is shown too, and ends with exit code 8.
    """
    ring = shmring.inspect(name)
    if as_json:
        text.print_json(ring.asdict())
    else:
        text.print_facts(_facts(ring))
        if ring.attachments:
            print()
            text.print_table(_COLUMNS, (_row(attachment) for attachment in ring.attachments))
    return (exits.UNUSABLE if ring.state in _UNUSABLE else exits.OK).code


def _facts(ring: shmring.RingInfo) -> list[tuple[str, str]]:
    slots = "" if ring.slots is None else f", {ring.slots} slots"
    codec = [("codec", ring.codec)] if ring.codec else []
    return [
        ("name", ring.name),
        ("kind", ring.kind),
        ("state", state(ring) + (", persist" if ring.persist else "")),
        ("capacity", f"{text.size(ring.capacity)} ({ring.capacity} bytes{slots})"),
        ("filled", f"{text.size(ring.used)} ({ring.messages} messages)"),
        ("put", f"{ring.messages_put} messages, {text.size(ring.bytes_put)}"),
        ("got", f"{ring.messages_got} messages, {text.size(ring.bytes_got)}"),
        ("delivered again", str(ring.redelivered)),
        ("aborted", str(ring.aborted)),
        (
            "positions",
            f"write {ring.write_position}, read {ring.read_position}, reclaim {ring.reclaim_position}",
        ),
        *codec,
        ("created", f"{_moment(ring.created)} by pid {ring.creator_pid}, {text.span(ring.age)} ago"),
        ("owner", f"uid {ring.owner_uid}, mode {ring.mode:04o}"),
        ("layout version", str(ring.layout_version)),
        ("segment", f"{ring.path} ({text.size(ring.size)})"),
    ]


def _row(attachment: shmring.AttachmentInfo) -> tuple[str, ...]:
    return (
        f"{attachment.slot}.{attachment.epoch}",
        str(attachment.pid),
        attachment.role,
        _ALIVE[attachment.alive],
        _moment(attachment.attached),
        _moment(attachment.last_active),
        str(attachment.messages_put),
        str(attachment.messages_got),
    )


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).isoformat(" ", "seconds")
