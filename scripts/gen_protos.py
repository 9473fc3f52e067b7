"""Generates semcache/v1 from protos/, or with --check compares the committed modules with what it would generate."""

import argparse
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
# Other versions write other text, and stubs that refuse the grpcio pinned in requirements/*.lock.
GENERATORS = {"grpcio-tools": "1.85.1", "mypy-protobuf": "5.1.0"}


def assert_generators() -> None:
    """End the program unless the pinned generators are installed."""
    for name, wanted in GENERATORS.items():
        installed = version(name)
        if installed != wanted:
            sys.exit(f"gen_protos: needs {name} {wanted}, found {installed}: run `make protos`, which installs it")


def generate(out: Path) -> None:
    """Write the modules of all protos under `out`, with imports that need no rewriting."""
    sources = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
    scripts = Path(sys.executable).parent
    command = [
        sys.executable,
        "-m",
        "grpc_tools.protoc",
        f"-I{PROTOS}",
        f"--plugin=protoc-gen-mypy={scripts / 'protoc-gen-mypy'}",
        f"--plugin=protoc-gen-mypy_grpc={scripts / 'protoc-gen-mypy_grpc'}",
        f"--python_out={out}",
        f"--grpc_python_out={out}",
        f"--mypy_out=quiet:{out}",
        f"--mypy_grpc_out=quiet:{out}",
        *sources,
    ]
    if subprocess.run(command, check=False).returncode != 0:
        sys.exit("gen_protos: protoc failed, its message is above")


def generated(root: Path) -> dict[Path, bytes]:
    """Return every generated module under `root`/semcache/v1 by its path."""
    return {path.relative_to(root): path.read_bytes() for path in (root / "semcache" / "v1").glob("*_pb2*.py*")}


def main() -> None:
    """Generate the modules, then write those that differ, or with --check report them and exit with status 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 on a difference")
    check = parser.parse_args().check
    assert_generators()
    with tempfile.TemporaryDirectory() as scratch:
        generate(Path(scratch))
        fresh, committed = generated(Path(scratch)), generated(ROOT)
    differing = sorted(path for path in fresh.keys() | committed.keys() if fresh.get(path) != committed.get(path))
    if check:
        if differing:
            names = ", ".join(map(str, differing))
            sys.exit(f"gen_protos: not what protos/ gives: {names}: run `make protos` and commit the result")
        print(f"{len(fresh)} stubs are what protos/ gives")
        return
    for path in differing:
        if path in fresh:
            (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
            (ROOT / path).write_bytes(fresh[path])
        else:
            (ROOT / path).unlink()
        print(f"{'wrote' if path in fresh else 'removed'} {path}")
    if not differing:
        print(f"{len(fresh)} stubs were up to date")


if __name__ == "__main__":
    main()
