"""From callers' messages to semcache's values, with every check that neither protobuf nor the keying makes."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from google.protobuf.duration_pb2 import Duration

from semcache.errors import InvalidRequestError
from semcache.model import CacheControl, CacheMode, Request, Selector, Template, Vector, format_entry_id, parse_entry_id
from semcache.settings import LimitSettings
from semcache.v1 import semcache_pb2 as pb
from semcache.wire.chat import chat_body, text_body
from semcache.wire.checks import check_control, check_name, check_names, check_template, wall_seconds

DEFAULT_NAMESPACE = "default"
DEFAULT_JUDGE = "caller"
MAX_NOTE_CHARS = 4096

_MAX_DIMENSION = 65_536
"""Numbers of an embedding beyond which they aren't even read; the cache compares the number with the embedder's."""
_NANOS_PER_S = 1_000_000_000
_DEFAULT_CONTROL = CacheControl()

_MODES: dict[int, CacheMode] = {
    pb.CACHE_MODE_UNSPECIFIED: CacheMode.DEFAULT,
    pb.CACHE_MODE_DEFAULT: CacheMode.DEFAULT,
    pb.CACHE_MODE_BYPASS: CacheMode.BYPASS,
    pb.CACHE_MODE_REFRESH: CacheMode.REFRESH,
    pb.CACHE_MODE_CACHE_ONLY: CacheMode.CACHE_ONLY,
    pb.CACHE_MODE_EXACT_ONLY: CacheMode.EXACT_ONLY,
}


@dataclass(frozen=True, slots=True)
class CompleteCall:
    """A Complete or CompleteStream as it was asked."""

    request: Request


@dataclass(frozen=True, slots=True)
class LookupCall:
    """A Lookup as it was asked; `lease_ttl_s` is the lease's length in seconds, None for the longest."""

    request: Request
    want_lease: bool
    lease_ttl_s: float | None


@dataclass(frozen=True, slots=True)
class StoreCall:
    """A Store as it was asked, without its answer: `answer.stored_answer` reads that once the alias is known.

    Attributes:
        request: None when only `lookup_id` names the request that was answered.
        vector: the caller's own embedding, unit length, float32 (dimension,); None: the server embeds.
        embedder_fingerprint: names what made `vector`; the cache compares it with the embedder's own.
    """

    request: Request | None
    lookup_id: str
    lease_id: str
    tags: tuple[str, ...]
    sources: tuple[str, ...]
    ttl_s: float | None
    vector: Vector | None
    embedder_fingerprint: str

    def onto(self, looked_up: Request) -> Request:
        """Return the request of the lookup behind `lookup_id`, with this Store's tags, sources and ttl.

        The lookup's own ttl and no_store are dropped: a lookup stores nothing, so they never had an effect.
        """
        control = replace(looked_up.control, ttl_s=self.ttl_s, no_store=False)
        return replace(looked_up, tags=self.tags, sources=self.sources, control=control)


@dataclass(frozen=True, slots=True)
class VerdictCall:
    """A ReportVerdict as it was asked: a caller's judgement of a hit."""

    hit_id: str
    right: bool
    judge: str
    note: str


def complete_call(
    message: pb.CompleteRequest | pb.CompleteStreamRequest, *, tenant: str, limits: LimitSettings
) -> Request:
    """Return the request of a Complete or CompleteStream.

    Raises:
        InvalidRequestError: there is no body, a typed body can't be written as JSON, the mode is unknown, or a name, a
            time or a threshold is invalid.
    """
    return _request(
        message.prompt,
        _control(message),
        tenant=tenant,
        limits=limits,
        tags=check_names(message.tags, "tags", limits),
        sources=check_names(message.sources, "sources", limits),
    )


def explain_call(message: pb.ExplainRequest, *, tenant: str, limits: LimitSettings) -> Request:
    """Return the request of an Explain.

    Raises:
        InvalidRequestError: `max_candidates` is negative, or a Complete would be refused with the same fields.
    """
    if message.max_candidates < 0:
        raise InvalidRequestError("max_candidates is negative.", hint="0 means all that the decision considers.")
    return _request(message.prompt, _control(message), tenant=tenant, limits=limits)


