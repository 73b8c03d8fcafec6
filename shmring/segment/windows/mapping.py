r"""Segments on Windows: mapping objects of the page file or of a file, and views of them.

A mapping lives as long as its last handle, so a segment keeps the handle as long as its view, and memory of the page
file is gone with the last process that had it: `unlink` takes only the name away. What is to stay is a file. Names are
entries (entries.py), memory admits the user who made it and nobody else, and `Local\` names are seen in one session.

What other platforms have and this one does not: a private view cannot drop its changes (``advise("dontneed")``); memory
of the page file cannot grow; and all of it counts against the machine's commit limit when it is made, which is why
``reserve=False`` matters for files only (they become sparse).
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import pathlib
import shutil
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal, Self

from shmring import _core
from shmring.errors import Corrupt, NoSpace, NotReady
from shmring.segment import contract, inheritance
from shmring.segment.machine import check_machine, machine
from shmring.segment.names import check_path
from shmring.segment.sizes import parse_size
from shmring.segment.windows import entries, win32

if TYPE_CHECKING:
    from typing_extensions import Buffer

assert sys.platform == "win32"

_KIND = "segment"
_NO_FILE = -1


class Segment(_core.View):
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

    fd: int  # handle of the mapping object
    name: str | None
    path: str | None
    readonly: bool
    private: bool
    huge: bool
    called: str = ""  # in messages to people, where it is more than memory
    users: int = 0  # attachments that go through this mapping; the last of them closes it
    entry: entries.Entry | None  # which memory of the page file this is
    _file: int
    _life: int  # the entry's sign of life
    _base: int
    _gone: bool  # a file without a name that is to stay: the last to close it deletes it
    _draft: bool  # a file that is to go unless it gets its name

    locks = None  # on names of their own
    damaged = False  # mapped files cannot be truncated here

    @property
    def _locks_fd(self) -> int:
        """By what the core finds its locks."""
        return self.fd

    @classmethod
    def _map(
        cls,
        fd: int,
        size: int,
        *,
        entry: entries.Entry | None = None,
        life: int = 0,
        file: int = _NO_FILE,
        name: str | None = None,
        path: str | None = None,
        readonly: bool = False,
        private: bool = False,
        huge: bool = False,
        offset: int = 0,
    ) -> Self:
        """Map a view of a mapping object. The segment owns all of these handles; they are closed on failure too."""
        self = cls()
        self.fd, self.entry, self._life, self._file, self._base = fd, entry, life, file, 0
        self.name, self.path, self.readonly, self.private, self.huge = name, path, readonly, private, huge
        self._gone = self._draft = False
        try:
            self._map_view(offset, size)
        except BaseException:
            self._close_handles()
            raise
        return self

    def _map_view(self, offset: int, size: int) -> None:
        access = win32.FILE_MAP_READ if self.readonly else win32.FILE_MAP_READ | win32.FILE_MAP_WRITE
        access = win32.FILE_MAP_COPY if self.private else access
        access |= win32.FILE_MAP_LARGE_PAGES if self.huge else 0
        before = offset % win32.VIEW_GRANULARITY
        self._base = win32.map_view(self.fd, offset - before, before + size, access)
        self._bind(self._base + before, size, self.readonly, self.fd, offset)

    def _close_handles(self) -> None:
        fd, self.fd = self.fd, 0
        life, self._life = self._life, 0
        file, self._file = self._file, _NO_FILE
        if fd:
            win32.close(fd)
        if life:
            win32.close(life)
        if file != _NO_FILE:
            if self._draft:
                with contextlib.suppress(OSError):  # somebody looks through it; clean() removes it later
                    win32.delete(file)
            win32.close(file)
            if self._gone and self.path is not None:
                entries.clear_away(pathlib.Path(self.path).parent)

    @property
    def size(self) -> int:
        """Length of the mapping in bytes."""
        return len(self)

    def __getitem__(self, key: Any) -> Any:
        with memoryview(self) as view:
            found = view[key]
            return bytes(found) if isinstance(key, slice) else found

    def __setitem__(self, key: Any, value: Any) -> None:
        with memoryview(self) as view:
            view[key] = value

    def fileno(self) -> int:
        """Raise ValueError: Windows has handles, and ``fd`` is the mapping object's.

        Raises:
            ValueError: Always.
        """
        raise ValueError("a segment on Windows has no descriptor; its attribute fd is the handle of the mapping object")

    def _range(self, offset: int, length: int | None) -> tuple[int, int]:
        page = win32.large_page() if self.huge else mmap.PAGESIZE
        return contract.checked_range(offset, length, size=len(self), page=page)

    def flush(self, offset: int = 0, length: int | None = None, mode: Literal["sync", "async"] = "sync") -> None:
        """Write changes back to the file (FlushViewOfFile): "sync" waits until they are stored, "async" only begins it.

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
        if length and not self.readonly and not self.private:
            _core.sync(self, offset, length, mode == "sync")
            if mode == "sync" and self._file != _NO_FILE:
                win32.flush_file(self._file)

    def advise(self, advice: str, offset: int = 0, length: int | None = None) -> None:
        """Tell the kernel how the range will be used: "willneed" is known here, and "normal", which says nothing.

        Raises:
            ValueError: There is no such advice anywhere, or the range does not lie in the segment.
            NotImplementedError: Windows does not have it.
        """
        contract.check_advice(advice)
        offset, length = self._range(offset, length)
        if advice not in ("normal", "willneed"):
            raise NotImplementedError(f"this platform has no advice {advice!r}")
        if advice == "willneed" and length:
            with memoryview(self)[offset : offset + length] as part:
                _core.populate(part)

    def prefault(self) -> None:
        """Bring every page in now, so that no later access waits for one.

        Waits:
            Until the kernel has done it.
        Raises:
            OSError: The kernel has no memory for them.
        """
        _core.populate(self)

    def lock(self) -> None:
        """Keep the segment in memory (VirtualLock).

        Raises:
            PermissionError: This process may not lock so much: its working set, or its rights, do not allow it.
        """
        try:
            _core.lock(self)
        except OSError as error:
            raise PermissionError(
                errno.EPERM,
                f"{len(self)} bytes cannot be locked: the process's working set may not be made that large; lock less, "
                "or run as a user with the right to increase it (SeIncreaseWorkingSetPrivilege)",
            ) from error

    def unlock(self) -> None:
        """Undo :meth:`lock`."""
        _core.unlock(self)

    def grow(self, size: int | str) -> None:
        """Make a file and this mapping of it larger, ``size`` bytes in all; the new bytes are zero. Never shrinks.

        Other processes see the new bytes once they map again.

        Memory of the page file has the size that it was made with.

        Raises:
            BufferError: Views or arrays of it are alive.
            ValueError: ``size`` is less than there is, or the segment is read-only or private.
            NotImplementedError: It is memory of the page file.
            NoSpace: The storage cannot be reserved.
        """
        new = contract.grown_size(size, len(self))
        if self.readonly or self.private:
            raise ValueError("only a shared, writable segment can grow")
        if self._file == _NO_FILE or self.path is None:
            raise NotImplementedError("on Windows only a file can grow: make the segment with segment.file()")
        before = len(self)
        self._unmap("grow()")
        try:
            if win32.file_size(self._file) < new:
                reserve(self._file, new, self.path)
            larger = win32.create_mapping(None, new, file=self._file)
        except BaseException:
            self._map_view(0, before)
            raise
        win32.close(self.fd)
        self.fd = larger
        self._map_view(0, new)

    def fill(self, parts: Iterable[Buffer]) -> None:
        """Write buffers one after the other from the start of the segment.

        Other threads run during the copy.

        Raises:
            ValueError: The segment cannot be written to.
        """
        with memoryview(self) as room:
            offset = 0
            for part in parts:
                view = memoryview(part).cast("B")
                room[offset : offset + view.nbytes] = view
                offset += view.nbytes

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
        offset, length = self._range(offset, length)
        contract.check_view(offset, length, size=len(self))
        return self._map(
            win32.duplicate(self.fd),
            length,
            entry=self.entry,
            life=win32.duplicate(self._life) if self._life else 0,
            file=win32.duplicate(self._file) if self._file != _NO_FILE else _NO_FILE,
            name=self.name,
            path=self.path,
            readonly=readonly or (self.readonly and not private),
            private=private,
            huge=self.huge,
            offset=offset,
        )

    def _unmap(self, before: str) -> None:
        try:
            self._release()
        except BufferError:
            raise BufferError(
                f"views of this segment are alive; release memoryviews and delete arrays of it before {before}"
            ) from None
        base, self._base = self._base, 0
        if base:
            win32.unmap_view(base)

    def close(self) -> None:
        """Unmap; may be called again.

        Raises:
            BufferError: Views or arrays of it are alive.
        """
        if self._file != _NO_FILE and not self.closed and _core.check(self) == "retired":
            self._gone = True  # a ring that somebody has removed
        self._unmap("close()")
        self._close_handles()

    def rename(self, path: pathlib.Path, *, replace: bool = False) -> None:
        """Give a file this name, in one step; FileExistsError when it is taken, unless what has it is replaced. For
        places.
        """
        if replace:
            entries.replace(self._file, path)
        else:
            win32.rename(self._file, str(path))
        self.path, self._draft = str(path), False

    def is_at(self, path: pathlib.Path) -> bool:
        """Does that path lead to this very file? FileNotFoundError. For places."""
        there = entries.open_file(path)
        try:
            return win32.file_identity(there) == win32.file_identity(self._file)
        finally:
            win32.close(there)

    def move_away(self) -> None:
        """Take a file's name away, while it is mapped; the last to close it deletes it. For places."""
        win32.rename(self._file, str(entries.aside(pathlib.Path(str(self.path)), "gone")))
        self._gone = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # half made, or the interpreter is half gone
            self.close()

    def __repr__(self) -> str:
        return contract.described(self)

    __copy__ = __deepcopy__ = contract.copied

    def __reduce__(self) -> tuple[Callable[..., Segment], tuple[Any, ...]]:
        if self.name is not None:
            return attach, (self.name,)
        if self.path is not None:
            return file, (self.path,)
        if self.entry is None:
            raise TypeError("this anonymous segment is for this process only; make it with transferable=True")
        return _from_transfer, (self.entry, inherited(self.fd), machine())


