"""OpenAI's embeddings: an answer that isn't streamed, and has a vector in place of text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from semcache.model import Answer, LostAnswer, Usage
from semcache.protocols.body import edit_body
from semcache.protocols.form import AnswerForm
from semcache.protocols.lost import ReceivedBody
from semcache.protocols.usage import completion_usage
from semcache.protocols.wire import dump, read_json, refuse, well_formed


def joined_body(bodies: Sequence[bytes]) -> tuple[bytes, list[int]]:
    """Join the bodies of one input each, which have all other fields in common.

    Returns:
        The one body, and the size of each input: the characters of a text, or the number of tokens.
    """
    fields = [json.loads(body) for body in bodies]
    inputs = [each["input"] for each in fields]
    return dump({**fields[0], "input": inputs}), [len(given) for given in inputs]


def divide(answer: Answer, weights: Sequence[int]) -> list[Answer]:
    """Divide the answer of several inputs into one for each, with its share of the usage.

    The shares are in proportion to the weights, and add up to the whole.

    Args:
        answer: the whole answer.
        weights: the size of each input, 1 or more, in the inputs' order.

    Raises:
        UpstreamError: the answer has another number of vectors.
    """
    value = json.loads(answer.body.decode("utf-8-sig"))
    vectors = sorted(value["data"], key=lambda vector: vector["index"])
    if [vector["index"] for vector in vectors] != list(range(len(weights))):
        refuse(f"{len(vectors)} embeddings for {len(weights)} inputs", answer.body)
    shares = _shares(answer.usage.input_tokens, weights)
    return [
        _of_one(answer, value, vector, share, is_first=position == 0)
        for position, (vector, share) in enumerate(zip(vectors, shares, strict=True))
    ]


def _of_one(
    answer: Answer, value: Mapping[str, Any], vector: Mapping[str, Any], tokens: int, *, is_first: bool
) -> Answer:
    # What isn't counted in tokens of input, such as a fee for the call, is the first one's.
    whole = answer.usage
    usage = whole if is_first else Usage(estimated=whole.estimated, service_tier=whole.service_tier)
    own = {**value, "data": [{**vector, "index": 0}]}
    if isinstance(value.get("usage"), dict):
        own["usage"] = {**value["usage"], "prompt_tokens": tokens, "total_tokens": tokens}
    usage = usage._replace(input_tokens=tokens, cached_input_tokens=0)
    return replace(answer, body=dump(own), usage=usage)


def _shares(total: int, weights: Sequence[int]) -> list[int]:
    """Return whole numbers in proportion to the weights that add up to the total, each at least 1 where it allows."""
    least = 1 if total >= len(weights) else 0  # A share of 0 would count as one that wasn't told.
    rest = total - least * len(weights)
    shares, given, passed, sum_of_weights = [], 0, 0, sum(weights)
    for weight in weights:
        passed += weight
        upto = rest * passed // sum_of_weights
        shares.append(least + upto - given)
        given = upto
    return shares


def _edit(body: bytes, *, model: str, stream: bool, asks_usage: bool = True) -> bytes:
    del stream, asks_usage
    return edit_body(body, model=model, stream=False)


def _read(body: bytes, *, target_model: str = "") -> Answer:
    value = read_json(body, "an answer")
    data = value.get("data")
    if not isinstance(data, list) or not data or not all(_is_vector(vector) for vector in data):
        refuse("an answer without embeddings", body)
    model = value.get("model")
    usage = completion_usage(value)
    return Answer(
        body=body,
        model=well_formed(model) if isinstance(model, str) and model else target_model,
        finish_reason="stop",
        # Nothing is generated, so a count of the input is the whole usage.
        usage=usage._replace(output_tokens=0, estimated=not usage.input_tokens),
        target_model=target_model,
    )


def _is_vector(vector: object) -> bool:
    """Whether an item of the data is a vector, as numbers or as base64, with its position."""
    return (
        isinstance(vector, dict)
        and type(vector.get("index")) is int
        and isinstance(vector.get("embedding"), list | str)
        and bool(vector["embedding"])
    )


class _OneEvent:
    """The stream of an answer that isn't streamed: its one event is the whole answer."""

    def __init__(self) -> None:
        self._body = b""
        self.flaw = ""

    def add(self, chunk: bytes) -> None:
        _read(chunk)
        self._body = chunk

    def finish(self) -> None:
        """Do nothing: the event has said all."""

    @property
    def is_complete(self) -> bool:
        return bool(self._body)

    @property
    def is_over(self) -> bool:
        return self.is_complete

    def whole(self) -> bytes:
        return self._body


class _WholeReplay:
    """The answer as its one event."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    @property
    def size_bytes(self) -> int:
        return len(self._body)

    def chunks(self, *, include_usage: bool) -> Iterator[bytes]:
        del include_usage
        yield self._body


def _generated(body: bytes) -> str:
    del body
    return ""


def _lost(received: ReceivedBody, target_model: str) -> LostAnswer | None:
    """Return the charge of an answer of which anything came: its input, which the caller estimates."""
    return LostAnswer(target_model, Usage(estimated=True)) if received.begun else None


FORM = AnswerForm(
    path="/embeddings",
    key_header="authorization",
    headers={},
    edit=_edit,
    read=_read,
    assembler=_OneEvent,
    replay=_WholeReplay,
    generated=_generated,
    lost=_lost,
)
