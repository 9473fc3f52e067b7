"""The metrics of the upstream router."""

import pytest


@pytest.fixture
def value(registry):
    def value(name, **labels):
        return registry.get_sample_value(f"semcache_{name}", labels)

    return value


def test_a_breaker_begins_with_a_state_and_no_change(metrics, value):
    metrics.breaker_changed("a", 0)
    assert value("upstream_breaker_state", target="a") == 0
    assert value("upstream_breaker_changes_total", target="a", state="closed") is None


def test_changes_of_a_breaker_are_counted_by_the_new_state(metrics, value):
    for state in (0, 2, 1, 2, 1, 0):
        metrics.breaker_changed("a", state)
    assert value("upstream_breaker_state", target="a") == 0
    counted = {state: value("upstream_breaker_changes_total", target="a", state=state) for state in ("open", "closed")}
    assert counted == {"open": 2, "closed": 1}
    assert value("upstream_breaker_changes_total", target="a", state="half_open") == 2


def test_one_reason_of_the_degraded_mode_holds_at_a_time(metrics, value):
    metrics.degraded_changed("budget")
    metrics.degraded_changed("latency")
    assert (value("degraded_mode", reason="budget"), value("degraded_mode", reason="latency")) == (0, 1)
    metrics.degraded_changed("")
    assert (value("degraded_mode", reason="budget"), value("degraded_mode", reason="latency")) == (0, 0)


def test_answers_of_other_models_are_counted(metrics, value):
    metrics.upstream_swapped("a")
    assert value("upstream_other_model_total", target="a") == 1
