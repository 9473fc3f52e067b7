"""Reads what a request asks of the cache: `x-semcache-*` headers, the body's field `cache`, and `Cache-Control`.

Where two of them ask for different things, the first of this order counts: header, field, `Cache-Control`. Of several
maximum ages the least counts, and `no-store` counts wherever it stands.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn

from semcache.errors import InvalidRequestError
from semcache.model import CacheControl, CacheMode, Request, Template
from semcache.settings import LimitSettings
from semcache.wire.checks import check_control, check_name, check_names, check_template
from semcache.wire.incoming import DEFAULT_NAMESPACE

_PREFIX = b"x-semcache-"
_CACHE_CONTROL = b"cache-control"
_LISTS = frozenset({"tags", "sources"})
"""Headers that may be sent several times, as HTTP's lists may."""
_HEADERS = _LISTS | {
    "namespace",
    "ttl",
    "threshold",
    "mode",
    "template",
    "knowledge-version",
    "task-type",
    "tenant",  # It says who asks: `auth.Credentials` reads it.
}
_MODES: Mapping[str, CacheMode] = {
    "default": CacheMode.DEFAULT,
    "exact-only": CacheMode.EXACT_ONLY,
    "cache-only": CacheMode.CACHE_ONLY,
    "bypass": CacheMode.BYPASS,
    "refresh": CacheMode.REFRESH,
}
_FIELDS = frozenset({"ttl", "s-maxage", "s-max-age", "no-cache", "no-store", "namespace", "use-cache"})
"""LiteLLM's names in the body's field `cache`."""

WishHeaders = tuple[tuple[bytes, bytes], ...]
"""The headers of a request that ask something of the cache, as they were sent."""


def wish_headers(pairs: Iterable[tuple[bytes, bytes]]) -> WishHeaders:
    """Return those headers of a request that ask something of the cache."""
    return tuple([pair for pair in pairs if pair[0] == _CACHE_CONTROL or pair[0].startswith(_PREFIX)])


@dataclass(frozen=True, slots=True)
class _Wishes:
    """What one of the three places asks for; None and empty for nothing."""

    mode: CacheMode | None = None
    ttl_s: float | None = None
    max_age_s: float | None = None
    no_store: bool = False
    no_cache: bool = False
    namespace: str = ""


def read_request(headers: WishHeaders, field: object, *, tenant: str, body: bytes, limits: LimitSettings) -> Request:
    """Return the request that a body and its wishes make.

    Args:
        headers: of `wish_headers`.
        field: the body's field `cache`; None where it has none.
        tenant: who asks.
        body: the body, without the field `cache`.
        limits: of names.

    Raises:
        InvalidRequestError: a wish is unknown, contradicts another, or has an impossible value.
    """
    named = _named(headers)
    by_header = _by_header(named)
    by_field, by_control = _by_field(field), _by_cache_control(headers)
    every = (by_header, by_field, by_control)
    ages = [wishes.max_age_s for wishes in every if wishes.max_age_s is not None]
    no_store = any(wishes.no_store for wishes in every)
    mode = by_header.mode or _mode(by_field, by_control, no_store=no_store)
    control = CacheControl(
        mode=mode,
        ttl_s=next((wishes.ttl_s for wishes in every if wishes.ttl_s is not None), None),
        max_age_s=min(ages, default=None),
        no_store=no_store,
        similarity_threshold=_number(named["threshold"], "x-semcache-threshold") if "threshold" in named else None,
    )
    namespace = by_header.namespace or by_field.namespace
    template = named.get("template", "")
    return Request(
        tenant=tenant,
        body=body,
        namespace=check_name(namespace, "namespace") or DEFAULT_NAMESPACE,
        tags=check_names(_items(named.get("tags", "")), "tags", limits),
        sources=check_names(_items(named.get("sources", "")), "sources", limits),
        task_type=check_name(named.get("task-type", ""), "task_type"),
        template=check_template(_template(template)) if template else None,
        knowledge_version=check_name(named.get("knowledge-version", ""), "knowledge_version"),
        control=check_control(control),
    )


def _mode(by_field: _Wishes, by_control: _Wishes, *, no_store: bool) -> CacheMode:
    no_cache = by_field.no_cache or by_control.no_cache
    if by_control.mode is CacheMode.CACHE_ONLY:
        if no_cache:
            _refuse("no-cache and only-if-cached contradict each other.", "INVALID_CACHE_CONTROL")
        return CacheMode.CACHE_ONLY
    if not no_cache:
        return CacheMode.DEFAULT
    return CacheMode.BYPASS if no_store else CacheMode.REFRESH


