"""The calls of Windows that segments need, with their types. Errors are OSError, of the class that fits."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import byref, sizeof, wintypes

from shmring.errors import NoSpace

assert sys.platform == "win32"

PAGE_READONLY, PAGE_READWRITE = 0x02, 0x04
SEC_COMMIT, SEC_LARGE_PAGES = 0x08000000, 0x80000000
FILE_MAP_COPY, FILE_MAP_WRITE, FILE_MAP_READ, FILE_MAP_LARGE_PAGES = 0x01, 0x02, 0x04, 0x20000000
VIEW_GRANULARITY = 65536  # offsets of views are multiples of this

_GENERIC_READ, _GENERIC_WRITE, _DELETE, _SYNCHRONIZE = 0x80000000, 0x40000000, 0x00010000, 0x00100000
_SHARE_ALL = 0x7
_CREATE_NEW, _OPEN_EXISTING = 1, 3
_OPEN_REPARSE_POINT, _TEMPORARY = 0x00200000, 0x100
_REPARSE_POINT, _DIRECTORY = 0x400, 0x10
_ERROR_FILE_NOT_FOUND, _ERROR_ACCESS_DENIED, _ERROR_NOT_ENOUGH_MEMORY = 2, 5, 8
_ERROR_SHARING_VIOLATION, _ERROR_DISK_FULL, _ERROR_ALREADY_EXISTS = 32, 112, 183
_ERROR_COMMITMENT_LIMIT = 1455
_ERROR_NOT_ALL_ASSIGNED = 1300
_FSCTL_SET_SPARSE = 0x000900C4
_RENAME_INFO, _DISPOSITION_INFO = 3, 4
_PATIENCE = 1.0  # seconds, with a program that looks through files and lets nobody delete them meanwhile
_NO_HANDLE = ctypes.c_void_p(-1).value

_kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
_advapi32 = ctypes.WinDLL("advapi32", use_last_error=True)


def _function(library: ctypes.WinDLL, name: str, result: type, *arguments: type) -> ctypes._NamedFuncPointer:
    function = getattr(library, name)
    function.restype, function.argtypes = result, arguments
    return function  # type: ignore[no-any-return]


class _SecurityAttributes(ctypes.Structure):
    _fields_ = (("length", wintypes.DWORD), ("descriptor", ctypes.c_void_p), ("inherit", wintypes.BOOL))


class _MemoryStatus(ctypes.Structure):
    _fields_ = (
        ("length", wintypes.DWORD),
        ("load", wintypes.DWORD),
        ("total_physical", ctypes.c_uint64),
        ("available_physical", ctypes.c_uint64),
        ("total_page_file", ctypes.c_uint64),
        ("available_page_file", ctypes.c_uint64),
        ("total_virtual", ctypes.c_uint64),
        ("available_virtual", ctypes.c_uint64),
        ("available_extended", ctypes.c_uint64),
    )


class _FileInformation(ctypes.Structure):
    _fields_ = (
        ("attributes", wintypes.DWORD),
        ("created", wintypes.FILETIME),
        ("accessed", wintypes.FILETIME),
        ("written", wintypes.FILETIME),
        ("volume", wintypes.DWORD),
        ("size_high", wintypes.DWORD),
        ("size_low", wintypes.DWORD),
        ("links", wintypes.DWORD),
        ("index_high", wintypes.DWORD),
        ("index_low", wintypes.DWORD),
    )


class _Privilege(ctypes.Structure):
    _fields_ = (
        ("count", wintypes.DWORD),
        ("low", wintypes.DWORD),
        ("high", wintypes.LONG),
        ("attributes", wintypes.DWORD),
    )


_H, _D, _B, _W, _P = wintypes.HANDLE, wintypes.DWORD, wintypes.BOOL, wintypes.LPCWSTR, ctypes.c_void_p
_Size = ctypes.c_size_t
_create_file_mapping = _function(_kernel32, "CreateFileMappingW", _H, _H, _P, _D, _D, _D, _W)
_open_file_mapping = _function(_kernel32, "OpenFileMappingW", _H, _D, _B, _W)
_map_view = _function(_kernel32, "MapViewOfFile", _P, _H, _D, _D, _D, _Size)
_unmap_view = _function(_kernel32, "UnmapViewOfFile", _B, _P)
_close_handle = _function(_kernel32, "CloseHandle", _B, _H)
_duplicate_handle = _function(_kernel32, "DuplicateHandle", _B, _H, _H, _H, _P, _D, _B, _D)
_current_process = _function(_kernel32, "GetCurrentProcess", _H)
_create_event = _function(_kernel32, "CreateEventW", _H, _P, _B, _B, _W)
_open_event = _function(_kernel32, "OpenEventW", _H, _D, _B, _W)
_set_event = _function(_kernel32, "SetEvent", _B, _H)
_reset_event = _function(_kernel32, "ResetEvent", _B, _H)
_create_semaphore = _function(_kernel32, "CreateSemaphoreW", _H, _P, wintypes.LONG, wintypes.LONG, _W)
_create_file = _function(_kernel32, "CreateFileW", _H, _W, _D, _D, _P, _D, _D, _H)
_file_attributes = _function(_kernel32, "GetFileAttributesW", _D, _W)
_file_size = _function(_kernel32, "GetFileSizeEx", _B, _H, _P)
_file_information = _function(_kernel32, "GetFileInformationByHandle", _B, _H, _P)
_set_file_pointer = _function(_kernel32, "SetFilePointerEx", _B, _H, ctypes.c_int64, _P, _D)
_set_end_of_file = _function(_kernel32, "SetEndOfFile", _B, _H)
_read_file = _function(_kernel32, "ReadFile", _B, _H, _P, _D, _P, _P)
_flush_file = _function(_kernel32, "FlushFileBuffers", _B, _H)
_set_file_information = _function(_kernel32, "SetFileInformationByHandle", _B, _H, ctypes.c_int, _P, _D)
_device_control = _function(_kernel32, "DeviceIoControl", _B, _H, _D, _P, _D, _P, _D, _P, _P)
_global_memory_status = _function(_kernel32, "GlobalMemoryStatusEx", _B, _P)
_large_page_minimum = _function(_kernel32, "GetLargePageMinimum", _Size)
_session_of = _function(_kernel32, "ProcessIdToSessionId", _B, _D, _P)
_local_free = _function(_kernel32, "LocalFree", _P, _P)
_open_process_token = _function(_advapi32, "OpenProcessToken", _B, _H, _D, _P)
_token_information = _function(_advapi32, "GetTokenInformation", _B, _H, ctypes.c_int, _P, _D, _P)
_sid_to_text = _function(_advapi32, "ConvertSidToStringSidW", _B, _P, _P)
_text_to_descriptor = _function(_advapi32, "ConvertStringSecurityDescriptorToSecurityDescriptorW", _B, _W, _D, _P, _P)
_lookup_privilege = _function(_advapi32, "LookupPrivilegeValueW", _B, _W, _W, _P)
_adjust_privileges = _function(_advapi32, "AdjustTokenPrivileges", _B, _H, _B, _P, _D, _P, _P)


def _error(path: str | None = None) -> OSError:
    known = ctypes.WinError(ctypes.get_last_error())
    if path is None:
        return known
    return OSError(known.errno, known.strerror, path, known.winerror)


def close(handle: int) -> None:
    """Close a handle of any sort."""
    _close_handle(handle)


@contextmanager
def _process_token(access: int) -> Iterator[wintypes.HANDLE]:
    token = wintypes.HANDLE()
    if not _open_process_token(_current_process(), access, byref(token)):
        raise _error()
    try:
        yield token
    finally:
        _close_handle(token)


def _user() -> str:
    """The SID of this process's user, as text."""
    token_query, token_user = 0x8, 1
    room, length, text = ctypes.create_string_buffer(256), wintypes.DWORD(), wintypes.LPWSTR()
    with _process_token(token_query) as token:
        if not _token_information(token, token_user, room, len(room), byref(length)):
            raise _error()
    sid = ctypes.cast(room, ctypes.POINTER(ctypes.c_void_p))[0]
    if not _sid_to_text(sid, byref(text)):
        raise _error()
    try:
        return str(text.value)
    finally:
        _local_free(text)


