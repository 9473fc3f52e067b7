"""Plays labelled pairs through a real server: a pair meets only its own answer, and no entry remains."""

from __future__ import annotations

import pytest

from semcache.client import Client, ClientError
from semcache.evaluation.labels.pairs import LabelledPair
from semcache.evaluation.replay.playing_pairs import PlayedPair, play_pairs
from semcache.testing.serving import Served, serving


def pair(pair_id: str, stored: str, asked: str, *, same: bool = True) -> LabelledPair:
    return LabelledPair(
        pair_id, ({"role": "user", "content": stored},), ({"role": "user", "content": asked},), same, "k"
    )


async def play(served: Served, *pairs: LabelledPair, shared: bool = False) -> list[PlayedPair]:
    progress: list[int] = []
    async with Client(served.address) as client:
        played = await play_pairs(client, pairs, None, shared=shared, on_progress=progress.append)
        assert sum(progress) == 2 * len(pairs)
        assert (await client.stats()).entries == 0
    return played


async def test_pairs_do_not_meet_unless_they_share_a_namespace() -> None:
    one = pair("1", "What is a cache?", "what is a cache? ")
    other = pair("2", "How tall is the tower?", "What is a cache?", same=False)
    async with serving() as served:
        assert [item.served for item in await play(served, one, other)] == [True, False]
        # Here pair 2 is served pair 1's answer, which says nothing about pair 2.
        assert [item.served for item in await play(served, one, other, shared=True)] == [True, False]


async def test_an_answer_belongs_to_what_was_stored_and_not_to_an_id() -> None:
    cache, tower = "What is a cache?", "How tall is the tower?"
    async with serving() as served:
        twice = await play(served, pair("1", cache, cache), pair("2", cache, cache), shared=True)
        assert [item.served for item in twice] == [True, True]
        one_id = await play(served, pair("1", cache, cache), pair("1", tower, cache, same=False), shared=True)
        assert [item.served for item in one_id] == [True, False]


async def test_prompts_larger_together_than_a_message_are_served() -> None:
    long = "مرحبا 😀 wörld " * 6000
    pairs = [pair(str(number), f"{number} {long}", f"{number} {long}") for number in range(40)]
    async with serving() as served:
        assert all(item.served for item in await play(served, *pairs))


@pytest.mark.parametrize("chars", [3000, 5_000_000])
async def test_a_refused_pair_is_named_and_nothing_stays(chars: int) -> None:
    pairs = [pair("fine", "What is a cache?", "What is a cache?"), pair("too long", "x" * chars, "y")]
    async with serving({"limits": {"prompt_chars": 2000}}) as served, Client(served.address) as client:
        with pytest.raises(ClientError, match="The pair too long: ") as caught:
            await play_pairs(client, pairs, None, shared=False, on_progress=lambda _: None)
        assert caught.value.hint
        assert (await client.stats()).entries == 0