def _named(headers: WishHeaders) -> dict[str, str]:
    """Return the `x-semcache-*` headers by the rest of their name.

    Raises:
        InvalidRequestError: UNKNOWN_HEADER, DUPLICATE_HEADER. A header that was misspelt and ignored would share
            answers that shouldn't be shared.
    """
    named: dict[str, str] = {}
    for raw_name, raw_value in headers:
        if raw_name == _CACHE_CONTROL:
            continue
        name = raw_name[len(_PREFIX) :].decode("latin-1")
        value = raw_value.decode("latin-1").strip()
        if name not in _HEADERS:
            known = ", ".join(f"x-semcache-{known}" for known in sorted(_HEADERS))
            _refuse(f"The header x-semcache-{name[:64]} is unknown.", "UNKNOWN_HEADER", hint=f"Known are {known}.")
        if name in named and name not in _LISTS:
            _refuse(f"The header x-semcache-{name} was sent twice.", "DUPLICATE_HEADER", hint="Send it once.")
        named[name] = f"{named[name]},{value}" if name in named else value
    return named


def _by_header(named: Mapping[str, str]) -> _Wishes:
    mode = named.get("mode")
    if mode is not None and mode not in _MODES:
        _refuse("x-semcache-mode is unknown.", "INVALID_MODE", hint=f"Send one of {', '.join(_MODES)}.")
    ttl = named.get("ttl")
    return _Wishes(
        mode=_MODES[mode] if mode is not None else None,
        ttl_s=_number(ttl, "x-semcache-ttl") if ttl is not None else None,
        namespace=named.get("namespace", ""),
    )


def _by_field(field: object) -> _Wishes:
    """Read LiteLLM's field `cache`. `use-cache` is accepted: the cache is always used unless it is told not to."""
    if field is None:
        return _Wishes()
    if not isinstance(field, dict):
        _refuse("cache must be an object.", "INVALID_PARAMETER", field="cache")
    for name, value in field.items():
        if name not in _FIELDS:
            _refuse(f"cache.{name[:64]} is unknown.", "INVALID_PARAMETER", field="cache")
        expected: Any = bool if name in {"no-cache", "no-store", "use-cache"} else str if name == "namespace" else None
        if value is not None and expected is not None and not isinstance(value, expected):
            _refuse(f"cache.{name} has a wrong type.", "INVALID_PARAMETER", field=f"cache.{name}")
    ages = [_seconds(field[name], name) for name in ("s-maxage", "s-max-age") if field.get(name) is not None]
    return _Wishes(
        ttl_s=_seconds(field["ttl"], "ttl") if field.get("ttl") is not None else None,
        max_age_s=min(ages, default=None),
        no_store=bool(field.get("no-store")),
        no_cache=bool(field.get("no-cache")),
        namespace=field.get("namespace") or "",
    )


def _by_cache_control(headers: WishHeaders) -> _Wishes:
    """Read `Cache-Control` as RFC 9111, section 5.2.1 has it; other directives are ignored, as it says."""
    directives: dict[str, str] = {}
    for name, value in headers:
        if name == _CACHE_CONTROL:
            for item in value.decode("latin-1").split(","):
                directive, _, argument = item.strip().lower().partition("=")
                directives[directive.strip()] = argument.strip().strip('"')
    max_age_s = None
    if "max-age" in directives:
        digits = directives["max-age"]
        if not digits.isascii() or not digits.isdigit():
            _refuse("Cache-Control's max-age is no number of seconds.", "INVALID_MAX_AGE")
        max_age_s = float(digits[:12])
    return _Wishes(
        mode=CacheMode.CACHE_ONLY if "only-if-cached" in directives else None,
        max_age_s=max_age_s,
        no_store="no-store" in directives,
        no_cache="no-cache" in directives,
    )


def _template(text: str) -> Template:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    slots = value.get("slots", {}) if isinstance(value, dict) else None
    if (
        not isinstance(value, dict)
        or not isinstance(value.get("id"), str)
        or not isinstance(slots, dict)
        or not all(isinstance(slot, str) for slot in slots.values())
    ):
        _refuse(
            "x-semcache-template is no template.",
            "INVALID_TEMPLATE",
            hint='Send {"id": "…", "slots": {"name": "value"}} as JSON in ASCII.',
        )
    return Template(value["id"], tuple(slots.items()))


def _items(text: str) -> list[str]:
    return [item for item in (part.strip() for part in text.split(",")) if item]


def _number(text: str, name: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        _refuse(f"{name} is no number.", "INVALID_PARAMETER", field=name)
    return value


def _seconds(value: object, name: str) -> float:
    seconds = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        with suppress(OverflowError):  # An integer beyond all floats.
            seconds = float(value)
    if not math.isfinite(seconds):
        _refuse(f"cache.{name} is no number of seconds.", "INVALID_PARAMETER", field=f"cache.{name}")
    return seconds


def _refuse(message: str, reason: str, *, hint: str = "", field: str = "") -> NoReturn:
    raise InvalidRequestError(message, reason=reason, hint=hint, metadata={"field": field} if field else None)
