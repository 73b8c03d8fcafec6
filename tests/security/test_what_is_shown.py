"""Names, codecs and messages of others reach no terminal as anything that it obeys."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from two_users import STRANGER, AsUser

import shmring

TITLE, CLIPBOARD, CLEAR = b"\x1b]0;OWNED\x07", b"\x1b]52;c;ZXZpbA==\x07", b"\x1b[2J"
WRITES_THE_HEADER = """
import mmap, shmring, sys
name, text, codec, message = (sys.argv[1], *map(bytes.fromhex, sys.argv[2:]))
shmring.Topic.create(name + "-topic", mode=0o666, persist=True).publish(message)
with shmring.Ring.create(name, mode=0o666, persist=True) as ring:
    ring.put(message)
with open(f"/dev/shm/shmring.{name}", "r+b") as file, mmap.mmap(file.fileno(), 4096) as header:
    header[112:368], header[368:432] = text.ljust(256, b"\\0"), codec.ljust(64, b"\\0")
"""


@pytest.fixture
def hostile(as_user: AsUser, name: str, path: Path):
    text = TITLE + CLEAR + b"good-ring\nfake  row" + "\u202e\u0085".encode()
    codec, message = CLIPBOARD + b"\x1b[5m", b"one\tword\nand " + TITLE + CLIPBOARD + "\u009b2Jä".encode() + b"\xff"
    assert as_user(STRANGER, WRITES_THE_HEADER, name, text.hex(), codec.hex(), message.hex()) == ""
    yield name
    path.unlink()
    path.with_name(path.name + "-topic").unlink()


def on_a_terminal(*arguments: str) -> bytes:
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "dumb"  # rich itself makes bold heads otherwise
        os.execv(sys.executable, [sys.executable, "-m", "shmring", *arguments])
    seen = b""
    try:
        while part := os.read(terminal, 65536):
            seen += part
    except OSError:  # its other end is closed
        pass
    os.waitpid(pid, 0)
    os.close(terminal)
    return seen


def in_a_pipe(*arguments: str) -> bytes:
    return subprocess.run([sys.executable, "-m", "shmring", *arguments], capture_output=True).stdout


@pytest.mark.parametrize("show", [on_a_terminal, in_a_pipe])
def test_a_hostile_header_is_shown_escaped(hostile: str, show) -> None:
    listed, inspected, cleaned = show("ls"), show("inspect", hostile), show("clean", "--dry-run")
    for seen in (listed, inspected, cleaned):
        assert seen
        assert not any(each in seen for each in (b"\x1b", b"\x07", "\u202e".encode(), "\u0085".encode()))
        assert b"OWNED" not in seen  # its name is that of the file
        assert b"good-ring" not in seen
    assert rb"\x1b]52;c;ZXZpbA==\x07" in inspected


def test_a_hostile_codec_is_escaped_in_the_interface_too(hostile: str) -> None:
    found = shmring.inspect(hostile)
    assert (found.name, found.codec) == (hostile, r"\x1b]52;c;ZXZpbA==\x07\x1b[5m")
    assert b"\x1b" not in in_a_pipe("ls", "--json")
    assert json.loads(in_a_pipe("inspect", "--json", hostile))["codec"] == found.codec
    with pytest.raises(shmring.LayoutMismatch) as error:
        shmring.Ring.attach(hostile, owner=STRANGER)
    assert "\x1b" not in str(error.value)


@pytest.mark.parametrize(("command", "suffix"), [("get", ""), ("tail", "-topic")])
def test_a_hostile_message_is_escaped_on_a_terminal_and_whole_in_a_pipe(
    hostile: str, command: str, suffix: str
) -> None:
    words = [command, hostile + suffix, "--owner", str(STRANGER), "--count", "1"]
    words += ["--from", "oldest"] if suffix else []
    shown = on_a_terminal(*words)
    lines = [rb"and \x1b]0;OWNED\x07\x1b]52;c;ZXZpbA==\x07\x9b2J" + "ä".encode() + rb"\xff", b""]
    assert shown.replace(b"\r", b"").split(b"\n") == [b"one\tword", *lines]
    if command == "tail":  # the other is taken by now
        assert TITLE in in_a_pipe(*words)


def test_what_a_codec_says_of_a_message_is_escaped_and_short(name: str) -> None:
    class Quotes:
        name = "quotes"

        def encode(self, value: bytes) -> bytes:
            return value

        def decode(self, record: memoryview) -> object:
            raise ValueError("no good: " + bytes(record).decode())

        view = decode

    with shmring.Ring.create(name, codec=Quotes()) as ring:
        ring.put(CLEAR * 10_000)
        with pytest.raises(shmring.DecodeError, match=r"no good: \\x1b\[2J") as error:
            ring.get()
        assert "\x1b" not in str(error.value)
        assert len(str(error.value)) < 10_000
        ring.skip(error.value)
