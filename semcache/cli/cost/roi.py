"""`semcache cost roi`: what a lower cost per request saves."""

from __future__ import annotations

import json as json_format
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from semcache.cli.cost.ledger import From, Month, OpenLedger, Store, Tenants, To, open_ledger
from semcache.cli.cost.titles import titled
from semcache.cli.options import Config, Json
from semcache.costs.toml_tables import MAX_DECIMALS, MAX_USD
from semcache.errors import InvalidRequestError, SettingsError
from semcache.finance.cost_model import measured_s
from semcache.finance.formatting import exactly
from semcache.finance.roi import DAYS_PER_MONTH, MONTHS, Claim, Roi, RoiCase, measured_case, read_roi_file
from semcache.finance.savings import savings

_CLAIM_WORDS = {
    "before_usd_per_month": "before, a month",
    "after_usd_per_month": "after, a month",
    "saved_usd_per_month": "saved, a month",
    "saved_usd_in_six_months": "saved, six months",
    "payback_months": "pays back, months",
}


def _amount(text: str) -> Decimal:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal("nan")
    if not amount.is_finite() or not 0 <= amount <= MAX_USD or round(amount, MAX_DECIMALS) != amount:
        raise typer.BadParameter(f"{text!r} is no number of dollars from 0 to {MAX_USD:,}.")
    return amount


