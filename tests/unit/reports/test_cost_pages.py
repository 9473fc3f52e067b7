"""The pages of costs and invoices: complete in one file, drawn in the page's colours, every name escaped."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from semcache.costs.periods import Calendar
from semcache.finance.chargeback import chargeback
from semcache.finance.rate_card_file import read_rate_card
from semcache.finance.report import cost_report
from semcache.finance.request_costs import cost_ranges
from semcache.model import NO_COST, LedgerRecord, Status
from semcache.reports import cost_page, invoice_page
from semcache.store.rollup import rolled_up
from tests.support.ledgers import at, line, mixed_days, november
from tests.support.stored import record

CARD = read_rate_card(Path(__file__).resolve().parents[3] / "examples" / "tariff.toml")
EVIL = "</td><script>alert('x & y')</script> $\\frac{1}{2}$ שלום 😀"
MANY = [line(at("2026-11-01"), Status.MISS, 10**number, model=f"model-{number}") for number in range(1, 16)]
KINDS = {
    "a month": november(),
    "all statuses": mixed_days(),
    "one hit": [line(5.0, Status.EXACT_HIT, 7)],
    "without a price": [record(spent=NO_COST)],
    "many models": MANY,
    "evil names": [line(5.0, Status.MISS, 7, model=EVIL, task_type=EVIL)],
    "a year": [line(day * 86_400.0, Status.MISS, 7) for day in range(0, 365, 30)],
}


def page(lines: list[LedgerRecord]) -> str:
    hours = list(rolled_up(lines).values())
    return cost_page(cost_report(hours, Calendar()), cost_ranges(lines), "a window", "Read just now.")


@pytest.mark.parametrize("kind", KINDS)
def test_every_ledger_has_a_page_that_loads_nothing(kind: str) -> None:
    html = page(KINDS[kind])

    assert "<script" not in html
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!#)""", html)
    assert not re.search(r"url\((?!#)", html)
    names: list[str] = []
    for drawing in re.findall(r"<svg.*?</svg>", html, re.DOTALL):
        root = ET.fromstring(drawing)
        names += [element.attrib["id"] for element in root.iter() if "id" in element.attrib]
        assert not re.search(r"#0[1-5]0[1-5]0[1-5]", drawing)
        assert "mathdefault" not in drawing
    assert len(set(names)) == len(names)
    spends = any(one.spent.total_nanousd for one in KINDS[kind])
    assert html.count("<figure") == (7 if spends else 6)


def test_the_targets_are_drawn_and_told() -> None:
    html = page(november())

    assert "$0.03" in html
    assert "40 %" in html
    assert 'class="summary none"' in html  # 25.5 % were saved
    assert "10,001 requests cost $45.2500; the cache saved $15.5000, 25.5 %" in html


def test_what_does_not_fit_is_said() -> None:
    assert "3 more are not drawn" in page(MANY)


def test_names_are_escaped() -> None:
    assert "&lt;script&gt;alert(&#x27;x &amp; y&#x27;)&lt;/script&gt;" in page(KINDS["evil names"])


def test_a_dollar_sign_is_a_dollar_sign() -> None:
    html = page([line(5.0, Status.MISS, 7, model="$big$", task_type="$small")])
    assert ">$big$<" in html
    assert ">$small<" in html
    assert "\\$" not in html


def test_the_same_ledger_makes_the_same_page() -> None:
    assert page(november()) == page(november())


def test_invoices_stand_on_a_page_with_their_proof() -> None:
    invoices = chargeback(rolled_up(november()).values(), CARD)
    html = invoice_page(invoices, "2026-11", "Read just now.", ["The invoices add up & are <right>."])

    assert html.count("<table") == 5
    assert "acme: starter" in html
    assert "107.20" in html
    assert "add up &amp; are &lt;right&gt;." in html
