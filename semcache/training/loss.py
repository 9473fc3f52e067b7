"""The loss: pairs with one answer above pairs with two, and unrelated texts as far apart as before."""

from __future__ import annotations

import torch


def ranking_loss(scores: torch.Tensor, same: torch.Tensor, scale: float) -> torch.Tensor:
    """Return log(1 + Σ exp(scale · (trap's score - hit's score))) over all pairs of a hit and a trap: CoSENT's loss.

    Args:
        scores: cosines of labelled pairs with what the guards add to them, shape (pairs,).
        same: whether a pair is a hit, shape (pairs,).
        scale: factor of the scores.

    Source: Su Jianlin, CoSENT (2022), https://kexue.fm/archives/8847.
    """
    differences = scale * (scores[~same][:, None] - scores[same][None, :])
    return torch.logsumexp(torch.cat([differences.new_zeros(1), differences.flatten()]), dim=0)


def preservation_loss(vectors: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
    """Return the mean squared change of the cosines between unrelated texts.

    Args:
        vectors: unit vectors (texts, dimension) with the corrections.
        before: those without them, the same shape.
    """
    change = vectors @ vectors.T - before @ before.T
    count = len(vectors)
    return change.square().sum() / max(count * (count - 1), 1)
