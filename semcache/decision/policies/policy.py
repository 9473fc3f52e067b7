"""The interface of a policy."""

from __future__ import annotations

from typing import Protocol

from semcache.model import Bound, Evidence, Judgement, Request


class Policy(Protocol):
    """Decides about one candidate at a time. It holds no state that a decision changes."""

    def bound(self, request: Request) -> Bound:
        """Return the score that `request` demands; a caller's own threshold can only raise it."""
        ...

    def judge(self, evidence: Evidence) -> Judgement:
        """Return whether a candidate may be served, and the reason as a stable snake_case token.

        Only candidates that may be served at all are served: the decision itself bars an entry that is too old, whose
        model is no longer routed, or that a caller reported as wrong. It also never judges candidates so far away that
        no guard could lift them over `evidence.bound`, unless a model may be asked about them.
        """
        ...
