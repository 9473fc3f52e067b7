"""Budgets: room is reserved before a call, spending is counted in its own period, and a restart changes nothing."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semcache.costs.budgets import Budgets, BudgetState
from semcache.errors import BudgetExceededError, StoreError
from semcache.model import NO_COST, Cost
from semcache.settings import CostSettings
from semcache.testing.clock import FakeClock
from semcache.testing.store import MemoryStore
from tests.support.stored import record

DOLLAR = 1_000_000_000
NOON_S = datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp()
DAY_S = 86_400


def usd(amount):
    return Cost(output_nanousd=int(amount * DOLLAR), priced=True)


@dataclass
class Told:
    refused: list[str] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)

    def budget_refused(self, budget):
        self.refused.append(budget)

    def budget_warned(self, budget):
        self.warned.append(budget)


class Bank:
    """Budgets with their ledger."""

    def __init__(self, *budgets, max_scopes=10_000, **settings):
        self.max_scopes = max_scopes
        self.clock = FakeClock(wall=NOON_S)
        self.ledger = MemoryStore(self.clock).ledger
        self.settings = CostSettings(budgets=[{"name": f"b{i}", **b} for i, b in enumerate(budgets)], **settings)
        self.told = Told()
        self.restart()

    def restart(self):
        self.budgets = Budgets(self.settings, self.ledger, self.clock, self.told, max_scopes=self.max_scopes)

    def reserve(self, tenant="acme", **estimates):
        return self.budgets.reserve(tenant, {name.replace("_", "-"): cost for name, cost in estimates.items()})

    def spend(self, amount, tenant="acme", model="m", at_s=None):
        line = record(
            request_id=f"r{amount}{tenant}{self.clock.wall()}",
            tenant=tenant,
            model=model,
            at_s=self.clock.wall() if at_s is None else at_s,
            spent=usd(amount),
        )
        self.budgets.spend(line)
        self.ledger.record(line)

    def spent(self, tenant=None):
        return [balance.spent_nanousd / DOLLAR for balance in self.budgets.balances(tenant)]


def test_what_fits_is_reserved_and_what_does_not_is_refused_with_the_time_it_will():
    bank = Bank({"limit_usd": 10, "period": "day"})
    first = bank.reserve(m=usd(6))
    with pytest.raises(BudgetExceededError) as caught:
        bank.reserve(m=usd(5))
    assert caught.value.reason == "BUDGET_EXCEEDED"
    assert caught.value.retry_after_s == DAY_S / 2
    assert caught.value.metadata == {"budget": "b0", "period": "2026-11-24", "resets_at": "2026-11-25T00:00:00Z"}
    assert bank.told.refused == ["b0"]
    first.release()
    first.release()
    bank.reserve(m=usd(10))


def test_what_is_spent_takes_the_place_of_what_was_reserved():
    bank = Bank({"limit_usd": 10})
    reservation = bank.reserve(m=usd(6))
    bank.spend(2)
    reservation.release()
    bank.reserve(m=usd(8))
    with pytest.raises(BudgetExceededError):
        bank.reserve(m=usd(0.000000001))


def test_nothing_goes_on_where_all_is_spent_even_for_free():
    bank = Bank({"limit_usd": 1})
    bank.spend(1)
    for cost in (usd(0), NO_COST):
        with pytest.raises(BudgetExceededError):
            bank.reserve(m=cost)


def test_a_restart_changes_nothing():
    bank = Bank({"limit_usd": 10}, {"limit_usd": 10, "tenant": "*"}, {"limit_usd": 9, "model": "*", "period": "day"})
    bank.spend(3)
    bank.spend(2, tenant="globex", model="n-2026-01-02")
    before = bank.budgets.balances()
    bank.restart()
    assert [replace(balance, reserved_nanousd=0) for balance in bank.budgets.balances()] == before
    assert bank.spent() == [5, 3, 2, 3, 2]


def test_a_budget_that_had_warned_does_not_warn_again_after_a_restart():
    bank = Bank({"limit_usd": 10})
    bank.spend(7)
    assert bank.told.warned == []
    bank.spend(1)
    bank.spend(1)
    bank.restart()
    bank.spend(0.5)
    assert bank.told.warned == ["b0"]


def test_the_next_period_is_whole_and_a_clock_set_back_finds_the_old_one():
    bank = Bank({"limit_usd": 10, "period": "day"})
    bank.spend(10)
    bank.clock.advance(DAY_S)
    bank.reserve(m=usd(10)).release()
    bank.spend(4)
    bank.clock.jump_wall(-DAY_S)
    with pytest.raises(BudgetExceededError):
        bank.reserve(m=usd(1))
    bank.clock.jump_wall(DAY_S)
    assert bank.spent() == [4]


def test_a_clock_set_back_far_counts_what_the_ledger_has_there():
    bank = Bank({"limit_usd": 10, "period": "day"})
    bank.spend(3, at_s=NOON_S - 30 * DAY_S)
    bank.restart()
    for _ in range(8):
        bank.clock.jump_wall(DAY_S)
        bank.spend(1)
    bank.clock.jump_wall(-38 * DAY_S)
    assert bank.spent() == [3]


def test_spending_counts_in_the_period_of_its_own_time():
    bank = Bank({"limit_usd": 10, "period": "day"})
    bank.spend(5, at_s=NOON_S - DAY_S)
    assert bank.spent() == [0]


def test_a_month_follows_the_time_zone_though_clocks_change_on_its_last_day():
    berlin = ZoneInfo("Europe/Berlin")
    bank = Bank({"limit_usd": 10}, time_zone="Europe/Berlin")
    last = datetime(2027, 10, 31, 23, 30, tzinfo=berlin).timestamp()
    first = datetime(2027, 10, 1, 0, 30, tzinfo=berlin).timestamp()
    bank.clock.jump_wall(last - bank.clock.wall())
    bank.spend(1, at_s=first)
    bank.spend(2, at_s=last)
    (balance,) = bank.budgets.balances()
    assert balance.spent_nanousd == 3 * DOLLAR
    assert balance.period.end_s - balance.period.start_s == (31 * 24 + 1) * 3600
    bank.clock.advance(1800)
    assert bank.spent() == [0]


def test_each_tenant_has_its_own_and_sees_no_other():
    bank = Bank({"limit_usd": 10, "tenant": "*"}, {"limit_usd": 100}, {"limit_usd": 5, "tenant": "globex"})
    bank.spend(10, tenant="acme")
    with pytest.raises(BudgetExceededError):
        bank.reserve("acme", m=usd(1))
    bank.reserve("globex", m=usd(5))
    with pytest.raises(BudgetExceededError):
        bank.reserve("globex", m=usd(5))
    assert [(balance.budget.name, balance.scope) for balance in bank.budgets.balances("acme")] == [("b0", ("acme", ""))]
    assert [balance.budget.name for balance in bank.budgets.balances("globex")] == ["b0", "b2"]
    assert [balance.spent_nanousd for balance in bank.budgets.balances("nobody")] == [0]


def test_a_tenant_beyond_those_that_are_kept_apart_is_told_of_no_other():
    bank = Bank({"limit_usd": 10, "tenant": "*"}, max_scopes=2)
    for tenant in ("a", "b", "c", "d"):
        bank.spend(1, tenant=tenant)
    assert bank.spent() == [1, 1, 2]
    assert bank.spent("a") == [1]
    assert bank.spent("other") == []


def test_a_ledger_that_fails_half_way_is_read_again_and_not_taken_for_the_whole():
    bank = Bank({"limit_usd": 10, "period": "day"})
    bank.spend(4, tenant="a")
    bank.spend(5, tenant="b")
    bank.restart()
    ledger_hours = bank.ledger.hours

    def broken(tenant, start_s, end_s):
        yield next(ledger_hours(tenant, start_s, end_s))
        raise StoreError("the disk failed")

    bank.ledger.hours = broken
    with pytest.raises(StoreError):
        bank.reserve(m=usd(1))
    bank.spend(0.5)  # It is paid for: the ledger has it, whatever the budgets know.
    bank.ledger.hours = ledger_hours
    assert bank.spent() == [9.5]


def test_the_ledger_is_read_once_a_period_however_many_budgets_there_are():
    bank = Bank(
        *({"limit_usd": 10, "tenant": f"t{i}"} for i in range(50)),
        {"limit_usd": 10, "model": "m"},
        {"limit_usd": 10, "period": "day", "tenant": "*"},
    )
    bank.spend(4, tenant="t7", model="M-2026-01-01")
    bank.spend(5, tenant="t8", model="other")
    bank.restart()
    reads = []
    ledger_hours = bank.ledger.hours
    bank.ledger.hours = lambda *asked: reads.append(asked) or ledger_hours(*asked)
    bank.budgets.open_periods(NOON_S)
    assert bank.spent("t7") == [4, 4]
    assert bank.spent("t8") == [5, 5]
    assert [balance.spent_nanousd for balance in bank.budgets.balances() if balance.budget.model] == [4 * DOLLAR]
    assert len(reads) == 2


@pytest.mark.parametrize("model", ["*", "gpt-4o", "openai/gpt-4o", "GPT-4o-2024-08-06", "gpt-4o-latest"])
@pytest.mark.parametrize("asked", ["gpt-4o", "openai/gpt-4o", "gpt-4o-latest", "azure/GPT-4o"])
def test_a_model_is_the_same_by_the_name_that_it_is_asked_by_and_the_one_that_it_answers_by(model, asked):
    bank = Bank({"limit_usd": 10, "model": model})
    bank.spend(9, model="gpt-4o-2024-08-06")
    with pytest.raises(BudgetExceededError):
        bank.budgets.reserve("acme", {asked: usd(2)})
    assert bank.budgets.reserve("acme", {"gpt-4o-mini": usd(2)}).barred == frozenset()


def test_a_model_without_room_is_barred_and_others_go_on():
    bank = Bank({"limit_usd": 10, "model": "gpt-4o"})
    bank.spend(9.5, model="gpt-4o-2024-08-06")
    bank.spend(50, model="other")
    reservation = bank.reserve(gpt_4o=usd(1), mini=usd(0.1))
    assert reservation.barred == {"gpt-4o"}
    with pytest.raises(BudgetExceededError):
        bank.reserve(gpt_4o=usd(1))


def test_too_dear_for_what_is_left_is_barred_and_the_cheaper_one_is_reserved():
    bank = Bank({"limit_usd": 10})
    bank.spend(9)
    reservation = bank.reserve(large=usd(2), small=usd(0.5))
    assert reservation.barred == {"large"}
    assert bank.budgets.balances()[0].reserved_nanousd == DOLLAR // 2


def test_of_several_models_the_dearest_is_reserved_once():
    bank = Bank({"limit_usd": 10}, {"limit_usd": 10, "model": "a"})
    bank.reserve(a=usd(1), b=usd(3))
    assert [balance.reserved_nanousd / DOLLAR for balance in bank.budgets.balances()] == [3, 1]


@pytest.mark.parametrize(("unpriced", "refused"), [("allow", False), ("refuse", True)])
def test_what_to_do_with_models_without_a_price_is_said(unpriced, refused):
    bank = Bank({"limit_usd": 10, "unpriced": unpriced})
    if refused:
        with pytest.raises(BudgetExceededError):
            bank.reserve(own=NO_COST)
    else:
        bank.reserve(own=NO_COST)


def test_a_budget_that_only_warns_refuses_nothing():
    bank = Bank({"limit_usd": 1, "on_limit": "warn"})
    bank.spend(5)
    bank.reserve(m=usd(5))
    assert bank.told.warned == ["b0"]
    assert bank.budgets.balances()[0].state is BudgetState.EXHAUSTED


def test_the_states_follow_the_shares():
    bank = Bank({"limit_usd": 10, "warn_at": 0.5, "degrade_at": 0.9})
    states = []
    for _ in range(10):
        states.append((bank.budgets.balances()[0].state, bank.budgets.degrades("acme", frozenset({"m"}))))
        bank.spend(1)
    assert states == [
        *[(BudgetState.OPEN, False)] * 5,
        *[(BudgetState.WARNING, False)] * 4,
        (BudgetState.DEGRADING, True),
    ]
    assert bank.budgets.balances()[0].state is BudgetState.EXHAUSTED


def test_a_budget_of_another_degrades_nobody():
    bank = Bank({"limit_usd": 1, "tenant": "globex", "degrade_at": 0.8})
    bank.spend(1, tenant="globex")
    assert bank.budgets.degrades("globex", frozenset())
    assert not bank.budgets.degrades("acme", frozenset())


def test_shares_are_those_of_the_fullest():
    bank = Bank({"limit_usd": 10, "tenant": "*"}, {"limit_usd": 100})
    assert bank.budgets.shares() == {"b0": 0.0, "b1": 0.0}
    bank.spend(1)
    bank.spend(4, tenant="globex")
    assert bank.budgets.shares() == {"b0": 0.4, "b1": 0.05}


def test_without_budgets_there_is_always_room():
    bank = Bank()
    assert not bank.budgets
    assert bank.reserve(m=usd(1e6)).barred == frozenset()


@given(
    st.lists(
        st.tuples(st.sampled_from(["acme", "globex"]), st.integers(1, 400), st.integers(0, 100), st.booleans()),
        max_size=60,
    )
)
def test_however_many_are_under_way_nothing_overruns(calls):
    """Each call reserves; some end (at no more than was reserved), some fail, some restart the server."""
    bank = Bank({"limit_usd": 1, "period": "day"}, {"limit_usd": 0.6, "tenant": "*", "period": "month"})
    under_way = []
    for number, (tenant, millicents, share, ends) in enumerate(calls):
        try:
            under_way.append((tenant, millicents, share, bank.reserve(tenant, m=usd(millicents / 1000))))
        except BudgetExceededError:
            assert number
        if ends and under_way:
            of, reserved, part, reservation = under_way.pop(number % len(under_way))
            bank.spend(reserved * part / 100_000, tenant=of)
            reservation.release()
        for balance in bank.budgets.balances():
            assert balance.spent_nanousd + balance.reserved_nanousd <= balance.limit_nanousd
    for *_, reservation in under_way:
        reservation.release()
    known = bank.budgets.balances()
    assert all(balance.reserved_nanousd == 0 for balance in known)
    bank.restart()
    again = {(b.budget.name, b.scope): b.spent_nanousd for b in bank.budgets.balances()}
    assert {(b.budget.name, b.scope): b.spent_nanousd for b in known if b.spent_nanousd} == {
        name: spent for name, spent in again.items() if spent
    }
