"""Vetoes a candidate of the other polarity: "cancel it" isn't "don't cancel it".

Evidence: opposites score a median cosine of .81, paraphrases .64 (SemAntoNeg). A naive rule (any negation word on one
side only) vetoed 35 % of true pairs among medical questions, so only negations that reverse what is asked count:
requests to refrain, "without", "never" and their like. Questions in the negative that people use for the positive
("why isn't it working", "can't you …", "I can't log in" / "unable to log in") count as one state of failing.
"""

from __future__ import annotations

import re

from semcache.decision.texts import Text
from semcache.model import Effect, GuardVerdict

_BARE = re.compile(
    r"\b(don|doesn|didn|isn|aren|wasn|weren|won|wouldn|couldn|shouldn|hasn|haven|hadn|can|mustn|needn)t\b",
    re.IGNORECASE,
)
# Negations that say nothing about the polarity of what is asked.
_IDIOMS = re.compile(
    r"\b(?:not only|no longer than|no more than|no less than|no later than|whether or not|or not|why not|if not|"
    r"no matter|no problem|no doubt|no idea|not sure|don't know|do not know|don't understand|do not understand|"
    r"don't worry|can't wait|cannot wait|can't help|not to mention|not least|no\.\s*\d)",
    re.IGNORECASE,
)
_QUESTION_TAG = re.compile(
    r"(?:,\s*(?:is|are|was|were|do|does|did|can|could|will|would|should|has|have)n?'?t?\s+(?:not\s+)?"
    r"(?:it|they|you|we|he|she|i)\s*\?\s*$)"
    r"|^\s*(?:can't|couldn't|won't|wouldn't|isn't|aren't|don't|doesn't|didn't|shouldn't)\s+"
    r"(?:you|we|it|there|i|they|he|she|this|that)\b",
    re.IGNORECASE,
)
_NEGATIONS = re.compile(
    r"\b(?:not|never|without|cannot|neither|nor|none|nobody|nothing|nowhere|unable|no|except|excluding|stop|avoid|"
    r"refuse[sd]?|fail(?:s|ed)?\s+to)\b|n't\b",
    re.IGNORECASE,
)


class NegationGuard:
    """See the module."""

    name = "negation"
    version = 2
    most = 0.0

    def parse(self, text: Text) -> tuple[str, ...]:
        """("odd",) when the negations of `text` reverse it, () when they cancel or there are none."""
        plain = _BARE.sub(lambda match: f"{match.group(1)}'t", text.plain)
        plain = _QUESTION_TAG.sub(" ", _IDIOMS.sub(" ", plain))
        return ("odd",) if sum(1 for _ in _NEGATIONS.finditer(plain)) % 2 else ()

    def compare(self, query: tuple[str, ...], entry: tuple[str, ...]) -> GuardVerdict:
        """Veto when one side is reversed and the other isn't."""
        if query == entry:
            return GuardVerdict(self.name, Effect.PASS)
        negated = "the request" if query else "the entry"
        return GuardVerdict(self.name, Effect.VETO, f"only {negated} is negated")
