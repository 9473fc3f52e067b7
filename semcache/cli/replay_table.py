"""Presents the results of `semcache replay`: a table with a column for each policy, one JSON object for programs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from rich.table import Table

from semcache.evaluation.replay.summary import ReplaySummary
from semcache.evaluation.statistics.scoring import Proportion
from semcache.model import HIT_STATUSES, Status


def as_json(
    names: Sequence[str], summaries: Sequence[ReplaySummary], judged_by: str, skipped: int
) -> dict[str, object]:
    """Return the results as an object for `json.dumps`.

    Args:
        names: the policies' names; empty if none was named.
        summaries: the summary of each replay, in the order of `names`; one if there are no names.
        judged_by: the field of the workload that holds labels; empty for none.
        skipped: the number of the file's records that were left out.
    """
    if not names:
        return {"records_left_out": skipped, **_summary_json(summaries[0], judged_by)}
    return {
        "records_left_out": skipped,
        "policies": [
            {"policy": name, **_summary_json(summary, judged_by)}
            for name, summary in zip(names, summaries, strict=True)
        ],
    }


def replay_table(names: Sequence[str], summaries: Sequence[ReplaySummary], judged_by: str) -> Table:
    """Return a table with a column for each policy, or with one column if none was named.

    Args:
        names: the policies' names; empty if none was named.
        summaries: the summary of each replay, in the order of `names`; one if there are no names.
        judged_by: the field of the workload that holds labels; empty for none.
    """
    table = Table("", *(names or ["replayed"]), title="Replayed", title_justify="left")
    for column in table.columns[1:]:
        column.justify, column.overflow = "right", "fold"

    def row(name: str, cell: Callable[[ReplaySummary], str], style: str = "") -> None:
        table.add_row(name, *(cell(summary) for summary in summaries), style=style)

    occurred = [status for status in Status if any(status in summary.statuses for summary in summaries)]
    for status in occurred:
        row(_words(status), partial(_count, status))
    for reason in sorted({reason for summary in summaries for reason in summary.errors}):
        row(f"  {reason}", partial(_failed, reason), "red")
    table.add_section()
    row("hit ratio %, 95 %", lambda summary: _share(summary.hits))
    if judged_by:
        row("wrong of judged hits", lambda summary: f"{summary.wrong.count:,} of {summary.wrong.of:,}")
        row("wrong %, 95 %", lambda summary: _share(summary.wrong))
        for status in [status for status in occurred if status in HIT_STATUSES]:
            row(f"  wrong, {_words(status)}", partial(_wrong, status))
    table.add_section()
    for status in [status for status in occurred if status is not Status.ERROR]:
        row(f"{_words(status)} p50, p99 ms", partial(_latency, status))
    table.add_section()
    row("spent", lambda summary: f"${summary.spent_usd:.6f}")
    row("saved", lambda summary: f"${summary.saved_usd:.6f}")
    row("saved %", lambda summary: "–" if summary.savings_percent is None else f"{summary.savings_percent:.1f}")
    if any(summary.late_p99_ms for summary in summaries):
        row("sent late, p99 ms", lambda summary: f"{summary.late_p99_ms:,}")
    table.caption = f"{summaries[0].requests:,} requests in " + ", ".join(
        f"{summary.wall_s:.1f} s" for summary in summaries
    )
    if judged_by:
        table.caption += f"; judged by `{judged_by}`"
    return table


def _summary_json(summary: ReplaySummary, judged_by: str) -> dict[str, object]:
    return {
        "requests": summary.requests,
        "wall_s": round(summary.wall_s, 3),
        "statuses": {
            status.value: {"requests": summaries.requests, "p50_ms": summaries.p50_ms, "p99_ms": summaries.p99_ms}
            for status, summaries in summary.statuses.items()
        },
        "errors": summary.errors,
        "hit_ratio": summary.hits.share,
        "judged_by": judged_by or None,
        "judged_hits": summary.wrong.of,
        "wrong_hits": summary.wrong.count,
        "wrong_hits_by_status": {status.value: count for status, count in summary.wrong_by_status.items()},
        "wrong_interval_95": summary.wrong.interval,
        "spent_usd": summary.spent_usd,
        "saved_usd": summary.saved_usd,
        "savings_percent": summary.savings_percent,
        "late_p99_ms": summary.late_p99_ms,
    }


def _words(status: Status) -> str:
    return status.value.replace("_", " ")


def _count(status: Status, summary: ReplaySummary) -> str:
    summaries = summary.statuses.get(status)
    return f"{summaries.requests:,}" if summaries else "0"


def _failed(reason: str, summary: ReplaySummary) -> str:
    return f"{summary.errors.get(reason, 0):,}"


def _wrong(status: Status, summary: ReplaySummary) -> str:
    return f"{summary.wrong_by_status.get(status, 0):,}"


def _latency(status: Status, summary: ReplaySummary) -> str:
    summaries = summary.statuses.get(status)
    return f"{summaries.p50_ms:,}, {summaries.p99_ms:,}" if summaries else "–"


def _share(rate: Proportion) -> str:
    if rate.share is None or rate.interval is None:
        return "–"
    return f"{100 * rate.share:.1f} ({100 * rate.interval[0]:.1f} to {100 * rate.interval[1]:.1f})"
