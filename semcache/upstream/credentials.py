"""A target's API key, from the environment or a file that may change while the server runs. It is never logged."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import structlog

from semcache.errors import SettingsError
from semcache.settings import Target

_log = structlog.get_logger(__name__)
_FITS_A_HEADER = re.compile(r"[\x21-\x7e]*")


class ApiKeySource:
    """The key of one target, or none.

    Raises:
        SettingsError: the key can't be read, or a header can't carry it.
    """

    def __init__(self, target: Target, environ: Mapping[str, str]) -> None:
        self._target = target.name
        self._file = target.api_key_file
        self._stamp: tuple[int, ...] = ()
        self._key = ""
        if target.api_key_env:
            self._key = self._checked(environ.get(target.api_key_env, ""), f"variable {target.api_key_env}")
        elif self._file is not None:
            try:
                self._read(self._file)
            except OSError as error:
                raise SettingsError(
                    [f"target {target.name!r}: {self._file} can't be read: {error.strerror}"]
                ) from error

    def __repr__(self) -> str:
        return f"ApiKeySource({self._target!r})"

    def current(self) -> str:
        """Return the key, read again when its file has changed; empty for a target without a key.

        While the file can't be read, or holds a key that no header can carry, the last good key stays in use.
        """
        if self._file is not None:
            try:
                self._read(self._file)
            except (OSError, SettingsError) as error:
                _log.warning("upstream.key_unreadable", target=self._target, error=str(error))
        return self._key

    def _read(self, path: Path) -> None:
        status = path.stat()
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        if stamp != self._stamp:
            key = self._checked(path.read_text("utf-8", "replace"), str(path))
            self._key, self._stamp = key, stamp

    def _checked(self, key: str, place: str) -> str:
        key = key.strip()
        if not _FITS_A_HEADER.fullmatch(key):
            raise SettingsError(
                [f"target {self._target!r}: the key in {place} holds characters that no header carries"]
            )
        return key
