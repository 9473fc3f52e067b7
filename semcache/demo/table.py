"""Prints a demo's report for people: all wrong and missed cases, then tables of counts, latency and money."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from semcache.demo.correctness import HITS
from semcache.demo.prompts import UNLABELLED
from semcache.demo.report import DemoReport, Missed, ServedInstead

_NANOUSD = 1_000_000_000
_STATUS_WORDS = {
    "exact_hit": "exact hit",
    "semantic_hit": "semantic hit",
    "coalesced": "coalesced (waited on one in flight)",
    "miss": "miss (forwarded, stored)",
    "bypass": "bypass (not cacheable)",
    "refresh": "refresh",
    "error": "error",
}


def dollars(nanousd: int) -> str:
    """Return nanodollars as dollars with six decimals: `$0.012345`."""
    return f"${nanousd / _NANOUSD:.6f}"


def print_report(report: DemoReport, console: Console) -> None:
    """Print a report; the tables come last, so that they are what stays on the screen."""
    if report.by_kind.keys() - {UNLABELLED}:
        _print_missed(console, report.rewordings_missed)
        none = "none: every judged hit was made for its question"
        _print_served(console, report.wrong_hits, "Wrong answers served", none)
    if report.unjudged_hits:
        _print_served(
            console, report.unjudged_hits, "Served from the cache, unjudged (the prompts carry no labels)", ""
        )
    if report.traps_refused:
        why = ", ".join(f"{count} {reason}" for reason, count in _most_first(report.traps_refused))
        console.print(f"[bold]Traps not served[/bold]: {escape(why)}.")
    if report.errors:
        what = ", ".join(f"{count} {reason}" for reason, count in _most_first(report.errors))
        console.print(f"[bold red]Failed requests[/bold red]: {escape(what)}.")
    for table in (_statuses(report), _kinds(report), _money(report)):
        console.print(table)
    console.print(
        f"{report.requests} requests by {report.callers} callers in {report.wall_s:.1f} s, the provider at "
        f"{report.latency_scale:g} × a real one's latency; {escape(report.server.embedder)}, threshold "
        f"{report.server.threshold:g}, {report.server.entries} entries stored."
    )


def keep_notice(address: str, metrics_url: str) -> str:
    """Return how to use a server that was left running, as rich markup."""
    body = '{"prompt": {"text": {"model": "gpt-4o-mini", "text": "How do I track my order?"}}}'
    lines = (
        "",
        f"[bold]The server is still up at {address}[/bold] (Ctrl-C ends it and deletes its store). To call it:",
        f"  semcache stats --address {address}",
        f"  curl {metrics_url}",
        f"  grpcurl -plaintext -d '{body}' {address} semcache.v1.SemanticCacheService/Complete",
    )
    return "\n".join(lines)


def _statuses(report: DemoReport) -> Table:
    counted = sum(report.by_status[status] for status in (*HITS, "miss"))
    table = Table(title="Requests", title_justify="left")
    table.add_column("status")
    for heading in ("requests", "of cacheable", "p50 ms", "p99 ms"):
        table.add_column(heading, justify="right")
    for status, count in report.by_status.items():
        if not count:
            continue
        share = f"{100 * count / counted:.1f} %" if status in (*HITS, "miss") else ""
        latency = report.latency_ms[status]
        table.add_row(_STATUS_WORDS[status], str(count), share, f"{latency.p50_ms:.1f}", f"{latency.p99_ms:.1f}")
    table.add_section()
    hits = sum(report.by_status[status] for status in HITS)
    ratio = "–" if report.hit_ratio is None else f"{100 * report.hit_ratio:.1f} %"
    table.add_row("[bold]hit ratio[/bold]", f"{hits} of {counted}", f"[bold]{ratio}[/bold]", "", "")
    return table


def _kinds(report: DemoReport) -> Table:
    table = Table(title="What was asked, and what became of it", title_justify="left")
    table.add_column("prompt")
    for heading in ("asked", "served right", "served wrong", "unjudged", "forwarded", "failed"):
        table.add_column(heading, justify="right")
    for kind, counts in report.by_kind.items():
        cells = (counts.right, counts.wrong, counts.unjudged, counts.forwarded, counts.failed)
        table.add_row(kind, str(counts.asked), *(str(cell) if cell else "" for cell in cells))
    return table


def _money(report: DemoReport) -> Table:
    percent = "–" if report.savings_percent is None else f"{report.savings_percent:.1f} %"
    table = Table(title="Dollars, at the providers' list prices", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_row("spent", dollars(report.spent_nanousd))
    table.add_row("saved", dollars(report.saved_nanousd))
    if report.saved_by_wrong_nanousd:
        table.add_row("  of that by wrong answers", dollars(report.saved_by_wrong_nanousd))
    table.add_row("saved / (saved + spent)", percent)
    if report.unpriced:
        table.add_row("requests for models without a known price", str(report.unpriced))
    return table


def _print_served(console: Console, served: Sequence[ServedInstead], title: str, none: str) -> None:
    if not served:
        console.print(f"[bold]{title}[/bold]: {none}.")
        return
    table = Table(title=f"{title}: {len(served)}", title_justify="left")
    table.add_column("kind")
    table.add_column("asked", overflow="fold")
    table.add_column("served the answer to", overflow="fold")
    table.add_column("similarity", justify="right")
    for hit in served:
        kind = f"{hit.kind} ({hit.differs_in})" if hit.differs_in else hit.kind
        table.add_row(kind, escape(hit.asked), escape(hit.served), _cosine(hit.similarity))
    console.print(table)


def _print_missed(console: Console, missed: Sequence[Missed]) -> None:
    if not missed:
        console.print("[bold]Rewordings missed[/bold]: none.")
        return
    table = Table(title=f"Rewordings missed: {len(missed)}", title_justify="left")
    table.add_column("asked", overflow="fold")
    table.add_column("could have been served the answer to", overflow="fold")
    table.add_column("nearest", justify="right")
    table.add_column("why")
    for item in missed:
        cells = (escape(item.asked), escape(item.answered_by), _cosine(item.nearest_similarity), escape(item.reason))
        table.add_row(*cells)
    console.print(table)


def _cosine(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _most_first(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
