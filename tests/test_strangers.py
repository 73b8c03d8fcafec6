"""A ring of another user is refused: somebody may have planted it under the name that we look for."""

import os
import socket
import stat
import subprocess
import sys

import pytest

import shmring

pwd = pytest.importorskip("pwd", reason="about POSIX users")
root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a ring to somebody else")
NOBODY = pwd.getpwnam("nobody").pw_uid


def planted(name: str) -> str:
    with shmring.Ring.create(name, persist=True) as ring:
        ring.put(b"bait")
    path = f"/dev/shm/shmring.{name}"
    os.chown(path, NOBODY, -1)
    return path


@root
def test_a_ring_of_somebody_else_is_refused_with_the_way_out(name: str) -> None:
    path = planted(name)
    try:
        for attach in (shmring.Ring.attach, shmring.Ring.open):
            with pytest.raises(PermissionError, match=r"'nobody'.*planted.*owner='nobody'"):
                attach(name)
        for owner in ("nobody", NOBODY):
            with shmring.Ring.attach(name, owner=owner) as ring:
                assert ring.stats().messages == 1
    finally:
        os.unlink(path)


@root
def test_the_command_line_takes_the_owner_too(name: str) -> None:
    path = planted(name)
    try:
        command = [sys.executable, "-m", "shmring", "get", name, "--count", "1"]
        assert subprocess.run(command, capture_output=True).returncode == 9
        for owner in ("nobody", str(NOBODY)):
            with shmring.Ring.attach(name, owner=NOBODY) as ring:
                ring.put(b"more")
            done = subprocess.run([*command, "--owner", owner], capture_output=True, check=True)
            assert done.stdout in (b"bait\n", b"more\n")
    finally:
        os.unlink(path)


@root
def test_a_ring_of_mine_is_refused_when_another_owner_is_wanted(name: str) -> None:
    with shmring.Ring.create(name), pytest.raises(PermissionError, match="not to user 'nobody'"):
        shmring.Ring.attach(name, owner="nobody")


def test_an_owner_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no such user"):
        shmring.Ring.attach(name, owner="no-such-user-here")
    for owner in (-1, True, 1.5):
        with pytest.raises(TypeError, match="owner is"):
            shmring.Ring.attach(name, owner=owner)  # type: ignore[arg-type]


def test_a_ring_is_for_its_owner_alone_unless_told_otherwise(name: str) -> None:
    with shmring.Ring.create(name):
        assert stat.S_IMODE(os.stat(f"/dev/shm/shmring.{name}").st_mode) == 0o600


def test_a_symbolic_link_is_not_followed(name: str, tmp_path) -> None:
    target = tmp_path / "ring"
    with shmring.Ring.create(path=target):
        link = f"/dev/shm/shmring.{name}"
        os.symlink(target, link)
        try:
            with pytest.raises(shmring.LayoutMismatch, match="is no ring but a symbolic link"):
                shmring.Ring.attach(name)
        finally:
            os.unlink(link)
        os.symlink(target, tmp_path / "link")
        with pytest.raises(OSError, match="symbolic link"):
            shmring.Ring.attach(path=tmp_path / "link")


def bind(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path)


PLANTS = {
    "symbolic link": lambda path: os.symlink("/etc/passwd", path),
    "directory": os.mkdir,
    "socket": bind,
    "pipe": os.mkfifo,
}


@pytest.mark.parametrize("what", PLANTS)
def test_what_is_no_file_is_refused_by_name_and_hinders_nobody_else(name: str, what: str) -> None:
    path = f"/dev/shm/shmring.{name}"
    PLANTS[what](path)
    try:
        for attach in (shmring.Ring.attach, shmring.Ring.open, shmring.Ring.create, shmring.inspect):
            with pytest.raises(
                shmring.LayoutMismatch, match=f"is no ring but a {what}, which somebody may have planted"
            ):
                attach(name)
        assert name not in [ring.name for ring in shmring.list()]
        assert name not in [each.name for each in shmring.clean(dry_run=True)]
    finally:
        os.rmdir(path) if what == "directory" else os.unlink(path)


@pytest.mark.parametrize("what", PLANTS)
@pytest.mark.parametrize("which", ["mutex", "full"])
def test_planted_semaphores_hinder_no_cleaning(what: str, which: str) -> None:
    path = f"/dev/shm/sem.shmring-{os.getpid():016x}.{which}"
    PLANTS[what](path)
    try:
        shmring.clean(dry_run=True)
    finally:
        os.rmdir(path) if what == "directory" else os.unlink(path)
