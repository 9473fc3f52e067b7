"""What calls give back: the answer, and what the server says about it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

from semcache.client.failures import ClientError, from_item
from semcache.model import HIT_STATUSES, NANOUSD_PER_USD, Status
from semcache.v1 import semcache_pb2 as pb

_STATUSES = {
    pb.STATUS_EXACT_HIT: Status.EXACT_HIT,
    pb.STATUS_SEMANTIC_HIT: Status.SEMANTIC_HIT,
    pb.STATUS_COALESCED: Status.COALESCED,
    pb.STATUS_MISS: Status.MISS,
    pb.STATUS_BYPASS: Status.BYPASS,
    pb.STATUS_REFRESH: Status.REFRESH,
}


def usd(nanousd: int) -> Decimal:
    """Nanodollars in dollars, exactly."""
    return Decimal(nanousd) / NANOUSD_PER_USD


def status_of(status: pb.Status.ValueType) -> Status:
    """A status of the wire."""
    return _STATUSES[status]


@dataclass(frozen=True, slots=True)
class Answered:
    """What every answer tells of itself; `outcome` has all the rest.

    Attributes:
        text: the content of the first choice.
        openai_json: the whole chat completion as the upstream sent it; empty when there is no answer.
    """

    text: str
    openai_json: bytes = field(repr=False)
    outcome: pb.Outcome = field(repr=False)

    def json(self) -> dict[str, Any]:
        """The chat completion, parsed; empty when there is no answer."""
        parsed: dict[str, Any] = json.loads(self.openai_json) if self.openai_json else {}
        return parsed

    @property
    def status(self) -> Status:
        """Where the answer came from."""
        return status_of(self.outcome.status)

    @property
    def hit(self) -> bool:
        """Whether it came from the cache, or from a call that was under way."""
        return self.status in HIT_STATUSES

    @property
    def reason(self) -> str:
        """Why the status is what it is, as a stable token."""
        return self.outcome.reason

    @property
    def similarity(self) -> float | None:
        """The cosine to the entry that was served, or to the nearest on a miss; None when nothing was compared."""
        return self.outcome.similarity if self.outcome.HasField("similarity") else None

    @property
    def entry_id(self) -> str:
        """The entry that was served, or that the answer was stored as; empty for neither."""
        return self.outcome.entry_id

    @property
    def hit_id(self) -> str:
        """For `report_verdict`; empty unless the answer came from an entry."""
        return self.outcome.hit_id

    @property
    def age(self) -> timedelta | None:
        """How long ago a served answer was made; None unless it came from an entry."""
        return self.outcome.age.ToTimedelta() if self.outcome.HasField("age") else None

    @property
    def cost_usd(self) -> Decimal | None:
        """What the upstream charged for this request; None when the model's price is unknown."""
        if self.hit or self.outcome.cost.priced:
            return usd(self.outcome.cost.total_nanousd)
        return None

    @property
    def saved_usd(self) -> Decimal | None:
        """What the upstream would have charged and didn't; None when the model's price is unknown."""
        if not self.hit or self.outcome.saved.priced:
            return usd(self.outcome.saved.total_nanousd)
        return None


@dataclass(frozen=True, slots=True)
class Completion(Answered):
    """The answer to a `complete`."""


@dataclass(frozen=True, slots=True)
class Lookup(Answered):
    """The result of a `lookup`; a miss has an empty text.

    Attributes:
        lookup_id: for the `store` that follows a miss; empty otherwise.
        lease_id: for that `store`, when a lease was asked for and granted; empty otherwise.
    """

    lookup_id: str = ""
    lease_id: str = ""


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of a `store`.

    Attributes:
        entry_id: the entry, durable by now; empty when nothing was stored.
        stored: whether it was.
        reason: why it wasn't, as a stable token.
        response: all that the server said.
    """

    entry_id: str
    stored: bool
    reason: str
    response: pb.StoreResponse = field(repr=False)

    @property
    def cost_usd(self) -> Decimal | None:
        """What the answer cost, and a hit will save; None when the model's price is unknown."""
        return usd(self.response.cost.total_nanousd) if self.response.cost.priced else None


def completion(response: pb.CompleteResponse) -> Completion:
    """A Complete's response."""
    return Completion(response.text, response.openai_json, response.outcome)


def lookup(response: pb.LookupResponse) -> Lookup:
    """A Lookup's response."""
    return Lookup(response.text, response.openai_json, response.outcome, response.lookup_id, response.lease.lease_id)


def stored(response: pb.StoreResponse) -> Stored:
    """A Store's response."""
    return Stored(response.entry_id, response.stored, response.reason, response)


def lookups(results: Sequence[pb.LookupResult]) -> list[Lookup | ClientError]:
    """A batch's results, in the order of its requests."""
    return [lookup(item.response) if item.HasField("response") else from_item(item.error) for item in results]


def stores(results: Sequence[pb.StoreResult]) -> list[Stored | ClientError]:
    """A batch's results, in the order of its requests."""
    return [stored(item.response) if item.HasField("response") else from_item(item.error) for item in results]


def delta_text(chunk: bytes) -> str:
    """The text that one `chat.completion.chunk` adds to the first choice."""
    for choice in json.loads(chunk).get("choices") or ():
        if choice.get("index", 0) == 0:
            return (choice.get("delta") or {}).get("content") or ""
    return ""
