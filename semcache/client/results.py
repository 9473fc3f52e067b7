"""The results of calls: the answer, and what the server reports about it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

from semcache.client.failures import ClientError, from_item
from semcache.model import HIT_STATUSES, NANOUSD_PER_USD, Status, text_of
from semcache.v1 import semcache_pb2 as pb

_STATUSES = {
    pb.STATUS_EXACT_HIT: Status.EXACT_HIT,
    pb.STATUS_SEMANTIC_HIT: Status.SEMANTIC_HIT,
    pb.STATUS_COALESCED: Status.COALESCED,
    pb.STATUS_MISS: Status.MISS,
    pb.STATUS_BYPASS: Status.BYPASS,
    pb.STATUS_REFRESH: Status.REFRESH,
    pb.STATUS_STALE: Status.STALE,
}


def usd(nanousd: int) -> Decimal:
    """Convert nanodollars to dollars, exactly."""
    return Decimal(nanousd) / NANOUSD_PER_USD


def status_of(status: pb.Status.ValueType) -> Status:
    """Return the status that a number of the protocol stands for."""
    return _STATUSES[status]


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer with the server's report on it; the properties below are the most used fields of that report.

    Attributes:
        text: the content of the first choice.
        openai_json: the whole chat completion as the upstream sent it; empty when there is no answer.
        outcome: the server's whole report.
    """

    text: str
    openai_json: bytes = field(repr=False)
    outcome: pb.Outcome = field(repr=False)

    def json(self) -> dict[str, Any]:
        """Return the chat completion as a dictionary; it is empty when there is no answer."""
        parsed: dict[str, Any] = json.loads(self.openai_json) if self.openai_json else {}
        return parsed

    @property
    def status(self) -> Status:
        """The source of the answer, such as an exact hit or a miss."""
        return status_of(self.outcome.status)

    @property
    def hit(self) -> bool:
        """Whether the answer came from the cache, or from another caller's upstream call that was under way."""
        return self.status in HIT_STATUSES

    @property
    def stale_for(self) -> timedelta | None:
        """The time since the served answer expired; None unless an expired one was served (`Status.STALE`)."""
        return self.outcome.stale_for.ToTimedelta() if self.outcome.HasField("stale_for") else None

    @property
    def reason(self) -> str:
        """The reason for the status, as a stable token."""
        return self.outcome.reason

    @property
    def similarity(self) -> float | None:
        """The cosine to the served entry, or on a miss to the nearest entry; None when nothing was compared."""
        return self.outcome.similarity if self.outcome.HasField("similarity") else None

    @property
    def entry_id(self) -> str:
        """The id of the entry that was served, or under which the answer was stored; empty if there is neither."""
        return self.outcome.entry_id

    @property
    def hit_id(self) -> str:
        """The id of this hit, for `report_verdict`; empty unless the answer came from an entry."""
        return self.outcome.hit_id

    @property
    def age(self) -> timedelta | None:
        """The time since the served answer was made; None unless it came from an entry."""
        return self.outcome.age.ToTimedelta() if self.outcome.HasField("age") else None

    @property
    def cost_usd(self) -> Decimal | None:
        """The dollars that the upstream charged for this request; None when the model's price is unknown."""
        if self.hit or self.outcome.cost.priced:
            return usd(self.outcome.cost.total_nanousd)
        return None

    @property
    def saved_usd(self) -> Decimal | None:
        """The dollars that the upstream would have charged for a hit; None when the model's price is unknown."""
        if not self.hit or self.outcome.saved.priced:
            return usd(self.outcome.saved.total_nanousd)
        return None


@dataclass(frozen=True, slots=True)
class Completion(Answered):
    """The result of `complete`."""


@dataclass(frozen=True, slots=True)
class Lookup(Answered):
    """The result of `lookup`; a miss has an empty text.

    Attributes:
        lookup_id: the id that a `store` after this miss may give; empty on a hit.
        lease_id: the lease that the `store` ends; empty unless a lease was requested and granted.
    """

    lookup_id: str = ""
    lease_id: str = ""


@dataclass(frozen=True, slots=True)
class Stored:
    """The result of `store`.

    Attributes:
        entry_id: the id of the new entry, which is durable; empty when nothing was stored.
        stored: whether the answer was stored.
        reason: the reason why it wasn't, as a stable token.
        response: the server's whole response.
    """

    entry_id: str
    stored: bool
    reason: str
    response: pb.StoreResponse = field(repr=False)

    @property
    def cost_usd(self) -> Decimal | None:
        """The dollars that the answer cost and that each hit will save; None when the model's price is unknown."""
        return usd(self.response.cost.total_nanousd) if self.response.cost.priced else None


def completion(response: pb.CompleteResponse) -> Completion:
    """Return the result of `complete` from its message."""
    return Completion(response.text, response.openai_json, response.outcome)


def lookup(response: pb.LookupResponse) -> Lookup:
    """Return the result of `lookup` from its message."""
    return Lookup(response.text, response.openai_json, response.outcome, response.lookup_id, response.lease.lease_id)


def stored(response: pb.StoreResponse) -> Stored:
    """Return the result of `store` from its message."""
    return Stored(response.entry_id, response.stored, response.reason, response)


def lookups(results: Sequence[pb.LookupResult]) -> list[Lookup | ClientError]:
    """Return the results of `lookup_batch`, in the order of its requests."""
    return [lookup(item.response) if item.HasField("response") else from_item(item.error) for item in results]


def stores(results: Sequence[pb.StoreResult]) -> list[Stored | ClientError]:
    """Return the results of `store_batch`, in the order of its requests."""
    return [stored(item.response) if item.HasField("response") else from_item(item.error) for item in results]


def delta_text(chunk: bytes) -> str:
    """Return the text that one `chat.completion.chunk`, as JSON, adds to the first choice.

    Upstreams send more than OpenAI does: content as a list of parts, chunks without choices, fields that are null. What
    has no text adds none.
    """
    value = json.loads(chunk)
    choices = value.get("choices") if isinstance(value, dict) else None
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict) and choice.get("index") in (0, None):
            delta = choice.get("delta")
            return text_of(delta.get("content")) if isinstance(delta, dict) else ""
    return ""
