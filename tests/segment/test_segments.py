"""Segments: memory by name, without a name and in files; what the kernel is told about it, and what it refuses."""

import errno
import mmap
import os
import pathlib
import pickle
import random
import subprocess
import sys
from collections.abc import Callable

import pytest

import shmring
from shmring import segment

PAGE = mmap.PAGESIZE
WINDOWS = sys.platform == "win32"
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="about fork, which this platform does not have")
needs_limits = pytest.mark.skipif(WINDOWS, reason="about POSIX resource limits")
needs_other_users = pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="becomes another user")


@pytest.fixture(params=["named", "transferable", "file"])
def memory(request: pytest.FixtureRequest, name: str, tmp_path: pathlib.Path):
    """Return a segment of two pages, of each sort that has a descriptor."""
    if request.param == "named":
        with segment.create(name, 2 * PAGE) as made:
            yield made
        segment.unlink(name)
    elif request.param == "transferable":
        with segment.anonymous(2 * PAGE, transferable=True) as made:
            yield made
    else:
        with segment.file(tmp_path / "memory", 2 * PAGE, create=True) as made:
            yield made


@pytest.fixture
def growing(memory: segment.Segment) -> segment.Segment:
    """Return one that can grow: on Windows only a file can."""
    if WINDOWS and memory.path is None:
        with pytest.raises(NotImplementedError, match="only a file can grow"):
            memory.grow(3 * PAGE)
        pytest.skip("memory of the page file cannot grow, and says so")
    return memory


def in_child(function: Callable[[], None]) -> int:
    """Run a function in a forked child; its exit code."""
    pid = os.fork()
    if pid == 0:
        try:
            function()
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_another_process_sees_what_is_written_under_a_name(name: str) -> None:
    with segment.create(name, "8 KiB") as memory:
        program = f"from shmring import segment; segment.attach({name!r})[:5] = b'hello'"
        subprocess.run([sys.executable, "-c", program], check=True)
        assert memory[:5] == b"hello"
        assert memory.size == len(memory) == 8192
    segment.unlink(name)


@needs_fork
def test_a_forked_child_shares_anonymous_memory() -> None:
    with segment.anonymous(PAGE) as memory:
        assert in_child(lambda: memory.__setitem__(0, 7)) == 0
        assert memory[0] == 7
        with pytest.raises(TypeError, match="transferable=True"):
            pickle.dumps(memory)


def test_a_pickled_segment_is_the_same_memory(memory: segment.Segment) -> None:
    with pickle.loads(pickle.dumps(memory)) as copy:
        copy[:3] = b"abc"
        assert memory[:3] == b"abc"


def test_a_private_view_keeps_its_changes_to_itself(memory: segment.Segment) -> None:
    memory[:5] = b"shared"[:5]
    with memory.view(private=True) as view:
        view[:5] = b"mine!"
        assert memory[:5] == b"share"
        if not WINDOWS:  # where nothing brings the shared page back
            view.advise("dontneed")
            assert view[:5] == b"share"


def test_a_read_only_view_cannot_be_written(memory: segment.Segment) -> None:
    with memory.view(readonly=True) as view:
        memory[0] = 9
        assert view[0] == 9
        with pytest.raises(TypeError):
            view[0] = 1
        assert memoryview(view).readonly


def test_a_view_may_begin_at_any_page(memory: segment.Segment) -> None:
    memory[PAGE : PAGE + 3] = b"abc"
    with memory.view(offset=PAGE) as view:
        assert view[:3] == b"abc"
        assert view.size == PAGE


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_flush_writes_a_file_back(tmp_path: pathlib.Path, mode: str) -> None:
    path = tmp_path / "memory"
    with segment.file(path, 2 * PAGE, create=True) as memory:
        memory[PAGE : PAGE + 4] = b"data"
        memory.flush(PAGE, PAGE, mode=mode)
        memory.flush(mode=mode)
    assert path.read_bytes()[PAGE : PAGE + 4] == b"data"


@pytest.mark.parametrize(
    ("offset", "length", "words"),
    [
        (1, None, f"0 or {PAGE}"),
        (-PAGE, None, "0 to"),
        (3 * PAGE, None, "0 to"),
        (0, 3 * PAGE, "0 to"),
        (0, -1, "0 to"),
    ],
)
def test_a_range_is_checked_and_the_nearest_page_named(
    memory: segment.Segment, offset: int, length: int | None, words: str
) -> None:
    for call in (memory.flush, lambda *where: memory.advise("random", *where)):
        with pytest.raises(ValueError, match=words):
            call(offset, length)


