"""The environments of other projects' clients, which `make sdks` builds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import missing

CACHE = Path(__file__).parent / ".cache"


@pytest.fixture(scope="session")
def clients_python() -> str:
    """The interpreter of the environment with the clients for Python."""
    found = sorted(CACHE.glob("clients-*/complete"))
    if not found:
        missing("the environment of the clients isn't there: `make sdks` builds it")
    return str(found[-1].parent / "bin" / "python")


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """The folder with OpenAI's client for JavaScript."""
    found = sorted(CACHE.glob("javascript-*/complete"))
    if not found:
        missing("OpenAI's client for JavaScript isn't there: `make sdks` installs it where npm is")
    return found[-1].parent / "node_modules"
