"""Servers that keep nothing: for the demo, replay, evaluation and tests."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Unpack

from semcache.server.app import Application
from semcache.server.compose import Replacements
from semcache.settings import JudgeSettings, Settings, StoreSettings, load_settings
from semcache.settings.section import Section

_GIB = 1024**3
_DEFAULTED = ("auth", "keys", "upstream", "costs")
"""Sections that hold an operator's credentials, providers and money."""


def temporary_sections(path: Path) -> dict[str, dict[str, Any]]:
    """Return settings by section that make a server temporary: a small store in `path`, free ports, a short grace."""
    return {
        "server": {"port": 0, "grace_s": 5.0, "http": {"port": 0}},
        "metrics": {"port": 0},
        "store": {"path": path, "map_size_bytes": 2 * _GIB, "max_bytes": _GIB, "ledger_room_bytes": 1 << 20},
    }


def temporary_settings(settings: Settings, path: Path, **sections: Section) -> Settings:
    """Return the settings of a temporary server under an operator's thresholds, limits and devices.

    The operator's store, ports, credentials, providers and budgets are never used.

    Args:
        settings: the operator's.
        path: where the store lies.
        sections: sections that replace the temporary or default ones; a store lies in `path` all the same.
    """
    fields = type(settings).model_fields
    update = {name: fields[name].default for name in _DEFAULTED}
    for name, values in temporary_sections(path).items():
        update[name] = type(fields[name].default)(**values)
    update.update(sections)
    # A judge is asked at an operator's provider.
    update["decision"] = update.get("decision", settings.decision).model_copy(update={"verifier": JudgeSettings()})
    store = sections.get("store")
    if isinstance(store, StoreSettings):
        update["store"] = store.model_copy(update={"path": path})
    return settings.model_copy(update=update)


@asynccontextmanager
async def running(settings: Settings, **replacements: Unpack[Replacements]) -> AsyncIterator[Application]:
    """Run a server for as long as the block runs.

    Raises:
        StartError, StoreUnusableError, ModelMissingError, SettingsError: it can't start.
    """
    application = await Application.start(settings, **replacements)
    try:
        yield application
    finally:
        await application.stop()


@asynccontextmanager
async def temporary_server(settings: Settings, **sections: Section) -> AsyncIterator[Application]:
    """Run a temporary server for as long as the block runs, with a store in a folder that goes with it.

    Args:
        settings: the operator's; `temporary_settings` says what is used of them.
        sections: sections that replace the temporary or default ones.

    Raises:
        StartError, StoreUnusableError, ModelMissingError, SettingsError: it can't start.
    """
    with tempfile.TemporaryDirectory(prefix="semcache-") as folder:
        async with running(temporary_settings(settings, Path(folder) / "store", **sections)) as application:
            yield application


@asynccontextmanager
async def temporary_server_with(
    overrides: Mapping[str, Any], path: Path | None = None, **replacements: Unpack[Replacements]
) -> AsyncIterator[Application]:
    """Run a temporary server under the defaults for as long as the block runs.

    Args:
        overrides: settings by section, over the temporary ones.
        path: where the store lies; None: in a folder that goes with the block.
        replacements: ports to use instead of the configured ones.

    Raises:
        StartError, StoreUnusableError, ModelMissingError, SettingsError: it can't start.
    """
    with tempfile.TemporaryDirectory(prefix="semcache-") as folder:
        sections = temporary_sections(path or Path(folder))
        for name, fields in overrides.items():
            sections[name] = {**sections.get(name, {}), **fields}
        async with running(load_settings(None, sections), **replacements) as application:
            yield application
