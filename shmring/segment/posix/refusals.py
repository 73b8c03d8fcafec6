"""What the system refuses when a file is made, named or found in a folder, in words: what was tried, and what to do."""

from __future__ import annotations

import errno
import os
import stat
import sys

from shmring.errors import NoSpace
from shmring.segment.names import SHARED_MEMORY

assert sys.platform != "win32"

_MOUNT = f"mount a tmpfs there (mount -t tmpfs -o mode=1777 tmpfs {SHARED_MEMORY})"
ANYWHERE = "give a path= elsewhere, or no name"


def has_shared_memory() -> bool:
    """Is there a folder for named shared memory? Minimal chroots, and AWS Lambda, have none."""
    return is_folder(SHARED_MEMORY)


def is_folder(path: str) -> bool:
    """Also where this process may not look: os.path.isdir would say no."""
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except OSError as error:
        return error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


def in_folder(error: OSError, folder: str, what: str, needed: int = 0, *, instead: str = ANYWHERE) -> OSError:
    """The same refusal in words: ``what``, which takes ``needed`` bytes, was to be made or looked for in a folder.

    ``instead``: what else one may do where shared memory is the folder. An errno that is not known here is passed on,
    with what was tried.
    """
    number = error.errno or errno.EIO
    if number in (errno.EMFILE, errno.ENFILE):  # descriptors.py has the words
        return error
    if number == errno.ENOSPC:
        return _no_space(folder, needed)
    if number == errno.EDQUOT:
        return NoSpace(needed, 0, folder, "quota")
    text, of_shared_memory, of_others = _told(number, error.strerror or str(error), folder, what)
    remedy = f"{of_shared_memory}, or {instead}" if folder == SHARED_MEMORY else of_others
    return OSError(number, f"{text}: {remedy}")


def _told(number: int, reason: str, folder: str, what: str) -> tuple[str, str, str]:
    """What was refused, and what to do about it: in the folder of shared memory, and in any other."""
    if number == errno.ENOENT and not is_folder(folder):
        return f"there is no folder {folder} for {what}", _MOUNT, "make it, or give another path"
    if number == errno.ENOTDIR:
        return f"{folder}, which is to have {what} in it, is no folder", _MOUNT, "give a path in a folder"
    if number in (errno.EACCES, errno.EPERM):
        text = f"user {os.geteuid()} may not make or look for {what} in {folder} ({reason})"
        return text, f"chmod 1777 {folder} (as root)", "choose a folder that you may write to"
    if number == errno.EROFS:
        text = f"{folder} is on a read-only file system, and {what} needs a writable one"
        return text, f"mount -o remount,rw {folder} (as root)", "mount it writable, or choose another folder"
    if number in (errno.EOPNOTSUPP, errno.EISDIR):  # EISDIR is what a kernel says that does not know O_TMPFILE
        text = (
            f"the file system of {folder} makes no files without a name, or does not name them later (O_TMPFILE, "
            f"linkat: {reason}), and {what} begins as one"
        )
        return text, _MOUNT, "choose a folder on tmpfs, ext4, xfs or btrfs"
    if number == errno.ENAMETOOLONG:
        return f"the path of {what} is longer than {_longest(folder)}", "shorten it", "shorten it"
    return f"{reason}: {what} in {folder}", "see `shmring doctor`", "see `shmring doctor`"


def _longest(folder: str) -> str:
    try:
        return f"the {os.pathconf(folder, 'PC_NAME_MAX')} bytes that a name in {folder} may have"
    except OSError:  # the folder's own path is too long, or is none
        return "the 4095 bytes that a path may have, or a name in it than the 255 of most file systems"


def closed(path: str, what: str) -> PermissionError:
    """The error for ``what`` is there, or may be, and must not be opened."""
    folder = os.path.dirname(path)
    try:
        found = os.lstat(path)
    except OSError:
        return PermissionError(
            errno.EACCES, f"{what} cannot be looked for: {folder} is closed to user {os.geteuid()}; {_let_in(folder)}"
        )
    if found.st_uid != os.geteuid():
        text = f"{what} belongs to another user; its creator can allow others with mode="
    else:
        text = (
            f"{what} is yours, with mode {stat.S_IMODE(found.st_mode):#o}, which does not let you in, or a security "
            "module forbids it: chmod it, or allow it there"
        )
    return PermissionError(errno.EACCES, text)


def _let_in(folder: str) -> str:
    return f"chmod 1777 {folder} (as root)" if folder == SHARED_MEMORY else "have its owner chmod it"


def _no_space(folder: str, needed: int) -> OSError:
    try:
        status = os.statvfs(folder)
    except OSError:  # it is about the words only: what was tried has failed for want of space, whatever this says
        return NoSpace(needed, 0, folder)
    if status.f_files and not status.f_favail:
        return NoSpace(needed, 0, folder, "inodes")
    return NoSpace(needed, status.f_bavail * status.f_frsize, folder)
