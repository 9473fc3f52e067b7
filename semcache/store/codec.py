"""How rows are written down: a compact binary layout per kind of row, with a format version and a CRC-32 in each.

A row is `crc32 | format | fixed numbers | text | raw bytes`. All strings of a row lie in one UTF-8 run and their
lengths are counted in characters, so that one decoding and a few slices bring them all back. Nothing is ever evaluated
or unpickled.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from itertools import accumulate
from zlib import crc32

from semcache.errors import StoreError, StoreUnusableError
from semcache.model import (
    Answer,
    Cost,
    Entry,
    LedgerHour,
    LedgerRecord,
    Purpose,
    Rejection,
    ServedHit,
    Status,
    Usage,
    format_entry_id,
)

FORMAT = 2
"""Version of the layout of rows; the store as a whole has `layout.STORE_FORMAT`. Rows of format 1 lack what the structs
named `…_MORE` hold, and are read as if it were empty."""

KEY_BYTES = 32
"""Length of an exact key and of a partition: SHA-256."""

_CRC = struct.Struct("<I")
_FORMAT_AT = _CRC.size

# format, flags | 9 numbers of usage, cost and attempts | created, expires, latency | 11 lengths of short strings
# | lengths in characters of text and answer text, in bytes of the run of strings, in characters of the lists
# | offset of the answer's text in the body, its length there in bytes | rejections | exact key, partition
_ENTRY = struct.Struct("<BB6qIddd11H4I2II32s32s")
_ENTRY_MORE = struct.Struct("<q")  # tokens written to the provider's cache
_ESTIMATED, _PRICED, _DEGRADED, _TOOL_CALLS, _LISTS, _TEXT_IN_BODY = (1 << bit for bit in range(6))
_REJECTION = struct.Struct("<32sI")

# format, flags | usage and costs: 9 numbers | entry id, requests | at, similarity, latency | 9 lengths
_RECORD = struct.Struct("<BB3q3q3qQIddd8HI")
_RECORD_MORE = struct.Struct("<2q2H")  # tokens written to the provider's cache, overhead | 2 lengths more
_SAVED_PRICED, _HAS_SIMILARITY, _ONE_PRICE_VERSION, _DEGRADED_RECORD = (1 << bit for bit in range(2, 6))
# format | hour and 10 numbers | 4 lengths, run of strings
_HOUR = struct.Struct("<B11q4HI")
_HOUR_MORE = struct.Struct("<3q")  # three numbers more
_MAX_SUM = (1 << 63) - 1
# format | entry id | similarity, at | exact key | hit id, tenant, status, verdict | text, run of strings
_SERVED = struct.Struct("<BQdd32s4HII")

_decode_json: Callable[[str], list[object]] = json.JSONDecoder().decode
_encode_json = json.JSONEncoder(separators=(",", ":")).encode


def encode_entry(entry: Entry) -> bytes:
    """The entry's row. Its id is the row's key and isn't in it.

    Raises:
        ValueError: a key that isn't 32 bytes long, or a name beyond 65,535 characters.
    """
    if len(entry.exact_key) != KEY_BYTES or len(entry.partition) != KEY_BYTES:
        raise ValueError(f"an exact key and a partition have {KEY_BYTES} bytes each")
    answer, usage, cost = entry.answer, entry.answer.usage, entry.cost
    flags = (
        (_ESTIMATED if usage.estimated else 0)
        | (_PRICED if cost.priced else 0)
        | (_DEGRADED if answer.degraded else 0)
        | (_TOOL_CALLS if answer.tool_calls else 0)
    )
    lists = ""
    if entry.tags or entry.sources or entry.features:
        flags |= _LISTS
        lists = _encode_json([entry.tags, entry.sources, dict(entry.features)])
    # Mostly the text stands in the body as it is, without an escape: then it isn't written twice.
    inline, offset, length = answer.text, 0, 0
    if answer.text:
        raw = answer.text.encode("utf-8", "surrogatepass")
        found = answer.body.find(raw)
        if found >= 0:
            flags |= _TEXT_IN_BODY
            inline, offset, length = "", found, len(raw)
    names = (
        entry.tenant,
        entry.namespace,
        entry.alias,
        entry.task_type,
        entry.template_id,
        entry.knowledge_version,
        answer.model,
        answer.finish_reason,
        answer.target_model,
        answer.route,
        cost.price_version,
    )
    run = "".join((*names, entry.text, inline, lists)).encode("utf-8", "surrogatepass")
    try:
        fixed = _ENTRY.pack(
            FORMAT,
            flags,
            usage.input_tokens,
            usage.cached_input_tokens,
            usage.output_tokens,
            cost.input_nanousd,
            cost.cached_input_nanousd,
            cost.output_nanousd,
            answer.attempts,
            entry.created_s,
            entry.expires_s,
            answer.latency_s,
            *map(len, names),
            len(entry.text),
            len(inline),
            len(lists),
            len(run),
            offset,
            length,
            len(entry.rejections),
            entry.exact_key,
            entry.partition,
        ) + _ENTRY_MORE.pack(usage.cache_write_tokens)
    except struct.error as error:
        raise ValueError(f"an entry's field is out of range: {error}") from error
    rejections = b"".join(
        _REJECTION.pack(rejection.exact_key, len(rejection.vector)) + rejection.vector for rejection in entry.rejections
    )
    return _sealed(fixed + run + rejections + answer.body)


def decode_entry(entry_id: int, row: bytes) -> Entry:
    """The entry behind a row.

    Raises:
        StoreError: the row is damaged.
        StoreUnusableError: a newer semcache wrote it.
    """
    _verify(row, "entry", format_entry_id(entry_id))
    (
        _,
        flags,
        input_tokens,
        cached_input_tokens,
        output_tokens,
        input_nanousd,
        cached_input_nanousd,
        output_nanousd,
        attempts,
        created_s,
        expires_s,
        latency_s,
        *lengths,
        run_bytes,
        offset,
        length,
        rejection_count,
        exact_key,
        partition,
    ) = _ENTRY.unpack_from(row, _CRC.size)
    start = _CRC.size + _ENTRY.size
    cache_write_tokens = 0
    if row[_FORMAT_AT] > 1:
        (cache_write_tokens,) = _ENTRY_MORE.unpack_from(row, start)
        start += _ENTRY_MORE.size
    end = start + run_bytes
    run = row[start:end].decode("utf-8", "surrogatepass")
    a, b, c, d, e, f, g, h, i, j, k, m, n, p = accumulate(lengths)
    rejections: list[Rejection] = []
    for _ in range(rejection_count):
        key, size = _REJECTION.unpack_from(row, end)
        end += _REJECTION.size + size
        rejections.append(Rejection(key, row[end - size : end]))
    body = row[end:]
    answer_text = run[m:n]
    if flags & _TEXT_IN_BODY:
        answer_text = body[offset : offset + length].decode("utf-8", "surrogatepass")
    tags: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    features: dict[str, tuple[str, ...]] = {}
    if flags & _LISTS:
        raw_tags, raw_sources, raw_features = _decode_json(run[n:p])
        tags, sources = tuple(raw_tags), tuple(raw_sources)  # type: ignore[arg-type]  # written above, behind a checksum
        features = {name: tuple(values) for name, values in raw_features.items()}  # type: ignore[attr-defined]
    return Entry(
        run[:a],
        run[a:b],
        run[b:c],
        exact_key,
        partition,
        run[k:m],
        Answer(
            body,
            run[f:g],
            run[g:h],
            Usage(input_tokens, cached_input_tokens, output_tokens, flags & _ESTIMATED != 0, cache_write_tokens),
            answer_text,
            run[h:i],
            run[i:j],
            flags & _DEGRADED != 0,
            flags & _TOOL_CALLS != 0,
            latency_s,
            attempts,
        ),
        Cost(input_nanousd, cached_input_nanousd, output_nanousd, flags & _PRICED != 0, run[j:k]),
        created_s,
        expires_s,
        tags,
        sources,
        run[c:d],
        run[d:e],
        run[e:f],
        features,
        tuple(rejections),
        entry_id,
    )


def encode_record(record: LedgerRecord) -> bytes:
    """One line of the request log."""
    usage, spent, saved = record.usage, record.spent, record.saved
    flags = (
        (_ESTIMATED if usage.estimated else 0)
        | (_PRICED if spent.priced else 0)
        | (_SAVED_PRICED if saved.priced else 0)
        | (0 if record.similarity is None else _HAS_SIMILARITY)
        | (_ONE_PRICE_VERSION if saved.price_version == spent.price_version else 0)
        | (_DEGRADED_RECORD if record.degraded else 0)
    )
    names = (
        record.request_id,
        record.tenant,
        record.namespace,
        record.alias,
        record.model,
        record.task_type,
        record.status,
        spent.price_version,
    )
    saved_version = "" if flags & _ONE_PRICE_VERSION else saved.price_version
    # What nearly every line says takes no room.
    purpose = "" if record.purpose is Purpose.REQUEST else record.purpose
    run = "".join((*names, saved_version, record.route, purpose)).encode("utf-8", "surrogatepass")
    try:
        fixed = _RECORD.pack(
            FORMAT,
            flags,
            usage.input_tokens,
            usage.cached_input_tokens,
            usage.output_tokens,
            spent.input_nanousd,
            spent.cached_input_nanousd,
            spent.output_nanousd,
            saved.input_nanousd,
            saved.cached_input_nanousd,
            saved.output_nanousd,
            record.entry_id,
            record.requests,
            record.at_s,
            record.similarity or 0.0,
            record.latency_s,
            *map(len, names),
            len(saved_version),
        ) + _RECORD_MORE.pack(usage.cache_write_tokens, record.overhead_nanousd, len(record.route), len(purpose))
    except struct.error as error:
        raise ValueError(f"a ledger record's field is out of range: {error}") from error
    return _sealed(fixed + run)


def decode_record(row: bytes) -> LedgerRecord:
    """The log line behind a row.

    Raises:
        StoreError: the row is damaged.
        StoreUnusableError: a newer semcache wrote it.
    """
    _verify(row, "log line", "")
    (_, flags, a1, a2, a3, s1, s2, s3, v1, v2, v3, entry_id, requests, at_s, similarity, latency_s, *lengths) = (
        _RECORD.unpack_from(row, _CRC.size)
    )
    start = _CRC.size + _RECORD.size
    cache_write_tokens = overhead_nanousd = route_chars = purpose_chars = 0
    if row[_FORMAT_AT] > 1:
        cache_write_tokens, overhead_nanousd, route_chars, purpose_chars = _RECORD_MORE.unpack_from(row, start)
        start += _RECORD_MORE.size
    run = row[start:].decode("utf-8", "surrogatepass")
    a, b, c, d, e, f, g, h, i, j, k = accumulate((*lengths, route_chars, purpose_chars))
    spent_version = run[g:h]
    return LedgerRecord(
        request_id=run[:a],
        at_s=at_s,
        tenant=run[a:b],
        namespace=run[b:c],
        alias=run[c:d],
        model=run[d:e],
        task_type=run[e:f],
        status=Status(run[f:g]),
        usage=Usage(a1, a2, a3, flags & _ESTIMATED != 0, cache_write_tokens),
        spent=Cost(s1, s2, s3, flags & _PRICED != 0, spent_version),
        saved=Cost(v1, v2, v3, flags & _SAVED_PRICED != 0, spent_version if flags & _ONE_PRICE_VERSION else run[h:i]),
        entry_id=entry_id,
        similarity=similarity if flags & _HAS_SIMILARITY else None,
        latency_s=latency_s,
        requests=requests,
        overhead_nanousd=overhead_nanousd,
        route=run[i:j],
        degraded=flags & _DEGRADED_RECORD != 0,
        purpose=Purpose(run[j:k] or Purpose.REQUEST),
    )


def encode_hour(hour: LedgerHour) -> bytes:
    """One row of the hourly rollup.

    A sum beyond 64 bits, of tokens that nobody ever used, is cut: a row that can't be written would hold up all others.
    """
    names = (hour.tenant, hour.model, hour.task_type, hour.status.value)
    run = "".join(names).encode("utf-8", "surrogatepass")
    sums = (
        hour.requests,
        hour.input_tokens,
        hour.cached_input_tokens,
        hour.output_tokens,
        hour.spent_input_nanousd,
        hour.spent_cached_input_nanousd,
        hour.spent_output_nanousd,
        hour.saved_nanousd,
        hour.unpriced,
        hour.estimated,
        hour.cache_write_tokens,
        hour.overhead_nanousd,
        hour.wrong_hits,
    )
    cut = [min(value, _MAX_SUM) for value in sums]
    fixed = _HOUR.pack(FORMAT, hour.hour_s, *cut[:10], *map(len, names), len(run)) + _HOUR_MORE.pack(*cut[10:])
    return _sealed(fixed + run)


def decode_hour(row: bytes) -> LedgerHour:
    """The rollup row behind its bytes.

    Raises:
        StoreError: the row is damaged.
        StoreUnusableError: a newer semcache wrote it.
    """
    _verify(row, "ledger hour", "")
    _, hour_s, *counts, n1, n2, n3, n4, _ = _HOUR.unpack_from(row, _CRC.size)
    start = _CRC.size + _HOUR.size
    if row[_FORMAT_AT] > 1:
        counts += _HOUR_MORE.unpack_from(row, start)
        start += _HOUR_MORE.size
    run = row[start:].decode("utf-8", "surrogatepass")
    a, b, c, d = accumulate((n1, n2, n3, n4))
    return LedgerHour(hour_s, run[:a], run[a:b], run[b:c], Status(run[c:d]), *counts)


def encode_served(served: ServedHit) -> bytes:
    """A hit as it was served."""
    if len(served.exact_key) != KEY_BYTES:
        raise ValueError(f"an exact key has {KEY_BYTES} bytes")
    names = (served.hit_id, served.tenant, served.status, served.verdict)
    run = "".join((*names, served.text)).encode("utf-8", "surrogatepass")
    try:
        fixed = _SERVED.pack(
            FORMAT,
            served.entry_id,
            served.similarity,
            served.at_s,
            served.exact_key,
            *map(len, names),
            len(served.text),
            len(run),
        )
    except struct.error as error:
        raise ValueError(f"a served hit's field is out of range: {error}") from error
    return _sealed(fixed + run + served.vector)


def decode_served(row: bytes) -> ServedHit:
    """The served hit behind a row.

    Raises:
        StoreError: the row is damaged.
        StoreUnusableError: a newer semcache wrote it.
    """
    _verify(row, "served hit", "")
    _, entry_id, similarity, at_s, exact_key, *lengths, run_bytes = _SERVED.unpack_from(row, _CRC.size)
    start = _CRC.size + _SERVED.size
    run = row[start : start + run_bytes].decode("utf-8", "surrogatepass")
    a, b, c, d, e = accumulate(lengths)
    return ServedHit(
        hit_id=run[:a],
        tenant=run[a:b],
        entry_id=entry_id,
        status=Status(run[b:c]),
        exact_key=exact_key,
        text=run[d:e],
        similarity=similarity,
        at_s=at_s,
        vector=row[start + run_bytes :],
        verdict=run[c:d],
    )


def _sealed(payload: bytes) -> bytes:
    return _CRC.pack(crc32(payload)) + payload


def _verify(row: bytes, kind: str, name: str) -> None:
    """Nothing of a row is looked at before its checksum agrees."""
    if len(row) <= _FORMAT_AT or crc32(memoryview(row)[_FORMAT_AT:]) != int.from_bytes(row[:4], "little"):
        what = f"{kind} {name}".rstrip()
        raise StoreError(
            f"{what} is damaged: its checksum doesn't match its bytes.",
            hint="`semcache check --repair` removes it.",
            reason="STORE_DAMAGED",
        )
    if row[_FORMAT_AT] > FORMAT:
        raise StoreUnusableError(
            f"a {kind} has format {row[_FORMAT_AT]}, and this semcache reads up to {FORMAT}.",
            hint="Start the newer semcache that wrote it, or name an empty store.path.",
        )
