"""Which entries leave when the store is full: policies as data, over a sample that is as large as it need be."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from semcache.model import Entry, LedgerRecord

START_RATIO = 0.8
"""Of `max_bytes`: deletes need free pages too, and whoever reads holds pages back."""
MAP_RATIO = 0.5
"""Of the map, the most that `max_bytes` may mean: commits copy pages, readers hold pages back, large values want free
pages side by side. The map is address space and costs nothing."""
HISTORY_RATIO = 0.25
"""Of `max_bytes`: what the request log and the served hits may take before their oldest rows go."""
SAMPLE_PER_VICTIM = 5
"""With five looked at for each that leaves, a sample comes close to the true order: Redis' figure."""
SMALLEST_SAMPLE = 64
"""A store of no more entries is looked at whole."""
_SECONDS_PER_HOUR = 3600.0
_MAX_SAVED = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Access:
    """How an entry was used: how often, what that saved in nanodollars, wall seconds of the last time (0 for never)."""

    uses: int = 0
    saved_nanousd: int = 0
    last_s: float = 0.0

    def plus(self, other: Access) -> Access:
        """Both together; savings beyond what a row holds are cut."""
        saved_nanousd = min(self.saved_nanousd + other.saved_nanousd, _MAX_SAVED)
        return Access(self.uses + other.uses, saved_nanousd, max(self.last_s, other.last_s))


NO_ACCESS = Access()


def access_of(hit: LedgerRecord) -> Access:
    """The one use of an entry that the line of a hit on it tells of."""
    return Access(1, max(hit.saved.total_nanousd, 0), hit.at_s)


@dataclass(frozen=True, slots=True)
class Standing:
    """What a policy judges an entry by.

    Attributes:
        cost_nanousd: what making it again would cost: what its next hit saves.
        saved_nanousd: what its hits have saved so far.
        idle_s: wall seconds since it was last used, or since it was made.
        size_bytes: what it takes of the file.
    """

    entry_id: int
    cost_nanousd: int
    saved_nanousd: int
    idle_s: float
    size_bytes: int


def cost_worth(standing: Standing) -> float:
    """Nanodollars per byte: what it cost and what it has saved, the less the longer nobody asked for it."""
    value = max(standing.cost_nanousd, 1) + standing.saved_nanousd  # an unpriced answer still saves its time
    return value / (1 + standing.idle_s / _SECONDS_PER_HOUR) / standing.size_bytes


def lru_worth(standing: Standing) -> float:
    """The longer ago it was used, the less."""
    return -standing.idle_s


POLICIES: Mapping[str, Callable[[Standing], float]] = {"cost": cost_worth, "lru": lru_worth}
"""By the setting's name: what an entry is worth keeping; the least worth goes first, of equals the older."""


def limit_bytes(max_bytes: int, map_size_bytes: int) -> int:
    """Live bytes, entries and history together, beyond which something leaves."""
    return int(min(max_bytes, map_size_bytes * MAP_RATIO) * START_RATIO)


def standing_of(entry: Entry, access: Access, size_bytes: int, now_s: float) -> Standing:
    """An entry as the policies see it."""
    last_s = max(access.last_s, entry.created_s)
    return Standing(
        entry_id=entry.entry_id,
        cost_nanousd=entry.cost.total_nanousd,
        saved_nanousd=access.saved_nanousd,
        idle_s=max(0.0, now_s - last_s),
        size_bytes=max(size_bytes, 1),
    )


def by_worth(standings: Iterable[Standing], policy: str) -> list[Standing]:
    """Sorted, the least worth keeping first."""
    worth = POLICIES[policy]
    return sorted(standings, key=lambda standing: (worth(standing), standing.entry_id))


def sample_size(victims: int) -> int:
    """How many entries to look at to find `victims` of them."""
    return max(SMALLEST_SAMPLE, victims * SAMPLE_PER_VICTIM)


def sampled_ids(
    first_id: int, last_id: int, count: int, at_or_after: Callable[[int], int | None], chance: random.Random
) -> set[int]:
    """Up to `count` different ids between two, each found by one seek to a random place.

    An id behind a gap is found more often; gaps are where entries have left already, mostly among the old.

    Args:
        first_id: the lowest id there is.
        last_id: the highest.
        count: how many are wanted.
        at_or_after: the first id that is there at or after one; None when there is none.
        chance: where randomness comes from.
    """
    found: set[int] = set()
    for _ in range(count * 2):  # doubles are likelier the more of a small store is wanted
        entry_id = at_or_after(chance.randint(first_id, last_id))
        if entry_id is not None:
            found.add(entry_id)
            if len(found) >= count:
                break
    return found
