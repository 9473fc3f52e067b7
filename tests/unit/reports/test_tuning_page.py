"""The page of a tuning: complete in one file, drawn in the page's colours, every text escaped."""

from __future__ import annotations

import importlib.util
import re
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest

from semcache.errors import StartError
from semcache.evaluation.labels.pairs import LabelledPair, user
from semcache.evaluation.tune.choosing import WrongBudget
from semcache.evaluation.tune.comparing import ComparedPair, Relation
from semcache.evaluation.tune.curves import Mix
from semcache.evaluation.tune.money import Worth
from semcache.evaluation.tune.specs import Spec
from semcache.evaluation.tune.tuning import Question, tune
from semcache.reports import require_charts, tuning_page
from semcache.settings import DecisionSettings

EVIL = "</td><script>alert('x & y')</script> $\\frac{1}{2}$ שלום 😀"


def page(*, guards: tuple[str, ...] = ("numbers",), hits: int = 20, similarity: float | None = 0.95) -> str:
    items = []
    for number in range(hits + 5):
        pair = LabelledPair(
            str(number), user(f"{EVIL} {number:b}"), user(EVIL), same=number >= 5, kind=EVIL, namespace=EVIL
        )
        relation = Relation.EXACT if similarity is None else Relation.COMPARED
        items.append(ComparedPair(pair, relation, EVIL, EVIL, similarity))
    spec = Spec("in force", DecisionSettings(threshold=0.9, guards=guards))
    result = tune(items, Worth(np.full(len(items), 0.001), 0, EVIL), Question(WrongBudget(), Mix(), 0.0, spec))
    return tuning_page(result, [EVIL], from_store=False)


def test_nothing_is_loaded_and_nothing_runs() -> None:
    html = page()
    assert "<script" not in html
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!#)""", html)
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)


def test_texts_are_escaped_and_isolated() -> None:
    html = page()
    assert "&lt;script&gt;alert(&#x27;x &amp; y&#x27;)&lt;/script&gt;" in html
    assert '<td class="text" dir="auto">' in html


def test_drawings_are_well_formed_and_take_the_pages_colours() -> None:
    drawings = re.findall(r"<svg.*?</svg>", page(), re.DOTALL)
    assert len(drawings) == 4
    names: list[str] = []
    for drawing in drawings:
        root = ET.fromstring(drawing)
        names += [element.attrib["id"] for element in root.iter() if "id" in element.attrib]
        assert "currentColor" in drawing
        assert not re.search(r"#0[1-5]0[1-5]0[1-5]", drawing)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("options", [{"guards": ()}, {"hits": 400}, {"similarity": None}, {"similarity": 1.0}])
def test_every_kind_of_result_has_a_page(options: dict[str, Any]) -> None:
    html = page(**options)
    assert html.count("<figure") == 4
    assert ("To paste into" in html) == (options.get("hits") == 400 and False)


def test_the_same_results_make_the_same_page() -> None:
    assert page() == page()


def test_a_missing_library_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(StartError, match="matplotlib is not installed") as caught:
        require_charts()
    assert "semcache-server[reports]" in caught.value.hint
