"""Anthropic's messages of any form: requests, answers and events are read, or refused with an error that says so."""

import json

from hypothesis import given
from hypothesis import strategies as st

from semcache.errors import InvalidRequestError, UpstreamError
from semcache.model import ApiProtocol
from semcache.protocols.lost import ReceivedBody
from semcache.protocols.messages import FORM
from semcache.request.forms.messages import FIELDS
from semcache.server.http.protocols import named_event, without_usage
from tests.unit.request.keys import key, keying

NAMES = st.sampled_from(
    [
        *("type", "message", "content", "index", "delta", "usage", "text", "thinking", "signature", "citations"),
        *("citation", "error", "content_block", "input", "partial_json", "stop_reason", "stop_sequence", "model"),
        *("input_tokens", "output_tokens", "id", "role", "tools", "system", "tool_use_id", "cache_control", "source"),
    ]
)
WORDS = st.sampled_from(
    [
        *("message_start", "message_delta", "message_stop", "content_block_start", "content_block_delta", "ping"),
        *("content_block_stop", "error", "text", "text_delta", "thinking", "thinking_delta", "input_json_delta"),
        *("signature_delta", "citations_delta", "tool_use", "tool_result", "image", "user", "assistant", "any"),
        *("overloaded_error", "end_turn", "\ud800"),
    ]
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 2) | st.floats() | WORDS | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
BLOCK = st.fixed_dictionaries({"type": WORDS}, optional={"text": ANYTHING, "input": ANYTHING, "content": ANYTHING})
ANSWER = st.fixed_dictionaries(
    {"content": st.lists(BLOCK | ANYTHING, max_size=3) | ANYTHING},
    optional={"usage": ANYTHING, "model": ANYTHING, "stop_reason": ANYTHING, "id": ANYTHING},
)
EVENT = st.one_of(
    st.just({"type": "message_start", "message": {"content": [], "usage": {"input_tokens": 1}}}),
    st.fixed_dictionaries({"type": st.just("message_start"), "message": ANYTHING}),
    st.fixed_dictionaries({"type": st.just("content_block_start"), "index": st.integers(0, 2), "content_block": BLOCK}),
    st.fixed_dictionaries({"type": st.just("content_block_delta"), "index": st.integers(0, 2), "delta": ANYTHING}),
    st.fixed_dictionaries({"type": st.just("message_delta"), "delta": ANYTHING, "usage": ANYTHING}),
    st.just({"type": "message_stop"}),
    st.dictionaries(NAMES, ANYTHING, max_size=4),
)
REQUEST = st.dictionaries(st.sampled_from(sorted(FIELDS)), ANYTHING, max_size=5)
MESSAGES = st.lists(
    st.fixed_dictionaries({"role": WORDS, "content": st.lists(BLOCK, max_size=3) | ANYTHING}), max_size=3
)
KEYING = keying()


def raw(value):
    return json.dumps(value).encode()


def use(body):
    """Do with an answer that was read all that is done with one."""
    events = list(FORM.replay(body).chunks(include_usage=True))
    assert events[-1] == b'{"type":"message_stop"}'
    for event in events:
        named_event(without_usage(event))
    FORM.generated(body)
    FORM.read(FORM.shared(body))


@given(ANSWER)
def test_any_answer_is_read_or_refused(value):
    body = raw(value)
    FORM.lost(ReceivedBody(begun=True, pieces=[body]), "m")
    try:
        FORM.read(body, target_model="m")
    except UpstreamError:
        return
    use(body)


@given(ANSWER, st.integers(0, 400))
def test_any_answer_that_is_cut_is_counted(value, size):
    FORM.lost(ReceivedBody(begun=True, pieces=[raw(value)[:size]], declared_bytes=10_000), "m")


@given(st.lists(EVENT, max_size=8))
def test_any_stream_is_assembled_or_refused(events):
    assembler, passed = FORM.assembler(), []
    try:
        for event in events:
            assembler.add(raw(event))
            passed.append(raw(event))
            named_event(raw(event))
    except UpstreamError:
        pass
    FORM.lost(ReceivedBody(begun=True, chunks=passed), "m")
    assert assembler.flaw in {"", "not_mergeable"}
    body = assembler.whole()
    try:
        FORM.read(body)
    except UpstreamError:
        return
    use(body)


@given(REQUEST, MESSAGES)
def test_any_request_is_keyed_or_refused(fields, messages):
    body = {"model": "m", **fields, **({"messages": messages} if messages else {})}
    try:
        keyed = key(raw(body), by=KEYING, protocol=ApiProtocol.MESSAGES)
    except InvalidRequestError:
        return
    assert keyed.exact_key == key(raw(body), by=KEYING, protocol=ApiProtocol.MESSAGES).exact_key