def roi(
    *,
    files: Annotated[
        list[Path] | None, typer.Argument(help="TOML files with one case each, such as examples/roi/*.toml.")
    ] = None,
    measured: Annotated[
        bool, typer.Option("--measured", help="Add a case from the ledger: what the cache itself saves.")
    ] = False,
    investment: Annotated[
        Decimal | None,
        typer.Option("--investment", parser=_amount, metavar="USD", help="With --measured: what the cache cost once."),
    ] = None,
    days_per_month: Annotated[
        int, typer.Option("--days-per-month", min=1, max=31, help="With --measured: the days of a month.")
    ] = DAYS_PER_MONTH,
    first: From = None,
    last: To = None,
    month: Month = None,
    tenant: Tenants = None,
    store: Store = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Show what a lower cost per request saves, and when it has paid for itself; claimed results are checked."""
    if not files and not measured:
        raise InvalidRequestError(
            "There is nothing to compute.",
            hint="Name files with one case each, or --measured for a case from the ledger.",
        )
    cases = _read(files or [])
    sentences: dict[str, object] = {}
    provenance = ""
    if measured:
        with open_ledger(config, store) as ledger:
            case, sentences = _measured(ledger, (first, last, month), tenant, investment, days_per_month)
            provenance = ledger.provenance()
            cases.append(case)
    results = [Roi(case) for case in cases]
    if json:
        typer.echo(json_format.dumps({**sentences, "cases": [_as_json(result) for result in results]}))
        return
    console = Console()
    for result in results:
        console.print(_table(result))
        if result.claims:
            console.print(_claims(result))
        for line in _remarks(result):
            console.print(line, markup=False, highlight=False)
        console.print()
    if provenance:
        console.print(provenance, markup=False, highlight=False)


def _read(files: list[Path]) -> list[RoiCase]:
    """Return the cases of all files.

    Raises:
        SettingsError: files have problems; all problems of all files are listed.
    """
    cases: list[RoiCase] = []
    problems: list[str] = []
    for file in files:
        try:
            cases.append(read_roi_file(file))
        except SettingsError as error:
            problems += error.problems
    if problems:
        raise SettingsError(problems)
    return cases


def _measured(
    ledger: OpenLedger,
    window_options: tuple[From, To, Month],
    tenants: list[str] | None,
    investment: Decimal | None,
    days_per_month: int,
) -> tuple[RoiCase, dict[str, object]]:
    window = ledger.window(*window_options)
    name = ", ".join(["Measured", window.name, *(tenants or ())])
    case = measured_case(
        name,
        savings(ledger.hours(window, tenants)).total,
        measured_s(window, ledger.extent.first_hour_s, ledger.now_s),
        days_per_month=days_per_month,
        investment_usd=investment,
    )
    return case, ledger.as_json(window)


def _table(result: Roi) -> Table:
    case = result.case
    table = Table("", "before $", "after $", "saved $", title=titled(case.name), title_justify="left")
    for column in table.columns[1:]:
        column.justify, column.no_wrap = "right", True
    decimals = 2 if min(case.before_usd, case.after_usd) >= 1 else 6
    rows = (
        ("a request", case.before_usd, case.after_usd, decimals),
        ("a month", result.before_usd_per_month, result.after_usd_per_month, 2),
        ("six months", MONTHS * result.before_usd_per_month, MONTHS * result.after_usd_per_month, 2),
    )
    for name, before, after, decimals in rows:
        table.add_row(name, exactly(before, decimals), exactly(after, decimals), exactly(before - after, decimals))
    table.add_section()
    if case.investment_usd is not None:
        table.add_row("investment", "", "", exactly(case.investment_usd, 2))
        table.add_row("six months, net of it", "", "", exactly(result.net_usd_in_six_months, 2))
    table.add_row("pays back in", "", "", _payback(result), style="bold")
    table.caption = f"{exactly(case.requests_per_day, 0)} requests a day, {case.days_per_month} days a month"
    table.caption_justify = "left"
    return table


def _payback(result: Roi) -> str:
    if result.never_pays_back:
        return "never"
    months = result.payback_months
    return "no investment named" if months is None else f"{_short(months)} month{'' if months == 1 else 's'}"


def _remarks(result: Roi) -> list[str]:
    sentences = [result.case.note] if result.case.note else []
    saved = result.saved_usd_per_month
    if saved < 0:
        sentences.append(f"It costs ${exactly(-saved, 2)} more a month than before, and never pays back.")
    implied = result.implied_investment_usd
    if implied is not None and implied != result.case.investment_usd:
        sentences.append(
            f"A payback in {result.case.claimed['payback_months']} months implies an investment of "
            f"${exactly(implied, 2)}."
        )
    return sentences


def _claims(result: Roi) -> Table:
    table = Table("claimed", "", "computed", "", title_justify="left")
    for column in table.columns[1:3]:
        column.justify, column.no_wrap = "right", True
    for claim in result.claims:
        table.add_row(
            _CLAIM_WORDS[claim.name],
            _claim_value(claim, Fraction(claim.claimed)),
            "–" if claim.computed is None else _claim_value(claim, claim.computed),
            "agrees" if claim.agrees else f"wrong{f': {claim.remark}' if claim.remark else ''}",
            style="" if claim.agrees else "red",
        )
    return table


def _claim_value(claim: Claim, value: Fraction) -> str:
    if claim.name == "payback_months":
        return _short(value)
    return f"{'-' if value < 0 else ''}${exactly(abs(value), 2)}"


def _short(value: Fraction) -> str:
    """Return a number with one decimal, or with none if it is whole."""
    return exactly(value, 0 if value.denominator == 1 else 1)


def _as_json(result: Roi) -> dict[str, object]:
    case = result.case
    payback = result.payback_months
    return {
        "name": case.name,
        "before_usd_per_request": float(case.before_usd),
        "after_usd_per_request": float(case.after_usd),
        "requests_per_day": float(case.requests_per_day),
        "days_per_month": case.days_per_month,
        "investment_usd": None if case.investment_usd is None else float(case.investment_usd),
        "before_usd_per_month": float(result.before_usd_per_month),
        "after_usd_per_month": float(result.after_usd_per_month),
        "saved_usd_per_month": float(result.saved_usd_per_month),
        "saved_usd_in_six_months": float(result.saved_usd_in_six_months),
        "net_usd_in_six_months": float(result.net_usd_in_six_months),
        "payback_months": None if payback is None else float(payback),
        "never_pays_back": result.never_pays_back,
        "claims": [
            {
                "figure": claim.name,
                "claimed": float(claim.claimed),
                "computed": None if claim.computed is None else float(claim.computed),
                "agrees": claim.agrees,
                "remark": claim.remark,
            }
            for claim in result.claims
        ],
    }
