"""What the story stands on: one object of each room, and the settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from semcache.costs.accounts import Accounts
from semcache.decision import Decider
from semcache.long_work import LongWork
from semcache.ports import Clock, Coordination, Embedder, Store, Upstream, VectorIndex
from semcache.request import Keying, Tasks
from semcache.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooms:
    """One object of each room. The composition root makes it; each step of the story takes from it what it uses.

    Attributes:
        calls_in_flight: tells how many calls the fronts have let in.
    """

    settings: Settings
    clock: Clock
    keying: Keying
    tasks: Tasks
    store: Store
    embedder: Embedder
    index: VectorIndex
    decider: Decider
    upstream: Upstream
    accounts: Accounts
    coordination: Coordination
    long_work: LongWork
    calls_in_flight: Callable[[], int]