def _owner_only() -> _SecurityAttributes:
    """What admits this process's user and nobody else. Kept for the life of the process."""
    global _attributes
    if _attributes is None:
        descriptor = ctypes.c_void_p()
        if not _text_to_descriptor(f"D:P(A;;GA;;;{_user()})", 1, byref(descriptor), None):
            raise _error()
        _attributes = _SecurityAttributes(sizeof(_SecurityAttributes), descriptor, False)
    return _attributes


_attributes: _SecurityAttributes | None = None


def create_mapping(name: str | None, size: int, *, file: int | None = None, readonly: bool = False,
                   large_pages: bool = False) -> int:  # fmt: skip
    """A mapping object of a file, or of the page file. FileExistsError when the name is taken; NoSpace."""
    protection = PAGE_READONLY if readonly else PAGE_READWRITE
    if file is None:
        protection |= SEC_COMMIT | (SEC_LARGE_PAGES if large_pages else 0)
    handle = _create_file_mapping(
        _NO_HANDLE if file is None else file, byref(_owner_only()), protection, size >> 32, size & 0xFFFFFFFF, name
    )
    code = ctypes.get_last_error()
    if not handle:
        if code in (_ERROR_COMMITMENT_LIMIT, _ERROR_NOT_ENOUGH_MEMORY, _ERROR_DISK_FULL) and not large_pages:
            raise NoSpace(size, available_memory(), "the page file")
        raise _error(name)
    if code == _ERROR_ALREADY_EXISTS:
        _close_handle(handle)
        ctypes.set_last_error(_ERROR_ALREADY_EXISTS)
        raise _error(name)
    return int(handle)


