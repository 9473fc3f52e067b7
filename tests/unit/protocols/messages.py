"""Builds Anthropic's messages and their events for tests, and assembles them."""

import json

from semcache.protocols.messages.assembly import MessageAssembler

USAGE = {"input_tokens": 20, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 0, "output_tokens": 10}
TEXT = {"type": "text", "text": "Paris, as far as anyone knows."}
THOUGHT = {"type": "thinking", "thinking": "The user asks for a capital.", "signature": "c2lnbmVk"}
HIDDEN = {"type": "redacted_thinking", "data": "aGlkZGVu"}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "look_up", "input": {"word": "cache", "deep": [1, {"a": None}]}}
CITED = {"type": "text", "text": "So it says.", "citations": [{"type": "char_location", "cited_text": "so"}]}
SEARCHED = {
    "type": "web_search_tool_result",
    "tool_use_id": "s",
    "content": [{"type": "web_search_result", "url": "u"}],
}


def message(*content, **fields):
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5",
        "content": list(content),
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": USAGE,
        **fields,
    }


def body(*content, **fields):
    return json.dumps(message(*content, **fields)).encode()


def start(**fields):
    return {
        "type": "message_start",
        "message": message(stop_reason=None, usage={**USAGE, "output_tokens": 1}, **fields),
    }


def begin(index=0, **block):
    return {"type": "content_block_start", "index": index, "content_block": block or {"type": "text", "text": ""}}


def delta(index=0, kind="text_delta", **fields):
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **fields}}


def end(**fields):
    return {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None, **fields},
        "usage": {"output_tokens": 10},
    }


STOP = {"type": "message_stop"}


def assembled(events):
    assembler = MessageAssembler()
    for event in events:
        assembler.add(event if isinstance(event, bytes) else json.dumps(event).encode())
    return assembler


def whole(events):
    return json.loads(assembled(events).whole())
