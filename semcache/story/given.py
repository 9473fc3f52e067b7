"""Embeddings that callers bring with their answers: a sample of them is held against the server's own."""

from __future__ import annotations

import random

import structlog

from semcache.errors import InvalidRequestError
from semcache.model import Deposit, Vector

_log = structlog.get_logger(__name__)
LEAST_COSINE = 0.98
"""The least cosine of a given embedding and the server's own for the same text. Precisions of one model differ by
.002."""
_MAX_TENANTS = 10_000
"""Tenants that are remembered for a wrong embedding; with more, all are forgotten."""


class GivenEmbeddings:
    """Draws the given embeddings that are checked: a share of all, and every one after a wrong one of that tenant."""

    def __init__(self, ratio: float, chance: random.Random | None = None) -> None:
        """Prepare it.

        Args:
            ratio: the share that is checked, from 0 to 1.
            chance: draws them; None: seeded by the system, so that callers can't foresee which are drawn.
        """
        self._ratio = ratio
        self._chance = chance or random.Random()  # noqa: S311 - seeded from the system's entropy
        self._caught: set[str] = set()

    def draws(self, deposit: Deposit) -> bool:
        """Return whether the embedding of a deposit is to be checked; False for a deposit without one."""
        if deposit.vector is None:
            return False
        return deposit.keyed.request.tenant in self._caught or self._chance.random() < self._ratio

    def check(self, deposit: Deposit, own: Vector) -> None:
        """Hold a deposit's embedding against the server's own of the same text, both unit vectors (dimension,).

        Raises:
            InvalidRequestError: EMBEDDING_MISMATCH: they differ by more than a model's precisions do.
        """
        if deposit.vector is None:
            return
        cosine = float(deposit.vector @ own)
        if cosine >= LEAST_COSINE:
            return
        tenant = deposit.keyed.request.tenant
        if len(self._caught) >= _MAX_TENANTS:
            self._caught.clear()
        self._caught.add(tenant)
        _log.error("story.given_embedding_wrong", caller=deposit.caller, tenant=tenant, cosine=round(cosine, 4))
        raise InvalidRequestError(
            f"The embedding isn't that of the request's text: its cosine with the server's own is {cosine:.3f}.",
            reason="EMBEDDING_MISMATCH",
            hint="Embed the compared text with the server's model, or send no embedding.",
        )
