"""The values that rooms exchange, where they do more than hold fields."""

from dataclasses import fields, replace

import pytest

from semcache.model import ApiProtocol, CacheControl, CacheMode, Request, Template

REQUEST = Request("acme", b"{}")
OTHERS = {
    "tenant": "other",
    "body": b"{ }",
    "namespace": "other",
    "tags": ("a",),
    "sources": ("a",),
    "task_type": "chat",
    "template": Template("t"),
    "knowledge_version": "2",
    "protocol": ApiProtocol.MESSAGES,
    "headers": (("anthropic-beta", "a"),),
    "batch": "b",
}
OTHER_CONTROLS = {"ttl_s": 1.0, "max_age_s": 1.0, "no_store": True, "similarity_threshold": 0.98}


def test_the_table_of_fields_is_whole():
    assert {field.name for field in fields(Request)} == {*OTHERS, "control"}
    assert {field.name for field in fields(CacheControl)} == {*OTHER_CONTROLS, "mode"}


@pytest.mark.parametrize("name", OTHERS)
def test_requests_that_differ_in_a_field_are_kept_apart_by_their_hashes_too(name: str):
    other = replace(REQUEST, **{name: OTHERS[name]})
    assert other != REQUEST
    assert hash(other) != hash(REQUEST)
    assert hash(other) == hash(replace(REQUEST, **{name: OTHERS[name]}))


@pytest.mark.parametrize("name", OTHER_CONTROLS)
def test_and_by_what_their_callers_wish(name: str):
    other = replace(REQUEST, control=replace(CacheControl(), **{name: OTHER_CONTROLS[name]}))
    assert hash(other) != hash(REQUEST)


def test_requests_that_differ_in_their_mode_alone_are_kept_apart():
    other = replace(REQUEST, control=CacheControl(mode=CacheMode.BYPASS))
    assert other != REQUEST
    assert len({other, REQUEST}) == 2


def test_many_templates_of_one_body_are_looked_up_at_once():
    requests = [replace(REQUEST, template=Template(f"t{number}")) for number in range(1000)]
    assert len({hash(request) for request in requests}) == 1000