def lookup_call(message: pb.LookupRequest, *, tenant: str, limits: LimitSettings) -> LookupCall:
    """Return what a Lookup asks for.

    Raises:
        InvalidRequestError: the mode doesn't read, the lease would end at once, or a Complete would be refused with the
            same fields.
    """
    control = _reading_control(message)
    lease_ttl_s = _positive(message.lease_ttl, "lease_ttl") if message.HasField("lease_ttl") else None
    request = _request(message.prompt, control, tenant=tenant, limits=limits)
    return LookupCall(request=request, want_lease=message.want_lease, lease_ttl_s=lease_ttl_s)


def batched_lookup_call(message: pb.LookupRequest, *, tenant: str, limits: LimitSettings) -> LookupCall:
    """Return what one item of a LookupBatch asks for.

    Raises:
        InvalidRequestError: the item asks for a lease, or a Lookup would be refused with the same fields.
    """
    _reading_control(message)
    if message.want_lease:
        raise InvalidRequestError("a batch can't ask for leases.", hint="Use Lookup for requests that need one.")
    return lookup_call(message, tenant=tenant, limits=limits)


def _reading_control(message: pb.LookupRequest) -> CacheControl:
    """Return a Lookup's wishes; raise InvalidRequestError for a mode that doesn't read."""
    control = _control(message)
    if control.mode in {CacheMode.BYPASS, CacheMode.REFRESH}:
        raise InvalidRequestError(
            f"a Lookup can't have the mode {control.mode.value}.", hint="Use DEFAULT, or don't look up."
        )
    return control


def store_call(message: pb.StoreRequest, *, tenant: str, limits: LimitSettings) -> StoreCall:
    """Return what a Store asks for, without its answer.

    Raises:
        InvalidRequestError: there is neither a prompt nor a lookup id, the embedding has no direction, or a Complete
            would be refused with the same fields.
    """
    if not message.HasField("prompt") and not message.lookup_id:
        raise InvalidRequestError("a Store needs a prompt or a lookup_id.", hint="Say what the answer answers.")
    control = check_control(CacheControl(ttl_s=_seconds(message.ttl) if message.HasField("ttl") else None))
    tags = check_names(message.tags, "tags", limits)
    sources = check_names(message.sources, "sources", limits)
    request = None
    if message.HasField("prompt"):
        request = _request(message.prompt, control, tenant=tenant, limits=limits, tags=tags, sources=sources)
    return StoreCall(
        request=request,
        lookup_id=message.lookup_id,
        lease_id=message.lease_id,
        tags=tags,
        sources=sources,
        ttl_s=control.ttl_s,
        vector=_vector(message.embedding) if message.HasField("embedding") else None,
        embedder_fingerprint=message.embedding.embedder_fingerprint,
    )


def verdict_call(message: pb.ReportVerdictRequest) -> VerdictCall:
    """Return what a ReportVerdict says.

    Raises:
        InvalidRequestError: there is no hit id or no verdict, the judge is no name, or the note is too long.
    """
    if not message.hit_id:
        raise InvalidRequestError("hit_id is empty.", hint="Send the hit_id of the response that is judged.")
    if message.verdict not in {pb.VERDICT_RIGHT, pb.VERDICT_WRONG}:
        raise InvalidRequestError("verdict is missing or unknown.", hint="Send VERDICT_RIGHT or VERDICT_WRONG.")
    if len(message.note) > MAX_NOTE_CHARS:
        raise InvalidRequestError(f"note is longer than {MAX_NOTE_CHARS} characters.", hint="Shorten it.")
    judge = check_name(message.judge, "judge") or DEFAULT_JUDGE
    return VerdictCall(message.hit_id, right=message.verdict == pb.VERDICT_RIGHT, judge=judge, note=message.note)


