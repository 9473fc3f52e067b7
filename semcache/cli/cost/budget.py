"""`semcache cost budget`: what a month costs in all."""

from __future__ import annotations

import json as json_format
from fractions import Fraction

import typer
from rich.console import Console
from rich.table import Table

from semcache.cli.cost.ledger import Month, OpenLedger, Store, Tenants, open_ledger
from semcache.cli.cost.titles import of_tenants, titled
from semcache.cli.options import Config, Json
from semcache.costs.periods import Period
from semcache.finance.cost_model import (
    DAY_S,
    MEASURED,
    PROJECTION,
    CostPart,
    MonthlyCost,
    Spending,
    measured_s,
    monthly_cost,
)
from semcache.finance.formatting import Dollars, counted, percent
from semcache.finance.savings import unpriced_models


def budget(
    *, month: Month = None, tenant: Tenants = None, store: Store = None, config: Config = None, json: Json = False
) -> None:
    """Show what a month costs in all, with a projection: tokens as measured, other parts as set in costs.model."""
    with open_ledger(config, store) as ledger:
        chosen = ledger.calendar.period("month", ledger.now_s) if month is None else ledger.begun(ledger.month(month))
        all_tenants = ledger.hours(chosen, None)
        hours = [hour for hour in all_tenants if not tenant or hour.tenant in tenant]
        spent = Spending.of(hours, _measured_s(ledger, chosen))
        all_requests = sum(hour.requests for hour in all_tenants)
        share = Fraction(1) if not tenant else Fraction(spent.requests, all_requests) if all_requests else Fraction()
        before = ledger.calendar.period("month", chosen.start_s - 1)
        cost = monthly_cost(
            chosen,
            ledger.now_s,
            spent,
            Spending.of(ledger.hours(before, tenant), _measured_s(ledger, before)),
            ledger.settings.costs.model,
            store_bytes=ledger.reader.file_bytes(),
            share=share,
        )
        unpriced = unpriced_models(hours)
        if json:
            typer.echo(json_format.dumps({**ledger.as_json(chosen), "tenants": tenant or [], **_as_json(cost)}))
            return
        console = Console()
        console.print(_table(cost, tenant))
        for remark in _remarks(cost, sum(unpriced.values())):
            console.print(remark, markup=False, highlight=False)
        console.print(ledger.provenance(), markup=False, highlight=False)


def _measured_s(ledger: OpenLedger, month: Period) -> float:
    return measured_s(month, ledger.extent.first_hour_s, ledger.now_s)


def _table(cost: MonthlyCost, tenants: list[str] | None) -> Table:
    ended = "whole $" if _is_over(cost) else "projected $"
    title = titled(f"Costs of {of_tenants(cost.month.name, tenants)}")
    table = Table("", "so far $", ended, "share %", "usual %", title=title, title_justify="left")
    for column in table.columns[1:]:
        column.justify, column.no_wrap = "right", True
    dollars = Dollars.fitting((cost.so_far_nanousd, cost.projected_nanousd or 0))
    for part in cost.parts:
        usual = part.usual_percent
        share = percent(cost.percent(part)) if usual else ""
        if cost.is_usual(part) is False:
            share += " *"
        table.add_row(
            part.part.value,
            dollars.of(part.so_far_nanousd),
            "–" if part.projected_nanousd is None else dollars.of(part.projected_nanousd),
            share,
            f"{usual[0]}–{usual[1]}" if usual else "",
        )
    table.add_section()
    projected = "–" if cost.projected_nanousd is None else dollars.of(cost.projected_nanousd)
    table.add_row("all", dollars.of(cost.so_far_nanousd), projected, "", "", style="bold")
    table.caption = "*: not the usual share; shares are of the five parts without fixed charges"
    table.caption_justify = "left"
    return table


def _is_over(cost: MonthlyCost) -> bool:
    return cost.remaining_s <= 0


def _remarks(cost: MonthlyCost, unpriced: int) -> list[str]:
    sentences = []
    if not cost.projects:
        sentences.append(
            f"Nothing is projected: {cost.measured_s / 3600:.1f} hours were measured, and a projection takes a day."
        )
    elif not _is_over(cost):
        sentences.append(
            f"Projected from {cost.measured_s / DAY_S:.1f} days measured: {PROJECTION}. The other parts are due by the "
            "month."
        )
    if cost.growth is None:
        sentences.append("Growth isn't known: this month or the one before has less than a day of spending.")
    else:
        limit = f"{100 * cost.growth_limit:g} %"
        verdict = f"more than the {limit} wanted" if cost.grows_too_fast else f"within the {limit} wanted"
        sentences.append(f"Spending an hour is {100 * cost.growth:+.1f} % of the month before: {verdict}.")
    if cost.share != 1:
        sentences.append(f"These tenants bear {100 * float(cost.share):.1f} % of the common parts, by requests.")
    if any(part.so_far_nanousd for part in cost.parts if part.part is CostPart.STORAGE):
        sentences.append("The store counts at the size that its file has now.")
    if unpriced:
        sentences.append(
            f"In no amount, because no price is known: {counted(unpriced, 'request')} (`semcache cost report`)."
        )
    if not any(part.so_far_nanousd for part in cost.parts if part.part not in MEASURED):
        sentences.append("Storage, operations, monitoring and fixed charges are 0: [costs.model] says what they cost.")
    return sentences


def _as_json(cost: MonthlyCost) -> dict[str, object]:
    return {
        "measured_s": cost.measured_s,
        "projection": PROJECTION if cost.projects else None,
        "parts": [
            {
                "part": part.part.value.replace(" ", "_"),
                "so_far_nanousd": part.so_far_nanousd,
                "projected_nanousd": part.projected_nanousd,
                "share_percent": cost.percent(part),
                "usual_percent": part.usual_percent,
                "is_usual": cost.is_usual(part),
            }
            for part in cost.parts
        ],
        "so_far_nanousd": cost.so_far_nanousd,
        "projected_nanousd": cost.projected_nanousd,
        "share_of_common_parts": float(cost.share),
        "growth": cost.growth,
        "growth_limit": cost.growth_limit,
        "grows_too_fast": cost.grows_too_fast,
    }
