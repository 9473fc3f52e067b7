"""File modes: what holds prompts, answers and vectors is readable by its owner alone."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterable
from pathlib import Path

import structlog

_log = structlog.get_logger(__name__)
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def narrow(folder: Path, is_own: Callable[[str], bool]) -> None:
    """Take the access of group and others from the store's files, and from its folder where it holds nothing else.

    Files are narrowed always: they are semcache's own, and a mode that a copy or a volume has widened shows personal
    data. A folder that holds other files may be shared on purpose, so it is only warned of; so is what belongs to
    another user, or lies on a file system without modes.

    Args:
        folder: the store's folder.
        is_own: whether a file of that name in the folder is semcache's.
    """
    paths = sorted(folder.iterdir())
    own = [path for path in paths if is_own(path.name)]
    narrowed = [path.name for path in own if _narrow(path)]
    if len(own) == len(paths) and _narrow(folder):
        narrowed.append(str(folder))
    if narrowed:
        _log.warning("disk.modes_narrowed", folder=str(folder), paths=narrowed)
    wide = [str(path) for path in _wide([folder, *own])]
    if wide:
        _log.warning("disk.readable_by_others", paths=wide, hint="Set the folder to 0700 and its files to 0600.")


def _wide(paths: Iterable[Path]) -> list[Path]:
    return [path for path in paths if path.stat().st_mode & _OTHERS]


def _narrow(path: Path) -> bool:
    """Narrow one path; return whether it was wider and isn't any more."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if not mode & _OTHERS:
        return False
    try:
        path.chmod(mode & ~_OTHERS)
    except OSError:
        return False  # `narrow` warns of what stays wide.
    return not path.stat().st_mode & _OTHERS