def test_flush_knows_two_modes(memory: segment.Segment) -> None:
    with pytest.raises(ValueError, match='"sync" or "async"'):
        memory.flush(mode="later")


@pytest.mark.parametrize("advice", ["normal", "sequential", "random", "willneed", "dontneed", "hugepage", "nohugepage"])
def test_advice_is_taken(memory: segment.Segment, advice: str) -> None:
    if WINDOWS and advice not in ("normal", "willneed"):
        with pytest.raises(NotImplementedError, match=advice):
            memory.advise(advice)
        return
    refusal = ""
    try:
        memory.advise(advice)
    except OSError as error:
        refusal = str(error)
    assert not refusal or ("huge" in advice and "transparent huge pages" in refusal)


def test_unknown_advice_is_refused(memory: segment.Segment) -> None:
    with pytest.raises(ValueError, match="sequential"):
        memory.advise("hurry")


def test_memory_can_be_prefaulted_and_locked(memory: segment.Segment) -> None:
    memory.prefault()
    memory.lock()
    memory.unlock()


@needs_limits
@needs_other_users
def test_locking_beyond_the_limit_names_it() -> None:
    import resource

    def lock() -> None:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (4096, 4096))
        os.setuid(65534)
        with (
            segment.anonymous(1 << 20) as memory,
            pytest.raises(PermissionError, match="RLIMIT_MEMLOCK is 4096"),
        ):
            memory.lock()

    assert in_child(lock) == 0


@pytest.mark.skipif(WINDOWS, reason="about huge pages of Linux")
def test_huge_pages_that_are_not_there_are_an_error_with_the_remedy() -> None:
    for transferable in (False, True):
        refusal = ""
        try:
            segment.anonymous("1 GiB", huge_pages=True, transferable=transferable, reserve=False).close()
        except OSError as error:
            refusal = str(error)
        assert not refusal or "vm.nr_hugepages=512" in refusal
    with pytest.raises(ValueError, match="multiple of 2097152"):
        segment.anonymous(PAGE, huge_pages=True)


def test_a_segment_grows_and_keeps_its_content(growing: segment.Segment) -> None:
    memory = growing
    memory[:4] = b"kept"
    memory.grow(5 * PAGE)
    assert memory.size == 5 * PAGE
    assert memory[:4] == b"kept"
    assert memory[2 * PAGE :] == bytes(3 * PAGE)
    if not WINDOWS:
        assert os.fstat(memory.fd).st_blocks * 512 >= 5 * PAGE
    with pytest.raises(ValueError, match="never shrinks"):
        memory.grow(PAGE)


def test_a_segment_with_views_neither_grows_nor_closes(growing: segment.Segment) -> None:
    memory = growing
    view = memoryview(memory)
    with pytest.raises(BufferError, match=r"before grow\(\)"):
        memory.grow(4 * PAGE)
    with pytest.raises(BufferError, match=r"before close\(\)"):
        memory.close()
    assert memory.size == 2 * PAGE
    view.release()
    memory.grow(4 * PAGE)


def test_numpy_works_on_a_segment(memory: segment.Segment) -> None:
    numpy = pytest.importorskip("numpy")
    array = numpy.frombuffer(memory, dtype="uint32")
    array[:] = numpy.arange(len(array))
    assert memory[4:8] == (1).to_bytes(4, sys.byteorder)
    del array


def test_a_full_file_system_is_an_error_at_creation_and_leaves_nothing(name: str, tmp_path: pathlib.Path) -> None:
    for call in (
        lambda: segment.create(name, 2**39),
        lambda: segment.file(tmp_path / "big", 2**39, create=True),
        lambda: segment.anonymous(2**39, transferable=True),
        lambda: segment.anonymous(2**39),
    ):
        with pytest.raises(shmring.NoSpace) as caught:
            call()
        assert caught.value.errno == errno.ENOSPC
        assert caught.value.needed >= 2**39 > caught.value.free > 0
        assert "ask for less" in str(caught.value)
    assert not (tmp_path / "big").exists()
    with pytest.raises(FileNotFoundError):
        segment.attach(name)


