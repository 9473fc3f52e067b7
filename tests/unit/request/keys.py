"""Build keyed requests for tests, with fixed values for everything that isn't under test."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from semcache.model import KeyedRequest, Request
from semcache.request import CacheabilityRules, Keying, RequestMemo, Templates
from semcache.settings import CacheabilitySettings, LimitSettings

BASE: Mapping[str, Any] = {
    "model": "gpt-4o-mini",
    "messages": [
        {"role": "system", "content": "You are terse."},
        {"role": "user", "content": "What is the capital of France?"},
    ],
}


def keying(
    *,
    secrets: Sequence[str] = ("s" * 16,),
    fingerprint: str = "fp",
    route_policy_version: str = "1",
    settings: CacheabilitySettings = CacheabilitySettings(),  # noqa: B008 - frozen
    per_end_user: bool = True,
    memo: RequestMemo | None = None,
    other_embedders: Sequence[str] = (),
) -> Keying:
    return Keying(
        secrets=secrets,
        fingerprint=fingerprint,
        route_policy_version=route_policy_version,
        templates=Templates(settings),
        limits=LimitSettings(),
        cacheability=CacheabilityRules(
            settings,
            fits=lambda text: len(text) < 500 and "\u4e00" not in text,
            knows=lambda text: "\u4e00" not in text,
        ),
        per_end_user=per_end_user,
        memo=memo,
        other_embedders=lambda: other_embedders,
    )


def key(body: Mapping[str, Any] | bytes, *, by: Keying | None = None, **request: Any) -> KeyedRequest:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return (by or keying()).key(Request(**{"tenant": "acme", "body": raw, **request}))
