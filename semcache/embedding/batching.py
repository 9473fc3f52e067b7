"""Pure choice of the next batch from what has queued: near lengths together, the oldest text always among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil


@dataclass(frozen=True, slots=True)
class BatchRule:
    """What a device gains from batching.

    Attributes:
        max_texts: texts in one forward pass.
        max_tokens: padded tokens in one forward pass (the longest text × texts); a single text may exceed it.
        pass_tokens: tokens that the device computes in the time that one more forward pass costs by itself. Padding
            beyond it is dearer than a pass of its own.
        crowd_padding: tokens of padding that are allowed more for each text beyond a dozen.
    """

    max_texts: int
    max_tokens: int
    pass_tokens: int
    crowd_padding: int = 0


CPU_PASS_TOKENS = 12
"""Measured: batch 1 of 14 tokens takes 3.2 ms, batch 32 takes 1.8 ms a text: a pass costs what about 12 tokens do."""
CPU_BF16_PASS_TOKENS = 24
"""Where tokens cost a third (AMX: 38 µs) and a pass almost as much as elsewhere (1.4 ms). That would be 37; with 24, 64
callers got most hits."""
CPU_BF16_CROWD_PADDING = 3
"""A large batch leaves few texts behind that are a little longer: their own pass has another shape, which costs 0.6 ms,
a search for them alone takes 0.9 ms, and the event loop turns once more. With it a quarter more get through by
LookupBatch of 32, a twenty-fifth more from 64 callers, and as many of mixed lengths; as much for small batches takes a
tenth from those. In fp32 it does nothing, in int8 it costs a seventh."""
CPU_MAX_TOKENS = 1024
"""A CPU gains nothing from larger batches, and whoever comes next waits for this one: about 0.13 s."""
GPU_PASS_TOKENS = 4096
"""Below this a pass on a GPU is bound by launching its kernels, not by its tokens."""
GPU_MAX_TOKENS = 65_536


_CROWD = 12
"""Texts beyond which a batch is a crowd."""
_LEAST = 4
"""How many times its own cost a pass must have to do, for a stream to take a part of what another could do whole."""
_FULL = 16
"""From how many times its own cost on a pass isn't worth waiting with: company would save a sixteenth of it."""


def is_full(texts: int, tokens: int, rule: BatchRule) -> bool:
    """Whether a pass over the waiting texts gains little by company, or can't have any.

    Args:
        texts: how many wait.
        tokens: their tokens together.
        rule: the device's limits.
    """
    return texts >= rule.max_texts or tokens >= min(_FULL * rule.pass_tokens, rule.max_tokens)


def share(texts: int, tokens: int, rule: BatchRule, free: int) -> int:
    """How many of the waiting texts one of several free streams takes, so that the others get as many.

    Args:
        texts: how many wait; at least one.
        tokens: their tokens together.
        rule: the device's limits.
        free: streams that compute nothing, the taker included.
    """
    worth = tokens // (_LEAST * rule.pass_tokens)
    return min(rule.max_texts, ceil(texts / max(1, min(free, worth))))


def next_batch(lengths: Sequence[int], rule: BatchRule) -> list[int]:
    """Positions of the texts to compute next.

    Starts from the oldest, so that every text comes to the front after as many batches as there are older ones, and
    takes the texts of nearest length as long as the padding of the whole batch stays below an eighth of its real tokens
    plus `rule.pass_tokens`, and in a large one `rule.crowd_padding` for each text more.

    Args:
        lengths: tokens of each waiting text, oldest first; at least one.
        rule: the device's limits.

    Returns:
        Positions in `lengths`, the oldest first, without duplicates.
    """
    oldest = lengths[0]
    # Stable sorts keep the older of equal lengths nearer to the seed.
    shorter = sorted((i for i in range(1, len(lengths)) if lengths[i] <= oldest), key=lambda i: -lengths[i])
    longer = sorted((i for i in range(1, len(lengths)) if lengths[i] > oldest), key=lambda i: lengths[i])
    batch, longest, tokens = [0], oldest, oldest
    low = high = 0
    while len(batch) < rule.max_texts:
        down = longest - lengths[shorter[low]] if low < len(shorter) else None
        up = (lengths[longer[high]] - longest) * len(batch) if high < len(longer) else None
        if down is not None and (up is None or down <= up):
            position = shorter[low]
            low += 1
        elif up is not None:
            position = longer[high]
            high += 1
        else:
            break
        width = max(longest, lengths[position])
        real = tokens + lengths[position]
        padded = width * (len(batch) + 1)
        allowed = real // 8 + rule.pass_tokens + rule.crowd_padding * max(0, len(batch) - _CROWD)
        if padded > rule.max_tokens or padded - real > allowed:
            # Whatever is left on this side is further away; the other side's nearest was no nearer.
            break
        batch.append(position)
        longest, tokens = width, real
    return batch
