"""OpenAI's embeddings: https://platform.openai.com/docs/api-reference/embeddings/create.

A request of several inputs is asked input by input, so that each is found again beside any others. A body here has
one input: a text, or the tokens of one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from semcache.request.fields import Field, Role, end_user, is_integer, is_string, partition
from semcache.request.forms.form import BodyForm, Conversation, Demands, Wishes, refuse

_CHARS_PER_TOKEN = 4
"""Of a text that came as tokens: the rule of thumb for English."""

FIELDS: Mapping[str, Field] = {
    "input": Field(Role.KEY, lambda _: True),
    "model": partition(is_string),
    "dimensions": partition(is_integer),
    "encoding_format": partition(is_string),
    "user": end_user(),
}


def inputs_of(fields: Mapping[str, Any]) -> tuple[bytes, list[object]]:
    """Divide a request into its inputs.

    Args:
        fields: of the whole body, without null fields.

    Returns:
        The beginning of the body of each input, behind which its JSON and a brace follow; and the inputs in order, each
        a text or a list of tokens.

    Raises:
        InvalidRequestError: EMPTY_INPUT, or INVALID_PARAMETER for an input that is no text and no list of tokens.
    """
    given = fields.get("input")
    inputs = given if isinstance(given, list) and given and not _is_tokens(given) else [given]
    for each in inputs:
        _check(each)
    rest = {name: value for name, value in fields.items() if name != "input"}
    beginning = json.dumps(rest, separators=(",", ":")).encode()
    return beginning[:-1] + (b',"input":' if rest else b'"input":'), inputs


def _read(fields: Mapping[str, Any]) -> Conversation:
    given: Any = fields.get("input")
    _check(given)
    if isinstance(given, str):
        return Conversation([{"role": "user", "content": given}], len(given))
    return Conversation([{"role": "user", "tokens": given}], _CHARS_PER_TOKEN * len(given))


def _wishes(fields: Mapping[str, Any]) -> Wishes:
    del fields
    return Wishes(output_limit=0)


def _demands(fields: Mapping[str, Any], conversation: Conversation) -> Demands:
    del fields, conversation
    # A vector is a function of its text. That of a similar text is another one.
    return Demands(exact_alone="embeddings", is_function=True)


def _is_tokens(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(type(token) is int for token in value)


def _check(given: object) -> None:
    if given in (None, "", []):
        refuse("An input is empty.", "EMPTY_INPUT", hint="Send a text, or a list of texts.", field="input")
    if not isinstance(given, str) and not _is_tokens(given):
        refuse("Each input must be a text or a list of tokens.", "INVALID_PARAMETER", field="input")


FORM = BodyForm(FIELDS, frozenset(), _read, _wishes, _demands)
