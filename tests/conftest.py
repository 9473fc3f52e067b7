"""What all tests share: the rule for missing programs and data, the GPU marker, and Hypothesis without chance."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
import structlog
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
REQUIRE = "SEMCACHE_REQUIRE_PROGRAMS"

# The same examples each time, and no deadline: how long an example takes is the machine's business.
settings.register_profile("semcache", derandomize=True, deadline=None)
settings.load_profile("semcache")


def missing(what: str) -> NoReturn:
    """Skips the test with the reason; fails it where SEMCACHE_REQUIRE_PROGRAMS=1 says that nothing may be missing."""
    if os.environ.get(REQUIRE) == "1":
        pytest.fail(f"{what}, and {REQUIRE}=1 allows no skip", pytrace=False)
    pytest.skip(what)


@pytest.fixture(autouse=True)
def logging_is_set_up_for_one_test_alone() -> Iterator[None]:
    """A command that runs in the test's own process sets up its level, which would silence what later ones look for."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def require_program() -> Callable[[str], str]:
    """`require_program("promtool")` gives the program's path, from the interpreter's own folder or from PATH."""

    def find(name: str) -> str:
        own = str(Path(sys.executable).parent)
        found = shutil.which(name, path=os.pathsep.join([own, os.environ.get("PATH", os.defpath)]))
        if found is None:
            missing(f"the program {name} is not installed")
        return found

    return find


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The shared labelled data: $SEMCACHE_SHARED_DATA, or ../shared/data beside the checkout."""
    configured = os.environ.get("SEMCACHE_SHARED_DATA")
    path = Path(configured) if configured else ROOT.parent / "shared" / "data"
    if not path.is_dir():
        missing(f"the shared data is not at {path}")
    return path


@pytest.fixture(scope="session")
def shared_cases(shared_data: Path) -> Path:
    """The cases that were tried on a real server, beside the shared labelled data."""
    path = shared_data.parent / "cases"
    if not path.is_dir():
        missing(f"the shared cases are not at {path}")
    return path


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests marked `gpu` where torch sees none; never a failure, since nothing installable is missing."""
    if item.get_closest_marker("gpu") is None:
        return
    try:
        import torch
    except ImportError:
        pytest.skip("torch is not installed, and with it nothing sees a GPU")
    if not torch.cuda.is_available():
        pytest.skip("torch sees no GPU")
