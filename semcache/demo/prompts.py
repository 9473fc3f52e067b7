"""Reads the demo's requests and their labels, from the package's file or from the user's."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, NoReturn

from semcache.errors import InvalidRequestError

DEFAULT_MODEL = "gpt-4o-mini"
UNLABELLED = "unlabelled"
KINDS = ("first", "repeat", "reworded", "trap", "conversation", "live", UNLABELLED)
"""The kinds of requests. A request may name an earlier one (`of`).

- first: the first question about a topic.
- repeat: equal to the named request, word for word.
- reworded: the question of the named request in other words.
- trap: similar to the named request, but with another answer.
- conversation: several turns. One that names another has its last message, but another answer.
- live: its answer is outdated at once, so it must not be cached.
- unlabelled: a user's own prompt, about which nothing is known.
"""

_FIELDS = frozenset(
    {"id", "topic", "kind", "model", "system", "prompt", "messages", "of", "same_answer", "differs_in", "stream"}
)
_RELATED = {"repeat": True, "reworded": True, "trap": False}
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,127}")
_HINT = "A line is a prompt, or a JSON object with an id and a prompt or messages."


@dataclass(frozen=True, slots=True)
class DemoRequest:
    """One request of the demo.

    Attributes:
        request_id: an id that is unique in the file.
        topic: the topic; empty if unknown.
        kind: one of `KINDS`.
        model: the requested model alias.
        messages: the messages in OpenAI's form, in order.
        of: the id of an earlier request that it repeats or resembles; empty for none.
        same_answer: whether the answer to `of` answers this request too; None without `of`.
        differs_in: how a trap differs from `of`: number, negation, direction, entity, conversation, other.
        stream: whether the answer is requested as a stream.
    """

    request_id: str
    topic: str
    kind: str
    model: str
    messages: tuple[Mapping[str, str], ...]
    of: str = ""
    same_answer: bool | None = None
    differs_in: str = ""
    stream: bool = False

    @property
    def asked(self) -> str:
        """The text of the last message, which is the question to show."""
        return self.messages[-1]["content"]

    @property
    def body(self) -> bytes:
        """The OpenAI request body, as JSON."""
        fields: dict[str, Any] = {"model": self.model, "messages": self.messages}
        if self.stream:
            fields["stream"] = True
        return json.dumps(fields, ensure_ascii=False).encode()


def load_prompts(path: Path | None = None) -> tuple[DemoRequest, ...]:
    """Return the requests of a file, in order; without a path, those of the package's file.

    A line that begins with `{` is a JSON object with the fields of the package's file, of which only a prompt or
    messages are required. Any other line is a prompt. Empty lines are skipped.

    Raises:
        InvalidRequestError: BAD_PROMPTS; the message names the line.
    """
    source = str(path) if path else "prompts.jsonl"
    try:
        text = path.read_text("utf-8") if path else _packaged()
    except OSError as error:
        _refuse(f"{source} can't be read: {error.strerror}.")
    except UnicodeDecodeError:
        _refuse(f"{source} is not UTF-8 text.")
    lines = [(number, line.strip()) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    requests = tuple(_request(f"{source}:{number}", f"line-{number}", line) for number, line in lines)
    if not requests:
        _refuse(f"{source} holds no prompts.")
    _check_references(source, requests)
    return requests


def answer_groups(requests: Iterable[DemoRequest]) -> dict[str, str]:
    """Return, by request id, the id of the first request that has the same answer; unlabelled requests are left out.

    Groups follow `same_answer` from request to request: the repeat of a trap belongs to the trap's group, and not to
    that of the request that the trap resembles.
    """
    groups: dict[str, str] = {}
    for request in requests:
        if request.kind != UNLABELLED:
            groups[request.request_id] = groups[request.of] if request.same_answer else request.request_id
    return groups


def _packaged() -> str:
    return resources.files("semcache.demo").joinpath("prompts.jsonl").read_text("utf-8")


def _request(where: str, default_id: str, line: str) -> DemoRequest:
    if not line.startswith("{"):
        return DemoRequest(default_id, "", UNLABELLED, DEFAULT_MODEL, ({"role": "user", "content": line},))
    try:
        fields = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        _refuse(f"{where} is not JSON: {error}.")
    unknown = sorted(fields.keys() - _FIELDS)
    if unknown:
        _refuse(f"{where} has the unknown field {unknown[0]!r}.", f"Known fields: {', '.join(sorted(_FIELDS))}.")
    of, same = _text(where, fields, "of"), fields.get("same_answer")
    if (of != "") != isinstance(same, bool):
        _refuse(f"{where}: of and same_answer (true or false) go together.")
    kind = _text(where, fields, "kind") or (UNLABELLED if same is None else "reworded" if same else "trap")
    if kind not in KINDS:
        _refuse(f"{where} has the unknown kind {kind!r}.", f"Known kinds: {', '.join(KINDS)}.")
    if _RELATED.get(kind, same) is not same or (kind in {"first", UNLABELLED} and of):
        _refuse(f"{where}: a {kind} can't have of {of!r} and same_answer {json.dumps(same)}.")
    if not isinstance(fields.get("stream", False), bool):
        _refuse(f"{where}: stream must be true or false.")
    model = _text(where, fields, "model") or DEFAULT_MODEL
    if not _MODEL.fullmatch(model):
        _refuse(f"{where}: {model[:40]!r} can't be a model's name.")
    return DemoRequest(
        request_id=_text(where, fields, "id") or default_id,
        topic=_text(where, fields, "topic"),
        kind=kind,
        model=model,
        messages=_messages(where, fields),
        of=of,
        same_answer=same,
        differs_in=_text(where, fields, "differs_in"),
        stream=fields.get("stream", False),
    )


def _text(where: str, fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name, "")
    if not isinstance(value, str):
        _refuse(f"{where}: {name} must be a string.")
    return value


def _messages(where: str, fields: Mapping[str, Any]) -> tuple[Mapping[str, str], ...]:
    if ("prompt" in fields) == ("messages" in fields):
        _refuse(f"{where} must have either a prompt or messages.")
    system, prompt = _text(where, fields, "system"), _text(where, fields, "prompt")
    head = [{"role": "system", "content": system}] if system else []
    if "prompt" in fields:
        if not prompt.strip():
            _refuse(f"{where} has an empty prompt.")
        return (*head, {"role": "user", "content": prompt})
    messages = fields["messages"]
    if not isinstance(messages, list) or not messages or not all(_is_message(message) for message in messages):
        _refuse(f"{where}: messages must be a list of objects with a role and a content, both strings.")
    return (*head, *messages)


def _is_message(message: object) -> bool:
    return isinstance(message, dict) and message.keys() == {"role", "content"} and all(map(_is_text, message.values()))


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _check_references(source: str, requests: Sequence[DemoRequest]) -> None:
    seen: dict[str, DemoRequest] = {}
    for request in requests:
        if request.request_id in seen:
            _refuse(f"{source} has the id {request.request_id!r} twice.")
        if request.of and request.of not in seen:
            _refuse(f"{source}: {request.request_id!r} is of {request.of!r}, which no earlier line holds.")
        if request.of and seen[request.of].kind == UNLABELLED:
            _refuse(f"{source}: {request.request_id!r} is of {request.of!r}, which has no kind.", 'Give it "first".')
        seen[request.request_id] = request


def _refuse(message: str, hint: str = _HINT) -> NoReturn:
    raise InvalidRequestError(message, reason="BAD_PROMPTS", hint=hint)
