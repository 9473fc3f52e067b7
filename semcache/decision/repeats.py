"""How often the requests of a namespace have a near one among those before: where few have, hits are mostly wrong."""

from __future__ import annotations

from semcache.fair_memory import FairMemory

WINDOW = 1_000
"""Requests over which the share is a mean: of the last ones, those longer ago count less and less."""
ENOUGH = 500
"""Requests of a namespace before which nothing is said of it: into an empty store nothing can come again."""
FEW = 0.15
"""The share below which repeats are few. Of the benchmark's streams that repeat answers, 19 % of the first 500 requests
and 30 to 60 % of later ones have an equal or near one before; of the stream with few repeats 4 to 17 % have
("few repeats" in `benchmarks/README.md`)."""
_MAX_NAMESPACES = 10_000
_NAMESPACE_BYTES = 300
"""Estimated memory of what is known of a namespace, beside its name."""

Namespace = tuple[str, str]
"""A tenant, and a namespace of it."""


class Repeats:
    """The share of requests that have an equal or near entry, for each namespace of each tenant.

    One thread notes requests; any thread may ask. After a restart nothing is known, as of a namespace that is new.
    """

    def __init__(self) -> None:
        self._seen: FairMemory[Namespace, _Seen] = FairMemory(
            max_items=_MAX_NAMESPACES,
            max_bytes=_MAX_NAMESPACES * 2 * _NAMESPACE_BYTES,
            on_forgotten=lambda _, name, __: self._few.discard(name),
        )
        self._few: set[Namespace] = set()

    def note(self, tenant: str, namespace: str, *, has_near: bool) -> None:
        """Take in a request that could be compared with others.

        Args:
            tenant: who asks.
            namespace: the request's namespace.
            has_near: whether an entry is equal to it, or so similar that the threshold would admit it.
        """
        name = (tenant, namespace)
        seen = self._seen.use(name)
        if seen is None:
            seen = _Seen()
            self._seen.put(tenant, name, seen, _NAMESPACE_BYTES + len(namespace))
        seen.requests = min(seen.requests + 1, WINDOW)
        seen.share += (has_near - seen.share) / seen.requests
        if seen.requests >= ENOUGH and seen.share < FEW:
            self._few.add(name)
        else:
            self._few.discard(name)

    def are_few(self, tenant: str, namespace: str) -> bool:
        """Return whether enough requests of a namespace were seen, and few of them had a near one before."""
        return (tenant, namespace) in self._few

    @property
    def few(self) -> int:
        """The number of namespaces whose repeats are few."""
        return len(self._few)


class _Seen:
    """What is known of a namespace.

    Attributes:
        requests: how many were seen, `WINDOW` at most.
        share: the share of them that had a near one before.
    """

    __slots__ = ("requests", "share")

    def __init__(self) -> None:
        self.requests = 0
        self.share = 0.0