def inherited(handle: int) -> int | None:
    """For pickling: the handle's copy in the child that a package is starting right now, which outlives the sender."""
    return int(inheritance.sent_along(handle)) if inheritance.is_starting() else None


def _from_transfer(entry: entries.Entry, inherited: int | None, origin: str) -> Segment:
    check_machine(origin, "anonymous memory")
    try:
        return of_entry(entry, handle=inherited)
    except FileNotFoundError:
        raise FileNotFoundError(
            errno.ENOENT,
            "the sender has closed this anonymous memory, or is not in this session of this machine; give it a name",
        ) from None


def make(
    entry: entries.Entry, *, name: str | None = None, reserve: bool = True, huge: bool = False, path: str | None = None
) -> Segment:
    """Memory of the page file, for an entry that nobody has seen yet."""
    free = win32.available_memory()
    if reserve and entry.size > free:
        raise NoSpace(entry.size, free, "memory and page files")
    life = win32.hold_event(entry.sign_of_life)
    try:
        handle = win32.create_mapping(entry.object, entry.size, large_pages=huge)
    except BaseException:
        win32.close(life)
        raise
    return Segment._map(handle, entry.size, entry=entry, life=life, name=name, path=path, huge=huge)


def of_entry(
    entry: entries.Entry,
    *,
    name: str | None = None,
    readonly: bool = False,
    private: bool = False,
    handle: int | None = None,
) -> Segment:
    """Memory of the page file that somebody else has; FileNotFoundError when nobody has it any more. Corrupt."""
    life = win32.hold_event(entry.sign_of_life)  # first, so that nobody takes the entry for stale meanwhile
    try:
        if handle is None:
            handle = win32.open_mapping(entry.object, readonly=readonly or private)
    except FileNotFoundError:
        win32.close(life)
        if entry.session != win32.session() and win32.event_exists(entry.sign_of_life):
            raise PermissionError(
                errno.EACCES,
                f"{entry.name!r} is memory of session {entry.session}, and this is session {win32.session()}: between "
                "sessions (a service and a desktop) use a ring in a file, with path= or persist=True",
            ) from None
        raise
    except BaseException:
        win32.close(life)
        raise
    try:
        return Segment._map(handle, entry.size, entry=entry, life=life, name=name, readonly=readonly, private=private)
    except PermissionError:  # what MapViewOfFile says for more than there is
        raise Corrupt(
            f"the entry of {entry.name!r} is damaged: its memory has fewer than the {entry.size} bytes it says"
        ) from None


