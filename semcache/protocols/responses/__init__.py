"""OpenAI's responses: https://platform.openai.com/docs/api-reference/responses.

- `reading.py` reads a whole answer, its usage and its text, and an error that it reports.
- `assembly.py` takes the whole answer out of a stream, and reads what came of one that broke off.
- `replay.py` replays a whole answer as a stream.
"""

from __future__ import annotations

from semcache.protocols.body import edit_directions
from semcache.protocols.form import AnswerForm
from semcache.protocols.responses.assembly import ResponseAssembler, read_lost_response
from semcache.protocols.responses.reading import read_response, text_of_response
from semcache.protocols.responses.replay import ResponseReplay

FORM = AnswerForm(
    path="/responses",
    key_header="authorization",
    headers={},
    edit=edit_directions,
    read=read_response,
    assembler=ResponseAssembler,
    replay=ResponseReplay,
    generated=text_of_response,
    lost=read_lost_response,
)
