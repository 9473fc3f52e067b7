"""Make prompts: short ones, near rewordings of them, and prompts of mixed length."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

_ACTIONS = (
    *("clean", "repair", "store", "replace", "adjust", "inspect", "transport", "assemble", "insulate", "protect"),
    *("paint", "label", "measure", "polish", "ventilate", "dismantle", "test", "secure", "lubricate", "recycle"),
    *("photograph", "insure", "upgrade", "disinfect", "sharpen"),
)
_OBJECTS = (
    *("a bicycle chain", "a coffee grinder", "a garden hose", "a leather sofa", "a wooden fence", "a gas boiler"),
    *("a laptop battery", "a sewing machine", "a canvas tent", "an electric kettle", "a solar panel", "a piano"),
    *("a fish tank", "a bread oven", "a water filter", "a ceiling fan", "a camera lens", "a stone path"),
    *("a lawn mower", "a wool carpet", "a ski boot", "a brass trumpet", "a glass door", "a rain barrel"),
    *("a tractor tyre", "a violin bow", "a pizza stone", "a window blind", "a cheese cellar", "a fire alarm"),
    *("a beehive", "a telescope", "a pressure cooker", "a garage door", "a climbing rope", "a chess clock"),
    *("a compost bin", "a wedding dress", "a vinyl record", "a sailing dinghy"),
)
_SETTINGS = (
    *("before a long winter", "during a humid summer", "in a small apartment", "on a tight budget"),
    *("without special tools", "after heavy rain", "for a school project", "near the sea", "at high altitude"),
    "with young children around",
)
_SENTENCES = (
    "I have tried the advice of two neighbours and neither of them could explain why it fails in the evening.",
    "The manual that came with it is missing several pages and the maker's website is gone.",
    "My sister suggested asking here because the shop in our village closed last spring.",
    "Please explain each step in the order in which it should be done and say what can go wrong.",
    "It worked well for years until we moved to the new house with the damp cellar.",
    "I would like to avoid harsh chemicals because the dog sleeps in the same room.",
    "Keep in mind that the ladder we own is short and the nearest hardware store is far away.",
    "Somebody told me that vinegar helps, somebody else warned me never to use it on such a thing.",
    "The weather here changes quickly and there is hardly any shade in the yard.",
    "If an expert is needed, tell me what such a person is usually called and what to ask for.",
    "We plan to sell it next year, so it should still look good in the photographs.",
    "There is a faint smell of smoke whenever it has been running for a while.",
)
LONGEST = 12
"""Sentences that a mixed prompt may have beyond its question; with all of them it has about 230 tokens."""


def short_prompts(count: int) -> list[str]:
    """Return up to 10,000 distinct questions of 12 to 15 tokens."""
    texts = [f"How do I {a} {o} {s}?" for a in _ACTIONS for o in _OBJECTS for s in _SETTINGS]
    assert count <= len(texts), f"there are {len(texts)} short prompts"
    random.Random(1).shuffle(texts)
    return texts[:count]


def mixed_prompts(count: int) -> list[str]:
    """Return distinct prompts of about 14 to 230 tokens in random order; short ones are more frequent."""
    chance = random.Random(2)
    weights = [1 / (n + 1) for n in range(LONGEST + 1)]
    texts = []
    for question in short_prompts(count):
        extra = chance.sample(_SENTENCES, chance.choices(range(LONGEST + 1), weights)[0])
        texts.append(" ".join([question, *extra]))
    return texts


def rewording(text: str, chance: random.Random) -> str:
    """Return `text` as another person might type it: with other case, punctuation, spacing or contractions.

    It is never `text` itself. The cosine stays near 1, as with the near repeats of real traffic: the benchmarks measure
    the cost of a semantic hit, not how far hits reach.
    """
    while True:
        changed = text
        for change in chance.sample(_CHANGES, chance.randint(2, 4)):
            changed = change(changed, chance)
        if changed != text:
            return changed


def rewordings(texts: Sequence[str], count: int, seed: int) -> list[tuple[int, str]]:
    """Return `count` different rewordings as (position in `texts`, text), each text equally often."""
    chance = random.Random(seed)
    seen = set(texts)
    found: list[tuple[int, str]] = []
    while len(found) < count:
        for position in chance.sample(range(len(texts)), min(len(texts), count - len(found))):
            changed = rewording(texts[position], chance)
            if changed not in seen:
                seen.add(changed)
                found.append((position, changed))
    return found[:count]


def _one_word_title(text: str, chance: random.Random) -> str:
    words = text.split(" ")
    # A short word with a capital may be a name ("Can", "Go"), and a letter a grade.
    position = chance.choice([number for number, word in enumerate(words) if len(word) > 3])
    words[position] = words[position].capitalize()
    return " ".join(words)


def _double_space(text: str, chance: random.Random) -> str:
    words = text.split(" ")
    position = chance.randrange(1, len(words))
    return " ".join(words[:position]) + "  " + " ".join(words[position:])


_CHANGES: tuple[Callable[[str, random.Random], str], ...] = (
    _one_word_title,
    _double_space,
    lambda text, _: text.lower(),
    lambda text, _: text.replace("How do I", "how do i"),
    lambda text, _: text.removesuffix("?") if text.endswith("?") else text,
    lambda text, _: text.replace("How do I", "How can I"),
    lambda text, _: text + "?" if text.endswith("?") else text,
)
