"""`shmring ls`, `inspect` and `rm`: seeing rings that other programs made, and removing them."""

import json
import os
import signal
import subprocess
import sys

import pytest

import shmring
from tests.conftest import file_of


def test_ls_shows_a_ring_that_another_program_made(shmring_command, name):
    with shmring.Ring.create(name, capacity="1 MiB", kind="spsc") as ring:
        ring.put(b"x" * 1000)
        (line,) = (line for line in shmring_command("ls").stdout.decode().splitlines() if name in line)
        ring.unlink()
    words = line.split()
    assert words[:3] == [name, "spsc", "ready"]
    assert "MiB" in words


def test_ls_as_json_is_what_the_library_says(shmring_command, name):
    with shmring.Ring.create(name, capacity="1 MiB") as ring:
        ring.put(b"one")
        listed = json.loads(shmring_command("ls", "--json").stdout)
        (shown,) = (entry for entry in listed if entry["name"] == name)
        info = shmring.inspect(name).asdict()
        ring.unlink()
    assert shown.keys() == info.keys()
    assert (shown["messages"], shown["messages_put"], shown["kind"]) == (1, 1, "mpmc")


def test_ls_says_which_ring_stays_as_it_holds_undelivered_messages(shmring_command, name):
    shmring_command("put", name, "--create", stdin=b"one\n")
    (line,) = (line for line in shmring_command("ls").stdout.decode().splitlines() if name in line)
    assert "undelivered" in line
    assert shmring_command("rm", name).returncode == 0


@pytest.mark.skipif(sys.platform == "win32", reason="about memory whose last process was killed: on Windows it is gone")
@pytest.mark.parametrize("make", ["Latest.create(name, size=8); kept.set(b'value')", "Queue(name=name); kept.put(1)"])
def test_ls_says_of_what_a_killed_process_left_whether_it_holds_messages(shmring_command, name, make):
    program = (
        f"import os, signal, shmring; name = {name!r}; kept = shmring.{make}; os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == -signal.SIGKILL
    (line,) = (line for line in shmring_command("ls").stdout.decode().splitlines() if name in line)
    assert ("undelivered" in line) == ("Queue" in make)
    assert shmring_command(*(["rm", name] if "Queue" in make else ["clean"])).returncode == 0
    assert name not in shmring_command("ls").stdout.decode()


def test_a_long_name_is_never_cut_short_in_a_pipe(shmring_command, name):
    long = name + "x" * (200 - len(name))
    with shmring.Ring.create(long, capacity="1 MiB"):
        assert long in shmring_command("ls").stdout.decode().split()


def test_inspect_shows_who_is_attached(shmring_command, started_command, name):
    with shmring.Ring.create(name, capacity="1 MiB") as ring, ring.consumer() as consumer:
        put = started_command("put", name)
        put.stdin.write(b"hello\n")
        assert consumer.get() == b"hello"
        shown = json.loads(shmring_command("inspect", name, "--json").stdout)
        table = shmring_command("inspect", name).stdout.decode()
        put.communicate()
    roles = {attachment["pid"]: attachment["role"] for attachment in shown["attachments"]}
    assert roles[put.pid] == "producer"
    assert roles[os.getpid()] == "consumer"
    assert all(attachment["alive"] for attachment in shown["attachments"])
    assert str(put.pid) in table
    assert "1 MiB (1048576 bytes)" in table


def test_what_is_no_ring_is_shown_as_that_and_can_be_removed(shmring_command, name):
    file_of(name).write_bytes(b"no ring at all" * 1000)
    (line,) = (line for line in shmring_command("ls").stdout.decode().splitlines() if name in line)
    assert "not-a-ring" in line
    inspected = shmring_command("inspect", name)
    assert (b"not-a-ring" in inspected.stdout, inspected.returncode) == (True, 8)
    assert shmring_command("get", name).returncode == 8
    assert shmring_command("put", name, "--create").returncode in (4, 8)
    assert shmring_command("rm", name).returncode == 0
    assert shmring_command("inspect", name).returncode == 3


@pytest.mark.parametrize("command", ["inspect", "rm"])
def test_a_missing_ring_is_exit_code_3(shmring_command, name, command):
    ended = shmring_command(command, name)
    assert ended.returncode == 3
    assert name.encode() in ended.stderr


def test_rm_frees_the_name_at_once(shmring_command, name):
    with shmring.Ring.create(name, capacity="1 MiB") as first:
        assert shmring_command("rm", name).returncode == 0
        with shmring.Ring.create(name, capacity="1 MiB") as second:
            first.put(b"old")
            assert second.stats().messages_put == 0


def test_rm_takes_several_names(shmring_command, name):
    names = [f"{name}-{number}" for number in range(3)]
    for each in names:
        shmring_command("put", each, "--create", stdin=b"x\n")
    assert shmring_command("rm", *names).returncode == 0
    assert not {ring.name for ring in shmring.list()} & set(names)
