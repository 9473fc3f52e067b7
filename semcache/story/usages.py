"""The usage of an answer before it is booked: what can't be true or isn't told is estimated."""

from __future__ import annotations

from dataclasses import replace

import structlog

from semcache.costs.purchases import Purchase
from semcache.costs.usage import estimate_usage, lost_usage, plausible_usage, with_estimates
from semcache.model import Answer, ApiProtocol, KeyedRequest, LostAnswer, Status, UpstreamCall, Usage
from semcache.protocols import FORMS
from semcache.story.rooms import Rooms

_log = structlog.get_logger(__name__)
_MAX_NAME_CHARS = 256
"""Longer than any model's name. Upstreams may send anything, and each ledger line holds it."""


class Usages:
    """Completes what upstreams and callers tell of their answers."""

    def __init__(self, rooms: Rooms) -> None:
        """Prepare it; the embedder's tokenizer estimates, and the metrics count what can't be true."""
        self._embedder = rooms.embedder
        self._metrics = rooms.accounts.metrics

    def completed(self, keyed: KeyedRequest, answer: Answer, protocol: ApiProtocol) -> Answer:
        """Return the answer with names of bounded length, and with an estimate of what its upstream doesn't tell.

        Args:
            keyed: the request that it is charged to.
            answer: the answer.
            protocol: of the answer. A verifier's is a chat, whatever the request is.
        """
        if len(answer.model) > _MAX_NAME_CHARS or len(answer.finish_reason) > _MAX_NAME_CHARS:
            answer = replace(
                answer, model=answer.model[:_MAX_NAME_CHARS], finish_reason=answer.finish_reason[:_MAX_NAME_CHARS]
            )
        usage = self._plausible(keyed, answer.usage, len(answer.body), answer.route)
        if usage.input_tokens and (usage.output_tokens or not (usage.estimated or answer.text)):
            return answer
        text = FORMS[protocol].generated(answer.body)
        estimate = estimate_usage(keyed.prompt_chars, keyed.text, text, self._embedder.count_tokens)
        return replace(answer, usage=with_estimates(usage, estimate))

    def book_lost(self, keyed: KeyedRequest, call: UpstreamCall, purchase: Purchase, status: Status) -> None:
        """Book the answers that a call lost before it was answered or failed.

        Args:
            keyed: the request that they are charged to.
            call: the call.
            purchase: what the call belongs to.
            status: of the request that the call serves.
        """
        for lost in call.lost:
            purchase.lose(self.whole_loss(keyed, lost), status)

    def whole_loss(self, keyed: KeyedRequest, lost: LostAnswer) -> LostAnswer:
        """Return a lost answer with an estimate of what its upstream didn't tell."""
        lost = replace(lost, usage=self._plausible(keyed, lost.usage, max(len(lost.text), lost.text_chars), lost.route))
        return replace(lost, usage=lost_usage(lost, keyed.prompt_chars, keyed.text, self._embedder.count_tokens))

    def _plausible(self, keyed: KeyedRequest, usage: Usage, answer_bytes: int, route: str) -> Usage:
        """Return the usage without counts that can't be true, which are counted and logged."""
        plausible = plausible_usage(
            usage,
            request_bytes=len(keyed.request.body),
            answer_bytes=answer_bytes,
            output_limit=keyed.output_limit,
            choices=keyed.choices,
        )
        if plausible is not usage:
            self._metrics.usage_implausible()
            _log.warning(
                "story.usage_implausible",
                target=route,
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                effect="the count is estimated",
            )
        return plausible
