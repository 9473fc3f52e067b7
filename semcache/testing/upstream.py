"""A scripted upstream in the same process, for tests that need no socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from semcache.errors import OverLimitError, UnknownModelError, UpstreamError
from semcache.model import NORMAL, Answer, ApiProtocol, PassedCall, PassedReply, UpstreamCall, Usage, text_of
from semcache.protocols import FORMS, AnswerForm
from semcache.protocols.body import with_model
from semcache.protocols.lost import ReceivedBody
from semcache.testing.messages import message_body, text_events
from semcache.testing.responses import in_pieces, input_text, response_body

_ROUTE = "scripted"
DEFAULT_USAGE = Usage(input_tokens=20, output_tokens=10)


@dataclass(frozen=True, slots=True)
class Scripted:
    """The answer of one call, by script.

    Attributes:
        text: the text of the answer.
        finish_reason: why the answer ended.
        usage: the usage that the upstream reports; None: it reports none.
        model: the model that answers; empty: the one that was asked for.
        tool_calls: the tool calls of the answer in its protocol's form, which then has no text.
        gate: the call waits for it before anything is answered.
        error: raised instead of an answer, after the gate.
        pieces: the texts of a stream's chunks; empty: the replay cuts the answer.
        piece_gates: the stream waits for each before the chunk at the same position; later chunks don't wait.
        break_after: chunks after which a stream raises `error`, or breaks off when there is none; None: never.
        body: the whole completion, in place of the fields that would make it.
    """

    text: str = "An answer."
    finish_reason: str = "stop"
    usage: Usage | None = DEFAULT_USAGE
    model: str = ""
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    gate: asyncio.Event | None = None
    error: Exception | None = None
    pieces: tuple[str, ...] = ()
    piece_gates: Sequence[asyncio.Event | None] = ()
    break_after: int | None = None
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class ScriptedReply:
    """The answer to each passed call, by script.

    Attributes:
        status: the HTTP status.
        headers: those that the caller gets.
        pieces: the body.
        error: raised instead of an answer.
        break_after: pieces after which the body breaks off; None: it is whole.
    """

    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = ((b"content-type", b"application/json"),)
    pieces: tuple[bytes, ...] = (b"{}",)
    error: Exception | None = None
    break_after: int | None = None


Answers = Callable[[UpstreamCall], Scripted | str] | Mapping[str, Scripted | str]


class ScriptedUpstream:
    """`ports.Upstream` by script; it records its calls.

    Args:
        answers: a function of the call, or a table by the last user message (`prompt_of`). A message that the table
            doesn't have gets "Answer to: " and the prompt.
        models: aliases and the models behind them; None: every alias is its own model.

    Attributes:
        calls: every call, in order of arrival.
        passed: every call that was passed through, with the model that its target is asked for.
        reply: the answer to these.
        running: calls that have begun and not ended.
        cancelled: calls that their caller abandoned.
        closed: whether `close` was called.
        pressed: the last argument of `press_budget`.
        mode: the degraded mode, for a test to set.
    """

    def __init__(self, answers: Answers | None = None, *, models: Mapping[str, str] | None = None) -> None:
        self.answers: Answers = answers if answers is not None else {}
        self.routes = models
        self.calls: list[UpstreamCall] = []
        self.passed: list[PassedCall] = []
        self.reply = ScriptedReply()
        self.running = 0
        self.cancelled = 0
        self.closed = False
        self.pressed = False
        self.mode = NORMAL
        self._arrived = asyncio.Condition()

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """The parsed bodies of the calls."""
        return [json.loads(call.body) for call in self.calls]

    async def called(self, count: int = 1) -> None:
        """Wait until `count` calls have come."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self.calls) >= count)

    def models(self, alias: str) -> frozenset[str] | None:
        """Return the model behind an alias by the table; None where the table doesn't have the alias."""
        if self.routes is None:
            return frozenset({alias})
        return frozenset({self.routes[alias]}) if alias in self.routes else None

    def candidates(
        self, alias: str, *, task_type: str = "", complexity: str = "", degraded: bool = False
    ) -> tuple[str, ...]:
        """Return the models behind an alias by the table, for any call."""
        del task_type, complexity, degraded
        return tuple(self.models(alias) or ())

    def targets_of(self, model: str) -> frozenset[str]:
        """Return the one name that answers carry as their route."""
        del model
        return frozenset({_ROUTE})

    def press_budget(self, *, pressed: bool) -> None:
        """Record it."""
        self.pressed = pressed

    async def complete(self, call: UpstreamCall) -> Answer:
        """Return the scripted answer in one piece."""
        scripted, answer = await self._begin(call)
        try:
            await _wait_for(scripted.gate)
            if scripted.error is not None or scripted.break_after is not None:
                raise scripted.error or _broken()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        else:
            return answer
        finally:
            self.running -= 1

    async def stream(self, call: UpstreamCall) -> AsyncGenerator[bytes | Answer, None]:
        """Yield the scripted answer in chunks, then the whole Answer."""
        scripted, answer = await self._begin(call)
        chunks: list[bytes] = []
        whole = False
        try:
            await _wait_for(scripted.gate)
            if scripted.error is not None and scripted.break_after is None:
                raise scripted.error
            form = FORMS[call.protocol]
            assembler = form.assembler()
            gates = iter(scripted.piece_gates)
            for number, chunk in enumerate(_chunks(scripted, answer, form, call.protocol)):
                if number == scripted.break_after:
                    raise scripted.error or _broken()
                await _wait_for(next(gates, None))
                assembler.add(chunk)
                chunks.append(chunk)
                yield chunk
            if scripted.break_after is not None:
                raise scripted.error or _broken()
            whole = True
            read = form.read(assembler.whole(), target_model=answer.target_model)
            yield replace(read, route=answer.route, flaw=assembler.flaw or read.flaw)
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
            if not whole:
                lost = FORMS[call.protocol].lost(ReceivedBody(chunks=chunks), answer.target_model)
                call.lost.extend([] if lost is None else [replace(lost, route=answer.route)])

    @asynccontextmanager
    async def pass_on(self, call: PassedCall) -> AsyncIterator[PassedReply]:
        """Yield the scripted reply."""
        models = self.models(call.alias) if call.alias else frozenset({""})
        if models is None:
            raise UnknownModelError(f"No route serves the model {call.alias!r}.")
        (model,) = models
        self.passed.append(replace(call, body=with_model(call.body, model)) if call.alias else call)
        reply = self.reply
        if reply.error is not None:
            raise reply.error
        yield PassedReply(_ROUTE, reply.status, reply.headers, _pieces_of(reply))

    async def close(self) -> None:
        """Record that it was closed."""
        self.closed = True

    async def _begin(self, call: UpstreamCall) -> tuple[Scripted, Answer]:
        models = self.models(call.alias)
        if models is None:
            raise UnknownModelError(f"No route serves the model {call.alias!r}.")
        (model,) = models
        if model in call.barred:
            raise OverLimitError(f"A budget bars the model {model!r}.", reason="MODELS_BARRED")
        scripted = self._script(call)
        body = scripted.body or _BUILDERS[call.protocol](scripted, scripted.model or model)
        self.running += 1
        async with self._arrived:
            self.calls.append(call)
            self._arrived.notify_all()
        return scripted, replace(FORMS[call.protocol].read(body, target_model=model), route=_ROUTE)

    def _script(self, call: UpstreamCall) -> Scripted:
        prompt = prompt_of(call.body)
        answer = self.answers(call) if callable(self.answers) else self.answers.get(prompt, f"Answer to: {prompt}")
        scripted = Scripted(answer) if isinstance(answer, str) else answer
        return replace(scripted, text="".join(scripted.pieces)) if scripted.pieces else scripted