def create(name: str, size: int | str, *, mode: int = 0o600, reserve: bool = True, huge_pages: bool = False) -> Segment:
    """Make a named segment, zeroed. It stays until :func:`unlink`, or until the last process that has it ends.

    ``size`` is bytes ("8 MiB" or an int). Of ``mode``, 0o600 is what Windows has.

    Waits:
        Never.
    Raises:
        FileExistsError: The name is taken.
        NoSpace: The memory cannot be reserved.
        PermissionError: ``huge_pages``, which are SEC_LARGE_PAGES, need a privilege that this user does not have.
        ValueError: A value is out of range.
    """
    check_mode(mode)
    bytes_ = parse_size(size, what="size")
    path = entries.path_of(name, _KIND)
    if huge_pages:
        _check_large_pages(bytes_)
    memory = make(entries.fresh(name, bytes_, kind=_KIND), name=name, reserve=reserve, huge=huge_pages)
    assert memory.entry is not None
    while True:
        try:
            entries.publish(memory.entry, path)
            return memory
        except FileExistsError:
            try:
                entries.live(path)
            except FileNotFoundError:
                continue  # it was stale, and is not there any more
            memory.close()
            raise FileExistsError(
                errno.EEXIST, f"segment {name!r} exists; attach it, or segment.unlink({name!r}) first"
            ) from None


