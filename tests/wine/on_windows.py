"""What is so on Windows only, and what the issue was about: separate Windows processes, a million messages, kills.

Run by `make test-windows` inside the Windows Python; the tests of the other folders run there as well.
"""

import contextlib
import ctypes
import itertools
import os
import pickle
import random
import re
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from ctypes import wintypes

import pytest

import shmring
from shmring import _core, segment
from shmring.segment.windows import entries, mapping, win32
from tests.conftest import file_of
from tests.ring.spawned import interpreter

MILLION = 1_000_000

PRODUCER = """
import sys, shmring
name, count = sys.argv[1], int(sys.argv[2])
with shmring.Ring.attach(name, timeout=30) as ring:
    ring.put_many(b"%d " % i * (1 + i % 5) for i in range(count))
    ring.shutdown()
"""
CONSUMER = """
import sys, shmring
name, count = sys.argv[1], int(sys.argv[2])
expected = 0
with shmring.Ring.attach(name, timeout=30) as ring:
    while True:
        try:
            messages = ring.get_many()
        except shmring.ShutDown:
            break
        for message in messages:
            assert message == b"%d " % expected * (1 + expected % 5), (expected, message)
            expected += 1
assert expected == count, expected
print("verified", expected)
"""
HOLDER = """
import sys, threading, shmring
name, what = sys.argv[1:]
ring = shmring.Ring.open(name, capacity="64 KiB")
if what == "produce":
    ring.put(b"last words")
    lease = ring.claim(100)
    lease.__enter__()
elif what == "borrow":
    lease = ring.borrow()
    lease.__enter__()
print("ready", flush=True)
threading.Event().wait()
"""