def completion_body(
    text: str,
    *,
    model: str = "scripted",
    finish_reason: str = "stop",
    usage: Usage | None = DEFAULT_USAGE,
    tool_calls: Sequence[Mapping[str, Any]] = (),
    completion_id: str = "chatcmpl-scripted",
) -> bytes:
    """Return a `chat.completion` JSON as a provider writes it."""
    message: dict[str, Any] = {"role": "assistant", "content": None if tool_calls else text, "refusal": None}
    if tool_calls:
        message["tool_calls"] = list(tool_calls)
    body: dict[str, Any] = {
        "id": completion_id,
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason}],
    }
    if usage is not None:
        body["usage"] = {
            "prompt_tokens": usage.input_tokens,
            "completion_tokens": usage.output_tokens,
            "total_tokens": usage.input_tokens + usage.output_tokens,
            "prompt_tokens_details": {
                "cached_tokens": usage.cached_input_tokens,
                "cache_write_tokens": usage.cache_write_tokens,
            },
        }
    return json.dumps(body, ensure_ascii=False).encode()


def prompt_of(body: bytes) -> str:
    """Return the text of the last user message of a request's body, or its one input; empty when there is neither."""
    fields = json.loads(body)
    if "input" in fields:
        return input_text(fields)
    for message in reversed(fields.get("messages") or []):
        if message.get("role") == "user":
            return text_of(message.get("content"))
    return ""


