"""Room at the end of a file: it is allocated for certain, and a full disk is told from one that fails."""

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from semcache.disk import FileRoom

MIB = 1 << 20


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 8192)
    return path


@contextmanager
def largest_file(size_bytes: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def refusing(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def allocate(*_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "posix_fallocate", allocate)


def test_room_is_allocated_behind_what_is_written(path):
    room = FileRoom(path, 8192, 64 * MIB)
    assert room.reach(8192 + MIB)
    assert path.stat().st_size == room.end_bytes == 8192 + MIB
    assert path.stat().st_blocks * 512 >= 8192 + MIB
    assert path.read_bytes()[:8192] == b"x" * 8192
    room.close()


def test_without_enough_room_as_much_as_there_is_gets_allocated(path):
    room = FileRoom(path, 8192, 64 * MIB)
    with largest_file(MIB):
        assert not room.reach(2 * MIB)
        assert MIB // 2 <= room.end_bytes <= MIB
        assert room.is_exhausted()
    assert room.reach(2 * MIB)
    assert not room.is_exhausted()
    room.close()


def test_the_limit_of_the_file_bounds_its_room_as_a_full_disk_does(path):
    room = FileRoom(path, 8192, MIB)
    assert not room.reach(MIB + 1)
    assert room.end_bytes == MIB
    assert room.is_exhausted()
    room.close()


def test_the_room_that_is_kept_is_an_eighth_at_most(path):
    room = FileRoom(path, 8192, 8 * MIB)
    assert room.share_of(64 * MIB) == MIB
    assert room.share_of(1000) == 1000
    room.close()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_every_kind_of_missing_room_is_the_same(path, monkeypatch, code):
    room = FileRoom(path, 8192, 64 * MIB)
    refusing(monkeypatch, code)
    assert not room.reach(MIB)
    assert room.is_exhausted()
    room.close()


@pytest.mark.parametrize("code", [errno.EIO, errno.EROFS])
def test_a_disk_that_fails_otherwise_is_not_full(path, monkeypatch, code):
    room = FileRoom(path, 8192, 64 * MIB)
    refusing(monkeypatch, code)
    assert room.reach(MIB)
    assert not room.is_exhausted()
    assert room.end_bytes == 8192
    room.close()


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS])
def test_a_file_system_that_allocates_nothing_ahead_refuses_nothing(path, monkeypatch, code):
    room = FileRoom(path, 8192, 64 * MIB)
    refusing(monkeypatch, code)
    assert room.reach(MIB)
    assert not room.supported
    assert not room.is_exhausted()
    room.close()