def open_mapping(name: str, *, readonly: bool) -> int:
    """A mapping object by name. FileNotFoundError, PermissionError."""
    access = FILE_MAP_READ if readonly else FILE_MAP_READ | FILE_MAP_WRITE
    handle = _open_file_mapping(access, False, name)
    if not handle:
        raise _error(name)
    return int(handle)


def map_view(handle: int, offset: int, length: int, access: int) -> int:
    """The address of a view; its offset is a multiple of VIEW_GRANULARITY."""
    address = _map_view(handle, access, offset >> 32, offset & 0xFFFFFFFF, length)
    if not address:
        raise _error()
    return int(address)


def unmap_view(address: int) -> None:
    """Undo map_view."""
    _unmap_view(address)


def duplicate(handle: int) -> int:
    """Another handle to the same object."""
    same_access, copy, me = 0x2, wintypes.HANDLE(), _current_process()
    if not _duplicate_handle(me, handle, me, byref(copy), 0, False, same_access):
        raise _error()
    return int(copy.value or 0)


def hold_event(name: str) -> int:
    """A handle to an event that is there as long as anybody has one: a sign of life, never set."""
    handle = _create_event(byref(_owner_only()), True, False, name)
    if not handle:
        raise _error(name)
    return int(handle)


def make_event() -> int:
    """An event of this process alone, which stays set until it is reset."""
    handle = _create_event(None, True, False, None)
    if not handle:
        raise _error()
    return int(handle)


def set_event(handle: int) -> None:
    """Wake who waits for it."""
    _set_event(handle)


def reset_event(handle: int) -> None:
    """Undo set_event."""
    _reset_event(handle)


def event_exists(name: str) -> bool:
    """Does anybody hold that event? True when in doubt."""
    handle = _open_event(_SYNCHRONIZE, False, name)
    if handle:
        _close_handle(handle)
        return True
    return ctypes.get_last_error() != _ERROR_FILE_NOT_FOUND


def hold_semaphore(name: str, value: int) -> int:
    """A handle to a semaphore; it begins with this value where nobody had it."""
    handle = _create_semaphore(byref(_owner_only()), value, 2**31 - 1, name)
    if not handle:
        raise _error(name)
    return int(handle)


def open_file(
    path: str, *, create: bool = False, readonly: bool = False, temporary: bool = False, to_delete: bool = False
) -> int:
    """A file that others may open, rename and delete meanwhile. Symbolic links are not followed but opened: is_link.

    The handle may also delete and rename it, unless ``readonly`` or where this user may not; ``to_delete`` insists. A
    ``temporary`` file stays in memory as long as there is enough.
    """
    access = _GENERIC_READ if readonly else _GENERIC_READ | _GENERIC_WRITE | _DELETE
    try:
        return _open_file(path, access, create, temporary)
    except PermissionError as error:
        if create or readonly or to_delete or error.winerror != _ERROR_ACCESS_DENIED:
            raise
    # Others' files may be written, and not deleted. Or it was on its way out, and this is another one by now.
    handle = _open_file(path, access & ~_DELETE, create, temporary)
    try:
        better = _open_file(path, access, create, temporary)
    except OSError:
        return handle
    close(handle)
    return better


def _open_file(path: str, access: int, create: bool, temporary: bool) -> int:
    disposition = _CREATE_NEW if create else _OPEN_EXISTING
    manner = _OPEN_REPARSE_POINT | (_TEMPORARY if temporary else 0)
    attributes = byref(_owner_only()) if create else None
    give_up = time.monotonic() + _PATIENCE
    while True:
        handle = _create_file(path, access, _SHARE_ALL, attributes, disposition, manner, None)
        if handle != _NO_HANDLE:
            return int(handle)
        if ctypes.get_last_error() != _ERROR_SHARING_VIOLATION or time.monotonic() > give_up:
            raise _error(path)
        time.sleep(0.001)