def attach(name: str, *, readonly: bool = False, private: bool = False) -> Segment:
    """Map a named segment, all of it.

    Waits:
        Never.
    Raises:
        FileNotFoundError: There is none.
        PermissionError: It is another user's.
    """
    try:
        entry = entries.read(entries.path_of(name, _KIND))
        if entry is not None:
            return of_entry(entry, name=name, readonly=readonly, private=private)
    except FileNotFoundError:
        pass
    raise FileNotFoundError(
        errno.ENOENT, f"there is no shared memory named {name!r}; create it first, or check the spelling"
    ) from None


def unlink(name: str) -> None:
    """Remove a named segment's name. Processes that have it mapped keep it.

    Waits:
        Never.
    Raises:
        FileNotFoundError: There is none.
        PermissionError: It is another user's to remove.
    """
    path = entries.path_of(name, _KIND)
    with contextlib.suppress(FileNotFoundError):
        entry = entries.read(path)
        if entry is not None and entries.remove(entry, path):
            return
    raise FileNotFoundError(errno.ENOENT, f"there is no segment named {name!r}")


def anonymous(
    size: int | str, *, transferable: bool = False, reserve: bool = True, huge_pages: bool = False
) -> Segment:
    """Make memory without a name; with ``transferable`` it can be pickled into other processes of this session.

    ``size`` is bytes ("8 MiB" or an int).

    Waits:
        Never.
    Raises:
        NoSpace: The memory cannot be reserved.
        PermissionError: ``huge_pages`` need a privilege that this user does not have.
        ValueError: ``size`` is out of range.
    """
    bytes_ = parse_size(size, what="size")
    if huge_pages:
        _check_large_pages(bytes_)
    memory = make(entries.fresh("anonymous", bytes_, kind=_KIND), reserve=reserve, huge=huge_pages)
    if not transferable:
        memory.entry = None
    return memory