def selector(message: pb.InvalidateRequest, *, tenant: str, now_s: float, limits: LimitSettings) -> Selector:
    """Return what an Invalidate names; `now_s` is wall-clock seconds.

    Raises:
        InvalidRequestError: it names nothing, or everything and something else, or an id, a name or a time is invalid.
    """
    cuts = []
    if message.HasField("older_than"):
        cuts.append(now_s - _positive(message.older_than, "older_than"))
    if message.HasField("created_before"):
        cuts.append(wall_seconds(message.created_before, "created_before"))
    named = Selector(
        tenant=tenant,
        entry_ids=tuple(_entry_id(text) for text in message.entry_ids),
        tags=check_names(message.tags, "tags", limits),
        sources=check_names(message.sources, "sources", limits),
        namespace=check_name(message.namespace, "namespace"),
        alias=message.model,
        created_before_s=min(cuts, default=None),
    )
    if message.all and not named.names_nothing:
        raise InvalidRequestError("an Invalidate can't name all and something else.", hint="Drop one of the two.")
    selected = replace(named, everything=message.all)
    if selected.names_nothing:
        raise InvalidRequestError("an Invalidate must name something.", hint="Set a field, or all to name everything.")
    return selected


def _request(
    prompt: pb.Prompt,
    control: CacheControl,
    *,
    tenant: str,
    limits: LimitSettings,
    tags: tuple[str, ...] = (),
    sources: tuple[str, ...] = (),
) -> Request:
    return Request(
        tenant=tenant,
        body=_body(prompt, limits),
        namespace=check_name(prompt.namespace, "namespace") or DEFAULT_NAMESPACE,
        tags=tags,
        sources=sources,
        task_type=check_name(prompt.task_type, "task_type"),
        template=_template(prompt.template) if prompt.HasField("template") else None,
        knowledge_version=check_name(prompt.knowledge_version, "knowledge_version"),
        control=control,
    )


def _body(prompt: pb.Prompt, limits: LimitSettings) -> bytes:
    form = prompt.WhichOneof("body")
    if form == "openai_json":
        return prompt.openai_json
    if form == "chat":
        return chat_body(prompt.chat, limits)
    if form == "text":
        return text_body(prompt.text)
    raise InvalidRequestError("the prompt has no body.", hint="Set openai_json, chat or text.")


def _template(use: pb.TemplateUse) -> Template:
    return check_template(Template(use.id, tuple((slot.name, slot.value) for slot in use.slots)))


def _control(
    message: pb.CompleteRequest | pb.CompleteStreamRequest | pb.LookupRequest | pb.ExplainRequest,
) -> CacheControl:
    if not message.HasField("control"):
        return _DEFAULT_CONTROL
    control = message.control
    mode = _MODES.get(control.mode)
    if mode is None:
        raise InvalidRequestError(f"control.mode {control.mode} is unknown.", hint="Use one of CacheMode's values.")
    return check_control(
        CacheControl(
            mode=mode,
            ttl_s=_seconds(control.ttl) if control.HasField("ttl") else None,
            max_age_s=_seconds(control.max_age) if control.HasField("max_age") else None,
            no_store=control.no_store,
            similarity_threshold=control.similarity_threshold if control.HasField("similarity_threshold") else None,
        )
    )


def _entry_id(text: str) -> int:
    entry_id = parse_entry_id(text)
    # `int` reads signs, spaces and underscores, too; an id has one spelling.
    if entry_id is None or entry_id < 0 or format_entry_id(entry_id) != text:
        raise InvalidRequestError("entry_ids has a value that is no entry id.", hint="Send ids as responses give them.")
    return entry_id


def _seconds(duration: Duration) -> float:
    return duration.seconds + duration.nanos / _NANOS_PER_S


def _positive(duration: Duration, field: str) -> float:
    seconds = _seconds(duration)
    if seconds <= 0:
        raise InvalidRequestError(f"{field} is not above 0.", hint="Send a positive duration, or leave it out.")
    return seconds


def _vector(embedding: pb.Embedding) -> Vector:
    if not embedding.embedder_fingerprint:
        raise InvalidRequestError("embedding.embedder_fingerprint is empty.", hint="GetStats names the embedder's.")
    if len(embedding.values) > _MAX_DIMENSION:
        raise InvalidRequestError(
            f"embedding.values has {len(embedding.values)} numbers, more than any embedder makes.",
            reason="FINGERPRINT_MISMATCH",
            hint="GetStats names the server's embedder; or send no embedding.",
        )
    values = np.asarray(embedding.values, dtype=np.float32)
    norm = float(np.linalg.norm(values.astype(np.float64)))
    if not math.isfinite(norm) or norm == 0.0:
        raise InvalidRequestError("embedding.values is no direction.", hint="Send finite values, not all zero.")
    return (values / norm).astype(np.float32)
