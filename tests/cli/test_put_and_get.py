"""`shmring put` and `shmring get`: standard input into a ring, a ring to standard output."""

import contextlib
import os
import signal
import struct
import subprocess
import sys

import pytest

import shmring
from tests.conftest import PRESSES_CTRL_C, press_ctrl_c

CREATE = ("--create", "--capacity", "1 MiB")


SIGNALS = [] if sys.platform == "win32" else [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)]


def framed(*messages: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(message)) + message for message in messages)


def until_someone_takes(role: str, name: str) -> None:
    """Wait until a process holds that role at the ring."""
    while True:
        try:
            attachments = shmring.inspect(name).attachments
        except FileNotFoundError:
            continue
        if any(attachment.role == role for attachment in attachments):
            return


def test_the_lines_that_were_put_are_got_in_order(shmring_command, name):
    lines = b"".join(b"line %d\n" % number for number in range(1000))
    assert shmring_command("put", name, *CREATE, "--shutdown", stdin=lines).returncode == 0
    got = shmring_command("get", name)
    assert (got.stdout, got.stderr, got.returncode) == (lines, b"", 0)


def test_a_last_line_without_a_newline_is_a_message(shmring_command, name):
    shmring_command("put", name, *CREATE, "--shutdown", stdin=b"one\ntwo")
    assert shmring_command("get", name).stdout == b"one\ntwo\n"


def test_an_empty_line_is_an_empty_message(shmring_command, name):
    shmring_command("put", name, *CREATE, "--shutdown", stdin=b"\n\nx\n\n")
    with shmring.Ring.attach(name) as ring:
        assert list(ring) == [b"", b"", b"x", b""]


def test_empty_input_puts_nothing_and_leaves_nothing(shmring_command, name):
    put = shmring_command("put", name, "--create")
    assert (put.stderr, put.returncode) == (b"", 0)
    assert name not in {ring.name for ring in shmring.list()}


def test_lines_may_hold_any_other_byte(shmring_command, name):
    line = bytes(set(range(256)) - {ord("\n")}) + b"\r"
    shmring_command("put", name, *CREATE, "--shutdown", stdin=line + b"\n")
    assert shmring_command("get", name).stdout == line + b"\n"


def test_a_line_longer_than_one_read_is_one_message(shmring_command, name):
    line = b"x" * 300_000 + b"\n"
    shmring_command("put", name, *CREATE, "--shutdown", stdin=line + b"y\n")
    assert shmring_command("get", name).stdout == line + b"y\n"


def test_frames_carry_any_bytes(shmring_command, name):
    frames = framed(b"two\nlines\n", b"", bytes(range(256)), b"\0" * 300_000)
    assert shmring_command("put", name, *CREATE, "--framed", "--shutdown", stdin=frames).returncode == 0
    assert shmring_command("get", name, "--framed").stdout == frames


def test_input_that_ends_inside_a_frame_is_an_error_and_the_whole_ones_are_put(shmring_command, name):
    put = shmring_command("put", name, *CREATE, "--framed", stdin=framed(b"whole", b"cut short")[:-3])
    assert put.returncode == 1
    assert b"ends inside message 2: 6 of its 9 bytes" in put.stderr
    assert shmring_command("get", name, "--timeout", "0").stdout == b"whole\n"


def test_text_that_is_put_as_frames_is_recognized(shmring_command, name):
    put = shmring_command("put", name, *CREATE, "--framed", stdin=b"this is text\n")
    assert put.returncode == 1
    assert b"this ring takes 524288 at most" in put.stderr


def test_a_line_is_put_when_it_arrives_and_not_when_input_ends(started_command, name):
    with shmring.Ring.create(name, capacity="1 MiB") as ring:
        put = started_command("put", name)
        put.stdin.write(b"first\nlast w")
        assert ring.get() == b"first"
        put.stdin.write(b"ords\n")
        assert ring.get() == b"last words"
        put.stdin.close()
        assert put.wait() == 0


