"""Invalidations, remembered so that an answer in flight before one isn't stored after it."""

from __future__ import annotations

from semcache.fair_memory import FairMemory
from semcache.model import Entry, Selector

_MAX_REMEMBERED = 4_096
"""Selectors kept of all tenants: comparing an entry with so many takes some milliseconds."""
_MAX_BYTES = 8 * 1024 * 1024
_OVERHEAD_BYTES = 500
"""Bytes of the objects of one selector beside its texts."""


class Invalidations:
    """Counts invalidations as generations and knows what the latest ones of each tenant named.

    When there are too many to remember, the tenant with most loses its oldest. An answer of this tenant that was in
    flight before the lost one isn't stored; other tenants aren't concerned.

    Attributes:
        generation: how many there have been.
    """

    def __init__(self) -> None:
        self._selectors: FairMemory[int, Selector] = FairMemory(
            max_items=_MAX_REMEMBERED, max_bytes=_MAX_BYTES, on_forgotten=self._forget
        )
        self._forgotten: dict[str, int] = {}
        self._forgotten_of_all = 0
        self.generation = 0

    def add(self, selector: Selector) -> int:
        """Count an invalidation; return the new generation.

        One that names entries by their ids isn't remembered: an answer in flight has no id yet.
        """
        self.generation += 1
        if not selector.entry_ids:
            self._selectors.put(selector.tenant, self.generation, selector, _size(selector))
        return self.generation

    def name_since(self, generation: int, entry: Entry) -> bool:
        """Return whether one after `generation` names `entry`; True also when the tenant had too many to remember."""
        if max(self._forgotten.get(entry.tenant, 0), self._forgotten_of_all) > generation:
            return True
        for number, selector in self._selectors.newest_of(entry.tenant):
            if number <= generation:
                return False
            if selector.matches(entry):
                return True
        return False

    def _forget(self, tenant: str, generation: int, selector: Selector) -> None:
        del selector
        if self._selectors.holds_of(tenant):
            self._forgotten[tenant] = generation
        else:
            # Nothing bounds the number of tenants of whom nothing is remembered, so all of them share one number.
            self._forgotten.pop(tenant, None)
            self._forgotten_of_all = max(self._forgotten_of_all, generation)


def _size(selector: Selector) -> int:
    names = (*selector.tags, *selector.sources, selector.namespace, selector.alias)
    return _OVERHEAD_BYTES + sum([len(name) + 50 for name in names])