@pytest.mark.skipif(WINDOWS, reason="about blocks of /dev/shm; sparse files of Windows have a test of their own")
def test_storage_is_reserved_unless_it_is_asked_to_be_sparse(name: str) -> None:
    with segment.create(name, "1 MiB") as memory:
        assert os.fstat(memory.fd).st_blocks * 512 >= 1 << 20
    segment.unlink(name)
    with segment.create(name, 2**39, reserve=False) as memory:
        assert os.fstat(memory.fd).st_blocks == 0
        memory[2**39 - 1] = 1
    segment.unlink(name)


@needs_limits
def test_a_limit_on_file_sizes_is_an_error_and_leaves_nothing(tmp_path: pathlib.Path) -> None:
    import resource

    def make() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (PAGE, PAGE))
        with pytest.raises(OSError, match="ulimit -f"):
            segment.file(tmp_path / "big", 4 * PAGE, create=True)

    assert in_child(make) == 0
    assert not (tmp_path / "big").exists()


def test_names_are_taken_once_and_found_again(name: str) -> None:
    with pytest.raises(FileNotFoundError, match=name):
        segment.attach(name)
    with segment.create(name, PAGE), pytest.raises(FileExistsError, match=name):
        segment.create(name, PAGE)
    segment.unlink(name)
    with pytest.raises(FileNotFoundError, match=name):
        segment.unlink(name)


@pytest.mark.parametrize("bad", ["", "a/b", "a\0b", "n" * 10000, "naïve"])
def test_a_bad_name_is_a_value_error(bad: str) -> None:
    for call in (lambda: segment.create(bad, PAGE), lambda: segment.attach(bad), lambda: segment.unlink(bad)):
        with pytest.raises(ValueError, match="1 to 200 characters"):
            call()


@pytest.mark.parametrize("size", [0, -1, 2**60, "none", "", "1 parsec"])
def test_a_bad_size_is_a_value_error(size: object, name: str, tmp_path: pathlib.Path) -> None:
    for call in (
        lambda: segment.create(name, size),
        lambda: segment.anonymous(size),
        lambda: segment.file(tmp_path / "x", size, create=True),
    ):
        with pytest.raises(ValueError, match="size is"):
            call()


def test_a_pickled_segment_in_a_file_is_found_from_any_folder(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with segment.file("relative", 4096, create=True) as memory:
        memory[0] = 7
        handle = pickle.dumps(memory)
        (tmp_path / "below").mkdir()
        monkeypatch.chdir(tmp_path / "below")
        with pickle.loads(handle) as other:
            assert other[0] == 7
    monkeypatch.chdir(tmp_path.parent)


@pytest.mark.parametrize("mode", ["x", None, -1, 0o1777])
def test_a_bad_mode_is_a_value_error(mode: object, name: str, tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match=r"mode is .*permission bits"):
        segment.create(name, 4096, mode=mode)
    with pytest.raises(ValueError, match=r"mode is .*permission bits"):
        segment.file(tmp_path / "file", 4096, create=True, mode=mode)
    assert not os.listdir(tmp_path)


def test_files_must_be_files_with_something_in_them(tmp_path: pathlib.Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    with pytest.raises(shmring.NotReady, match="empty"):
        segment.file(tmp_path / "empty")
    if (tmp_path / "link").is_symlink():  # Wine says that it made one, and did not
        with pytest.raises(OSError, match="symbolic link"):
            segment.file(tmp_path / "link")
    with pytest.raises(FileNotFoundError):
        segment.file(tmp_path / "missing")
    with pytest.raises(FileExistsError):
        segment.file(tmp_path / "empty", PAGE, create=True)
    (tmp_path / "full").write_bytes(random.Random(1).randbytes(100))
    with segment.file(tmp_path / "full", readonly=True) as memory:
        assert memory.size == 100
    with pytest.raises(ValueError, match="has 100 bytes"):
        segment.file(tmp_path / "full", 200)


@needs_other_users
def test_another_users_segment_is_refused(name: str) -> None:
    def attach() -> None:
        os.setuid(65534)
        with pytest.raises(PermissionError, match="belongs to another user"):
            segment.attach(name)

    with segment.create(name, PAGE):
        assert in_child(attach) == 0
    segment.unlink(name)
