"""Find the shared data: real texts that aren't part of the project."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.worker import ROOT


def folder() -> Path | None:
    """Return the folder that SEMCACHE_SHARED_DATA names, or `shared/data` beside the project; None without either."""
    data = Path(os.environ.get("SEMCACHE_SHARED_DATA", ROOT.parent / "shared" / "data"))
    return data if data.is_dir() else None
