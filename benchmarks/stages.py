"""Measure what a request costs at each stage of examples/stages: four configurations, one scripted router.

`python -m benchmarks.stages [--json]`. No request comes twice, so the cache saves nothing and only routing counts.
The router answers each with equally many tokens, whatever its model. Prices are those of examples/prices.toml.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.worker import ROOT
from semcache import Client
from semcache.model import NANOUSD_PER_USD, Usage
from semcache.observe.logs import configure_logging
from semcache.server.app import Application
from semcache.settings import load_settings
from semcache.testing.embedder import HashingEmbedder
from semcache.testing.upstream import completion_body
from semcache.testing.upstream_server import Received, Reply, ScriptedServer, plain

STAGES = ROOT / "examples" / "stages"
USAGE = Usage(input_tokens=500, output_tokens=600)
BRIEF_USD = {
    "1-one-model": (0.05, 0.10),
    "2-two-models": (0.03, 0.06),
    "3-many-models": (0.02, 0.04),
    "4-dynamic": (0.015, 0.025),
}
"""Dollars per request that the article gives for each stage."""


@dataclass(frozen=True, slots=True)
class Stage:
    """The results of one configuration."""

    name: str
    cost_usd: float
    models: Counter[str]


def stream() -> list[str]:
    """Return the prompts in their order."""
    return [json.loads(line)["prompt"] for line in (STAGES / "stream.jsonl").read_text("utf-8").splitlines()]


def answer(request: Received) -> Reply:
    return plain(completion_body("An answer.", model=str(request.json["model"]), usage=USAGE))


async def play(name: str, prompts: Sequence[str]) -> Stage:
    """Play one stage's configuration with a scripted router."""
    values: dict[str, Any] = tomllib.loads((STAGES / f"{name}.toml").read_text("utf-8"))
    with tempfile.TemporaryDirectory(prefix="semcache-stage-") as folder:
        async with ScriptedServer(answer) as router:
            for target in values["upstream"]["targets"]:
                target["base_url"] = router.base_url
            own = {
                "server": {"port": 0, "http": {"port": 0}},
                "metrics": {"enabled": False},
                "store": {"path": Path(folder), "map_size_bytes": 1 << 30},
                "log": {"level": "error"},
            }
            settings = load_settings(None, {**values, **own})
            configure_logging(settings.log)
            application = await Application.start(settings, embedder=HashingEmbedder())
            models: Counter[str] = Counter()
            spent_nanousd = 0
            async with Client(application.address) as client:
                for prompt in prompts:
                    outcome = (await client.complete(model="assistant", prompt=prompt)).outcome
                    models[outcome.served_model] += 1
                    spent_nanousd += outcome.cost.total_nanousd
            await application.stop(1.0)
    return Stage(name, spent_nanousd / NANOUSD_PER_USD / len(prompts), models)


async def stages() -> list[Stage]:
    prompts = stream()
    return [await play(name, prompts) for name in BRIEF_USD]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    arguments = parser.parse_args()
    os.chdir(ROOT)  # The configurations name the price file relative to the project's folder.
    played = asyncio.run(stages())
    print(f"{'stage':<16}{'$ per request':>14}{'the article':>16}  models")
    for stage in played:
        low, high = BRIEF_USD[stage.name]
        models = ", ".join(f"{model} {count}" for model, count in stage.models.most_common())
        print(f"{stage.name:<16}{stage.cost_usd:>14.4f}{f'{low} – {high}':>16}  {models}")
    if arguments.json:
        print(json.dumps({stage.name: {"cost_usd": stage.cost_usd, "models": stage.models} for stage in played}))


if __name__ == "__main__":
    main()
