"""Keys of a request, what its mode and cacheability allow, and the reason that its caller is told."""

from __future__ import annotations

from functools import partial

from semcache.costs.account import Account
from semcache.long_work import LongWork
from semcache.model import CacheMode, Decision, Entry, KeyedRequest, Request, Status, Tier
from semcache.ports import Clock, Upstream
from semcache.request import Keying, is_long

_READING = frozenset({CacheMode.DEFAULT, CacheMode.CACHE_ONLY, CacheMode.EXACT_ONLY})


async def keyed_request(keying: Keying, long_work: LongWork, request: Request) -> KeyedRequest:
    """Give a request its exact key, its partition and its cacheability: a long one on the thread for long work.

    Raises:
        InvalidRequestError: the body isn't a request that can be cached or forwarded.
    """
    if not is_long(request.body):
        return keying.key(request)
    keyed = keying.recall(request)
    if keyed is None:
        keyed = await long_work.run(request.tenant, partial(keying.compute, request))
        keying.remember(request, keyed)
    return keyed


async def key_request(keying: Keying, long_work: LongWork, account: Account, request: Request) -> KeyedRequest:
    """Give a request its keys as `keyed_request` does, and note the stage in its account."""
    keyed = await keyed_request(keying, long_work, request)
    account.alias = keyed.alias
    account.lap("key")
    return keyed


def may_read(keyed: KeyedRequest) -> bool:
    """Return whether the request may be answered from the cache."""
    return keyed.request.control.mode in _READING


def may_join(keyed: KeyedRequest) -> bool:
    """Return whether the request may wait for another's answer, and others for its answer."""
    return may_read(keyed) and not keyed.request.control.no_store and keyed.cacheability.tier is not Tier.NONE


def status_upstream(keyed: KeyedRequest, decision: Decision | None) -> tuple[Status, str]:
    """Return status and reason of a request that goes to the upstream, after what the semantic tier decided."""
    if keyed.request.control.mode is CacheMode.REFRESH:
        return Status.REFRESH, "requested"
    if keyed.request.control.mode is CacheMode.BYPASS:
        return Status.BYPASS, "requested"
    if keyed.cacheability.tier is Tier.NONE:
        return Status.BYPASS, keyed.cacheability.reason
    return Status.MISS, miss_reason(keyed, decision)


def miss_reason(keyed: KeyedRequest, decision: Decision | None) -> str:
    """Return why the cache has no answer, a stable token."""
    if decision is not None:
        return decision.reason
    return "empty_partition" if keyed.cacheability.tier is Tier.SEMANTIC else keyed.cacheability.reason


class Servability:
    """Tells whether an entry may be served to a request, whatever its similarity."""

    def __init__(self, clock: Clock, upstream: Upstream) -> None:
        """Prepare it; wall time decides about ages, the upstream about models that are still routed."""
        self._clock = clock
        self._upstream = upstream

    def refusal(self, keyed: KeyedRequest, entry: Entry) -> str:
        """Return why `entry` may not be served, a stable token; empty when it may."""
        max_age_s = keyed.request.control.max_age_s
        if max_age_s is not None and self._clock.wall() - entry.created_s > max_age_s:
            return "too_old"
        if entry.answer.tool_calls and entry.exact_key != keyed.exact_key:
            return "tool_calls"  # Its arguments are those of the other's words.
        if entry.answer.target_model:
            models = self._upstream.models(keyed.alias)
            if models is not None and entry.answer.target_model not in models:
                return "model_not_routed"
        return "degraded" if entry.answer.degraded else ""
