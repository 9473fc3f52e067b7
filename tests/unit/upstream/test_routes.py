"""Aliases and the targets of their routes."""

import pytest

from semcache.errors import OverLimitError, UnknownModelError
from semcache.settings import Target, UpstreamSettings
from semcache.upstream.routes import Destination, RouteTable, models_of, without

A = Target(name="a", base_url="http://a.test/v1")
B = Target(name="b", base_url="http://b.test/v1")


def table(*routes, targets=(A, B)):
    return RouteTable(UpstreamSettings(targets=targets, routes=[{"target": "a", **route} for route in routes]))


def names(plan):
    """Return the models of each group; a degraded one has a mark."""
    return [[place.model + "!" * place.degraded for place in group] for group in plan]


def test_an_aliass_own_route_beats_the_star():
    routes = table({"alias": "*"}, {"alias": "fast", "target": "b", "model": "mini"})
    assert routes.resolve("fast") == ((Destination("b", "mini"),),)
    assert routes.resolve("other") == ((Destination("a", "other"),),)


def test_the_star_may_name_one_model_for_all():
    assert table({"alias": "*", "model": "m"}).resolve("x") == ((Destination("a", "m"),),)


def test_one_target_without_routes_takes_every_alias_as_it_is():
    assert table(targets=(A,)).resolve("gpt", "code", "high") == ((Destination("a", "gpt"),),)


def test_the_targets_of_a_model_are_all_that_some_route_asks_for_it():
    routes = table(
        {"alias": "fast", "model": "mini"},
        {"alias": "fast", "task_type": "code", "target": "b", "model": "mini"},
        {"alias": "big", "target": "b"},
    )
    assert routes.targets_of("mini") == {"a", "b"}
    assert routes.targets_of("big") == {"b"}
    assert routes.targets_of("fast") == frozenset()
    assert table({"alias": "*", "target": "b"}).targets_of("anything") == {"b"}
    assert table(targets=(A,)).targets_of("anything") == {"a"}


@pytest.mark.parametrize(
    ("targets", "routes", "message"),
    [
        ((A,), ({"alias": "fast"}, {"alias": "big"}), "Known aliases: big, fast"),
        ((A, B), (), "several targets"),
        ((), (), "Store it"),
        ((A,), ({"alias": "gpt", "task_type": "code"},), "for the alias alone"),
    ],
)
def test_an_alias_that_leads_nowhere_is_refused_with_the_way_out(targets, routes, message):
    routes = table(*routes, targets=targets)
    assert routes.plan("gpt") == ()
    with pytest.raises(UnknownModelError, match=message):
        routes.resolve("gpt")


EVERY_ROUTE = [
    {"alias": alias, "task_type": task_type, "complexity": complexity, "model": f"{alias}/{task_type}/{complexity}"}
    for alias in ("gpt", "*")
    for task_type in ("code", "")
    for complexity in ("high", "")
]


@pytest.mark.parametrize("kept", range(len(EVERY_ROUTE)))
def test_the_most_specific_route_wins(kept):
    """The list goes from the most to the least specific route: without the first ones, the next one is taken."""
    routes = table(*reversed(EVERY_ROUTE[kept:]))
    assert names(routes.resolve("gpt", "code", "high")) == [[EVERY_ROUTE[kept]["model"]]]


def test_a_route_for_another_task_or_complexity_is_not_taken():
    routes = table(*EVERY_ROUTE)
    assert names(routes.resolve("gpt", "chat", "low")) == [["gpt//"]]
    assert names(routes.resolve("gpt", "code", "low")) == [["gpt/code/"]]
    assert names(routes.resolve("gpt", "chat", "high")) == [["gpt//high"]]
    assert names(routes.resolve("gpt")) == [["gpt//"]]
    assert names(routes.resolve("x", "code", "low")) == [["*/code/"]]