def file(
    path: str | os.PathLike[str],
    size: int | str | None = None,
    *,
    create: bool = False,
    mode: int = 0o600,
    readonly: bool = False,
    private: bool = False,
    reserve: bool = True,
    draft: bool = False,
) -> Segment:
    """Map a file (``size=None``: all of it), or with ``create=True`` make a new one of this size.

    ``reserve=False`` makes it sparse. Symbolic links are not followed. A ``draft`` is for places: it goes when it is
    closed, unless it was renamed.

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
    check_mode(mode)
    where = check_path(path)
    wanted = None if size is None else parse_size(size, what="size")
    if create and (wanted is None or readonly or private):
        raise ValueError("a new file needs a size, and is mapped shared and writable")
    if win32.is_link(where):
        raise OSError(errno.ELOOP, "this is a symbolic link, which is not followed; give the file itself", where)
    if os.path.isdir(where):
        raise IsADirectoryError(errno.EISDIR, "this is a folder, so it cannot be mapped; name a file in it", where)
    handle = win32.open_file(where, create=create, readonly=readonly or private)
    try:
        if create:
            assert wanted is not None
            _allocate(handle, wanted, where, sparse=not reserve)
        found = win32.file_size(handle)
        if not found:
            raise NotReady(f"{where} is empty; its creator has not finished")
        if wanted is not None and wanted > found:
            raise ValueError(f"size is {wanted}; {where} has {found} bytes: map those, then grow()")
        mapping = win32.create_mapping(None, wanted or found, file=handle, readonly=readonly or private)
    except BaseException:
        if create:
            with contextlib.suppress(OSError):
                win32.delete(handle)
        win32.close(handle)
        raise
    memory = Segment._map(mapping, wanted or found, file=handle, path=where, readonly=readonly, private=private)
    memory._draft = draft
    return memory


def check_mode(mode: int) -> None:
    """ValueError for what are no permissions; NotImplementedError for those that only POSIX has."""
    contract.check_mode(mode)
    if mode & 0o077:
        raise NotImplementedError(
            f"mode is {oct(mode)}; on Windows a segment admits the user who made it and nobody else: 0o600"
        )


def _check_large_pages(size: int) -> None:
    page = win32.large_page()
    if not page:
        raise OSError(errno.ENOMEM, "this machine has no large pages")
    if size % page:
        raise ValueError(f"size is {size}; with huge pages it must be a multiple of {page}")
    if not win32.may_lock_memory():
        raise PermissionError(
            errno.EPERM,
            "large pages need the privilege SeLockMemoryPrivilege, which this user does not have: grant it under Local "
            'Security Policy, User Rights Assignment, "Lock pages in memory", and log in again',
        )


def reserve(handle: int, size: int, path: str) -> None:
    """Make a file so long, with storage behind it. NoSpace."""
    _allocate(handle, size, path, sparse=False)


def _allocate(handle: int, size: int, path: str, *, sparse: bool) -> None:
    if sparse:
        win32.make_sparse(handle)
    free = shutil.disk_usage(pathlib.Path(path).parent).free
    if not sparse and size - win32.file_size(handle) > free:
        raise NoSpace(size, free, path)
    win32.set_size(handle, size, path, free)
