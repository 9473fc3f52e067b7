"""Edits of a body change the few values that must change, and leave every other byte as it is."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semcache.errors import InvalidRequestError
from semcache.protocols.body import edit_body, edit_directions, with_model, without_field

USAGE = {"include_usage": True}


@pytest.mark.parametrize(
    ("body", "streamed", "plain"),
    [
        ('{"model":"a"}', '{"model":"b","stream":true,"stream_options":{"include_usage":true}}', '{"model":"b"}'),
        ("{}", '{"model":"b","stream":true,"stream_options":{"include_usage":true}}', '{"model":"b"}'),
        (
            ' { "model" : "a" , "x" : 1.50e3 }\n',
            ' { "model" : "b" , "x" : 1.50e3,"stream":true,"stream_options":{"include_usage":true} }\n',
            ' { "model" : "b" , "x" : 1.50e3 }\n',
        ),
        (
            '{"stream": true, "model": "a"}',
            '{"stream": true, "model": "b","stream_options":{"include_usage":true}}',
            '{"stream": false, "model": "b"}',
        ),
        (
            '{"model":"b","stream":null,"stream_options":null}',
            '{"model":"b","stream":true,"stream_options":{"include_usage":true}}',
            '{"model":"b","stream":null}',
        ),
        (
            '{"stream_options": { }, "model":"b", "stream":false}',
            '{"stream_options": {"include_usage":true }, "model":"b", "stream":true}',
            '{"model":"b", "stream":false}',
        ),
        (
            '{"model":"b","stream_options":{"other": [1] , "include_usage" : false},"stream":true}',
            "same",
            '{"model":"b","stream":false}',
        ),
        (
            '{"model":"b","stream_options":{"other": 1},"stream":true}',
            '{"model":"b","stream_options":{"other": 1,"include_usage":true},"stream":true}',
            '{"model":"b","stream":false}',
        ),
        ('{"stream_options":{"include_usage":true}}', None, '{"model":"b"}'),
        ('{"model":"\\u0062","stream":true,"stream_options":{"include_usage":true}}', "same", None),
        ('{"\\u006dodel":"a"}', None, '{"\\u006dodel":"b"}'),
        ('{"model":"b","metadata":{"model":"a","stream":true}}', None, "same"),
        ('{"model":"b","stream":true,"stream_options":7}', "same", None),
    ],
)
def test_the_least_is_changed(body, streamed, plain):
    for stream, wanted in ((True, streamed), (False, plain)):
        if wanted is not None:
            edited = edit_body(body.encode(), model="b", stream=stream).decode()
            assert edited == (body if wanted == "same" else wanted)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'"x"', b"{", b'{"a" 1}', b'{"a":1,}', b"{a:1}", b'{"a":\xff}', b'{"a":1']
)
def test_what_is_no_object_is_refused(body):
    with pytest.raises(InvalidRequestError) as caught:
        edit_body(body, model="b", stream=False)
    assert caught.value.reason == "INVALID_JSON"


def test_a_byte_order_mark_is_left_out():
    assert edit_body(b'\xef\xbb\xbf{"model":"a"}', model="b", stream=False) == b'{"model":"b"}'


def test_a_stream_that_isnt_asked_for_its_usage_keeps_the_callers_options():
    for body in (
        b'{"model":"b","stream":true}',
        b'{"model":"b","stream":true,"stream_options":{"include_usage":true}}',
    ):
        assert edit_body(body, model="b", stream=True, asks_usage=False) == body


def test_a_key_that_is_named_twice_is_refused():
    with pytest.raises(InvalidRequestError) as caught:
        edit_body(b'{"model":"a","model":"b"}', model="c", stream=False)
    assert caught.value.reason == "DUPLICATE_KEY"


def test_nesting_beyond_the_parsers_reach_is_refused():
    with pytest.raises(InvalidRequestError):
        edit_body(b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}", model="c", stream=False)


_spaces = st.sampled_from(["", " ", "\n  ", "\t", "\r\n"])
_numbers = st.sampled_from(["1", "-0", "1.50", "1e5", "1E+2", "12345678901234567890", "0.1000"])
_values = st.recursive(
    st.one_of(
        _numbers,
        st.sampled_from(["true", "false", "null", '"\\u00e9"', '"\\/"', '"\\ud83d\\ude00"']),
        st.text(st.characters(codec="utf-8"), max_size=8).map(lambda text: json.dumps(text, ensure_ascii=False)),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: "[ " + " , ".join(items) + "]"),
        st.lists(st.tuples(st.sampled_from(["x", "y", "z"]), inner), max_size=3, unique_by=lambda pair: pair[0]).map(
            lambda pairs: "{" + ", ".join(f'"{key}" : {value}' for key, value in pairs) + " }"
        ),
    ),
    max_leaves=6,
)
_members = st.fixed_dictionaries(
    {},
    optional={
        "model": st.sampled_from(['"a"', '"b"', "null"]),
        "stream": st.sampled_from(["true", "false", "null"]),
        "stream_options": st.sampled_from(
            ["null", "{}", '{"include_usage": false}', '{"include_usage":true , "k": 1}']
        ),
        "messages": _values,
        "temperature": _numbers,
        "tools": _values,
        "ü": _values,
    },
)


@st.composite
def bodies(draw):
    """Draw an object's text in any order and spacing, and the texts of its members that must stay, in that order."""
    members = draw(_members)
    names = draw(st.permutations(list(members)))
    spell = [f'{draw(_spaces)}"{name}"{draw(_spaces)}:{draw(_spaces)}{members[name]}' for name in names]
    untouched = [text.lstrip() for name, text in zip(names, spell, strict=True) if name in {"messages", "tools", "ü"}]
    return f"{draw(_spaces)}{{{','.join(spell)}{draw(_spaces)}}}{draw(_spaces)}", untouched


