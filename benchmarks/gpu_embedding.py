"""Texts a second of the torch backend on a GPU, by precision, batch and length, against the CPU in fp32."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

BATCHES = (1, 32, 256)
CPU_BATCHES = (1, 32)
TOKENS = (16, 64, 224)
PRECISIONS = ("fp32", "bf16", "fp16")
ROUNDS = 5
VOCABULARY = 30_522
FIRST_WORD = 1_000
"""Smaller token ids of the model are special or single characters."""


def measure(device: str, ends_s: float, *, tokens: tuple[int, ...] = TOKENS) -> dict[str, Any]:
    """Return the model's source and one row for each case that is begun before `ends_s` of the monotonic clock.

    Args:
        device: torch's name of the GPU; the tests pass "cpu".
        ends_s: seconds; no case is begun after it.
        tokens: lengths of the texts.
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # weights that aren't here aren't fetched
    from semcache.embedding.torch_backend import TorchBackend

    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        files = _model(Path(folder))
        threads = os.cpu_count() or 1
        cpu = TorchBackend(files, device="cpu", precision="fp32", threads=threads)
        cpu_rates = {
            (count, length): _texts_s(cpu, _batch(count, length), ends_s) for count in CPU_BATCHES for length in tokens
        }
        truth = cpu.forward(_batch(32, max(tokens)))
        for precision in PRECISIONS:
            backend = TorchBackend(files, device=device, precision=precision, threads=threads)
            agreement = float((backend.forward(_batch(32, max(tokens))) * truth).sum(axis=1).min())
            for count in BATCHES:
                for length in tokens:
                    rate = _texts_s(backend, _batch(count, length), ends_s)
                    against = cpu_rates[min(count, max(CPU_BATCHES)), length]
                    results.append(
                        {
                            "precision": precision,
                            "batch": count,
                            "tokens": length,
                            "texts_s": rate,
                            "cpu_fp32_texts_s": against,
                            "gain": rate / against if rate and against else None,
                            "least_cosine_to_cpu": agreement,
                        }
                    )
            backend.close()
        cpu.close()
    return {"model": f"{files.name}, {files.source}", "rows": results}


def _model(folder: Path) -> Any:
    """The default model's files where its weights are installed, else a network of its shape with random weights."""
    from semcache.embedding.models import PACKAGES, ModelFiles, find_model
    from semcache.errors import SemcacheError

    try:
        return find_model(next(iter(PACKAGES)))
    except SemcacheError:
        from transformers import BertConfig, BertModel

        config = BertConfig(
            vocab_size=VOCABULARY,
            hidden_size=384,
            num_hidden_layers=6,
            num_attention_heads=12,
            intermediate_size=1536,
            max_position_embeddings=512,
        )
        BertModel(config).save_pretrained(folder)
        return ModelFiles(
            name="a network of all-MiniLM-L6-v2's shape",
            path=folder,
            source="random weights",
            weights_sha256="",
            pooling="mean",
            max_tokens=256,
            dimension=384,
        )


def _batch(count: int, length: int) -> list[list[int]]:
    ids = np.random.default_rng(count * length).integers(FIRST_WORD, VOCABULARY, (count, length))
    return ids.tolist()


def _texts_s(backend: Any, batch: list[list[int]], ends_s: float) -> float | None:
    """Texts a second, the median of the rounds; None where no time was left to begin."""
    if time.monotonic() > ends_s:
        return None
    backend.forward(batch)
    rates = []
    for _ in range(ROUNDS):
        started_s = time.perf_counter()
        backend.forward(batch)
        rates.append(len(batch) / (time.perf_counter() - started_s))
        if time.monotonic() > ends_s:
            break
    return float(np.median(rates))