def _completion(scripted: Scripted, model: str) -> bytes:
    return completion_body(
        scripted.text or "".join(scripted.pieces),
        model=model,
        finish_reason=scripted.finish_reason,
        usage=scripted.usage,
        tool_calls=scripted.tool_calls,
    )


def embeddings_body(texts: Sequence[str], *, model: str = "scripted", usage: Usage | None = DEFAULT_USAGE) -> bytes:
    """Return the JSON of embeddings as a provider writes it; each vector has the length of its text and its words."""
    data = [
        {"object": "embedding", "index": index, "embedding": [float(len(text)), float(len(text.split()))]}
        for index, text in enumerate(texts)
    ]
    body: dict[str, Any] = {"object": "list", "data": data, "model": model}
    if usage is not None:
        body["usage"] = {"prompt_tokens": usage.input_tokens, "total_tokens": usage.input_tokens}
    return json.dumps(body).encode()


def _embeddings(scripted: Scripted, model: str) -> bytes:
    return embeddings_body([scripted.text], model=model, usage=scripted.usage)


def _message(scripted: Scripted, model: str) -> bytes:
    return message_body(
        scripted.text or "".join(scripted.pieces),
        model=model,
        stop_reason={"stop": "end_turn"}.get(scripted.finish_reason, scripted.finish_reason),
        usage=scripted.usage,
        tool_calls=scripted.tool_calls,
    )


def _response(scripted: Scripted, model: str) -> bytes:
    return response_body(
        scripted.text or "".join(scripted.pieces),
        model=model,
        finish_reason=scripted.finish_reason,
        usage=scripted.usage,
        tool_calls=scripted.tool_calls,
    )


_BUILDERS: Mapping[ApiProtocol, Callable[[Scripted, str], bytes]] = {
    ApiProtocol.CHAT: _completion,
    ApiProtocol.EMBEDDINGS: _embeddings,
    ApiProtocol.MESSAGES: _message,
    ApiProtocol.RESPONSES: _response,
}
"""What makes the body of a scripted answer of each protocol, of the script and the model that answers."""


def _chunks(scripted: Scripted, answer: Answer, form: AnswerForm, protocol: ApiProtocol) -> list[bytes]:
    chunks = list(form.replay(answer.body).chunks(include_usage=True))
    return _CUTTERS[protocol](chunks, scripted.pieces) if scripted.pieces else chunks


def _text_chunks(chunks: Sequence[bytes], pieces: Sequence[str]) -> list[bytes]:
    """Return the chunks of a stream with these pieces in place of those that its text came in."""
    first = json.loads(chunks[0])
    texts = [
        json.dumps({**first, "choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]}).encode()
        for piece in pieces
    ]
    ending = 1 if json.loads(chunks[-1])["choices"] else 2
    return [chunks[0], *texts, *chunks[-ending:]]


_CUTTERS: Mapping[ApiProtocol, Callable[[Sequence[bytes], Sequence[str]], list[bytes]]] = {
    ApiProtocol.CHAT: _text_chunks,
    ApiProtocol.MESSAGES: text_events,
    ApiProtocol.RESPONSES: in_pieces,
}
"""What puts scripted pieces in place of those of a replayed text, for each protocol."""


async def _pieces_of(reply: ScriptedReply) -> AsyncGenerator[bytes, None]:
    for number, piece in enumerate(reply.pieces):
        if number == reply.break_after:
            raise _broken()
        yield piece


async def _wait_for(gate: asyncio.Event | None) -> None:
    if gate is not None:
        await gate.wait()


def _broken() -> UpstreamError:
    return UpstreamError("The scripted upstream broke off.", http_status=200, reason="UPSTREAM_BROKE_OFF")
