"""The numbers of a training run, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Recipe:
    """How an adapter is trained. benchmarks/README.md has what one shorter training brought."""

    steps: int = 400
    """Steps of one seed: about ten minutes of one core."""
    seeds: int = 2
    """Runs whose average is the adapter: single runs differ from each other by ±.005 of AUC."""
    trained_rank: int = 16
    """Rank of each layer's correction while it is trained. With 16, low-rank training equals training all weights."""
    rank: int = 8
    """Rank of each layer's correction in the file: with int8 .35 MB for all-MiniLM-L6-v2."""
    rate: float = 8e-4
    """Learning rate of AdamW after the warm-up. It falls linearly to 0."""
    warm_up: int = 30
    """Steps during which the learning rate rises linearly from 0."""
    scale: float = 20.0
    """Factor of cosines in the loss: pairs whose cosines differ by much more than 1/20 no longer count."""
    neighbourhood_weight: float = 1.5
    """Weight of the mean loss within neighbourhoods, beside the loss over all pairs of the batch."""
    preservation_weight: float = 60.0
    """Weight of the squared change of unrelated texts' cosines. With 20, strangers came closer to each other."""
    neighbourhoods: int = 3
    """Neighbourhoods in a step: a group and its nearest groups of the same domain."""
    neighbours: int = 3
    """Other groups in a neighbourhood."""
    texts: int = 2
    """Texts that are drawn of each group of a neighbourhood."""
    traps: int = 0
    """Traps that are drawn of the group in the middle of a neighbourhood. 0: most are minimal edits, which the guards
    see, and which a cosine can only keep below free rewordings at the price of other texts."""
    frames: int = 2
    """Neighbourhoods in a step that are made of frames."""
    templates: int = 2
    """Neighbourhoods in a step that are made of templates: two wordings and three siblings."""
    edits: int = 2
    """Edits by rules in a step: a text with an edit that changes its answer and one that doesn't."""
    pairs: int = 6
    """Given pairs in a step, where pairs are given."""
    unrelated: int = 14
    """Unrelated texts in a step whose cosines shall stay as they are."""
    max_tokens: int = 48
    """Tokens that a text may have. Groups and pairs with a longer one are left out: it takes the time of many."""
