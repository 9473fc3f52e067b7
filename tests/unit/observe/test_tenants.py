"""What is counted for each tenant adds up to what is counted of all."""

import pytest

from semcache.model import NO_COST, Status
from semcache.observe.tally import OTHER
from semcache.observe.tenants import Tenants


def line(record, tenant, status=Status.MISS, **fields):
    return record(status)._replace(tenant=tenant, **fields)


@pytest.mark.parametrize("status", Status)
def test_a_request_counts_for_its_tenant_alone(metrics, record, status):
    metrics.request_done(line(record, "acme", status), [], "because")
    metrics.request_done(line(record, "bob", Status.BYPASS), [], "because")
    assert metrics.tenant_counts("acme").requests == {s: int(s is status) for s in Status}
    assert sum(metrics.tenant_counts("nobody").requests.values()) == 0


def test_money_and_verdicts_add_up(metrics, record):
    for tenant, status, amount in (
        ("acme", Status.MISS, {"spent": 5}),
        ("acme", Status.EXACT_HIT, {"saved": 7}),
        ("bob", Status.MISS, {"spent": 11}),
    ):
        metrics.request_done(record(status, **amount)._replace(tenant=tenant), [], "because")
    metrics.verdict_reported("wrong", "acme")
    metrics.verdict_reported("right", "bob")
    acme, bob = metrics.tenant_counts("acme"), metrics.tenant_counts("bob")
    assert (acme.spent_nanousd, acme.saved_nanousd, bob.spent_nanousd, bob.saved_nanousd) == (5, 7, 11, 0)
    assert (acme.verdicts, bob.verdicts) == ({"wrong": 1}, {"right": 1})
    assert acme.spent_nanousd + bob.spent_nanousd == metrics.spent_nanousd()


def test_models_without_a_price_are_named_up_to_a_number(metrics, record):
    for number in range(70):
        metrics.request_done(line(record, "acme", model=f"m{number}", spent=NO_COST), [], "because")
    models = metrics.tenant_counts("acme").unpriced_models
    assert (len(models), models["m0"], models[OTHER]) == (65, 1, 6)
    assert metrics.tenant_counts("bob").unpriced_models == {}


def test_the_tenant_that_asked_least_recently_is_forgotten(record):
    tenants = Tenants(max_tenants=2)
    for name in ("a", "b", "a", "c"):
        tenants.add(line(record, name), 1, 2)
    assert [tenants.counts(name).requests[Status.MISS] for name in "abc"] == [2, 0, 1]
    assert repr(tenants) == "<Tenants 2>"
