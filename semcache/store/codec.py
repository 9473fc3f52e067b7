"""How rows are written: one table of columns for each kind of row, and the values that are derived from several fields.

Raw bytes follow the columns and the text run: the rejections and body of an entry, the vector of a served hit.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any

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
)
from semcache.store.layout import EXACT_KEY_BYTES
from semcache.store.table import FORMAT, RUN_LENGTH, Column, Kind, RowTable, fixed, flags, format_of, sealed, texts

__all__ = [
    "FORMAT",
    "decode_entry",
    "decode_hour",
    "decode_record",
    "decode_served",
    "encode_entry",
    "encode_hour",
    "encode_record",
    "encode_served",
    "is_of_older_store",
]

_REJECTION = struct.Struct("<32sI")
"""Of one rejection: the exact key, and the length of the vector that follows."""
_REJECTIONS_APART_SINCE = 4
_MAX_SUM = (1 << 63) - 1
"""The largest number that a row of the rollup holds."""


def _key_or_nothing(key: bytes | int) -> bytes:
    """Return the key of a column: empty for zeros, and for the 0 that a row without the column is read as."""
    return key if isinstance(key, bytes) and any(key) else b""


_ENTRY = RowTable(
    "entry",
    (
        *flags("answer.usage.estimated", "cost.priced", "answer.degraded", "answer.tool_calls"),
        *flags("has_lists", "text_is_in_body", derived=True),
        *flags("cost.partly_priced"),
        *fixed("q", "answer.usage.input_tokens", "answer.usage.cached_input_tokens", "answer.usage.output_tokens"),
        *fixed("q", "cost.input_nanousd", "cost.cached_input_nanousd", "cost.output_nanousd"),
        *fixed("I", "answer.attempts"),
        *fixed("d", "created_s", "expires_s", "answer.latency_s"),
        *texts("H", "tenant", "namespace", "alias", "task_type", "template_id", "knowledge_version"),
        *texts("H", "answer.model", "answer.finish_reason", "answer.target_model", "answer.route"),
        *texts("H", "cost.price_version"),
        *texts("I", "text"),
        *texts("I", "text_outside_body", "lists", derived=True),
        *RUN_LENGTH,
        *fixed("I", "text_offset", "text_bytes", "rejection_count", derived=True),
        *fixed("32s", "exact_key", "partition"),
        *fixed("q", "answer.usage.cache_write_tokens", since=2),
        *texts("H", "answer.usage.service_tier", since=3),
        *texts("H", "parts_of_usage", since=3, derived=True),
        *texts("H", "embedder", since=5),
    ),
    parts=(("answer.usage", Usage), ("answer", Answer), ("cost", Cost), ("", Entry)),
    supplied=(
        "answer.text",
        "answer.body",
        "answer.usage.parts",
        "tags",
        "sources",
        "features",
        "rejections",
        "entry_id",
        "answer.flaw",
    ),
)
_LINE = RowTable(
    "log line",
    (
        *flags("usage.estimated", "spent.priced", "saved.priced"),
        *flags("has_similarity", "has_one_price_version", derived=True),
        *flags("degraded", "spent.partly_priced", "saved.partly_priced"),
        *fixed("q", "usage.input_tokens", "usage.cached_input_tokens", "usage.output_tokens"),
        *fixed("q", "spent.input_nanousd", "spent.cached_input_nanousd", "spent.output_nanousd"),
        *fixed("q", "saved.input_nanousd", "saved.cached_input_nanousd", "saved.output_nanousd"),
        *fixed("Q", "entry_id"),
        *fixed("I", "requests"),
        *fixed("d", "at_s"),
        *fixed("d", "similarity_or_0", derived=True),
        *fixed("d", "latency_s"),
        *texts("H", "request_id", "tenant", "namespace", "alias", "model", "task_type"),
        *texts("H", "status", convert=Status),
        *texts("H", "spent.price_version"),
        *texts("I", "other_price_version", derived=True),
        *fixed("q", "usage.cache_write_tokens", "overhead_nanousd", since=2),
        *texts("H", "route", since=2),
        *texts("H", "unusual_purpose", since=2, derived=True),
        *texts("H", "usage.service_tier", since=3),
        *texts("H", "parts_of_usage", since=3, derived=True),
    ),
    parts=(("usage", Usage), ("spent", Cost), ("saved", Cost), ("", LedgerRecord)),
    supplied=("saved.price_version", "similarity", "purpose", "usage.parts"),
)
_HOUR = RowTable(
    "ledger hour",
    (
        *fixed("q", "hour_s", "requests", "input_tokens", "cached_input_tokens", "output_tokens"),
        *fixed("q", "spent_input_nanousd", "spent_cached_input_nanousd", "spent_output_nanousd", "saved_nanousd"),
        *fixed("q", "unpriced", "estimated"),
        *texts("H", "tenant", "model", "task_type"),
        *texts("H", "status", convert=Status),
        *RUN_LENGTH,
        *fixed("q", "cache_write_tokens", "overhead_nanousd", "wrong_hits", since=2),
        *fixed("q", "partly_priced", since=3),
    ),
    parts=(("", LedgerHour),),
)
_SERVED = RowTable(
    "served hit",
    (
        *fixed("Q", "entry_id"),
        *fixed("d", "similarity", "at_s"),
        *fixed("32s", "exact_key"),
        *texts("H", "hit_id", "tenant"),
        *texts("H", "status", convert=Status),
        *texts("H", "verdict"),
        *texts("I", "text"),
        *RUN_LENGTH,
        Column("entry_key", Kind.FIXED, f"{EXACT_KEY_BYTES}s", since=4, convert=_key_or_nothing),
    ),
    parts=(("", ServedHit),),
    supplied=("vector",),
)

(
    _HAS_LISTS,
    _LISTS,
    _TEXT_IS_IN_BODY,
    _TEXT_OUTSIDE_BODY,
    _TEXT_OFFSET,
    _TEXT_BYTES,
    _REJECTION_COUNT,
    _PARTS_OF_ENTRY,
) = map(
    _ENTRY.position,
    (
        "has_lists",
        "lists",
        "text_is_in_body",
        "text_outside_body",
        "text_offset",
        "text_bytes",
        "rejection_count",
        "parts_of_usage",
    ),
)
(
    _HAS_SIMILARITY,
    _SIMILARITY_OR_0,
    _HAS_ONE_VERSION,
    _OTHER_VERSION,
    _SPENT_VERSION,
    _UNUSUAL_PURPOSE,
    _PARTS_OF_LINE,
) = map(
    _LINE.position,
    (
        "has_similarity",
        "similarity_or_0",
        "has_one_price_version",
        "other_price_version",
        "spent.price_version",
        "unusual_purpose",
        "parts_of_usage",
    ),
)

_decode_json: Callable[[str], list[Any]] = json.JSONDecoder().decode
_encode_json = json.JSONEncoder(separators=(",", ":")).encode


def _encode_parts(usage: Usage) -> str:
    return _encode_json(usage.parts) if usage.parts else ""


def _decode_parts(text: str) -> tuple[tuple[str, int], ...]:
    return tuple((name, count) for name, count in _decode_json(text)) if text else ()


def encode_entry(entry: Entry) -> bytes:
    """Return the row of an entry. The entry's id is the row's key: it isn't in the row, but the checksum covers it.

    Raises:
        ValueError: a key that isn't 32 bytes long, a name beyond 65,535 characters, or a number out of range.
    """
    if len(entry.exact_key) != EXACT_KEY_BYTES or len(entry.partition) != EXACT_KEY_BYTES:
        raise ValueError(f"an exact key and a partition have {EXACT_KEY_BYTES} bytes each")
    answer = entry.answer
    has_lists = bool(entry.tags or entry.sources or entry.features)
    # An answer's text mostly stands in its body without an escape: then the row refers to it instead of repeating it.
    raw_text = answer.text.encode("utf-8", "surrogatepass")
    offset = answer.body.find(raw_text) if raw_text else -1
    columns = _ENTRY.pack(
        entry,
        {
            "has_lists": has_lists,
            "lists": _encode_json([entry.tags, entry.sources, dict(entry.features)]) if has_lists else "",
            "text_is_in_body": offset >= 0,
            "text_outside_body": "" if offset >= 0 else answer.text,
            "text_offset": max(offset, 0),
            "text_bytes": len(raw_text) if offset >= 0 else 0,
            "rejection_count": len(entry.rejections),
            "parts_of_usage": _encode_parts(answer.usage),
        },
    )
    rejections = b"".join(
        _REJECTION.pack(rejection.exact_key, len(rejection.vector)) + rejection.vector for rejection in entry.rejections
    )
    return sealed(columns + rejections + answer.body, entry.entry_id)


def decode_entry(entry_id: int, row: bytes) -> Entry:
    """Return the entry of a row.

    Raises:
        StoreError: the row is damaged.
        StoreUnusableError: a newer semcache wrote it.
    """
    values, end = _ENTRY.unpack(row, entry_id)
    rejections: list[Rejection] = []
    for _ in range(values[_REJECTION_COUNT]):
        key, size = _REJECTION.unpack_from(row, end)
        end += _REJECTION.size + size
        rejections.append(Rejection(key, row[end - size : end]))
    body = row[end:]
    text = values[_TEXT_OUTSIDE_BODY]
    if values[_TEXT_IS_IN_BODY]:
        begin = values[_TEXT_OFFSET]
        text = body[begin : begin + values[_TEXT_BYTES]].decode("utf-8", "surrogatepass")
    tags, sources, features = _decode_json(values[_LISTS]) if values[_HAS_LISTS] else ((), (), {})
    entry: Entry = _ENTRY.build(
        values,
        {
            "answer.text": text,
            "answer.body": body,
            "answer.usage.parts": _decode_parts(values[_PARTS_OF_ENTRY]),
            "tags": tuple(tags),
            "sources": tuple(sources),
            "features": {name: tuple(words) for name, words in features.items()},
            "rejections": tuple(rejections),
            "entry_id": entry_id,
            "answer.flaw": "",  # Only sound answers are stored.
        },
    )
    return entry


def is_of_older_store(row: bytes) -> bool:
    """Return whether an entry's row is from when rejections had no rows of their own."""
    return format_of(row) < _REJECTIONS_APART_SINCE


