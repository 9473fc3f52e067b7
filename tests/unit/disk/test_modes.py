"""File modes: semcache's own files are narrowed, and a folder that others may share isn't touched."""

import stat
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from semcache.disk import narrow


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def is_own(name: str) -> bool:
    return name.startswith("data.")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "store"
    path.mkdir()
    path.chmod(0o755)
    (path / "data.mdb").touch()
    (path / "data.mdb").chmod(0o644)
    return path


def test_wide_files_and_their_folder_are_narrowed_and_named(folder):
    with capture_logs() as logs:
        narrow(folder, is_own)
    assert (mode(folder), mode(folder / "data.mdb")) == (0o700, 0o600)
    assert [(line["event"], line["paths"]) for line in logs] == [
        ("disk.modes_narrowed", ["data.mdb", str(folder)]),
    ]


def test_a_folder_with_files_of_others_is_warned_of(folder):
    (folder / "others.txt").touch()
    (folder / "others.txt").chmod(0o644)
    with capture_logs() as logs:
        narrow(folder, is_own)
    assert (mode(folder), mode(folder / "data.mdb"), mode(folder / "others.txt")) == (0o755, 0o600, 0o644)
    assert [(line["event"], line["paths"]) for line in logs] == [
        ("disk.modes_narrowed", ["data.mdb"]),
        ("disk.readable_by_others", [str(folder)]),
    ]


def test_narrow_modes_are_left_and_not_logged(folder):
    folder.chmod(0o700)
    (folder / "data.mdb").chmod(0o400)
    with capture_logs() as logs:
        narrow(folder, is_own)
    assert (mode(folder), mode(folder / "data.mdb")) == (0o700, 0o400)
    assert logs == []


def test_what_may_not_be_changed_is_warned_of(folder, monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "chmod", refuse)
    with capture_logs() as logs:
        narrow(folder, is_own)
    assert [(line["event"], line["paths"]) for line in logs] == [
        ("disk.readable_by_others", [str(folder), str(folder / "data.mdb")]),
    ]
