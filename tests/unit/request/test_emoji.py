"""Emoji leave the text that is compared by meaning; all but decorations stay part of what must be equal."""

import pytest

from semcache.model import Tier
from semcache.request.emoji import split_emoji
from tests.unit.request.keys import key
from tests.unit.request.test_keying import user


@pytest.mark.parametrize(
    ("text", "plain", "emoji"),
    [
        ("Tell me a joke", "Tell me a joke", []),
        ("Tell me a joke 😀", "Tell me a joke", []),
        ("Tell me a joke! 🙏🏽 ", "Tell me a joke!", []),
        ("Thanks ❤️✨", "Thanks", []),
        ("Thanks 😀 🙏🏽 ❤️", "Thanks", []),
        ("Thanks 😀😭", "Thanks", ["😀😭"]),
        ("🎉 Write a birthday card", "Write a birthday card", ["🎉"]),
        ("I lost my job 😭", "I lost my job", ["😭"]),
        ("What does 😀 mean?", "What does mean?", ["😀"]),
        ("Is 😀 nicer than 😡?", "Is nicer than?", ["😀", "😡"]),
        ("Which emoji is this 😀", "Which emoji is this", ["😀"]),
        ("Rate the mood: great 😀", "Rate the mood: great", ["😀"]),
        ("Which flag is 🇫🇷?", "Which flag is?", ["🇫🇷"]),
        ("👨‍👩‍👧 family", "family", ["👨‍👩‍👧"]),
        ("A line 😀\nand another", "A line \nand another", ["😀"]),
        ("👍", "", []),
        ("今日は", "今日は", []),
        ("naïve  café", "naïve  café", []),
    ],
)
def test_a_text_and_its_emoji(text: str, plain: str, emoji: list[str]) -> None:
    assert split_emoji(text) == (plain, emoji)


def test_a_decoration_costs_neither_the_semantic_tier_nor_the_partition() -> None:
    bare, smiling, crying = (key(user(f"Tell me a joke{end}")) for end in ("", " 😀", " 😭"))
    assert {keyed.cacheability.tier for keyed in (bare, smiling, crying)} == {Tier.SEMANTIC}
    assert {keyed.text for keyed in (bare, smiling, crying)} == {"Tell me a joke"}
    assert smiling.partition == bare.partition != crying.partition
    assert len({keyed.exact_key for keyed in (bare, smiling, crying)}) == 3


def test_other_emoji_are_told_apart() -> None:
    partitions = {key(user(f"What does {sign} mean?")).partition for sign in ("😀", "😡", "")}
    assert len(partitions) == 3


def test_a_message_of_emoji_alone_has_nothing_to_compare() -> None:
    keyed = key(user("👍"))
    assert (keyed.cacheability.tier, keyed.cacheability.reason) == (Tier.EXACT, "nothing_to_compare")
    assert keyed.exact_key != key(user("👎")).exact_key
