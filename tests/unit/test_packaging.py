"""The frame holds: locks in step with pyproject.toml, a light import, skips that turn into failures."""

import os
import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import semcache

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PROJECT = PYPROJECT["project"]
CORE = PROJECT["dependencies"]
EXTRAS = PROJECT["optional-dependencies"]
LOCKS = ("cpu.lock", "gpu.lock", "dev.lock")
HEAVY = (
    "cryptography",
    "torch",
    "faiss",
    "openvino",
    "sentence_transformers",
    "transformers",
    "lmdb",
    "httpx2",
    "genai_prices",
    "matplotlib",
)


def logical_lines(name: str) -> list[str]:
    """The lines of a requirements file, continuations joined, comments and blanks left out."""
    text = (ROOT / "requirements" / name).read_text("utf-8").replace("\\\n", " ")
    return [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def pins(name: str) -> dict[str, str]:
    """Version by canonical name."""
    found = {}
    for line in logical_lines(name):
        requirement = Requirement(line.split("--hash")[0])
        (specifier,) = requirement.specifier
        assert specifier.operator == "==", line
        found[canonicalize_name(requirement.name)] = specifier.version
    return found


def unmet(requirements: list[str], pinned: dict[str, str]) -> list[str]:
    """The requirements that no pin satisfies."""
    parsed = [Requirement(text) for text in requirements]
    return [
        str(requirement)
        for requirement in parsed
        if not requirement.specifier.contains(
            pinned.get(canonicalize_name(requirement.name), "0.dev0"), prereleases=True
        )
    ]


@pytest.mark.parametrize(
    ("requirements", "files"),
    [
        (CORE + EXTRAS["cpu"] + EXTRAS["encryption"] + EXTRAS["reports"], ("cpu.lock", "torch-cpu.txt")),
        (CORE + EXTRAS["gpu"] + EXTRAS["encryption"] + EXTRAS["reports"], ("gpu.lock",)),
        (PYPROJECT["dependency-groups"]["dev"], ("dev.lock",)),
        (PYPROJECT["build-system"]["requires"], ("cpu.lock",)),
        (PYPROJECT["build-system"]["requires"], ("gpu.lock",)),
    ],
    ids=["cpu", "gpu", "dev", "build-cpu", "build-gpu"],
)
def test_every_declared_requirement_is_pinned(requirements, files):
    pinned = {name: version for file in files for name, version in pins(file).items()}
    assert unmet(requirements, pinned) == []


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_hashes_and_nothing_names_a_place(lock):
    for line in logical_lines(lock):
        assert re.fullmatch(r"[a-z0-9._-]+==[^\s;]+( ;[^#]+?)?(\s+--hash=sha256:[0-9a-f]{64})+", line.rstrip()), line


def test_the_clients_and_what_semcaches_own_client_needs_are_pinned_by_hash():
    folder = ROOT / "tests" / "e2e"
    lines = (folder / "requirements-clients.txt").read_text("utf-8").replace("\\\n", " ").splitlines()
    pinned = [Requirement(line.split("--hash")[0]) for line in lines if "--hash=sha256:" in line]
    asked = [
        line.split("#")[0].strip() for line in (folder / "requirements-clients.in").read_text("utf-8").splitlines()
    ]
    names = {canonicalize_name(requirement.name) for requirement in pinned}
    assert {canonicalize_name(Requirement(text).name) for text in [*CORE, *filter(None, asked)]} - names == set()
    assert [line for line in lines if "==" in line and not line.startswith("#") and "--hash=sha256:" not in line] == []


def test_locks_that_meet_in_one_environment_agree():
    cpu, dev = pins("cpu.lock"), pins("dev.lock")
    assert {name: (cpu[name], dev[name]) for name in cpu.keys() & dev.keys() if cpu[name] != dev[name]} == {}


def test_one_version_of_torch_on_both_devices():
    assert pins("torch-cpu.txt")["torch"] == pins("gpu.lock")["torch"]


def test_cpu_environment_holds_nothing_of_cuda():
    names = pins("cpu.lock").keys() | pins("dev.lock").keys()
    assert [name for name in names if re.match(r"nvidia-|cuda-|triton|faiss-gpu", name)] == []
    assert "torch" not in names


def test_faiss_comes_in_one_build():
    assert "faiss-cpu" not in pins("gpu.lock")
    assert not any("faiss" in text for text in CORE)


def test_generators_are_those_of_the_lock():
    script = runpy.run_path(str(ROOT / "scripts" / "gen_protos.py"))
    dev = pins("dev.lock")
    assert {name: dev[name] for name in script["GENERATORS"]} == script["GENERATORS"]


def test_version_is_told_once():
    assert semcache.__version__ == PROJECT["version"]


def test_import_semcache_is_light():
    code = f"import sys, semcache; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip() == ""


@pytest.mark.parametrize(("required", "outcome"), [("", "1 skipped"), ("1", "1 error")])
def test_a_missing_program_skips_or_fails(tmp_path: Path, required, outcome):
    (tmp_path / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text("utf-8"), "utf-8")
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "@pytest.fixture\n"
        "def program(require_program):\n"
        "    return require_program('no-such-program')\n"
        "def test_it(program):\n"
        "    pass\n",
        "utf-8",
    )
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-ra", "-p", "no:cacheprovider", str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "SEMCACHE_REQUIRE_PROGRAMS": required, "PYTEST_ADDOPTS": ""},
    )
    assert outcome in result.stdout
    assert "the program no-such-program is not installed" in result.stdout
    assert (result.returncode == 0) == (required != "1")


def test_missing_shared_data_says_where_it_looked(tmp_path: Path):
    (tmp_path / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text("utf-8"), "utf-8")
    (tmp_path / "test_it.py").write_text("def test_it(shared_data):\n    pass\n", "utf-8")
    nowhere = tmp_path / "nowhere"
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-ra", "-p", "no:cacheprovider", str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "SEMCACHE_REQUIRE_PROGRAMS": "1", "SEMCACHE_SHARED_DATA": str(nowhere), "COLUMNS": "300"},
    )
    assert f"the shared data is not at {nowhere}" in result.stdout
    assert result.returncode == 1