def encode_record(line: LedgerRecord) -> bytes:
    """Return the row of a line of the request log.

    Raises:
        ValueError: a name beyond 65,535 characters, or a number out of range.
    """
    has_one_version = line.saved.price_version == line.spent.price_version
    columns = _LINE.pack(
        line,
        {
            "has_similarity": line.similarity is not None,
            "similarity_or_0": line.similarity or 0.0,
            "has_one_price_version": has_one_version,
            "other_price_version": "" if has_one_version else line.saved.price_version,
            # Nearly every line is a request's: that purpose takes no room.
            "unusual_purpose": "" if line.purpose is Purpose.REQUEST else line.purpose,
            "parts_of_usage": _encode_parts(line.usage),
        },
    )
    return sealed(columns)


def decode_record(row: bytes) -> LedgerRecord:
    """Return the line of the request log of a row.

    Raises:
        StoreError: the row is damaged.
        StoreUnusableError: a newer semcache wrote it.
    """
    values, _ = _LINE.unpack(row)
    line: LedgerRecord = _LINE.build(
        values,
        {
            "saved.price_version": values[_SPENT_VERSION] if values[_HAS_ONE_VERSION] else values[_OTHER_VERSION],
            "similarity": values[_SIMILARITY_OR_0] if values[_HAS_SIMILARITY] else None,
            "purpose": Purpose(values[_UNUSUAL_PURPOSE] or Purpose.REQUEST),
            "usage.parts": _decode_parts(values[_PARTS_OF_LINE]),
        },
    )
    return line


