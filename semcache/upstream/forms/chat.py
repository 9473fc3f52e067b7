"""OpenAI's chat completions."""

from __future__ import annotations

from semcache.upstream.assembly import Assembler
from semcache.upstream.body import edit_body
from semcache.upstream.forms.form import AnswerForm
from semcache.upstream.generated import text_of_answer
from semcache.upstream.lost import read_lost
from semcache.upstream.wire import Replay, read_answer

FORM = AnswerForm(
    path="/chat/completions",
    key_header="authorization",
    headers={},
    edit=edit_body,
    read=read_answer,
    assembler=Assembler,
    replay=Replay,
    generated=text_of_answer,
    lost=read_lost,
)
