"""The books: where accounts and purchases find prices and budgets, and where they write."""

from __future__ import annotations

from dataclasses import dataclass

from semcache.costs.budgets import Budgets
from semcache.costs.outlays import OutlayMeans
from semcache.costs.prices import PriceBook
from semcache.costs.tariff import Rate
from semcache.observe.metrics import Metrics
from semcache.observe.spans import Spans
from semcache.ports import Clock, Entries, Ledger


@dataclass(frozen=True, slots=True)
class Books:
    """What every account and purchase of a process shares.

    Attributes:
        entries: where an answer is stored, in one commit with its ledger line.
        ledger: where lines go.
        prices: what a usage costs.
        budgets: what may be spent.
        metrics: what is counted.
        clock: when a line is made, and how long a request took.
        embedding: the configured rate of embedding a text.
        needs_ledger: whether a call is refused, and an answer withheld, while its line can't be written.
        outlays: what answers cost and how long they take, by alias.
        spans: where finished stages and requests go for tracing.
    """

    entries: Entries
    ledger: Ledger
    prices: PriceBook
    budgets: Budgets
    metrics: Metrics
    clock: Clock
    embedding: Rate
    spans: Spans
    outlays: OutlayMeans
    needs_ledger: bool = False