def test_get_ends_after_so_many_messages(shmring_command, name):
    shmring_command("put", name, *CREATE, stdin=b"1\n2\n3\n")
    assert shmring_command("get", name, "--count", "2").stdout == b"1\n2\n"
    assert shmring_command("get", name, "--count", "1").stdout == b"3\n"


def test_a_timeout_of_zero_takes_what_is_there(shmring_command, name):
    shmring_command("put", name, *CREATE, stdin=b"1\n2\n")
    got = shmring_command("get", name, "--timeout", "0")
    assert (got.stdout, got.returncode) == (b"1\n2\n", 0)


def test_a_timeout_without_any_message_is_exit_code_5(shmring_command, name):
    with shmring.Ring.create(name, capacity="1 MiB"):
        got = shmring_command("get", name, "--timeout", "0")
    assert (got.stdout, got.returncode) == (b"", 5)
    assert b"no message came for 0 s, after 0" in got.stderr


@pytest.mark.parametrize("shutdown", [(), ("--shutdown",)])
def test_fewer_messages_than_were_asked_for_is_exit_code_5(shmring_command, name, shutdown):
    shmring_command("put", name, *CREATE, *shutdown, stdin=b"1\n2\n")
    got = shmring_command("get", name, "--count", "3", "--timeout", "0")
    assert (got.stdout, got.returncode) == (b"1\n2\n", 5)
    assert b"after 2 of 3" in got.stderr


def test_a_ring_that_stays_full_ends_put_and_says_how_far_it_got(shmring_command, name):
    with shmring.Ring.create(name, capacity="1 MiB", slots=2) as ring:
        put = shmring_command("put", name, "--timeout", "0.01", stdin=b"1\n2\n3\n4\n")
        assert put.returncode == 5
        assert b"message 3 and what follows were not put" in put.stderr
        assert ring.get_many() == [b"1", b"2"]


def test_a_message_that_is_too_long_is_refused_with_both_numbers(shmring_command, name):
    put = shmring_command("put", name, *CREATE, stdin=b"x" * 524_289 + b"\n")
    assert put.returncode == 1
    assert b"524289" in put.stderr
    assert b"524288" in put.stderr


def test_an_endless_line_is_refused_before_it_fills_the_memory(started_command, name):
    put = started_command("put", name, *CREATE)
    with contextlib.suppress(BrokenPipeError):
        while True:
            put.stdin.write(b"x" * 65536)
    assert put.wait() == 1
    assert b"524288" in put.stderr.read()


def test_a_ring_that_was_shut_down_takes_nothing(shmring_command, name):
    with shmring.Ring.create(name, capacity="1 MiB") as ring:
        ring.shutdown()
        assert shmring_command("put", name, stdin=b"x\n").returncode == 10


def test_a_second_consumer_of_a_spsc_ring_is_told_who_has_it(shmring_command, name):
    with shmring.Ring.create(name, capacity="1 MiB", kind="spsc") as ring, ring.consumer():
        got = shmring_command("get", name, "--timeout", "0")
    assert got.returncode == 11
    assert str(os.getpid()).encode() in got.stderr


def test_a_missing_ring_is_exit_code_3(shmring_command, name):
    for command in ("put", "get"):
        ended = shmring_command(command, name)
        assert ended.returncode == 3
        assert name.encode() in ended.stderr


def test_get_waits_for_its_ring_to_appear(started_command, shmring_command, name):
    get = started_command("get", name, "--wait", "inf")
    shmring_command("put", name, *CREATE, "--shutdown", stdin=b"here\n")
    assert get.communicate()[0] == b"here\n"
    assert get.returncode == 0


def test_create_takes_a_ring_that_exists_and_exclusive_refuses_it(shmring_command, name):
    with shmring.Ring.create(name, capacity="1 MiB") as ring:
        assert shmring_command("put", name, "--create", stdin=b"x\n").returncode == 0
        assert ring.get() == b"x"
        assert shmring_command("put", name, "--create", "--exclusive").returncode == 4


