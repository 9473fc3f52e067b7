"""The names that `semcache` exports are fixed: removing a name breaks users, and a new name must be kept."""

import subprocess
import sys

import semcache


def test_the_exports() -> None:
    assert semcache.__all__ == [
        "AnswerStream",
        "Client",
        "ClientError",
        "Completion",
        "Lookup",
        "Status",
        "Stored",
        "SyncAnswerStream",
        "SyncClient",
        "__version__",
    ]
    assert all(getattr(semcache, name) is not None for name in semcache.__all__)


def test_importing_it_loads_neither_grpc_nor_a_model() -> None:
    code = (
        "import semcache, sys; print([m for m in ('grpc', 'torch', 'faiss', 'openvino', 'lmdb') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.strip() == "[]"
