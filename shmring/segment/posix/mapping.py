"""Segments on POSIX: files in /dev/shm, memfd, MAP_ANONYMOUS and other files, over the standard library's mmap.

Creating a named segment takes a few system calls. A process killed between the first and the last leaves a name with an
empty or unreserved segment, which `unlink` removes; rings do not go this way (registry.py).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from shmring import _core
from shmring.errors import Corrupt, NoSpace, NotReady, NotThere, ShmringError
from shmring.segment import contract, descriptors
from shmring.segment.descriptors import shortage_explained
from shmring.segment.names import SHARED_MEMORY, check_name, check_path, os_name
from shmring.segment.posix import limits, lock_files, refusals, shared_memory, transfer
from shmring.segment.posix import reserve as storage
from shmring.segment.sizes import parse_size

if TYPE_CHECKING:
    from typing_extensions import Buffer

assert sys.platform != "win32"

_PREFIX = "shmring-segment."
_MAP_HUGETLB = 0x40000
_POPULATE_READ, _POPULATE_WRITE = 22, 23
_WRITE_MOST = 1 << 30  # bytes in one call
_HUGE_PAGE = 2 * 1024 * 1024
_MFD_NOEXEC_SEAL = 8  # Linux 6.3


Mapping = TypeVar("Mapping", bound=mmap.mmap)


def _protection(readonly: bool) -> int:
    return mmap.PROT_READ if readonly else mmap.PROT_READ | mmap.PROT_WRITE


def map_file(
    kind: type[Mapping], fd: int, size: int, *, offset: int = 0, readonly: bool = False, private: bool = False
) -> Mapping:
    """Map a part of a file by an object that keeps no descriptor.

    The standard library's mmap keeps a duplicate, for its resize: one more for each ring, and one that it closes by
    number, whosever that is by then where somebody (a daemon's start) has closed all that there were.
    """
    try:
        mapping = kind(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, _protection(readonly))
    except OSError as error:
        if error.errno != errno.ENOMEM:  # memory of one's own has limits that shared memory has not: the other way then
            raise
    else:
        try:
            _core.map_over(mapping, fd, offset, not readonly, not private)
            return mapping
        except OSError as error:
            mapping.close()
            if error.errno != errno.EINVAL:  # huge pages have an alignment
                raise
    flags = mmap.MAP_PRIVATE if private else mmap.MAP_SHARED
    return kind(fd, size, flags, _protection(readonly), offset=offset)


class Segment(mmap.mmap):
    """One mapping: bytes-like, writable unless ``readonly``, seen by other processes unless ``private``.

    Supports the buffer protocol: ``memoryview(segment)``, ``numpy.frombuffer(segment)``, slices. Made by the functions
    of this package. ``fd`` is its descriptor (-1: none), ``name`` and ``path`` where it is found, or None.

    Threads:
        Any thread of any process may use it; nothing orders their accesses.

    >>> with shmring.segment.anonymous(4096) as memory:
    ...     memory[:5] = b"hello"
    ...     print(bytes(memory[:5]), memory.size)
    b'hello' 4096
    """

    name: str | None
    path: str | None
    readonly: bool
    private: bool
    huge: bool
    _descriptor: descriptors.Descriptor | None = None
    called: str = ""  # in messages to people, where it is more than memory
    locks: lock_files.LockFile | None = None  # beside it: a ring's
    _guard: _core.Guard | None = None  # against those who truncate its file
    users: int = 0  # attachments that go through this mapping; the last of them closes it

    @classmethod
    def _map(
        cls,
        fd: int,
        size: int | None,
        *,
        name: str | None = None,
        path: str | None = None,
        readonly: bool = False,
        private: bool = False,
        huge: bool = False,
        offset: int = 0,
    ) -> Self:
        """Map a descriptor (-1: anonymous memory), which the segment then owns; it is closed on failure too.

        ``size`` None is all of the file, asked for once: a queue's grows and shrinks. NotReady for an empty one.
        """
        what = _title(name, path)
        try:
            if fd < 0:
                assert size is not None
                flags = mmap.MAP_ANONYMOUS | (mmap.MAP_PRIVATE if private else mmap.MAP_SHARED)
                self = cls(-1, size, flags | (_MAP_HUGETLB if huge else 0), _protection(readonly))
                self._descriptor = None
            else:
                descriptor = descriptors.Descriptor(fd)
                there = os.fstat(fd).st_size
                size = there - offset if size is None else size
                if not there:
                    raise NotReady(f"{what} is empty; its creator has not finished")
                if there < offset + size:  # all was in range just now
                    raise Corrupt(f"{what} was truncated by somebody else")
                self = map_file(cls, fd, size, offset=offset, readonly=readonly, private=private)
                self._descriptor = descriptor
                self._guard = _core.guard(self)
        except BaseException as error:
            if fd >= 0:
                os.close(fd)
            if isinstance(error, OSError) and not isinstance(error, ShmringError) and not huge:
                raise limits.mapping_refused(error, size or 0, what) from None
            raise
        self.name, self.path, self.readonly, self.private, self.huge = name, path, readonly, private, huge
        return self

    @property
    def fd(self) -> int:
        """The descriptor behind the mapping, to be used at once; -1 for none. EBADF once somebody has closed it."""
        return -1 if self._descriptor is None else self._descriptor.number(self._title)

    @property
    def size(self) -> int:  # type: ignore[override]
        """Length of the mapping in bytes."""
        return len(self)

    @property
    def damaged(self) -> bool:
        """True once a part of it was missing as it was touched: somebody truncated its file, or no memory was left.

        What is missing reads as zeros, and what is written there stays in this process. Memory without a descriptor
        always gives False.
        """
        return self._guard is not None and self._guard.damaged

    @property
    def _locks_fd(self) -> int:
        """The descriptor of the file whose locks say who uses this: the segment's own, or that of the one beside it."""
        return self.fd if self.locks is None else self.locks.fd

    def fileno(self) -> int:
        """Return the descriptor behind the mapping.

        Raises:
            ValueError: It is anonymous memory, which has none.
        """
        if self.fd < 0:
            raise ValueError("this anonymous segment has no descriptor; make it with transferable=True")
        return self.fd

    def _range(self, offset: int, length: int | None) -> tuple[int, int]:
        """A checked byte range whose start is on a page, as the kernel wants it."""
        return contract.checked_range(offset, length, size=len(self), page=_HUGE_PAGE if self.huge else mmap.PAGESIZE)

    def flush(self, offset: int = 0, length: int | None = None, mode: Literal["sync", "async"] = "sync") -> None:
        """Write changes back to the file (msync): "sync" waits until they are stored, "async" only begins it.

        ``offset`` is a multiple of the page size; ``length`` None reaches to the end.

        Waits:
            With "sync" for the disk.
        Raises:
            ValueError: The range does not lie in the segment, or ``offset`` is not on a page; the nearest ones are
            named.
            OSError: The system could not write.
        """
        contract.check_flush_mode(mode)
        offset, length = self._range(offset, length)
        if length and not self.readonly:
            _core.sync(self, offset, length, mode == "sync")

    def advise(self, advice: str, offset: int = 0, length: int | None = None) -> None:
        """Tell the kernel how the range will be used (madvise).

        ``advice`` is normal, sequential, random, willneed, dontneed, hugepage or nohugepage. "dontneed" drops the
        changes of a private view. ``offset`` is a multiple of the page size; ``length`` None reaches to the end.

        Raises:
            ValueError: There is no such advice, or the range does not lie in the segment.
            NotImplementedError: This platform does not have it.
            OSError: The kernel refuses it: one without transparent huge pages, say.
        """
        contract.check_advice(advice)
        option = getattr(mmap, f"MADV_{advice.upper()}", None)
        if option is None:
            raise NotImplementedError(f"this platform has no advice {advice!r}")
        offset, length = self._range(offset, length)
        if not length:
            return
        try:
            self.madvise(option, offset, length)
        except OSError as error:
            if error.errno == errno.EINVAL and "huge" in advice:
                raise OSError(errno.EINVAL, "this kernel was built without transparent huge pages") from None
            raise

    def prefault(self) -> None:
        """Bring every page in now, so that no later access waits for one.

        Waits:
            Until the kernel has done it.
        Raises:
            OSError: The kernel has no memory for them.
        """
        option = _POPULATE_READ if self.readonly else _POPULATE_WRITE
        try:
            self.madvise(option)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            self.madvise(mmap.MADV_WILLNEED)  # kernels before 5.14: as good as they can

    def lock(self) -> None:
        """Keep the segment in memory, out of swap (mlock).

        Raises:
            PermissionError: This process may not lock so much (RLIMIT_MEMLOCK); the message names the limit.
            OSError: The kernel could not lock it for another reason: it has no memory (ENOMEM), say.
        """
        try:
            _core.lock(self)
        except OSError as error:
            if error.errno not in (errno.ENOMEM, errno.EPERM, errno.EAGAIN):
                raise
            import resource

            if limits.of(resource.RLIMIT_MEMLOCK) is None:  # that is not why
                raise OSError(error.errno, f"{error.strerror}: {len(self)} bytes could not be locked") from None
            soft, hard = (
                "unlimited" if most == resource.RLIM_INFINITY else f"{most} bytes"
                for most in resource.getrlimit(resource.RLIMIT_MEMLOCK)
            )
            raise PermissionError(
                error.errno,
                f"{len(self)} bytes cannot be locked: RLIMIT_MEMLOCK is {soft} of at most {hard}; raise it (ulimit -l, "
                "LimitMEMLOCK=) or lock less",
            ) from None

    def unlock(self) -> None:
        """Undo :meth:`lock`."""
        _core.unlock(self)

    def grow(self, size: int | str) -> None:
        """Make the segment and this mapping larger, ``size`` bytes in all; the new bytes are zero and reserved. Never
        shrinks.

        Other processes see the new bytes once they map again.

        Raises:
            BufferError: Views or arrays of it are alive.
            ValueError: ``size`` is less than there is, or the segment is read-only, private, or without a descriptor.
            NoSpace: The memory cannot be reserved.
        """
        new = contract.grown_size(size, len(self))
        if self.fd < 0 or self.readonly or self.private:
            raise ValueError("only a shared, writable segment with a descriptor can grow")
        try:
            memoryview(self).release()
            if os.fstat(self.fd).st_size < new:
                storage.reserve(self.fd, new, self._on)
            self._resize(new)
        except BufferError:
            raise BufferError(
                "views of this segment are alive; release memoryviews and delete arrays of it before grow()"
            ) from None

    def _resize(self, size: int) -> None:
        try:
            self.resize(size)
            self._guard = _core.guard(self)
        except OSError as error:
            raise limits.mapping_refused(error, size, self._on) from None

    @property
    def _title(self) -> str:
        return self.called or _title(self.name, self.path)

    @property
    def _on(self) -> str:
        """What its storage is of, for people."""
        return self.path or (SHARED_MEMORY if self.name else "memory")

    def fill(self, parts: Iterable[Buffer]) -> None:
        """Write buffers one after the other from the start of the segment.

        Through the descriptor: without page faults here, and other threads run during the copy. It must be shared.

        Raises:
            ValueError: The segment has no descriptor.
        """
        offset = 0
        for part in parts:
            view = memoryview(part).cast("B")
            done = 0
            while done < view.nbytes:
                done += os.pwrite(self.fileno(), view[done : done + _WRITE_MOST], offset + done)
            offset += done

    @shortage_explained()
    def view(
        self, *, readonly: bool = False, private: bool = False, offset: int = 0, length: int | None = None
    ) -> Self:
        """Map the same memory again: read-only, or private (copy-on-write: changes stay here). Closed on its own.

        ``offset`` is a multiple of the page size; ``length`` None reaches to the end.

        Raises:
            ValueError: The range does not lie in the segment, or there is nothing to map again.
            OSError: This process gets no descriptor or address space for it.
        Copies:
            None; of a private view the pages that are written to.
        """
        if self.fd < 0:
            raise ValueError("this anonymous segment has no descriptor to map again; make it with transferable=True")
        offset, length = self._range(offset, length)
        contract.check_view(offset, length, size=len(self))
        made = self._map(
            os.dup(self.fd),
            length,
            name=self.name,
            path=self.path,
            readonly=readonly or (self.readonly and not private),
            private=private,
            huge=self.huge,
            offset=offset,
        )
        if self.locks is not None:
            try:
                made.locks = self.locks.copy()
            except BaseException:
                made.close()
                raise
        return made

    def close(self) -> None:
        """Unmap; may be called again.

        Raises:
            BufferError: Views or arrays of it are alive.
        """
        try:
            super().close()
        except BufferError:
            raise BufferError(
                "views of this segment are alive; release memoryviews and delete arrays of it before close()"
            ) from None
        descriptor, self._descriptor, self._guard = self._descriptor, None, None
        for each in (descriptor, self.locks):
            if each is not None:
                each.close()

    def __del__(self) -> None:
        for each in (self._descriptor, self.locks):
            try:
                if each is not None:
                    each.close()
            except Exception:
                pass

    def __exit__(self, *details: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return contract.described(self)

    __copy__ = __deepcopy__ = contract.copied

    def __reduce__(self) -> tuple[Callable[..., Segment], tuple[Any, ...]]:
        if self.name is not None:
            return attach, (self.name,)
        if self.path is not None:
            return file, (self.path,)
        if self.fd < 0:
            raise TypeError("this anonymous segment goes to forked children only; make it with transferable=True")
        return _from_transfer, (transfer.Descriptor(self.fd), len(self))


def _from_transfer(descriptor: transfer.Descriptor, size: int) -> Segment:
    return Segment._map(descriptor.detach(), size)


def _title(name: str | None, path: str | None) -> str:
    """What it is called in messages to people."""
    return path or (f"shared memory {name!r}" if name else "memory")


@shortage_explained()
def create(name: str, size: int | str, *, mode: int = 0o600, reserve: bool = True, huge_pages: bool = False) -> Segment:
    """Make a named segment, zeroed. It stays until :func:`unlink`.

    ``size`` is bytes ("8 MiB" or an int), ``mode`` its permission bits. ``reserve=False`` makes it sparse: cheaper, and
    a full ``/dev/shm`` is then a SIGBUS at the write that finds it full.

    Waits:
        Never.
    Raises:
        FileExistsError: The name is taken.
        NoSpace: The memory cannot be reserved.
        PermissionError: The system refuses it to this user.
        ValueError: A value is out of range, or ``huge_pages`` is asked for.
    """
    if huge_pages:
        raise ValueError(
            "named segments have no explicit huge pages; use anonymous(transferable=True, huge_pages=True), a file on "
            'hugetlbfs, or advise("hugepage")'
        )
    contract.check_mode(mode)
    bytes_ = parse_size(size, what="size")
    full = os_name(_PREFIX, name)
    fd = shared_memory.create(full, name, mode)
    try:
        with _closed_on_failure(fd):
            _set_mode(fd, mode, f"segment {name!r}")
            _allocate(fd, bytes_, SHARED_MEMORY, reserve)
        return Segment._map(fd, bytes_, name=name)
    except BaseException:
        with contextlib.suppress(NotThere):
            shared_memory.unlink(full)
        raise


@shortage_explained()
def attach(name: str, *, readonly: bool = False, private: bool = False) -> Segment:
    """Map a named segment, all of it.

    Waits:
        Never.
    Raises:
        FileNotFoundError: There is none.
        PermissionError: It is another user's.
        NotReady: Its creator has not sized it yet.
    """
    return attach_named(os_name(_PREFIX, name), name=check_name(name), readonly=readonly, private=private)


def attach_named(full: str, *, name: str, readonly: bool = False, private: bool = False) -> Segment:
    """The same by the operating system's name; for registry.py."""
    fd = shared_memory.open(full, name, readonly=readonly or private)
    return Segment._map(fd, None, name=name, readonly=readonly, private=private)


@shortage_explained()
def unlink(name: str) -> None:
    """Remove a named segment's name. Processes that have it mapped keep it.

    Waits:
        Never.
    Raises:
        FileNotFoundError: There is none.
        PermissionError: It is another user's to remove.
    """
    try:
        shared_memory.unlink(os_name(_PREFIX, name))
    except NotThere:
        raise NotThere(errno.ENOENT, f"there is no segment named {name!r}") from None


@shortage_explained()
def anonymous(
    size: int | str, *, transferable: bool = False, reserve: bool = True, huge_pages: bool = False
) -> Segment:
    """Make memory without a name, shared with forked children; with ``transferable`` (a memfd) also by pickling it.

    ``size`` is bytes ("8 MiB" or an int). ``huge_pages`` takes it from those that the system has set aside.

    Waits:
        Never.
    Raises:
        NoSpace: The memory cannot be reserved.
        OSError: No huge pages are configured (the message says how), or memfd_create is refused.
        ValueError: ``size`` is out of range.
    """
    bytes_ = parse_size(size, what="size")
    if huge_pages and bytes_ % _HUGE_PAGE:
        raise ValueError(f"size is {bytes_}; with huge pages it must be a multiple of {_HUGE_PAGE}")
    try:
        if not transferable:
            if reserve:
                storage.check_free(None, bytes_, "memory")
            return Segment._map(-1, bytes_, huge=huge_pages)
        fd = _memfd(huge_pages)
        with _closed_on_failure(fd):
            _allocate(fd, bytes_, "memory", reserve)
        return Segment._map(fd, bytes_, huge=huge_pages)
    except OSError as error:
        if not huge_pages or error.errno not in (errno.ENOMEM, errno.ENOSPC, errno.EINVAL):
            raise
        if isinstance(error, NoSpace) and error.limit == "file size":
            raise
        pages = bytes_ // _HUGE_PAGE
        raise OSError(
            errno.ENOMEM,
            f"{pages} huge pages are not free; reserve them first: sysctl vm.nr_hugepages={pages} (as root)",
        ) from None


def _memfd(huge_pages: bool) -> int:
    if sys.platform != "linux":
        raise NotImplementedError("transferable anonymous segments need memfd_create, which only Linux has")
    flags = os.MFD_CLOEXEC | (os.MFD_HUGETLB if huge_pages else 0)
    try:
        return os.memfd_create("shmring", flags)
    except OSError as error:
        if error.errno == errno.EACCES:  # sysctl vm.memfd_noexec=2 wants to be told that nothing is run from it
            with contextlib.suppress(OSError):  # an older kernel: then it was something else
                fd = os.memfd_create("shmring", flags | _MFD_NOEXEC_SEAL)
                fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL)
                return fd
        if huge_pages or error.errno in (errno.EMFILE, errno.ENFILE):
            raise
        raise OSError(
            error.errno,
            f"memfd_create is refused here ({error.strerror}), by which anonymous rings, queues and segments are made: "
            "allow it in the sandbox, or give this one a name or a path",
        ) from None


def _set_mode(fd: int, mode: int, what: str) -> None:
    """As asked for, whatever the umask."""
    if stat.S_IMODE(os.fstat(fd).st_mode) == mode:  # nothing to ask of a file system that has no modes
        return
    try:
        os.fchmod(fd, mode)
    except OSError as error:
        text = f"{error.strerror}: {what} cannot be given the mode {mode:#o}; leave it out, or put it elsewhere"
        raise OSError(error.errno, text) from None


@contextlib.contextmanager
def _closed_on_failure(fd: int) -> Iterator[None]:
    try:
        yield
    except BaseException:
        os.close(fd)
        raise


@shortage_explained()
def file(
    path: str | os.PathLike[str],
    size: int | str | None = None,
    *,
    create: bool = False,
    mode: int = 0o600,
    readonly: bool = False,
    private: bool = False,
    reserve: bool = True,
) -> Segment:
    """Map a file (``size=None``: all of it), or with ``create=True`` make a new one of this size.

    ``reserve=False`` makes it sparse. Symbolic links are not followed.

    Waits:
        Never for other processes.
    Raises:
        FileNotFoundError: There is no such file or folder.
        FileExistsError: With ``create``: the file is there already.
        NoSpace: With ``create``: the storage cannot be reserved.
        NotReady: The file is empty: its creator has not finished.
        PermissionError: The system refuses it to this user.
        ValueError: ``size`` is more than the file has (map those, then grow() it), or a value is out of range.
    """
    contract.check_mode(mode)
    where = check_path(path)
    wanted = None if size is None else parse_size(size, what="size")
    if create and (wanted is None or readonly or private):
        raise ValueError("a new file needs a size, and is mapped shared and writable")
    fd = _open_file(where, os.O_RDONLY if readonly or private else os.O_RDWR, mode if create else None)
    try:
        with _closed_on_failure(fd):
            if create:
                assert wanted is not None
                _set_mode(fd, mode, where)
                _allocate(fd, wanted, where, reserve)
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise ValueError(f"{where} is not a regular file, so it cannot be mapped")
            if wanted is not None and wanted > status.st_size > 0:
                raise ValueError(f"size is {wanted}; {where} has {status.st_size} bytes: map those, then grow()")
        return Segment._map(fd, wanted, path=where, readonly=readonly, private=private)
    except BaseException:
        if create:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(where)
        raise


def _open_file(where: str, access: int, mode: int | None) -> int:
    """Open a file, or with a ``mode`` make it. NotThere, FileExistsError."""
    flags = access | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # for a pipe, which would wait for its other end
    try:
        return os.open(where, flags if mode is None else flags | os.O_CREAT | os.O_EXCL, mode or 0)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno == errno.ELOOP:
            reason = "this is a symbolic link, which is not followed; give the file itself"
            raise OSError(errno.ELOOP, reason, where) from None
        if mode is None and error.errno == errno.ENOENT:
            raise NotThere(errno.ENOENT, error.strerror, where) from None
        if mode is None and error.errno == errno.EACCES:
            raise refusals.closed(where, where) from None
        if mode is None and error.errno not in (errno.EROFS, errno.ENAMETOOLONG, errno.ENOTDIR):
            raise
        raise refusals.in_folder(error, os.path.dirname(where), where) from None


def unnamed(directory: str | os.PathLike[str], size: int, *, mode: int, title: str) -> Segment:
    """A reserved file in this directory that has no name yet; for registry.py, which links it to one.

    A process killed before that leaves nothing. Linux: O_TMPFILE.
    """
    folder = str(directory)
    try:
        fd = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, mode)
    except OSError as error:
        raise refusals.in_folder(error, folder, title, size) from None
    with _closed_on_failure(fd):
        _set_mode(fd, mode, title)
        _allocate(fd, size, folder, True)
    return Segment._map(fd, size)


def _allocate(fd: int, size: int, path: str, reserved: bool) -> None:
    limits.check_mapping(size)
    if reserved:
        storage.reserve(fd, size, path)
    else:
        storage.lengthen(fd, size, path)
