"""OpenAI's chat completions."""

from __future__ import annotations

from semcache.protocols.assembly import Assembler
from semcache.protocols.body import edit_body
from semcache.protocols.form import AnswerForm
from semcache.protocols.generated import text_of_answer
from semcache.protocols.lost import read_lost
from semcache.protocols.wire import CompletionReplay, read_answer

FORM = AnswerForm(
    path="/chat/completions",
    key_header="authorization",
    headers={},
    edit=edit_body,
    read=read_answer,
    assembler=Assembler,
    replay=CompletionReplay,
    generated=text_of_answer,
    lost=read_lost,
)
