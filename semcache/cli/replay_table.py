"""How `semcache replay` tells its results: a table with a column for each policy, one object for programs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from rich.table import Table

from semcache.evaluation.replay.outcome import Figures
from semcache.evaluation.statistics.scoring import Rate
from semcache.model import HIT_STATUSES, Status


def as_json(names: Sequence[str], told: Sequence[Figures], judged_by: str) -> dict[str, object]:
    """One replay's figures; with `names`, those of all policies under "policies"."""
    if not names:
        return _figures(told[0], judged_by)
    return {"policies": [{"policy": name, **_figures(one, judged_by)} for name, one in zip(names, told, strict=True)]}


def replay_table(names: Sequence[str], told: Sequence[Figures], judged_by: str) -> Table:
    """A row for each figure, a column for each policy; one column where none was named."""
    table = Table("", *(names or ["replayed"]), title="Replayed", title_justify="left")
    for column in table.columns[1:]:
        column.justify, column.overflow = "right", "fold"

    def row(name: str, tell: Callable[[Figures], str], style: str = "") -> None:
        table.add_row(name, *(tell(one) for one in told), style=style)

    occurred = [status for status in Status if any(status in one.statuses for one in told)]
    for status in occurred:
        row(_words(status), partial(_count, status))
    for reason in sorted({reason for one in told for reason in one.errors}):
        row(f"  {reason}", partial(_failed, reason), "red")
    table.add_section()
    row("hit ratio %, 95 %", lambda one: _share(one.hits))
    if judged_by:
        row("wrong of judged hits", lambda one: f"{one.wrong.count:,} of {one.wrong.of:,}")
        row("wrong %, 95 %", lambda one: _share(one.wrong))
        for status in [status for status in occurred if status in HIT_STATUSES]:
            row(f"  wrong, {_words(status)}", partial(_wrong, status))
    table.add_section()
    for status in [status for status in occurred if status is not Status.ERROR]:
        row(f"{_words(status)} p50, p99 ms", partial(_latency, status))
    table.add_section()
    row("spent", lambda one: f"${one.spent_usd:.6f}")
    row("saved", lambda one: f"${one.saved_usd:.6f}")
    row("saved %", lambda one: "–" if one.savings_percent is None else f"{one.savings_percent:.1f}")
    if any(one.late_p99_ms for one in told):
        row("sent late, p99 ms", lambda one: f"{one.late_p99_ms:,}")
    table.caption = f"{told[0].requests:,} requests in " + ", ".join(f"{one.wall_s:.1f} s" for one in told)
    if judged_by:
        table.caption += f"; judged by `{judged_by}`"
    return table


def _figures(one: Figures, judged_by: str) -> dict[str, object]:
    return {
        "requests": one.requests,
        "wall_s": round(one.wall_s, 3),
        "statuses": {
            status.value: {"requests": told.requests, "p50_ms": told.p50_ms, "p99_ms": told.p99_ms}
            for status, told in one.statuses.items()
        },
        "errors": one.errors,
        "hit_ratio": one.hits.share,
        "judged_by": judged_by or None,
        "judged_hits": one.wrong.of,
        "wrong_hits": one.wrong.count,
        "wrong_hits_by_status": {status.value: count for status, count in one.wrong_by_status.items()},
        "wrong_interval_95": one.wrong.interval,
        "spent_usd": one.spent_usd,
        "saved_usd": one.saved_usd,
        "savings_percent": one.savings_percent,
        "late_p99_ms": one.late_p99_ms,
    }


def _words(status: Status) -> str:
    return status.value.replace("_", " ")


def _count(status: Status, one: Figures) -> str:
    told = one.statuses.get(status)
    return f"{told.requests:,}" if told else "0"


def _failed(reason: str, one: Figures) -> str:
    return f"{one.errors.get(reason, 0):,}"


def _wrong(status: Status, one: Figures) -> str:
    return f"{one.wrong_by_status.get(status, 0):,}"


def _latency(status: Status, one: Figures) -> str:
    told = one.statuses.get(status)
    return f"{told.p50_ms:,}, {told.p99_ms:,}" if told else "–"


def _share(rate: Rate) -> str:
    if rate.share is None or rate.interval is None:
        return "–"
    return f"{100 * rate.share:.1f} ({100 * rate.interval[0]:.1f} to {100 * rate.interval[1]:.1f})"
