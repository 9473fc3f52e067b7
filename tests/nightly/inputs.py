"""What the fuzzers send: texts that are hard to read, JSON, messages as bytes, and bytes that were changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from google.protobuf.descriptor import FieldDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

from semcache.v1 import semcache_pb2 as pb

SERVICE: ServiceDescriptor = pb.DESCRIPTOR.services_by_name["SemanticCacheService"]
METHODS = {method.name: GetMessageClass(method.input_type) for method in SERVICE.methods}

PIECES = (
    *("a", "1-", "1,", "½", "ﷺ", "٣", "\u0301", "\u200b", "\U000e0041", "👩‍👩‍👧 ", "日本", "ß", "İ", "\x00", "\n"),
    *(
        "not ",
        "no ",
        "12 May ",
        "10:30 ",
        "$5 ",
        "5 km ",
        '"',
        "`",
        "```\n",
        "(",
        "[",
        "{{x}} ",
        "John Smith ",
        "e.g. ",
    ),
    *("https://a.b/c?d=e ", "a@b.c ", "1.2.3.4 ", "0x1F ", "x=1; ", "-", "%", "'", "don't "),
)
"""Pieces that the guards and the tokenizer read in ways of their own."""
_MOST_REPEATS = 3_000

words = st.sampled_from(
    (
        "what",
        "is",
        "the",
        "not",
        "price",
        "of",
        "gold",
        "in",
        "paris",
        "5",
        "12",
        "km",
        "reset",
        "password",
        "how",
        "to",
    )
)
sentences = st.lists(words, min_size=1, max_size=300).map(" ".join)
repeated = st.builds(
    lambda piece, times, other, more: piece * times + other * more,
    st.sampled_from(PIECES) | st.text(min_size=1, max_size=4),
    st.integers(1, _MOST_REPEATS),
    st.sampled_from(PIECES) | st.text(max_size=4),
    st.integers(0, _MOST_REPEATS),
)
texts = st.one_of(
    st.text(max_size=200), sentences, st.lists(st.sampled_from(PIECES), max_size=400).map("".join), repeated
)
names = st.one_of(st.text(max_size=20), st.sampled_from(("", "m", "default", "gpt-4o", "a/b", "x" * 200, "ü", "a\0b")))

numbers = st.one_of(
    st.integers(-(2**70), 2**70), st.floats(), st.sampled_from((0, -1, 2**31, 2**63, 2**64, 10**12, 1e308, 10**400))
)
scalars = st.one_of(st.none(), st.booleans(), numbers, texts, st.just("\ud800"))
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
nested = st.builds(
    lambda depth, opening: opening * depth, st.integers(1, 200), st.sampled_from(("[", '{"a":', '["a",{"b":'))
)

_ROLES = st.sampled_from(("system", "user", "assistant", "tool", "developer", "function", "", "weird")) | values
_parts = st.fixed_dictionaries(
    {"type": st.sampled_from(("text", "image_url", "input_audio", "file", "x")) | values},
    optional={"text": texts | values, "image_url": values, "detail": values},
)
_contents = st.one_of(texts, st.lists(_parts, max_size=4), values)
_messages = st.fixed_dictionaries(
    {"role": _ROLES, "content": _contents},
    optional={"name": names, "tool_calls": values, "tool_call_id": names, "refusal": values},
)
_FIELDS = (
    *("temperature", "top_p", "max_tokens", "max_completion_tokens", "n", "seed", "stop", "user", "logprobs", "tools"),
    *("top_logprobs", "tool_choice", "response_format", "stream", "stream_options", "metadata", "functions", "prompt"),
    *("presence_penalty", "logit_bias", "web_search_options", "modalities", "service_tier", "safety_identifier"),
)
bodies = st.builds(
    lambda model, messages, more: {"model": model, "messages": messages, **more},
    st.sampled_from(("m", "gpt-4o-mini")) | values,
    st.lists(_messages, max_size=5) | values,
    st.dictionaries(st.sampled_from(_FIELDS) | st.text(max_size=10), values, max_size=3),
)


def as_json(value: object) -> bytes:
    """Return JSON as a caller may write it, with NaN and lone surrogates as escapes."""
    return json.dumps(value).encode()


def plain_body(text: str, **fields: object) -> bytes:
    """Return a request that nothing is wrong with, but perhaps its text."""
    return as_json({"model": "m", "messages": [{"role": "user", "content": text}], **fields})


wide = st.builds(
    lambda piece, times: (
        b'{"model":"m","messages":[{"role":"user","content":"hi"}],"x":[%s]}' % b",".join([piece] * times)
    ),
    st.sampled_from((b"1", b"[]", b"{}", b'"a"', b'{"a":1}', b"[[]]", b"1e9", b"null")),
    st.integers(1, 100_000),
)
json_bytes = st.one_of(
    bodies.map(as_json), texts.map(plain_body), nested.map(str.encode), wide, st.binary(max_size=300)
)


@st.composite
def changed(draw: st.DrawFn, source: st.SearchStrategy[bytes], most: int = 4) -> bytes:
    """Draw bytes and change them in a few places: bits, cuts, insertions, repeats."""
    data = bytearray(draw(source))
    for _ in range(draw(st.integers(0, most))):
        at = draw(st.integers(0, len(data)))
        kind = draw(st.sampled_from(("flip", "cut", "insert", "repeat", "end")))
        if kind == "flip" and at < len(data):
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "cut":
            del data[at : at + draw(st.integers(1, 40))]
        elif kind == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=12))
        elif kind == "repeat":
            data[at:at] = data[at : at + draw(st.integers(1, 40))] * draw(st.integers(1, 20))
        elif kind == "end":
            del data[at:]
    return bytes(data)


_NUMBERS_OF = {
    FieldDescriptor.CPPTYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: st.integers(0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: st.integers(0, 2**64 - 1),
    FieldDescriptor.CPPTYPE_DOUBLE: st.floats(),
    FieldDescriptor.CPPTYPE_FLOAT: st.floats(width=32),
    FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
    FieldDescriptor.CPPTYPE_ENUM: st.integers(-1, 9),
}
_JSON_NAMES = ("json",)


def _value_of(draw: st.DrawFn, field: FieldDescriptor, depth: int) -> Any:
    if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
        return _drawn(draw, GetMessageClass(field.message_type), depth - 1)
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        if field.type == FieldDescriptor.TYPE_BYTES:
            return draw(json_bytes if field.name.endswith(_JSON_NAMES) else st.binary(max_size=50))
        text = draw(texts if field.name in {"text", "value", "content"} else names)
        return text.encode("utf-8", "replace").decode()
    return draw(_NUMBERS_OF[field.cpp_type])


def _drawn(draw: st.DrawFn, kind: type[Message], depth: int) -> Message:
    message = kind()
    fields = [field for field in kind.DESCRIPTOR.fields if depth > 0 or field.message_type is None]
    for field in fields:
        if not draw(st.booleans()):
            continue
        if field.is_repeated:
            for _ in range(draw(st.integers(0, 3))):
                value = _value_of(draw, field, depth)
                repeated_field = getattr(message, field.name)
                repeated_field.add().CopyFrom(value) if isinstance(value, Message) else repeated_field.append(value)
        else:
            value = _value_of(draw, field, depth)
            if isinstance(value, Message):
                getattr(message, field.name).CopyFrom(value)
            else:
                setattr(message, field.name, value)
    return message


@st.composite
def messages(draw: st.DrawFn) -> tuple[str, bytes]:
    """Draw a method and the bytes of a message of its type, with any fields set."""
    method = draw(st.sampled_from(sorted(METHODS)))
    return method, _drawn(draw, METHODS[method], 4).SerializeToString()


@st.composite
def message_bytes(draw: st.DrawFn) -> tuple[str, bytes]:
    """Draw a method and bytes: of such a message, changed, or no message at all."""
    method, raw = draw(messages())
    return method, draw(st.one_of(st.just(raw), changed(st.just(raw)), st.binary(max_size=300)))


def calls_of(body: bytes, namespace: str = "") -> Mapping[str, bytes]:
    """Return the calls that ask by one JSON body, by method."""
    asked = pb.Prompt(openai_json=body, namespace=namespace)
    return {
        "Complete": pb.CompleteRequest(prompt=asked).SerializeToString(),
        "CompleteStream": pb.CompleteStreamRequest(prompt=asked).SerializeToString(),
        "Lookup": pb.LookupRequest(prompt=asked).SerializeToString(),
        "Store": pb.StoreRequest(prompt=asked, text="mine").SerializeToString(),
        "Explain": pb.ExplainRequest(prompt=asked, max_candidates=5).SerializeToString(),
    }