@pytest.mark.parametrize(
    "wrong",
    [
        ("put", "a/b", "--create"),
        ("put", "x", "--create", "--capacity", "much"),
        ("put", "x", "--create", "--capacity", "0"),
        ("put", "x", "--create", "--kind", "lifo"),
        ("put", "x", "--capacity", "1 MiB"),
        ("put", "x", "--timeout", "-1"),
        ("get", "x", "--timeout", "nan"),
        ("get", "x", "--count", "0"),
        ("get",),
        ("frobnicate",),
        (),
    ],
)
def test_wrong_usage_is_exit_code_2_with_a_message(shmring_command, wrong):
    ended = shmring_command(*wrong)
    assert ended.returncode == 2
    assert ended.stderr
    assert b"Traceback" not in ended.stderr


def test_a_message_nobody_could_read_goes_back_into_the_ring(started_command, name):
    with shmring.Ring.create(name, capacity="1 MiB") as ring:
        get = started_command("get", name)
        get.stdout.close()
        ring.put(b"keep me")
        assert get.wait() == 141
        assert get.stderr.read() == b""
        assert ring.get() == b"keep me"


@pytest.mark.parametrize(("number", "code"), SIGNALS)
@pytest.mark.parametrize("command", ["put", "get"])
def test_a_signal_ends_it_in_order(started_command, name, command, number, code):
    with shmring.Ring.create(name, capacity="1 MiB", slots=1) as ring:
        blocked = started_command(command, name)
        if command == "put":
            blocked.stdin.write(b"1\n2\n3\n")
        until_someone_takes({"put": "producer", "get": "consumer"}[command], name)
        blocked.send_signal(number)
        assert blocked.wait() == code
        assert blocked.stderr.read() == b""
        assert len(shmring.inspect(ring.name).attachments) == 1
        ring.unlink()


def test_ctrl_c_ends_it_in_order(name):
    program = PRESSES_CTRL_C + f"import sys; sys.argv[1:] = ['get', {name!r}]; import shmring.__main__ as s; s.main()"
    with shmring.Ring.create(name, capacity="1 MiB") as ring:
        command = [sys.executable, "-c", program]
        get = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
        until_someone_takes("consumer", name)
        press_ctrl_c(get)
        assert get.wait() == 130
        assert get.communicate()[1] == b""
        assert len(shmring.inspect(ring.name).attachments) == 1


def test_get_ends_when_its_only_writer_was_killed(started_command, name):
    with shmring.Ring.create(name, capacity="1 MiB"):
        put = started_command("put", name)
        put.stdin.write(b"last words\n")
        until_someone_takes("producer", name)
        get = started_command("get", name)
        assert get.stdout.read(11) == b"last words\n"
        put.kill()
        assert get.wait() == 6
        assert str(put.pid).encode() in get.stderr.read()


def test_get_with_follow_goes_on_with_the_next_writer(started_command, shmring_command, name):
    with shmring.Ring.create(name, capacity="1 MiB"):
        put = started_command("put", name)
        put.stdin.write(b"one\n")
        until_someone_takes("producer", name)
        get = started_command("get", name, "--follow")
        assert get.stdout.read(4) == b"one\n"
        put.kill()
        put.wait()
        shmring_command("put", name, "--shutdown", stdin=b"two\n")
        assert get.stdout.read() == b"two\n"
        assert get.wait() == 0


@pytest.mark.skipif(sys.platform == "win32", reason="about a POSIX shell")
def test_a_shell_pipeline_can_use_a_ring(name):
    script = f"""
        set -e
        shmring() {{ {sys.executable} -m shmring "$@"; }}
        seq 1000 | shmring put {name} --create --shutdown &
        shmring get {name} --wait 60 | sort -n | tail -n 1
        wait
    """
    assert subprocess.run(["bash", "-c", script], stdout=subprocess.PIPE, check=True).stdout == b"1000\n"


@pytest.mark.skipif(sys.platform == "win32", reason="a pipe of Windows does not tell its writer")
def test_get_ends_when_its_reader_has_gone_though_no_message_comes(name, started_command):
    with shmring.Ring.create(name) as ring:
        getting = started_command("get", name)
        ring.put(b"one")
        assert getting.stdout.readline() == b"one\n"
        getting.stdout.close()
        assert getting.wait() == 141
