"""Namespaces whose requests seldom repeat others, and the threshold that they get."""

from __future__ import annotations

from dataclasses import replace

import pytest

from semcache.decision import Decider, Repeats
from semcache.decision.repeats import ENOUGH, FEW, WINDOW
from semcache.model import KeyedRequest
from semcache.settings import DecisionSettings, NamespaceThreshold
from tests.unit.decision.test_decide import request


def noted(requests: int, share: float, *, namespace: str = "default", tenant: str = "acme") -> Repeats:
    """Of `requests`, evenly spread, `share` have a near one before."""
    repeats = Repeats()
    for number in range(requests):
        has_near = int((number + 1) * share) > int(number * share)
        repeats.note(tenant, namespace, has_near=has_near)
    return repeats


@pytest.mark.parametrize(
    ("requests", "share", "few"),
    [
        (ENOUGH - 1, 0.0, False),
        (ENOUGH, 0.0, True),
        (ENOUGH, FEW - 0.01, True),
        (ENOUGH, FEW + 0.01, False),
        (3 * WINDOW, FEW - 0.02, True),
        (3 * WINDOW, FEW + 0.02, False),
    ],
)
def test_repeats_are_few_once_enough_requests_show_it(requests: int, share: float, *, few: bool) -> None:
    repeats = noted(requests, share)
    assert repeats.are_few("acme", "default") is few
    assert repeats.few == few


def test_each_namespace_of_each_tenant_counts_for_itself() -> None:
    repeats = noted(ENOUGH, 0.0, namespace="chat")
    assert repeats.are_few("acme", "chat")
    assert not repeats.are_few("acme", "default")
    assert not repeats.are_few("other", "chat")


def test_traffic_that_changes_is_noticed_both_ways() -> None:
    repeats = noted(WINDOW, 0.0)
    needed = 0
    while repeats.are_few("acme", "default"):
        repeats.note("acme", "default", has_near=True)
        needed += 1
    assert needed == pytest.approx(FEW * WINDOW, rel=0.2)
    while not repeats.are_few("acme", "default"):
        repeats.note("acme", "default", has_near=False)
        needed += 1
    assert needed < WINDOW


def test_a_tenant_with_many_namespaces_costs_another_nothing() -> None:
    repeats = noted(ENOUGH, 0.0)
    for number in range(30_000):
        repeats.note("flood", f"namespace-{number}", has_near=False)
    assert repeats.are_few("acme", "default")
    assert repeats.few == 1


def test_a_forgotten_namespace_is_unknown_again() -> None:
    repeats = noted(ENOUGH, 0.0, namespace="first")
    for number in range(30_000):
        repeats.note("acme", f"namespace-{number}", has_near=False)
    assert not repeats.are_few("acme", "first")
    assert repeats.few == 0


def bound(settings: DecisionSettings, keyed: KeyedRequest) -> tuple[float, str]:
    decider = Decider(settings, repeats=noted(ENOUGH, 0.0, tenant=keyed.request.tenant))
    decision = decider.decide(keyed, (), None, lambda _: "")  # type: ignore[arg-type]  # nothing is compared
    return decision.threshold, decision.rule


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (DecisionSettings(), (0.97, "few_repeats_threshold")),
        (DecisionSettings(few_repeats_threshold=0.99), (0.99, "few_repeats_threshold")),
        (DecisionSettings(few_repeats_threshold=0.0), (0.86, "threshold")),
        (DecisionSettings(threshold=0.98), (0.98, "threshold")),
        (
            DecisionSettings(overrides=(NamespaceThreshold(namespace="default", threshold=0.8),)),
            (0.8, "namespace_threshold"),
        ),
    ],
)
def test_few_repeats_raise_the_default_alone(settings: DecisionSettings, expected: tuple[float, str]) -> None:
    assert bound(settings, request()) == expected


def test_another_namespace_keeps_the_default() -> None:
    assert bound(DecisionSettings(), request(namespace="faq")) == (0.86, "threshold")


def test_a_caller_can_only_tighten_it() -> None:
    keyed = request(threshold=0.9)
    assert bound(DecisionSettings(), keyed) == (0.97, "clamped_to_few_repeats_threshold")
    raised = replace(
        keyed, request=replace(keyed.request, control=replace(keyed.request.control, similarity_threshold=0.98))
    )
    assert bound(DecisionSettings(), raised) == (0.98, "request_threshold")
