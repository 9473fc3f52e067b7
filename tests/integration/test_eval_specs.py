"""Compares policies that decide offline about a server's similarities with servers under those policies."""

from __future__ import annotations

import pytest

from semcache.client import Client
from semcache.evaluation.labels.pairs import LabelledPair, user
from semcache.evaluation.replay.deciding_offline import replay_decision
from semcache.evaluation.replay.playing_pairs import play_pairs
from semcache.evaluation.tune.specs import read_specs
from semcache.settings import load_settings
from semcache.testing.serving import serving

TEXTS = [
    ("How do I reset my password?", "how do I reset my password"),
    ("How do I reset my password?", "How do I reset my password?"),
    ("Convert 10 miles to kilometres", "Convert 12 miles to kilometres"),
    ("Cancel my subscription", "Don't cancel my subscription"),
    ("How do I bake bread?", "Who wrote the Odyssey?"),
    ("What's the latest news", "What's the latest news"),
    ("word " * 1000, "word " * 999),
    ("x" * 100_000, "x" * 99_999),
    ("x" * 100_000, "x" * 100_000),
    ("😀 مرحبا", "😀 مرحبا!"),
]
PAIRS = [LabelledPair(str(n), user(stored), user(asked), n == 0, "k") for n, (stored, asked) in enumerate(TEXTS)]
PAIRS.append(
    LabelledPair("system", ({"role": "system", "content": "x"}, *user("hello")), user("hello"), same=False, kind="k")
)


@pytest.mark.parametrize(
    "text", ["threshold=0.5", "threshold=0.5,guards=none", "threshold=-1,guards=numbers", "threshold=1"]
)
async def test_offline_is_what_a_server_does(text: str) -> None:
    (spec,) = read_specs([text], load_settings().decision)
    async with serving() as served, Client(served.address) as client:
        asked = await play_pairs(client, PAIRS, None, shared=False, on_progress=lambda _: None)
    decision = {"threshold": spec.decision.threshold, "guards": spec.decision.guards}
    async with serving({"decision": decision}) as served, Client(served.address) as client:
        really = await play_pairs(client, PAIRS, None, shared=False, on_progress=lambda _: None)
    assert replay_decision(asked, spec) == [item.served for item in really]
