"""Bodies with very many values are refused before they are read; long ones are told from short ones by their size."""

import json

import pytest

from semcache.errors import InvalidRequestError
from semcache.request import check_values, is_long
from semcache.request.parsing import parse_body
from semcache.settings import LimitSettings

LIMITS = LimitSettings(values=100)
HEAD = b'{"model":"m","messages":[{"role":"user","content":"a"}]'


def around(item: bytes, count: int) -> bytes:
    return HEAD + b',"x":[' + b",".join([item] * count) + b"]}"


@pytest.mark.parametrize(
    "body",
    [
        around(b"1", 200),
        around(b"[]", 200),
        around(b"[[[]]]", 60),
        around(b'{"a":1}', 200),
        around(b'""', 200),
        around(rb'"\\"', 200),
        around(rb'"\""', 200),
        HEAD + b"," + b",".join(b'"k%d":1' % number for number in range(200)) + b"}",
        b'{"model":"m","messages":[' + b",".join([b'{"role":"user","content":"a"}'] * 200) + b"]}",
        b"[" * 1_000,
        b"," * 1_000,
    ],
    ids=lambda body: body[-24:].decode(),
)
def test_a_body_with_too_many_values_is_refused(body: bytes):
    with pytest.raises(InvalidRequestError, match="more than 100 JSON values") as caught:
        parse_body(body, LIMITS)
    assert caught.value.reason == "TOO_MANY_VALUES"


@pytest.mark.parametrize("text", [",[{" * 500, '"' * 150, "\\" * 500, '\\",[' * 40, "{}" * 500])
def test_signs_within_texts_are_no_values(text: str):
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": text}]}).encode()
    assert parse_body(body, LIMITS).messages[0]["content"] == text


def test_as_many_values_as_are_allowed_are_read():
    assert len(parse_body(around(b"1", 80), LIMITS).fields["x"]) == 80


def test_the_error_says_what_has_too_many():
    with pytest.raises(InvalidRequestError, match="The answer has more"):
        check_values(around(b"1", 200), LIMITS, "The answer")


def test_a_long_body_is_told_by_its_size():
    assert not is_long(b"x" * 1_024)
    assert is_long(b"x" * 1_025)