def test_several_targets_keep_their_weights():
    places = [{"target": "a", "weight": 3}, {"target": "b", "model": "m"}]
    routes = table({"alias": "gpt", "target": "", "targets": places})
    assert routes.resolve("gpt") == ((Destination("a", "gpt", 3.0), Destination("b", "m", 1.0)),)


def test_fallbacks_follow_in_order_with_their_own_behind_them():
    routes = table(
        {"alias": "big", "fallbacks": ["twin", {"alias": "mini", "degraded": True}]},
        {"alias": "twin", "target": "b", "fallbacks": ["third"]},
        {"alias": "third"},
        {"alias": "mini", "fallbacks": ["nano"]},
        {"alias": "nano"},
    )
    assert names(routes.resolve("big")) == [["big"], ["twin"], ["third"], ["mini!"], ["nano!"]]


def test_a_fallback_is_routed_by_the_calls_task_type_too():
    routes = table(
        {"alias": "big", "fallbacks": ["mini"]},
        {"alias": "mini"},
        {"alias": "mini", "task_type": "code", "model": "mini-coder"},
    )
    assert names(routes.resolve("big", "code")) == [["big"], ["mini-coder"]]
    assert names(routes.resolve("big", "chat")) == [["big"], ["mini"]]


def test_no_target_and_model_come_twice():
    routes = table(
        {"alias": "big", "model": "m", "fallbacks": ["other"]},
        {"alias": "other", "target": "", "targets": [{"target": "a", "model": "m"}, {"target": "b", "model": "m"}]},
    )
    assert [[place.target for place in group] for group in routes.resolve("big")] == [["a"], ["b"]]


def test_a_degraded_call_asks_the_degraded_alias_first_and_the_route_itself_as_a_last_resort():
    routes = table({"alias": "big", "degraded": "mini"}, {"alias": "mini", "fallbacks": ["big"]})
    assert names(routes.resolve("big")) == [["big"]]
    # The mini model falls back to the full model, whose answers aren't degraded.
    assert names(routes.resolve("big", degraded=True)) == [["mini!"], ["big"]]
    assert names(routes.resolve("mini", degraded=True)) == [["mini"], ["big"]]


def test_models_are_those_of_all_routes_and_fallbacks_but_degraded_ones():
    routes = table(
        {"alias": "big", "degraded": "mini", "fallbacks": ["twin", {"alias": "nano", "degraded": True}]},
        {"alias": "big", "task_type": "code", "model": "coder"},
        {"alias": "twin"},
        {"alias": "mini"},
        {"alias": "nano"},
    )
    assert routes.models("big") == {"big", "twin", "coder"}
    assert routes.models("nano") == {"nano"}
    assert routes.models("other") is None


def test_an_alias_with_narrow_routes_only_has_the_stars_models_too():
    routes = table({"alias": "*", "model": "all"}, {"alias": "gpt", "task_type": "code", "model": "coder"})
    assert routes.models("gpt") == {"all", "coder"}


def test_the_likeliest_model_is_told_first():
    places = [{"target": "a", "model": "rare"}, {"target": "b", "model": "often", "weight": 9}]
    routes = table({"alias": "gpt", "target": "", "targets": places, "fallbacks": ["x"]}, {"alias": "x"})
    assert models_of(routes.resolve("gpt")) == ("often", "rare", "x")


def test_barred_models_are_left_out_whoever_runs_them():
    plan = ((Destination("a", "m"), Destination("b", "n")), (Destination("b", "m"),))
    assert without(plan, frozenset()) is plan
    assert names(without(plan, {"m"})) == [["n"], []]
    with pytest.raises(OverLimitError) as caught:
        without(plan, {"m", "n"})
    assert caught.value.reason == "MODELS_BARRED"


def test_aliases_that_callers_make_up_dont_fill_the_memory():
    routes = table({"alias": "*"})
    for number in range(5000):
        assert routes.models(f"m{number}") == {f"m{number}"}
    assert len(routes._plans) <= 4096
    assert len(routes._models) <= 4096