def encode_hour(hour: LedgerHour) -> bytes:
    """Return the row of one hour of the rollup.

    A sum beyond 64 bits, of tokens that nobody ever used, is cut: a row that can't be written would hold up all others.

    Raises:
        ValueError: a name beyond 65,535 characters.
    """
    try:
        return sealed(_HOUR.pack(hour))
    except ValueError:
        return sealed(_HOUR.pack(_cut(hour)))


def _cut(hour: LedgerHour) -> LedgerHour:
    """Return the hour with each number cut to the largest that a row holds."""
    numbers = {name: number for name in LedgerHour.__slots__ if isinstance(number := getattr(hour, name), int)}
    cut: dict[str, Any] = {name: min(number, _MAX_SUM) for name, number in numbers.items()}
    return replace(hour, **cut)


def decode_hour(row: bytes) -> LedgerHour:
    """Return the hour of the rollup of a row.

    Raises:
        StoreError: the row is damaged.
        StoreUnusableError: a newer semcache wrote it.
    """
    values, _ = _HOUR.unpack(row)
    hour: LedgerHour = _HOUR.build(values)
    return hour


def encode_served(served: ServedHit) -> bytes:
    """Return the row of a hit as it was served.

    Raises:
        ValueError: an exact key that isn't 32 bytes long, a name beyond 65,535 characters, a number out of range.
    """
    if len(served.exact_key) != EXACT_KEY_BYTES or len(served.entry_key) not in {0, EXACT_KEY_BYTES}:
        raise ValueError(f"an exact key has {EXACT_KEY_BYTES} bytes")
    return sealed(_SERVED.pack(served) + served.vector)


def decode_served(row: bytes) -> ServedHit:
    """Return the served hit of a row.

    Raises:
        StoreError: the row is damaged.
        StoreUnusableError: a newer semcache wrote it.
    """
    values, end = _SERVED.unpack(row)
    served: ServedHit = _SERVED.build(values, {"vector": row[end:]})
    return served
