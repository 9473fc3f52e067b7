"""Builds the messages of the API from the keyword arguments of the clients' calls."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, NoReturn

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from semcache.client.arguments import (
    CompleteArguments,
    Grouping,
    LookupArguments,
    OpenAIParameters,
    PromptArguments,
    Seconds,
    StoreArguments,
)
from semcache.errors import InvalidRequestError
from semcache.v1 import semcache_pb2 as pb

_MODES: Mapping[str, pb.CacheMode.ValueType] = {
    "default": pb.CACHE_MODE_DEFAULT,
    "bypass": pb.CACHE_MODE_BYPASS,
    "refresh": pb.CACHE_MODE_REFRESH,
    "cache_only": pb.CACHE_MODE_CACHE_ONLY,
    "exact_only": pb.CACHE_MODE_EXACT_ONLY,
}
_GROUPINGS: Mapping[str, pb.SavingsGroup.ValueType] = {
    "hour": pb.SAVINGS_GROUP_HOUR,
    "day": pb.SAVINGS_GROUP_DAY,
    "model": pb.SAVINGS_GROUP_MODEL,
    "task_type": pb.SAVINGS_GROUP_TASK_TYPE,
    "tenant": pb.SAVINGS_GROUP_TENANT,
}
_PARAMETERS = OpenAIParameters.__optional_keys__ - {"extra_body"}
_BODY = _PARAMETERS | {"extra_body", "model", "messages", "prompt"}


def prompt(arguments: PromptArguments) -> pb.Prompt:
    """Return the prompt of a request as a message.

    Raises:
        InvalidRequestError: not exactly one of prompt, messages and openai_json, or a value that JSON can't express.
    """
    template = None
    if "template" in arguments or "slots" in arguments:
        slots = [pb.Slot(name=name, value=value) for name, value in arguments.get("slots", {}).items()]
        template = pb.TemplateUse(id=arguments.get("template", ""), slots=slots)
    return pb.Prompt(
        openai_json=_body(arguments),
        namespace=arguments.get("namespace", ""),
        task_type=arguments.get("task_type", ""),
        template=template,
        knowledge_version=arguments.get("knowledge_version", ""),
    )


def complete_request(arguments: CompleteArguments) -> pb.CompleteRequest:
    """Return the message of `complete`."""
    _refuse_unknown(arguments, CompleteArguments.__optional_keys__)
    return pb.CompleteRequest(
        prompt=prompt(arguments),
        control=_control(
            arguments,
            mode=arguments.get("mode", "default"),
            ttl=arguments.get("ttl"),
            no_store=arguments.get("no_store", False),
        ),
        tags=arguments.get("tags", ()),
        sources=arguments.get("sources", ()),
    )


def stream_request(arguments: CompleteArguments) -> pb.CompleteStreamRequest:
    """Return the message of `stream`."""
    plain = complete_request(arguments)
    return pb.CompleteStreamRequest(prompt=plain.prompt, control=plain.control, tags=plain.tags, sources=plain.sources)


def explain_request(arguments: CompleteArguments, max_candidates: int) -> pb.ExplainRequest:
    """Return the message of `explain`."""
    plain = complete_request(arguments)
    return pb.ExplainRequest(prompt=plain.prompt, control=plain.control, max_candidates=max_candidates)


def lookup_request(
    arguments: LookupArguments, *, want_lease: bool = False, lease_ttl: Seconds | None = None
) -> pb.LookupRequest:
    """Return the message of `lookup`; it is also an item of `lookup_batch`."""
    _refuse_unknown(arguments, LookupArguments.__optional_keys__)
    return pb.LookupRequest(
        prompt=prompt(arguments),
        control=_control(arguments),
        want_lease=want_lease,
        lease_ttl=_duration(lease_ttl, "lease_ttl"),
    )


def store_request(arguments: StoreArguments) -> pb.StoreRequest:
    """Return the message of `store`; it is also an item of `store_batch`.

    Raises:
        InvalidRequestError: there is no answer, or the prompt is malformed.
    """
    _refuse_unknown(arguments, StoreArguments.__optional_keys__)
    if "answer" not in arguments:
        _refuse("store needs an answer.", "Give the answer's text, or the whole chat completion.")
    answer = arguments["answer"]
    usage = None
    if {"input_tokens", "output_tokens", "cached_input_tokens"} & arguments.keys():
        usage = pb.Usage(
            input_tokens=arguments.get("input_tokens", 0),
            cached_input_tokens=arguments.get("cached_input_tokens", 0),
            output_tokens=arguments.get("output_tokens", 0),
        )
    embedding = None
    if "embedding" in arguments:
        fingerprint = arguments.get("embedder_fingerprint", "")
        embedding = pb.Embedding(values=arguments["embedding"], embedder_fingerprint=fingerprint)
    by_lookup = bool(arguments.get("lookup_id")) and not arguments.keys() & (_BODY | {"openai_json"})
    request = pb.StoreRequest(
        prompt=None if by_lookup else prompt(arguments),
        lookup_id=arguments.get("lookup_id", ""),
        lease_id=arguments.get("lease_id", ""),
        served_model=arguments.get("served_model", ""),
        usage=usage,
        finish_reason=arguments.get("finish_reason", ""),
        upstream_latency=_duration(arguments.get("upstream_latency"), "upstream_latency"),
        tags=arguments.get("tags", ()),
        sources=arguments.get("sources", ()),
        ttl=_duration(arguments.get("ttl"), "ttl"),
        embedding=embedding,
    )
    if isinstance(answer, str):
        request.text = answer
    else:
        request.openai_json = answer if isinstance(answer, bytes) else _json(answer)
    return request


def invalidate_request(
    *,
    entry_ids: Iterable[str] = (),
    tags: Iterable[str] = (),
    sources: Iterable[str] = (),
    namespace: str = "",
    model: str = "",
    older_than: Seconds | None = None,
    created_before: datetime | None = None,
    everything: bool = False,
    apply: bool = False,
) -> pb.InvalidateRequest:
    """Return the message of `invalidate`."""
    return pb.InvalidateRequest(
        entry_ids=entry_ids,
        tags=tags,
        sources=sources,
        namespace=namespace,
        model=model,
        older_than=_duration(older_than, "older_than"),
        created_before=_timestamp(created_before),
        all=everything,
        apply=apply,
    )


def verdict_request(hit_id: str, *, right: bool, judge: str, note: str) -> pb.ReportVerdictRequest:
    """Return the message of `report_verdict`."""
    verdict = pb.VERDICT_RIGHT if right else pb.VERDICT_WRONG
    return pb.ReportVerdictRequest(hit_id=hit_id, verdict=verdict, judge=judge, note=note)


def savings_request(
    *,
    start: datetime | None,
    end: datetime | None,
    models: Iterable[str],
    task_types: Iterable[str],
    group_by: Iterable[Grouping],
    tenants: Iterable[str] | Literal["all"],
) -> pb.GetSavingsRequest:
    """Return the message of `savings`."""
    everyone = tenants == "all"
    return pb.GetSavingsRequest(
        start_time=_timestamp(start),
        end_time=_timestamp(end),
        models=models,
        task_types=task_types,
        group_by=[_GROUPINGS[name] for name in group_by],
        tenants=() if everyone else tenants,
        all_tenants=everyone,
    )


def _timestamp(moment: datetime | None) -> Timestamp | None:
    """Return a moment as a message; a moment without a time zone is taken as local time."""
    if moment is None:
        return None
    message = Timestamp()
    message.FromDatetime(moment.astimezone())
    return message


def _control(
    arguments: LookupArguments, *, mode: str = "default", ttl: Seconds | None = None, no_store: bool = False
) -> pb.CacheControl:
    if mode not in _MODES:
        _refuse(f"mode {mode!r} is unknown.", f"Use one of {', '.join(_MODES)}.")
    return pb.CacheControl(
        mode=_MODES[mode],
        ttl=_duration(ttl, "ttl"),
        max_age=_duration(arguments.get("max_age"), "max_age"),
        no_store=no_store,
        similarity_threshold=arguments.get("similarity_threshold"),
    )


def _body(arguments: PromptArguments) -> bytes:
    forms = [name for name in ("prompt", "messages", "openai_json") if name in arguments]
    if len(forms) != 1:
        given = f"{' and '.join(forms)} were" if forms else "none was"
        _refuse(f"one of prompt, messages and openai_json is needed; {given} given.", "Give exactly one of them.")
    if "openai_json" in arguments:
        others = sorted(_BODY & arguments.keys())
        if others:
            _refuse(
                f"openai_json is the whole body, but {others[0]} was given beside it.",
                f"Write {others[0]} into the JSON.",
            )
        return arguments["openai_json"]
    messages: Sequence[Mapping[str, Any]] = (
        arguments["messages"] if "messages" in arguments else ({"role": "user", "content": arguments["prompt"]},)
    )
    if not arguments.get("model"):
        _refuse("the model is missing.", "Name a model alias that the server routes.")
    extra = arguments.get("extra_body", {})
    body: dict[str, Any] = {"model": arguments["model"], "messages": list(messages)}
    body |= {name: value for name, value in arguments.items() if name in _PARAMETERS}
    twice = sorted(extra.keys() & body.keys())
    if twice:
        _refuse(f"extra_body gives {twice[0]} a second time.", "Give each field once.")
    return _json({**body, **extra})


def _json(value: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError) as error:  # A lone surrogate raises UnicodeEncodeError, which is a ValueError.
        _refuse(f"the request can't be written as JSON: {error}.", "Use strings, numbers, lists and mappings.")


def _duration(value: Seconds | None, name: str) -> Duration | None:
    if value is None:
        return None
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if not math.isfinite(seconds) or abs(seconds) > 3e11:
        _refuse(f"{name} is {seconds} seconds.", "Give a finite duration.")
    duration = Duration()
    duration.FromNanoseconds(round(seconds * 1e9))
    return duration


def _refuse_unknown(arguments: Collection[str], known: Collection[str]) -> None:
    unknown = sorted(set(arguments) - set(known))
    if unknown:
        message = f"unknown argument {unknown[0]!r}; other fields of the body go into extra_body"
        raise TypeError(message)


def _refuse(message: str, hint: str) -> NoReturn:
    raise InvalidRequestError(message, hint=hint)
