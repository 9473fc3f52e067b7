"""Random hours under random rate cards: the invoices add up to the ledger, to the nanodollar."""

from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from semcache.finance.chargeback import Amounts, chargeback
from semcache.finance.rate_card import (
    Assignment,
    MarkUp,
    PayAsYouGo,
    PriceTier,
    Quote,
    RateCard,
    Subscription,
    VolumeBand,
)
from semcache.model import LedgerHour, Status

TENANTS = ("a", "b", "c")
prices = st.decimals(0, 5, places=6)
money = st.integers(0, 10**12)

hours = st.lists(
    st.builds(
        LedgerHour,
        hour_s=st.integers(0, 30).map(lambda hour: hour * 3600),
        tenant=st.sampled_from(TENANTS),
        model=st.sampled_from(["m", "n"]),
        task_type=st.just(""),
        status=st.sampled_from(Status),
        requests=st.integers(0, 50),
        input_tokens=st.integers(0, 10**6),
        output_tokens=st.integers(0, 10**6),
        spent_input_nanousd=money,
        spent_cached_input_nanousd=money,
        spent_output_nanousd=money,
    ),
    max_size=40,
    unique_by=lambda hour: (hour.hour_s, hour.tenant, hour.model, hour.status),
)


@st.composite
def bands(draw):
    edges = sorted(draw(st.sets(st.integers(1, 10**6), max_size=3)))
    starts, ends = [0, *edges], [*edges, None]
    return tuple(VolumeBand(start, end, draw(prices)) for start, end in zip(starts, ends, strict=True))


@st.composite
def rate_cards(draw):
    places = {status: draw(st.integers(-1, 2)) for status in Status}
    tiers = tuple(
        PriceTier(f"tier {place}", frozenset(s for s in Status if places[s] == place), draw(bands()))
        for place in range(3)
    )
    plans = {
        "as used": PayAsYouGo("as used"),
        "month": Subscription("month", draw(prices), draw(st.integers(1, 200)), hybrid=draw(st.booleans())),
        "quote": Quote("quote"),
        "plus": MarkUp("plus", draw(prices), draw(prices), draw(prices)),
    }
    tenants = {
        tenant: Assignment(plan, draw(prices) if plan == "quote" else None)
        for tenant, plan in draw(st.dictionaries(st.sampled_from(TENANTS), st.sampled_from(list(plans)))).items()
    }
    free = frozenset(status for status in Status if places[status] < 0)
    return RateCard(tiers, free, plans, draw(st.sampled_from(["as used", "month", "plus"])), tenants)


@given(hours=hours, card=rate_cards())
def test_invoices_add_up_to_the_ledger(hours, card):
    result = chargeback(reversed(hours), card)

    assert result.adds_up
    assert result.invoiced.requests == sum(hour.requests for hour in hours)
    assert result.invoiced.tokens == sum(hour.input_tokens + hour.output_tokens for hour in hours)
    assert result.invoiced.cost_nanousd == sum(hour.spent_nanousd for hour in hours)
    for invoice in result.invoices:
        own = [hour for hour in hours if hour.tenant == invoice.tenant]
        assert invoice.used == sum(map(Amounts.of, own), Amounts())
        assert all(min(line.used.requests, line.used.tokens, line.used.cost_nanousd) >= 0 for line in invoice.lines)
        exact = sum((line.usd for line in invoice.lines), Fraction())
        assert abs(Fraction(invoice.total_usd) - exact) <= Fraction(1, 200)
        assert invoice.total_usd == invoice.total_usd.quantize(Decimal("0.01"))


@given(hours=hours, card=rate_cards(), tenant=st.sampled_from(TENANTS))
def test_an_invoice_does_not_depend_on_whom_else_is_invoiced(hours, card, tenant):
    alone = [invoice for invoice in chargeback(hours, card, [tenant]).invoices if invoice.tenant == tenant]

    assert alone == [invoice for invoice in chargeback(hours, card).invoices if invoice.tenant == tenant]


@given(hours=hours, card=rate_cards(), quota=st.integers(1, 200))
def test_within_the_quota_there_are_as_many_requests_as_it_has_or_all(hours, card, quota):
    plan = Subscription("month", Decimal(1), quota, hybrid=True)
    result = chargeback(hours, RateCard(card.tiers, card.free, {"month": plan}, "month"))

    for invoice in result.invoices:
        counting = sum(h.requests for h in hours if h.tenant == invoice.tenant and h.status not in card.free)
        assert invoice.lines[0].used.requests == min(quota, counting)