@given(bodies(), st.booleans(), st.sampled_from(["a", "b", 'quo"te', "ü/ö"]))
def test_the_edit_and_nothing_else(made, stream, model):
    body, untouched = made
    before = json.loads(body)
    edited = edit_body(body.encode(), model=model, stream=stream).decode()
    after = json.loads(edited)
    wanted = {**before, "model": model}
    if stream:
        wanted |= {"stream": True, "stream_options": {**USAGE, **(before.get("stream_options") or {})}}
    else:
        wanted.pop("stream_options", None)
        if before.get("stream"):
            wanted["stream"] = False
    assert after == wanted
    # Members keep their order, and those that must stay keep their spelling.
    assert [name for name in after if name in before] == [name for name in before if name in after]
    position = 0
    for text in untouched:
        position = edited.index(text, position) + len(text)
    # A second edit changes nothing.
    assert edit_body(edited.encode(), model=model, stream=stream).decode() == edited


@given(bodies())
def test_a_body_that_is_right_already_is_the_same_bytes(made):
    body, _ = made
    fields = json.loads(body)
    if fields.get("stream") or "stream_options" in fields or not isinstance(fields.get("model"), str):
        return
    assert edit_body(body.encode(), model=fields["model"], stream=False) == body.encode()


@pytest.mark.parametrize(
    ("body", "left"),
    [
        (b'{"cache": 1, "a": 2}', b'{"a": 2}'),
        (b'{"a": 1e3,  "cache" : {"ttl": 1} , "b": 2}', b'{"a": 1e3 , "b": 2}'),
        (b'{"a": 1, "cache": 1}', b'{"a": 1}'),
        (b'{"cache": 1}', b"{}"),
        (b'{"c\\u0061che": 1, "a": 2}', b'{"a": 2}'),
        (b'{"a": {"cache": 1}}', b'{"a": {"cache": 1}}'),
        (b'\xef\xbb\xbf{"a": 1, "cache": 1}', b'{"a": 1}'),
    ],
)
def test_a_field_is_taken_out_and_every_other_byte_stays(body: bytes, left: bytes) -> None:
    assert without_field(body, "cache") == left


@pytest.mark.parametrize(
    ("body", "streamed", "plain"),
    [
        ('{"model":"a"}', '{"model":"b","stream":true}', '{"model":"b"}'),
        ('{ "stream" : true, "model":"a"}', '{ "stream" : true, "model":"b"}', '{ "stream" : false, "model":"b"}'),
        ('{"model":"b","stream":false}', '{"model":"b","stream":true}', '{"model":"b","stream":false}'),
        ('{"model":"b","stream_options":{}}', '{"model":"b","stream_options":{},"stream":true}', "same"),
    ],
)
def test_where_streams_tell_their_usage_unasked_nothing_asks_for_it(body, streamed, plain):
    for stream, wanted in ((True, streamed), (False, plain)):
        edited = edit_directions(body.encode(), model="b", stream=stream).decode()
        assert edited == (body if wanted == "same" else wanted)


@pytest.mark.parametrize("body", [b"[]", b'{"a":1,"a":2}', b"\xff"])
def test_directions_need_a_body_that_can_be_read(body):
    with pytest.raises(InvalidRequestError):
        edit_directions(body, model="b", stream=False)


@pytest.mark.parametrize(
    ("body", "edited"),
    [
        (b'{"model": "a", "n" : 1.0}', b'{"model": "b", "n" : 1.0}'),
        (b'{ "n":1 }', b'{ "n":1,"model":"b" }'),
        (b'{"stream":true,"model":"b"}', b'{"stream":true,"model":"b"}'),
    ],
)
def test_only_the_model_is_replaced(body, edited):
    assert with_model(body, "b") == edited


def test_a_body_with_two_models_is_refused():
    with pytest.raises(InvalidRequestError) as caught:
        with_model(b'{"model":"a","model":"c"}', "b")
    assert caught.value.reason == "DUPLICATE_KEY"
