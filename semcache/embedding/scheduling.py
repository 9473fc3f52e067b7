"""Pure planning of embedding batches: which waiting texts start now, or until when a lane waits for more of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, inf

SHORT_TEXT_S = 0.0015
"""Seconds of computing up to which a text is short: one lane embeds such texts as fast as the event loop sends them.
Worth a quarter to a third more hits a second with AMX and 64 callers ("scheduling" in `benchmarks/README.md`)."""
LEAVE_S = 0.05
"""Seconds for which short texts are left to a lane that computes: a full batch of them takes 20 to 30 ms. Bounds what a
text can wait for a lane that takes longer or hangs."""
PATIENCE_PASSES = 4
"""How long other texts wait for more while a lane computes, in times of a pass's own cost: 6 ms in fp32, 2 ms with AMX.
Without it 64 callers on two busy cores get a tenth fewer hits a second ("scheduling" in `benchmarks/README.md`)."""
PADDING_SHARE = 1 / 8
"""Tokens of padding that a batch may have for each real token: at most a ninth of a large pass is wasted."""


@dataclass(frozen=True, slots=True)
class BatchRule:
    """What a device gains from batching.

    Attributes:
        max_texts: texts in one forward pass.
        max_tokens: padded tokens in one forward pass (the longest text × texts); a single text may exceed it.
        pass_tokens: tokens that the device computes in the time that one more forward pass costs by itself. A batch
            may have so many tokens of padding, and a share of one is worth a pass from so many tokens on.
        text_padding: tokens of padding that a batch may have for each text, where that is more than `pass_tokens`.
    """

    max_texts: int
    max_tokens: int
    pass_tokens: int
    text_padding: int = 0


CPU_PASS_TOKENS = 12
"""A pass costs what about 12 tokens do: a text of 14 tokens takes 3.2 ms alone and 1.8 ms among 32."""
CPU_BF16_TEXT_PADDING = 3
"""With AMX a pass of its own for a few texts that are a little longer is dearer than their padding: a quarter more
texts get through by LookupBatch of 32 ("scheduling" in `benchmarks/README.md`). In fp32 it gains nothing."""
CPU_MAX_TOKENS = 1024
"""A CPU gains nothing from larger batches, and the next text waits for this one: about 0.13 s."""
GPU_PASS_TOKENS = 4096
"""Below this a pass on a GPU is bound by launching its kernels, not by its tokens."""
GPU_MAX_TOKENS = 65_536
"""Bounds the memory of a pass: MiniLM's widest layer then takes 0.2 GB in half precision."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Texts that no lane has taken.

    Attributes:
        lengths: tokens of each text, oldest first.
        since_s: monotonic seconds when lanes last took texts, or when the first of these came if that was later.
        closing: no more texts will come.
    """

    lengths: Sequence[int]
    since_s: float
    closing: bool = False


@dataclass(frozen=True, slots=True)
class Running:
    """The lanes and their forward passes.

    Attributes:
        lanes: all lanes, computing or not.
        ends_s: monotonic seconds when each pass under way is expected to end.
        token_s: seconds that a token takes, from the passes so far.
    """

    lanes: int
    ends_s: Sequence[float]
    token_s: float


@dataclass(frozen=True, slots=True)
class Start:
    """Compute these batches now, each on a free lane of its own; positions in `Waiting.lengths`."""

    batches: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Until:
    """Wait for more texts or for the end of a pass, and plan again at this moment (monotonic seconds) at the latest."""

    moment_s: float


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing waits, or no lane is free."""


Step = Start | Until | Idle


def plan(now_s: float, waiting: Waiting, running: Running, rule: BatchRule) -> Step:
    """Return what the free lanes do with the waiting texts.

    Args:
        now_s: monotonic seconds.
        waiting: the texts, oldest first.
        running: the lanes and the passes under way.
        rule: the device's limits.

    Returns:
        `Idle` without texts or without a free lane; else `Start`, at once where no lane computes. Beside a lane that
        computes, `Until` leaves the texts to it for a limited time:

        - short texts to a lane that should end soon: it embeds them in fewer and larger batches, and the other core
          belongs to the event loop;
        - others until more have come, because a pass of few texts costs more a text.
    """
    free = running.lanes - len(running.ends_s)
    if free == 0 or not waiting.lengths:
        return Idle()
    tokens = sum(waiting.lengths)
    short = tokens * running.token_s <= len(waiting.lengths) * SHORT_TEXT_S
    # A lane further from its expected end takes too long, or is overdue and may hang.
    ends_soon = any(abs(end_s - now_s) < LEAVE_S for end_s in running.ends_s)
    if not running.ends_s or waiting.closing:
        patience_s = 0.0
    elif short and ends_soon:
        patience_s = LEAVE_S
    elif len(waiting.lengths) >= rule.max_texts or tokens >= rule.max_tokens:
        patience_s = 0.0
    else:
        patience_s = PATIENCE_PASSES * rule.pass_tokens * running.token_s
    if now_s < waiting.since_s + patience_s:
        return Until(waiting.since_s + patience_s)
    one_lane = short and (ends_soon or not running.ends_s)
    return Start(_divide(waiting.lengths, 1 if one_lane else free, rule))


def _divide(lengths: Sequence[int], free: int, rule: BatchRule) -> tuple[tuple[int, ...], ...]:
    """Return a batch for each of at most `free` lanes: even shares of the texts, each of them worth a pass."""
    rest = list(range(len(lengths)))
    batches: list[tuple[int, ...]] = []
    while rest and len(batches) < free:
        worth = sum(lengths[position] for position in rest) // rule.pass_tokens
        share = ceil(len(rest) / max(1, min(free - len(batches), worth)))
        chosen = next_batch([lengths[position] for position in rest], rule, min(rule.max_texts, share))
        batches.append(tuple(rest[place] for place in chosen))
        taken = set(batches[-1])
        rest = [position for position in rest if position not in taken]
    return tuple(batches)


def next_batch(lengths: Sequence[int], rule: BatchRule, max_texts: int) -> list[int]:
    """Return which texts share the next forward pass: the oldest, and those of nearest length while padding is small.

    The oldest is always among them, so that every text is computed after as many batches as there are older texts.

    Args:
        lengths: tokens of each waiting text, oldest first; at least one.
        rule: the device's limits; `max_texts` below takes the place of its own.
        max_texts: texts of the batch.

    Returns:
        Positions in `lengths`, ascending.
    """
    oldest = lengths[0]
    # Of texts of one length, the older stands nearer to the oldest of all, whichever side they are on.
    order = sorted(range(len(lengths)), key=lambda i: (lengths[i], i if lengths[i] >= oldest else -i))
    low = high = order.index(0)
    tokens = oldest
    while high - low + 1 < max_texts:
        texts, longest = high - low + 1, lengths[order[high]]
        below = longest - lengths[order[low - 1]] if low > 0 else inf
        above = (lengths[order[high + 1]] - longest) * texts if high + 1 < len(order) else inf
        if below == above == inf:
            break
        added = lengths[order[low - 1 if below <= above else high + 1]]
        padded = max(longest, added) * (texts + 1)
        tokens += added
        allowed = tokens * PADDING_SHARE + max(rule.pass_tokens, rule.text_padding * (texts + 1))
        if padded > rule.max_tokens or padded - tokens > allowed:
            break  # every other text would need as much padding or more
        low, high = (low - 1, high) if below <= above else (low, high + 1)
    return sorted(order[low : high + 1])