@contextlib.contextmanager
def program(source: str, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """A Windows process of its own; killed when the block ends."""
    executable, environment = interpreter()
    command = [executable, "-c", source, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_until_ready(process: "subprocess.Popen[str]") -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"


@pytest.mark.parametrize(("kind", "count"), [("spsc", MILLION), ("mpmc", MILLION), ("semaphore", 10_000)])
def test_two_separate_processes_exchange_a_million_verified_messages(
    name: str, kind: str, count: int, figure: Callable[[str], None]
) -> None:
    with (
        shmring.Ring.create(name, capacity="1 MiB", kind=kind) as ring,
        program(CONSUMER, name, str(count)) as consumer,
        program(PRODUCER, name, str(count)) as producer,
    ):
        assert consumer.communicate()[0] == f"verified {count}\n"
        assert producer.wait() == 0
        stats = ring.stats()
        assert (stats.messages_put, stats.messages_got, stats.messages) == (count, count, 0)
    figure(f"{kind}: {count:,} messages from one Windows process to another, each verified")


def test_a_terminated_producer_is_named_after_its_last_message(name: str) -> None:
    with shmring.Ring.create(name, capacity="64 KiB") as ring, program(HOLDER, name, "produce") as producer:
        wait_until_ready(producer)
        assert [entry.alive for entry in shmring.inspect(name).attachments] == [True, True]
        producer.kill()  # TerminateProcess, inside a claim
        assert ring.get(timeout=20) == b"last words"
        with pytest.raises(shmring.PeerDied, match=f"pid {producer.pid}"):
            ring.get(timeout=20)
        ring.put(b"go on")
        assert ring.get(timeout=20) == b"go on"


def test_what_a_terminated_consumer_had_borrowed_comes_again(name: str) -> None:
    with shmring.Ring.create(name, capacity="64 KiB") as ring:
        ring.put(b"precious")
        with program(HOLDER, name, "borrow") as consumer:
            wait_until_ready(consumer)
            consumer.kill()
        lease = ring.borrow(timeout=20)
        with lease as view:
            assert (bytes(view), lease.redelivered) == (b"precious", True)


def test_a_ring_whose_last_process_was_terminated_is_gone_and_its_name_is_free(name: str) -> None:
    with program(HOLDER, name, "hold") as holder:
        wait_until_ready(holder)
        with pytest.raises(FileExistsError, match="alive"):
            shmring.Ring.create(name)
        holder.kill()
        holder.wait()
    assert file_of(name).exists(), "the stale entry"
    assert name not in [ring.name for ring in shmring.list()]
    with pytest.raises(FileNotFoundError):
        shmring.Ring.attach(name)
    with shmring.Ring.create(name) as ring:
        assert ring.stats().messages_put == 0
    assert not file_of(name).exists()


def test_the_last_to_leave_keeps_what_is_undelivered_in_a_file_until_it_is_drained(name: str) -> None:
    with shmring.Ring.create(name, capacity="1 MiB") as ring:
        ring.put_many([b"one", b"two"])
        assert entries.read(file_of(name)) is not None
    assert entries.read(file_of(name)) is None, "the ring itself stands there now"
    with pytest.raises(FileExistsError, match="2 undelivered"):
        shmring.Ring.create(name)
    with shmring.Ring.attach(name) as ring:
        assert ring.get_many() == [b"one", b"two"]
    assert not file_of(name).exists()


def test_whoever_unpickles_a_handle_keeps_what_is_undelivered_after_its_sender_has_left(name: str) -> None:
    with shmring.Ring.create(name) as ring:
        ring.put_many([b"one", b"two"])
        handle = pickle.dumps(ring)
    assert entries.read(file_of(name)) is not None, "its sender keeps the memory until the handle has arrived"
    with pytest.raises(FileExistsError, match="sent it is alive"):
        shmring.Ring.create(name)
    with pickle.loads(handle) as ring:
        assert ring.get() == b"one"
    assert entries.read(file_of(name)) is None
    with shmring.Ring.attach(name) as ring:
        assert ring.get() == b"two"
    assert not file_of(name).exists()


SENDER = """
import pickle, sys, shmring
ring = shmring.Ring.create(sys.argv[1])
ring.put(b"undelivered")
pickle.dumps(ring)
if sys.argv[2] == "closes":
    ring.close()
"""


@pytest.mark.parametrize("what", ["closes", "ends"])
def test_what_is_undelivered_is_kept_when_the_sender_of_a_handle_ends_that_never_arrived(name: str, what: str) -> None:
    with program(SENDER, name, what) as sender:
        assert sender.wait() == 0
    with shmring.Ring.attach(name) as ring:
        assert ring.get(timeout=0) == b"undelivered"
    assert not file_of(name).exists()


COMER_AND_GOER = """
import sys, shmring
name, who, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
for each in range(count):
    with shmring.Ring.open(name, "1 MiB", on_dead_peer="wait") as ring:
        if who == "consumer":
            try:
                for message in ring.get_many(timeout=0.001):
                    print(message.decode(), flush=True)
            except shmring.Empty:
                pass
        else:
            ring.put(b"%s %d" % (who.encode(), each))
print("end", flush=True)
"""


def test_processes_that_keep_opening_and_leaving_one_name_lose_nothing(
    name: str, figure: Callable[[str], None]
) -> None:
    """So the ring moves into a file, and is made again once that is drained, while others open and leave it."""
    count, got, ended = 250, Counter[str](), []

    def listen(process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        lines = process.stdout.read().splitlines()
        ended.append(lines[-1:] == ["end"])
        got.update(lines[:-1])

    with contextlib.ExitStack() as ends:
        running = [ends.enter_context(program(COMER_AND_GOER, name, who, str(count))) for who in ("a", "b", "consumer")]
        threads = [threading.Thread(target=listen, args=[process]) for process in running]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    with contextlib.suppress(FileNotFoundError), shmring.Ring.attach(name) as ring:
        got.update(message.decode() for message in ring.get_many(timeout=0))
    assert ended == [True] * 3, "and none of them was told of an error"
    assert got == Counter(f"{who} {each}" for who in "ab" for each in range(count))
    figure(f"ring: {got.total()} messages put by processes that opened and left it each time, none of them lost")


def test_a_persistent_ring_survives_every_process(name: str) -> None:
    with program(HOLDER.replace('"64 KiB"', '"64 KiB", persist=True'), name, "produce") as holder:
        wait_until_ready(holder)
        holder.kill()
        holder.wait()
    with shmring.Ring.attach(name) as ring:
        assert ring.get(timeout=20) == b"last words"
        ring.unlink()
    assert not file_of(name).exists()


def test_unlinking_a_file_that_is_mapped_frees_its_name_at_once_and_leaves_no_file(name: str) -> None:
    before = {*entries.folder().iterdir()}
    with shmring.Ring.create(name, persist=True) as first:
        first.unlink()
        with shmring.Ring.create(name, persist=True) as second:
            first.put(b"first")
            second.put(b"second")
            assert (first.get(), second.get()) == (b"first", b"second")
            second.unlink()
    assert {*entries.folder().iterdir()} <= before


QUEUE_PRODUCER = """
import sys, random, shmring
name, who = sys.argv[1], int(sys.argv[2])
dice = random.Random(who)
with shmring.Queue(name=name) as queue:
    for count in range(2**40):
        queue.put((who, count, bytes([count % 256]) * dice.choice([10, 1000, 30_000])))
        print(who, count, flush=True)
"""
QUEUE_CONSUMER = """
import sys, shmring
with shmring.Queue(name=sys.argv[1]) as queue:
    while True:
        who, count, padding = queue.get()
        assert padding == bytes([count % 256]) * len(padding)
        print(who, count, flush=True)
"""


def test_terminated_producers_and_consumers_of_a_queue_take_nothing_along(
    name: str, figure: Callable[[str], None]
) -> None:
    """But what a consumer had got and not told of; of each one killed that is one message at most."""
    put: set[str] = set()
    got: Counter[str] = Counter()
    numbers, dice, kills = itertools.count(1), random.Random(7), 8
    with shmring.Queue(name=name, capacity="64 KiB", max_bytes="4 MiB") as queue, contextlib.ExitStack() as ends:
        running: list[tuple[str, subprocess.Popen[str], threading.Thread]] = []

        def start(source: str) -> None:
            process = ends.enter_context(program(source, name, str(next(numbers))))
            heard = put.add if source is QUEUE_PRODUCER else lambda line: got.update([line])
            thread = threading.Thread(target=lambda: [heard(line) for line in process.stdout if line[-1:] == "\n"])
            thread.start()
            running.append((source, process, thread))

        def end(number: int) -> str:
            source, process, thread = running.pop(number)
            process.kill()
            thread.join()
            return source

        for source in (QUEUE_PRODUCER, QUEUE_PRODUCER, QUEUE_CONSUMER, QUEUE_CONSUMER):
            start(source)
        consumers_killed = 0
        for _ in range(kills):
            enough = got.total() + dice.randrange(20, 60)
            while got.total() < enough:
                threading.Event().wait(0.01)
            killed = end(dice.randrange(len(running)))
            consumers_killed += killed is QUEUE_CONSUMER
            start(killed)
        for number in reversed(range(len(running))):
            if running[number][0] is QUEUE_PRODUCER:
                end(number)
        while not queue.empty():
            threading.Event().wait(0.01)
        while running:
            consumers_killed += 1
            end(0)
        links = queue._chain.control.last
    assert len(put - got.keys()) <= consumers_killed
    assert got.total() - len(got) <= consumers_killed, "more came twice than consumers were killed"
    assert links > 2, "hardly anything was linked, so this tested nothing"
    figure(f"queue: {len(put):,} messages put, {kills} processes terminated, none of them lost")


def test_nothing_stays_of_a_queue_that_its_processes_have_left() -> None:
    before = {*entries.folder().iterdir()}
    with shmring.Queue(capacity="64 KiB") as queue:
        copy = pickle.loads(pickle.dumps(queue))
        queue.put_many([bytes(30_000)] * 5)
    assert {*entries.folder().iterdir()} - before, "somebody has it still"
    assert copy.get_many() == [bytes(30_000)] * 5
    copy.close()
    assert {*entries.folder().iterdir()} <= before


def test_the_file_of_a_queue_is_as_long_as_its_links_at_any_time_and_their_places_are_cleaned() -> None:
    with shmring.Queue(capacity="64 KiB") as queue:
        lengths = []
        for each in range(8):
            sent = [bytes([each * 16 + number]) * 30_000 for number in range(12)]
            queue.put_many(sent)
            assert [queue.get() for _ in sent] == sent
            lengths.append(win32.file_size(queue._chain._segment._file))
            time.sleep(0.11)  # then a ring that has become large is left for a small one
        assert queue._chain._links[2] > 8, "hardly anything was linked, so this tested nothing"
        assert lengths[4:] == [lengths[4]] * 4


def test_a_table_that_leads_beyond_the_file_does_not_lengthen_it() -> None:
    """As a section does that is longer than its file. A damaged queue is told of, and takes no disk."""
    with shmring.Queue(capacity="64 KiB") as queue:
        queue.put_many([bytes(30_000)] * 5)
        memory, at = queue._chain._segment, _core.segment_size("mpmc", 65536, 0)
        before = win32.file_size(memory._file)
        copy = pickle.loads(pickle.dumps(queue))
        for link in range(1, queue._chain._links[2] + 1):
            entry = at + 4096 + 16 * link
            memory[entry : entry + 8] = (2**40).to_bytes(8, "little")
        with copy, pytest.raises(shmring.Corrupt):
            [copy.get(timeout=1) for _ in range(5)]
        assert win32.file_size(memory._file) == before


def test_a_program_that_reads_the_file_of_a_ring_is_waited_for(name: str) -> None:
    """A virus scanner, say. Python's own open lets nobody delete a file meanwhile, nor open it so that he could."""
    with shmring.Ring.create(name, persist=True) as ring:
        ring.put(b"safe")
    with file_of(name).open("rb") as scanner:
        timer = threading.Timer(0.2, scanner.close)
        timer.start()
        with shmring.Ring.attach(name) as ring:
            assert ring.get() == b"safe"
            ring.unlink()
        timer.join()


def test_a_process_that_has_the_entry_mapped_is_waited_for(name: str) -> None:
    """As one has for a moment that took it for the ring's file, since it had been one."""
    with shmring.Ring.create(name) as ring:
        reader = segment.file(file_of(name))
        timer = threading.Timer(0.2, reader.close)
        timer.start()
        ring.unlink()
        timer.join()
    assert not file_of(name).exists()


def test_messages_are_kept_although_a_program_reads_the_entry(name: str) -> None:
    with shmring.Ring.create(name) as ring:
        ring.put(b"safe")
        scanner = file_of(name).open("rb")
        timer = threading.Timer(0.2, scanner.close)
        timer.start()
    timer.join()
    with shmring.Ring.attach(name) as ring:
        assert ring.get(timeout=0) == b"safe"


def test_an_entry_that_takes_the_place_of_a_file_meanwhile_is_no_half_made_ring(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with shmring.Ring.create(name) as ring:
        ring.put(b"found")
        looks = [None]  # the first look sees a file; then that is drained, and the name taken again
        read = entries.read
        monkeypatch.setattr(entries, "read", lambda path: looks.pop() if looks else read(path))
        with shmring.Ring.attach(name) as other:
            assert other.get(timeout=0) == b"found"
        assert not looks


def test_a_memory_that_moves_into_a_file_while_it_is_opened_is_found_there(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with shmring.Ring.create(name) as ring:
        ring.put(b"found")
        looks = [entries.read(file_of(name))]
    read = entries.read
    monkeypatch.setattr(entries, "read", lambda path: looks.pop() if looks else read(path))
    with shmring.Ring.attach(name) as ring:
        assert ring.get(timeout=0) == b"found"


def test_a_draft_that_somebody_has_mapped_is_left_without_a_word_and_without_its_handle(tmp_path) -> None:
    with mapping.file(tmp_path / "draft", 4096, create=True, draft=True) as draft:
        handle, reader = draft._file, segment.file(tmp_path / "draft")
    with pytest.raises(OSError, match=r"."):
        win32.file_size(handle)
    reader.close()


MARK = b"shmring entry 1\n"
DAMAGED = [
    b"", b"\0" * 5000, MARK, MARK + b"\xff\n4096\n1\nNAME\n", MARK + b"\n4096\n1\nNAME\n",
    MARK + b"Local\\other\n4096\n1\nNAME\n", MARK + b"X:\\\n4096\n1\nNAME\n",
    *(MARK + b"OBJECT\n" + size + b"\n1\nNAME\n" for size in (b"0", b"-1", b"x", b"99999999999999", b"9" * 30)),
    MARK + b"Local\\shmring." + b"a" * 230 + b"\n4096\n1\nNAME\n",
]  # fmt: skip


@pytest.mark.usefixtures("names_of_its_own")
@pytest.mark.parametrize("content", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_entry_is_in_nobody_elses_way(name: str, content: bytes) -> None:
    good, bad = name + "-good", file_of(name)
    with shmring.Ring.create(good) as ring:
        entry = entries.read(file_of(good))
        assert entry is not None
        content = content.replace(b"OBJECT", entry.object.encode()).replace(b"NAME", name.encode())
        bad.write_bytes(content)
        try:
            listed = {each.name: each.state for each in shmring.list()}
            assert listed.pop(name, "corrupt") in ("corrupt", "incomplete", "not-a-ring")
            assert listed == {good: "ready"}
            assert good not in [each.name for each in shmring.clean()]
            shmring.clean(dry_run=True)
            with pytest.raises((OSError, ValueError), match=re.escape(name)):
                shmring.Ring.attach(name)
            ring.put(b"x")
            assert ring.get() == b"x"
        finally:
            bad.unlink(missing_ok=True)


def test_one_wake_reaches_everybody_who_sleeps_on_a_word() -> None:
    """Each passes it on to the next. Nobody looks up by himself here, so a lost wake would be a wait to the end."""
    with shmring.JoinableQueue() as queue:
        queue.put("task")
        assert queue.get() == "task"
        threads = [threading.Thread(target=queue._chain._wait_for_tasks, args=(60.0,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        time.sleep(1)  # who comes later finds that there is nothing to wait for
        queue.task_done()
        give_up = time.monotonic() + 30
        for thread in threads:
            thread.join(timeout=max(0, give_up - time.monotonic()))
        assert not any(thread.is_alive() for thread in threads)


def access_of(handle: int) -> str:
    """The access list of a kernel object, as text."""
    library = ctypes.WinDLL("advapi32")
    kernel_object, access_list, owner = 6, 4, 1
    descriptor, text = ctypes.c_void_p(), wintypes.LPWSTR()
    where = (None, None, None, None, ctypes.byref(descriptor))
    assert library.GetSecurityInfo(wintypes.HANDLE(handle), kernel_object, access_list | owner, *where) == 0
    convert = library.ConvertSecurityDescriptorToStringSecurityDescriptorW
    assert convert(descriptor, 1, access_list, ctypes.byref(text), None)
    return str(text.value)


def test_a_ring_admits_its_maker_and_nobody_else(name: str) -> None:
    with shmring.Ring.create(name) as ring:
        (entry,) = access_of(ring._segment.fd).partition(":")[2].strip("P").strip("()").split(")(")
        assert entry.startswith("A;")
        assert entry.endswith(win32._user())
    with pytest.raises(NotImplementedError, match="0o660"):
        shmring.Ring.create(name, mode=0o660)
    with pytest.raises(ValueError, match="no such user"):
        shmring.Ring.attach(name, owner="Administrator")


def test_a_mapped_file_cannot_be_truncated(tmp_path) -> None:
    with shmring.Ring.create(path=tmp_path / "ring") as ring:
        ring.put(b"safe")
        with pytest.raises(OSError, match=r"."):
            os.truncate(tmp_path / "ring", 0)
        assert ring.get() == b"safe"


def test_large_pages_without_the_privilege_are_refused_with_the_way_to_get_it(name: str) -> None:
    if win32.may_lock_memory():
        pytest.skip("this user has the privilege")
    for make in (
        lambda: segment.create(name, "2 MiB", huge_pages=True),
        lambda: segment.anonymous("2 MiB", huge_pages=True),
    ):
        with pytest.raises(PermissionError, match="Lock pages in memory"):
            make()


def test_a_file_without_reserved_room_is_sparse(tmp_path) -> None:
    path = tmp_path / "sparse"
    with segment.file(path, 2**32, create=True, reserve=False) as memory:
        memory[2**32 - 1] = 7
        with segment.file(path, readonly=True) as other:
            assert other[2**32 - 1] == 7
        with pytest.raises(shmring.NoSpace):
            segment.file(tmp_path / "reserved", 2**45 // 32, create=True)
    assert not (tmp_path / "reserved").exists()


def test_a_segment_is_gone_with_its_last_process_and_its_name_can_be_taken_again(name: str) -> None:
    with segment.create(name, 4096) as memory:
        memory[:3] = b"abc"
        with segment.attach(name, readonly=True) as other:
            assert other[:3] == b"abc"
    with pytest.raises(FileNotFoundError):
        segment.attach(name)
    with segment.create(name, 4096) as memory:
        assert memory[:3] == bytes(3)
        segment.unlink(name)
        with segment.create(name, 8192) as second, pytest.raises(FileExistsError):
            segment.create(name, 4096)
        assert second.closed
    segment.unlink(name)
