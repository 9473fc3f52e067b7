"""Aliases and where they lead."""

import pytest

from semcache.errors import UnknownModelError
from semcache.settings import Route, Target, UpstreamSettings
from semcache.upstream.routes import Destination, RouteTable

A = Target(name="a", base_url="http://a.test/v1")
B = Target(name="b", base_url="http://b.test/v1")


def table(targets=(A, B), routes=()):
    return RouteTable(UpstreamSettings(targets=targets, routes=routes))


def test_an_aliass_own_route_beats_the_star():
    routes = table(routes=(Route(alias="*", target="a"), Route(alias="fast", target="b", model="mini")))
    assert routes.resolve("fast") == Destination("b", "mini")
    assert routes.resolve("other") == Destination("a", "other")


def test_the_star_may_name_one_model_for_all():
    assert table(routes=(Route(alias="*", target="a", model="m"),)).resolve("x") == Destination("a", "m")


def test_one_target_without_routes_takes_every_alias_as_it_is():
    assert table(targets=(A,)).resolve("gpt") == Destination("a", "gpt")


@pytest.mark.parametrize(
    ("targets", "routes", "told"),
    [
        ((A,), (Route(alias="fast", target="a"), Route(alias="big", target="a")), "Known aliases: big, fast"),
        ((A, B), (), "several targets"),
        ((), (), "Store it"),
    ],
)
def test_an_alias_that_leads_nowhere_is_refused_with_the_way_out(targets, routes, told):
    routes = table(targets, routes)
    assert routes.find("gpt") is None
    with pytest.raises(UnknownModelError, match=told):
        routes.resolve("gpt")