def is_link(path: str) -> bool:
    """A symbolic link, or another reparse point."""
    attributes = int(_file_attributes(path))
    return attributes != 0xFFFFFFFF and bool(attributes & _REPARSE_POINT)


def file_size(handle: int) -> int:
    """Length in bytes."""
    size = ctypes.c_int64()
    if not _file_size(handle, byref(size)):
        raise _error()
    return size.value


def file_identity(handle: int) -> tuple[int, int]:
    """What tells this file from every other: its volume, and its number there."""
    found = _information_of(handle)
    return found.volume, found.index_high << 32 | found.index_low


def file_changed(handle: int) -> float:
    """When it was written last, as time.time() says it."""
    written = _information_of(handle).written
    since_1601 = written.dwHighDateTime << 32 | written.dwLowDateTime  # in units of 100 ns
    return float(since_1601 / 10**7 - 11_644_473_600)


def _information_of(handle: int) -> _FileInformation:
    found = _FileInformation()
    if not _file_information(handle, byref(found)):
        raise _error()
    return found


def make_sparse(handle: int) -> None:
    """Let the file have holes."""
    if not _device_control(handle, _FSCTL_SET_SPARSE, None, 0, None, 0, byref(wintypes.DWORD()), None):
        raise _error()


def set_size(handle: int, size: int, path: str, free: int) -> None:
    """Make the file so long; unless it is sparse, Windows reserves the room. NoSpace."""
    if _set_file_pointer(handle, size, None, 0) and _set_end_of_file(handle):
        return
    if ctypes.get_last_error() == _ERROR_DISK_FULL:
        raise NoSpace(size, free, path)
    raise _error(path)


def flush_file(handle: int) -> None:
    """Wait until the file's changes are stored."""
    if not _flush_file(handle):
        raise _error()


def read_start(handle: int, length: int) -> bytes:
    """The first bytes of a file."""
    room, done = ctypes.create_string_buffer(length), wintypes.DWORD()
    if not _set_file_pointer(handle, 0, None, 0) or not _read_file(handle, room, length, byref(done), None):
        raise _error()
    return room.raw[: done.value]


def rename(handle: int, path: str, *, replace: bool = False) -> None:
    """Give this very file another name, while it is open and mapped. FileExistsError when that is taken; with
    ``replace`` PermissionError while somebody has open what is to be replaced.
    """
    name = path.encode("utf-16-le")

    class Information(ctypes.Structure):
        _fields_ = (
            ("replace", wintypes.BOOL),
            ("root", wintypes.HANDLE),
            ("length", wintypes.DWORD),
            ("name", ctypes.c_byte * (len(name) + 2)),
        )

    information = Information(replace, None, len(name))
    ctypes.memmove(ctypes.addressof(information) + Information.name.offset, name, len(name))
    if not _set_file_information(handle, _RENAME_INFO, byref(information), sizeof(information)):
        raise _error(path)


def delete(handle: int) -> None:
    """Delete this very file, when its last handle is closed. PermissionError while somebody has it mapped."""
    yes = ctypes.c_byte(1)
    if not _set_file_information(handle, _DISPOSITION_INFO, byref(yes), 1):
        raise _error()


def available_memory() -> int:
    """Bytes that can be had: what is left of memory and page files."""
    status = _MemoryStatus(length=sizeof(_MemoryStatus))
    if not _global_memory_status(byref(status)):
        raise _error()
    return int(status.available_page_file)


def session() -> int:
    """The number of this process's session, in which its Local names are seen and nowhere else."""
    number = wintypes.DWORD()
    return number.value if _session_of(os.getpid(), byref(number)) else 0


def large_page() -> int:
    """Bytes in a large page; 0 where there are none."""
    return int(_large_page_minimum())


def may_lock_memory() -> bool:
    """Switch the privilege on that large pages need; False when this user does not have it."""
    adjust, enabled = 0x20, 0x2
    privilege = _Privilege(count=1, attributes=enabled)
    with _process_token(adjust | 0x8) as token:
        if not _lookup_privilege(None, "SeLockMemoryPrivilege", byref(privilege, _Privilege.low.offset)):
            return False
        ctypes.set_last_error(0)
        done = _adjust_privileges(token, False, byref(privilege), 0, None, None)
        return bool(done) and ctypes.get_last_error() != _ERROR_NOT_ALL_ASSIGNED
