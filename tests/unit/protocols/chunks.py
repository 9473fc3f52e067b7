"""Builds the chunks of streams for tests, and assembles them."""

import json

from semcache.protocols.assembly import Assembler

OSLO, ROME = '{"city": "Oslo"}', '{"city": "Rome"}'


def chunk(index=0, finish_reason=None, **delta):
    return {"choices": [{"index": index, "delta": delta, "finish_reason": finish_reason}]}


def assembled(chunks):
    assembler = Assembler()
    for value in chunks:
        assembler.add(value if isinstance(value, bytes) else json.dumps(value).encode())
    return assembler


def message_of(assembler):
    return json.loads(assembler.whole())["choices"][0]["message"]


def part(name=None, arguments=None, **fields):
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    return {**fields, "function": function} if function else fields
