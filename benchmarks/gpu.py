"""A GPU against the CPU: the tests marked `gpu`, embedding and exact search. Writes one JSON; at most eight minutes.

`make gpu BIN=/folder/of/an/environment/bin` or `python -m benchmarks.gpu [--tests] [--out PATH]`. Without a GPU it says
so and ends well. Search needs numpy and CUDA torch. Embedding needs transformers as well, with random weights where
the model's aren't installed. The tests need pytest with its plugins, structlog and pydantic. A part whose package is
missing is skipped with the reason.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import gpu_tests
from benchmarks.packages import versions

LIMITS_S = {"tests": 130.0, "search": 150.0, "embedding": 120.0}
"""Seconds after which a part begins nothing more; together, with a last case for each, below eight minutes."""
PACKAGES = ("torch", "numpy", "transformers", "sentence-transformers", "faiss-gpu", "faiss-cpu", "grpcio")


def main(arguments: list[str] | None = None) -> int:
    """Measure and write the JSON; return 1 where a test or a part failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tests", action="store_true", help="run the tests marked gpu first")
    parser.add_argument("--out", type=Path, help="the JSON's path")
    options = parser.parse_args(arguments)
    result: dict[str, Any] = {
        "benchmark": "gpu",
        "at": dt.datetime.now(dt.UTC).isoformat(),
        "versions": {"python": platform.python_version(), **versions(PACKAGES)},
    }
    device, reason = _gpu()
    if reason:
        print(f"skipped: {reason}")
        result["skipped"] = reason
    else:
        result["device"] = device
        if options.tests:
            result["tests"] = _part("tests", gpu_tests.run)
        result["search"] = _part("search", _search)
        result["embedding"] = _part("embedding", _embedding)
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    if not reason:
        _print(result)
    print(json.dumps(result))
    parts = [result.get(name, {}) for name in LIMITS_S]
    return int(any(isinstance(part, dict) and bool(part.get("failed")) for part in parts))


def _gpu() -> tuple[str, str]:
    """Return the GPU's name, or why there is none."""
    try:
        import torch
    except ImportError:
        return "", "torch is not installed"
    if not torch.cuda.is_available():
        return "", f"torch {torch.__version__} sees no GPU"
    return torch.cuda.get_device_name(), ""


def _part(name: str, measure: Callable[[float], Any]) -> Any:
    """Return what a part measured, or why it couldn't."""
    print(f"\n{name}", flush=True)
    try:
        return measure(time.monotonic() + LIMITS_S[name])
    except ImportError as error:
        return {"skipped": f"not installed: {error.name or error}"}
    except Exception as error:  # noqa: BLE001 - the other parts' measurements must still be written
        return {"failed": f"{type(error).__name__}: {error}"}


def _search(ends_s: float) -> Any:
    from benchmarks import gpu_search

    return {"rows": gpu_search.measure("cuda", ends_s)}


def _embedding(ends_s: float) -> Any:
    from benchmarks import gpu_embedding

    return gpu_embedding.measure("cuda", ends_s)


def _print(result: dict[str, Any]) -> None:
    print(f"\n{result['device']}; {', '.join(f'{name} {number}' for name, number in result['versions'].items())}")
    for name in LIMITS_S:
        part = result.get(name)
        if part is None:
            continue
        print(f"\n{name}: {json.dumps({key: value for key, value in part.items() if key != 'rows'})}")
        for row in part.get("rows", ()):
            print("  " + ", ".join(f"{key} {_short(value)}" for key, value in row.items()))


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return "/".join(_short(item) for item in value.values())
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
