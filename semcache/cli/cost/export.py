"""`semcache cost export`: the ledger as CSV or JSON lines."""

from __future__ import annotations

import csv
import json as json_format
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TextIO

import typer

from semcache.cli.cost.csv_text import plain
from semcache.cli.cost.ledger import From, Month, OpenLedger, Store, Tenants, To, open_ledger
from semcache.cli.cost.writing import check_folder
from semcache.cli.options import Config, Json
from semcache.errors import InvalidRequestError
from semcache.finance.ledger_rows import HOUR_COLUMNS, LINE_COLUMNS, Cell, FlatRow, hour_row, line_row


class ExportFormat(StrEnum):
    """The format of the rows."""

    CSV = "csv"
    JSONL = "jsonl"


@dataclass(slots=True)
class _Written:
    """The number of rows that were written, and the sum of their volumes (`_volume`)."""

    rows: int = 0
    volume: int = 0


def export(
    file_format: Annotated[
        ExportFormat, typer.Option("--format", help="CSV with a header, or one JSON object on each line.")
    ],
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to this file instead of standard output.")
    ] = None,
    hours: Annotated[
        bool, typer.Option("--hours", help="Export the hourly rollup, which is kept for good, instead of the log.")
    ] = False,
    first: From = None,
    last: To = None,
    month: Month = None,
    tenant: Tenants = None,
    store: Store = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Export the request log line by line, oldest first, money in nanodollars (10⁻⁹ dollars), times in UTC."""
    if json and output is None:
        raise InvalidRequestError("--json needs --output.", hint="Without it the rows go to standard output.")
    if output is not None:
        check_folder(output)
    with open_ledger(config, store) as ledger:
        window = ledger.window(first, last, month)
        # The rollup is read before the lines, so that requests that arrive in between can only add to the lines.
        rollup = ledger.hours(window, tenant)
        rows = map(hour_row, rollup) if hours else map(line_row, ledger.lines(window, tenant))
        with _opened(output) as out:
            written = _write(out, file_format, HOUR_COLUMNS if hours else LINE_COLUMNS, rows)
        incomplete = written.volume < sum(map(_volume, map(hour_row, rollup)))
        sentences = [*_left_out(ledger, incomplete=incomplete), ledger.provenance()]
        if json:
            typer.echo(json_format.dumps({**ledger.as_json(window), "output": str(output), "rows": written.rows}))
        else:
            for line in [*([f"{written.rows:,} rows are in {output}."] if output else []), *sentences]:
                typer.echo(line, err=output is None)


@contextmanager
def _opened(output: Path | None) -> Iterator[TextIO]:
    """Open the file, or give standard output."""
    if output is None:
        yield sys.stdout
        sys.stdout.flush()
    else:
        with output.open("w", encoding="utf-8", newline="") as out:
            yield out


def _write(out: TextIO, file_format: ExportFormat, columns: Sequence[str], rows: Iterable[FlatRow]) -> _Written:
    written = _Written()
    writer = csv.writer(out, lineterminator="\n")
    if file_format is ExportFormat.CSV:
        writer.writerow(columns)
    for row in rows:
        written.rows += 1
        written.volume += _volume(row)
        if file_format is ExportFormat.CSV:
            writer.writerow([_cell(value) for value in row.values()])
        else:
            out.write(json_format.dumps(row) + "\n")
    return written


def _volume(row: FlatRow) -> int:
    """Return requests and tokens in one number, whose sum is smaller if lines are missing."""
    return sum(int(row[name] or 0) for name in ("requests", "input_tokens", "output_tokens"))


def _cell(value: Cell) -> str | int | float | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return plain(value) if isinstance(value, str) else value


def _left_out(ledger: OpenLedger, *, incomplete: bool) -> list[str]:
    """Return a remark if the log no longer has all requests that the rollup has."""
    if not incomplete:
        return []
    first_line_s = ledger.extent.first_line_s
    begins = "is empty" if first_line_s is None else f"begins {ledger.time(first_line_s)}"
    return [f"The request log {begins} (store.log_ttl_s); what is older is in the rollup alone: --hours."]
