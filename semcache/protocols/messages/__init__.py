"""Anthropic's messages: how their calls are sent, and how their answers are read, put together and replayed.

References: https://platform.claude.com/docs/en/api/messages and …/build-with-claude/streaming.
"""

from __future__ import annotations

from functools import partial

from semcache.protocols.body import edit_directions
from semcache.protocols.form import AnswerForm
from semcache.protocols.lost import read_lost_of
from semcache.protocols.messages.assembly import MessageAssembler
from semcache.protocols.messages.losing import LOST_MESSAGE
from semcache.protocols.messages.reading import generated_text, read_message, without_thoughts
from semcache.protocols.messages.replaying import MessageReplay

VERSION = "2023-06-01"
"""The version of the API that a call is of whose header `anthropic-version` names none."""
VERSIONS = (VERSION, "2026-10-21")
"""The versions that are spoken. They take different requests, which the upstream judges; their answers are alike."""

FORM = AnswerForm(
    path="/messages",
    key_header="x-api-key",
    headers={"anthropic-version": VERSION},
    edit=edit_directions,
    read=read_message,
    assembler=MessageAssembler,
    replay=MessageReplay,
    generated=generated_text,
    lost=partial(read_lost_of, LOST_MESSAGE),
    shared=without_thoughts,
)

__all__ = ["FORM", "VERSION", "VERSIONS"]
