"""Edits change what they say they change, frames and templates keep their labels, and draws can be repeated."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from semcache.training.batches import Sampler, TextPair, TrainingBatch
from semcache.training.edits import Editor
from semcache.training.frames import draw_framed_texts, draw_template_texts, draw_unrelated_texts, families, templates
from semcache.training.recipe import Recipe
from tests.support.training_groups import groups

TEXTS = (
    "How do I convert 25 acres to hectares?",
    "Which trains run from Graz to Linz on Sundays?",
    "can I open the window while the heating is on",
    "Wie viele Gäste passen an 3 Tische?",
)


def no_guard(first: str, second: str) -> float | None:
    return 0.0


def sampler(recipe: Recipe, pairs: tuple[TextPair, ...] = ()) -> Sampler:
    vectors = np.random.default_rng(1).standard_normal((len(groups()), 8)).astype(np.float32)
    return Sampler(groups(), pairs, vectors, recipe=recipe, guards=no_guard)


@pytest.mark.parametrize("text", TEXTS)
def test_an_edit_differs_from_its_text_and_a_rewording_keeps_its_words(text: str) -> None:
    editor = Editor(TEXTS)
    for seed in range(20):
        edited = editor.edit(text, random.Random(seed))
        assert edited is not None
        assert edited.text == text != edited.different
        kept = {word for word in text.casefold().strip("?").split() if len(word) < 6}
        assert kept <= set(edited.same.casefold().replace("?", " ").split())


def test_a_text_that_no_rule_changes_has_no_edit() -> None:
    assert Editor(TEXTS).edit("Grüße", random.Random(1)) is None


def test_text_that_is_not_english_gets_no_english_words() -> None:
    for seed in range(20):
        edited = Editor(TEXTS).edit(TEXTS[-1], random.Random(seed))
        assert edited is not None
        assert edited.different.translate(str.maketrans("", "", "0123456789")) == "Wie viele Gäste passen an  Tische?"


def test_every_frame_has_the_fillings_of_its_slot() -> None:
    assert len(families()) >= 5
    for family in families():
        assert len(family.fillings) > 5
        assert all(len(frame) >= 2 and all("{}" in wording for wording in frame) for frame in family.frames)


def test_every_template_uses_all_of_its_slots() -> None:
    for template in templates():
        marked = [slot[:1] for slot in template.slots]
        assert len(template.slots) == 3
        assert len(template.wordings) >= 2
        for wording in template.wordings:
            assert all(f"{{{number}}}" in wording for number in range(len(marked)))


@pytest.mark.parametrize("draw", [draw_framed_texts, draw_template_texts])
def test_drawn_texts_are_distinct_and_can_be_drawn_again(draw) -> None:
    for seed in range(30):
        drawn = draw(random.Random(seed))
        texts = [text for group in drawn.groups for text in group]
        assert len(set(texts)) == len(texts)
        assert len(drawn.groups[0]) == 2
        assert draw(random.Random(seed)) == drawn


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    recipe = Recipe(traps=1)
    first, again = (sampler(recipe).draw(3, 5) for _ in range(2))
    assert (first.texts, first.first, first.second, first.same) == (again.texts, again.first, again.second, again.same)
    assert sampler(recipe).draw(3, 6).texts != first.texts
    assert sampler(recipe).draw(4, 5).texts != first.texts


def test_labels_of_a_batch_are_those_of_the_groups() -> None:
    recipe = Recipe(frames=0, templates=0, edits=0, traps=2)
    owner = {text: group.group_id for group in groups() for text in group.texts}
    batch = sampler(recipe).draw(1, 1)
    for first, second, same in zip(batch.first, batch.second, batch.same, strict=True):
        sides = owner.get(batch.texts[first]), owner.get(batch.texts[second])
        assert same == (sides[0] == sides[1] and None not in sides)
    assert any(batch.same)
    assert not all(batch.same)


def test_given_pairs_are_drawn_and_belong_to_no_neighbourhood() -> None:
    pairs = (TextPair("a text", "another text", same=False),)
    batch = sampler(Recipe(neighbourhoods=0, frames=0, templates=0, edits=0, unrelated=0), pairs).draw(1, 1)
    assert (batch.texts, batch.same, batch.part) == (["a text", "another text"], [False], [-1])


def test_what_a_guard_vetoes_and_equal_texts_are_left_out() -> None:
    batch = TrainingBatch(lambda first, second: None if "veto" in second else -0.2)
    batch.add("a", "veto", 0, same=False)
    batch.add("a", "a", 0, same=True)
    batch.add("a", "b", 0, same=True)
    assert (batch.texts, batch.shift, batch.same) == (["a", "b"], [-0.2], [True])


def test_unrelated_texts_are_of_other_families_and_templates() -> None:
    sources = len(families()) + len(templates())
    for seed in range(30):
        texts = draw_unrelated_texts(random.Random(seed), 100)
        assert len(set(texts)) == sources
        assert not any("{" in text for text in texts)
        assert draw_unrelated_texts(random.Random(seed), 3) == draw_unrelated_texts(random.Random(seed), 3)
    assert draw_unrelated_texts(random.Random(1), 0) == ()


def test_groups_without_domains_and_pairs_alone_have_unrelated_texts_too() -> None:
    recipe = Recipe(frames=0, templates=0, edits=0, unrelated=5)
    undivided = [replace(group, domain="") for group in groups()]
    vectors = np.ones((len(undivided), 8), dtype=np.float32)
    pairs = (TextPair("a text", "another text", same=True),)
    for chosen, some in ((undivided, ()), ((), pairs), (groups(), ())):
        drawn = Sampler(chosen, some, vectors[: len(chosen)], recipe=recipe, guards=no_guard).draw(1, 1)
        assert len(set(drawn.unrelated)) == 5


def test_neighbours_are_the_nearest_groups_of_the_domain() -> None:
    vectors = np.zeros((len(groups()), 2), dtype=np.float32)
    vectors[:, 0] = 1
    vectors[[0, 9]] = (0, 1)
    recipe = Recipe(neighbourhoods=1, neighbours=1, frames=0, templates=0, edits=0, unrelated=0, texts=1)
    drawn = Sampler(groups(), (), vectors, recipe=recipe, guards=no_guard)
    found = {frozenset(text.split()[-1] for text in drawn.draw(1, step).texts) for step in range(200)}
    assert any({"kettle", "loom"} == names for names in found)
    assert not any("kettle" in names and "ladder" in names for names in found)
