"""The history of acknowledged operations on a cache, and what each later answer must be by it.

Every answer that the kills' servers give is the text of a JSON list: the request that it was made for, and a version
that no other answer has. So an old answer, or another request's, is known wherever it comes up.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass, field

UNKNOWN = "an answer of the upstream that no caller was told"
"""Stands for an answer that a call was getting when the server was killed."""
_CLOCK_S = 1.0
"""How far an entry's expiry may lie from the time at which it is seen here."""


NEVER_S = float("inf")


@dataclass
class Known:
    """What is known of one request's own entry.

    Attributes:
        possible: the answers that it may have, with the wall seconds at which each expires; None: it may be absent.
        retired: answers that it had and must never have again.
        entry_id: its id, as the last acknowledgement named it.
    """

    possible: dict[str | None, float] = field(default_factory=lambda: {None: NEVER_S})
    retired: set[str] = field(default_factory=set)
    entry_id: str = ""


@dataclass
class History:
    """All that callers were told, by the request's text.

    Attributes:
        evicts: whether entries may be evicted, so that an absent one needn't be lost.
        evicted: how many were absent and are explained by that.
        problems: what broke the promises, by kind: lost, resurrected, forgotten_verdict, wrong.
        found: answers that were right, by the status they came with.
    """

    evicts: bool = False
    known: dict[str, Known] = field(default_factory=dict)
    barred: set[tuple[str, str]] = field(default_factory=set)
    evicted: int = 0
    problems: list[tuple[str, str]] = field(default_factory=list)
    found: Counter[str] = field(default_factory=Counter)

    def of(self, text: str) -> Known:
        """Return what is known of a request's entry; one that was never heard of is absent."""
        return self.known.setdefault(text, Known())

    # -- what was acknowledged

    def stored(self, text: str, answer: str, *, entry_id: str, expires_s: float = NEVER_S) -> None:
        """Record that `answer` was stored under `text`."""
        known = self.of(text)
        known.retired |= {other for other in known.possible if other not in {None, UNKNOWN, answer}}
        known.possible, known.entry_id = {answer: expires_s}, entry_id

    def removed(self, text: str) -> None:
        """Record that the entry of `text` was invalidated, or judged wrong for its own request."""
        known = self.of(text)
        known.retired |= {answer for answer in known.possible if answer not in {None, UNKNOWN}}
        known.possible = {None: NEVER_S}

    def judged_wrong(self, asked: str, made_for: str) -> None:
        """Record that the answer made for one request was judged wrong for another."""
        if asked == made_for:
            self.removed(asked)
        else:
            self.barred.add((asked, made_for))

    # -- what failed, so that it may have happened or not

    def maybe_stored(self, text: str, answer: str = UNKNOWN, *, expires_s: float = NEVER_S) -> None:
        """Record that `answer` may have been stored; without one, an answer of the upstream."""
        self.of(text).possible[answer] = expires_s

    def maybe_removed(self, text: str) -> None:
        """Record that the entry may be gone."""
        self.of(text).possible[None] = NEVER_S

    # -- what is seen

    def saw(self, asked: str, answer: str | None, status: str, *, sent_s: float) -> None:
        """Hold what a request got against the history.

        An answer is allowed if the entry of the request that it was made for may have it, and if it wasn't judged
        wrong for the request that asked.

        Args:
            asked: the request.
            answer: what it got; None: the cache had no answer for it.
            status: how it ended.
            sent_s: wall seconds at which it was sent: what expired before mustn't be served.
        """
        if answer is None or status == "semantic_hit":
            self._saw_no_entry(asked)
        if answer is None:
            return
        made_for = json.loads(answer)[0]
        known = self.of(made_for)
        if (asked, made_for) in self.barred:
            self._problem("forgotten_verdict", f"{asked!r} got {answer.strip()!r}, which was judged wrong for it")
        elif status != "semantic_hit" and made_for != asked:
            self._problem("wrong", f"{asked!r} got {answer.strip()!r}")
        elif answer in known.retired:
            self._problem("resurrected", f"{asked!r} got {answer.strip()!r}, which was replaced or removed")
        elif answer not in known.possible and UNKNOWN not in known.possible:
            self._problem("wrong", f"{asked!r} got {answer.strip()!r}, not one of {self._answers(known)}")
        elif sent_s > known.possible.get(answer, NEVER_S) + _CLOCK_S:
            self._problem("resurrected", f"{asked!r} got {answer.strip()!r}, which had expired")
        else:
            self.found[status] += 1
            if len(known.possible) > 1 or UNKNOWN in known.possible:
                self.stored(made_for, answer, entry_id="", expires_s=known.possible.get(answer, NEVER_S))

    def _saw_no_entry(self, text: str) -> None:
        known = self.of(text)
        if None in known.possible or time.time() > min(known.possible.values()) - _CLOCK_S:
            self.removed(text)
        elif self.evicts:
            self.evicted += 1
            self.removed(text)
        else:
            self._problem("lost", f"{text!r} has no entry, and was told of {self._answers(known)}")

    def _answers(self, known: Known) -> list[str]:
        return [(answer or "none").strip() for answer in known.possible]

    def _problem(self, kind: str, sentence: str) -> None:
        self.problems.append((kind, sentence))

    def counts(self) -> dict[str, int]:
        """Return how often each promise was broken."""
        kinds = Counter(kind for kind, _ in self.problems)
        return {kind: kinds[kind] for kind in ("lost", "resurrected", "forgotten_verdict", "wrong")}

    def texts(self) -> list[str]:
        """Return the requests that are known, the oldest first."""
        return list(self.known)
