"""Runs `semcache cost …` over a real store: tables, JSON, and errors."""

from __future__ import annotations

import csv
import io
import json
import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from semcache.cli import main
from semcache.cli.cost import ledger
from semcache.finance.chargeback import Amounts, Chargeback, chargeback
from semcache.finance.ledger_rows import HOUR_COLUMNS, LINE_COLUMNS
from semcache.model import NO_COST, Status
from tests.support.ledgers import at, line, mixed_days, november, trim_log, write_ledger
from tests.support.stored import record

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "examples"
TARIFF = f"--tariff {EXAMPLES / 'tariff.toml'}"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for name, lines in (("november", november()), ("mixed", mixed_days()), ("empty", [])):
        made[name] = tmp_path_factory.mktemp(name)
        write_ledger(made[name], lines)
    return made


@pytest.fixture
def run(
    stores: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Run:
    """Run `semcache cost …` at a given time; NOVEMBER, MIXED, EMPTY and TMP stand for folders."""

    def run(words: str, *, now: str = "2026-12-02", width: int = 100) -> tuple[int, str, str]:
        for name, path in {**stores, "tmp": tmp_path}.items():
            words = words.replace(name.upper(), str(path))
        monkeypatch.setattr(sys, "argv", ["semcache", "cost", *shlex.split(words)])
        monkeypatch.setattr(ledger, "wall_s", lambda: at(now))
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.delenv("SEMCACHE_CONFIG", raising=False)
        code = main()
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return code, captured.out, captured.err

    return run


def as_json(ran: tuple[int, str, str]) -> dict[str, Any]:
    code, out, err = ran
    assert (code, err) == (0, "")
    document = json.loads(out.splitlines()[-1])
    assert isinstance(document, dict)
    return document


def config(tmp_path: Path, text: str) -> str:
    path = tmp_path / "semcache.toml"
    path.write_text(text, "utf-8")
    return f"--config {path}"


# -- report


def test_a_report_tells_all_three_tables_and_when_it_was_read(run: Run) -> None:
    code, out, err = run("report --store NOVEMBER", width=80)

    assert (code, err) == (0, "")
    assert "saved % (not > 40)" in out
    assert "a request (< 0.03)" in out
    assert "Ledger at " in out
    assert "read 2026-12-02 00:00:00 UTC" in " ".join(out.split())
    assert all(len(row) <= 80 for row in out.splitlines())


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("by", ["hour", "day", "month", "tenant", "model", "task_type", "status"])
def test_a_group_fits_its_terminal(run: Run, by: str, width: int) -> None:
    code, out, _ = run(
        f"report --store MIXED --by {by} --by tenant" if by != "tenant" else "report --store MIXED --by tenant",
        width=width,
    )

    assert code == 0
    assert all(len(row) <= width for row in out.splitlines())
    assert "…" not in out


def test_names_are_no_markup(run: Run) -> None:
    assert "[bold]own" in run("report --store MIXED --by model")[1]


def test_names_do_nothing_to_a_terminal_nor_to_a_page(run: Run, tmp_path: Path) -> None:
    evil = "\x1b[2J\ud800\x00model"
    names = {"model": evil, "task_type": evil}
    write_ledger(tmp_path / "store", [line(5.0, Status.MISS, 9, **names), record("r2", spent=NO_COST, **names)])
    code, out, _ = run("report --store TMP/store --by model --by task_type --html TMP/page.html")

    assert code == 0
    assert "?[2J??model" in out
    assert "\x1b" not in out
    assert "\x1b" not in (tmp_path / "page.html").read_text("utf-8")
    assert run("export --format csv --store TMP/store")[0] == 0
    exported = read_export(run("export --format jsonl --store TMP/store")[1], "jsonl")
    assert [row["model"] for row in exported] == [evil, evil]


def test_the_report_for_programs(run: Run) -> None:
    document = as_json(run("report --store MIXED --by status --json"))
    total = document["total"]

    assert (total["requests"], total["wrong_hits"], total["unpriced"], total["estimated"]) == (30, 1, 2, 1)
    assert document["unpriced_models"] == {"[bold]own": 1, "own-model": 1}
    assert total["overhead_nanousd"] == 500_000_077
    assert total["upstream_tokens"]["provider_cache_write"] == 30
    assert {row["status"] for row in document["rows"]} >= {"exact_hit", "cancelled"}
    assert sum(row["spent_nanousd"] for row in document["rows"]) == total["spent_nanousd"]
    assert document["read_time"] == "2026-12-02T00:00:00+00:00"
    assert document["last_request_time"] == "2027-10-31T15:33:20+00:00"


def test_a_window_of_days_includes_its_last(run: Run) -> None:
    document = as_json(run("report --store MIXED --from 2027-10-29 --to 2027-10-30 --json"))

    assert document["window"] == {
        "name": "2027-10-29 to 2027-10-30",
        "start_time": "2027-10-29T00:00:00+00:00",
        "end_time": "2027-10-31T00:00:00+00:00",
        "time_zone": "UTC",
    }
    assert document["total"]["requests"] == 21


def test_windows_may_be_open_at_either_end(run: Run) -> None:
    assert as_json(run("report --store MIXED --to 2027-10-29 --json"))["total"]["requests"] == 9
    since = as_json(run("report --store MIXED --from 2027-10-31 --json", now="2027-11-05"))
    assert since["total"]["requests"] == 9
    assert since["window"]["end_time"] == "2027-11-06T00:00:00+00:00"


def test_a_month_that_ends_as_clocks_change_is_the_time_zones(run: Run, tmp_path: Path) -> None:
    berlin = config(tmp_path, '[costs]\ntime_zone = "Europe/Berlin"\n')
    store = tmp_path / "store"
    moments = ("2027-09-30T21:59", "2027-09-30T22:00", "2027-10-31T22:59", "2027-10-31T23:00")
    write_ledger(store, [line(at(moment), Status.MISS, 1000 * 10**n) for n, moment in enumerate(moments)])
    document = as_json(run(f"report --store {store} {berlin} --month 2027-10 --by day --json"))

    assert document["total"]["spent_nanousd"] == 110_000
    assert document["window"]["end_time"] == "2027-11-01T00:00:00+01:00"
    assert [row["day"] for row in document["rows"]] == ["2027-10-01T00:00:00+02:00", "2027-10-31T00:00:00+02:00"]


def test_before_the_ledger_begins_there_is_nothing(run: Run) -> None:
    document = as_json(run("report --store MIXED --to 2027-10-28 --json"))
    assert (document["total"]["requests"], document["window"]["name"]) == (0, "2027-10-28")


@pytest.mark.parametrize("words", ["report --month 2026-11", "report --by tenant", "budget --month 2026-11"])
def test_a_tenant_is_no_markup(run: Run, tmp_path: Path, words: str) -> None:
    evil = "[/x]\x1b[2J"
    write_ledger(tmp_path / "store", [line(at("2026-11-03"), Status.MISS, 9, tenant=evil)])
    code, out, err = run(f"{words} --store TMP/store --tenant '{evil}'")
    assert (code, err) == (0, "")
    assert "[/x]?[2J" in out
    assert "\x1b" not in run("chargeback --store TMP/store --month 2026-11 " + TARIFF)[1]


def test_only_some_tenants(run: Run) -> None:
    document = as_json(run("report --store NOVEMBER --tenant acme --tenant hooli --by tenant --json"))

    assert [row["tenant"] for row in document["rows"]] == ["acme", "hooli"]
    assert document["total"]["requests"] == 9_000
    assert "nothing in 2026-11" in run("report --store NOVEMBER --tenant nobody --month 2026-11")[1]


def test_a_page(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("report --store NOVEMBER --html TMP/page.html")

    assert code == 0
    assert f"The page is {tmp_path / 'page.html'}." in " ".join(out.split())
    assert "2026-11-01 to 2026-11-30" in (tmp_path / "page.html").read_text("utf-8")


def test_an_empty_ledger_is_told(run: Run) -> None:
    code, out, _ = run("report --store EMPTY")

    assert code == 0
    assert out.startswith("The ledger is empty.")
    assert "it has no requests" in " ".join(out.split())


def test_the_store_of_the_configuration_without_the_servers_keys(
    run: Run, stores: dict[str, Path], tmp_path: Path
) -> None:
    options = config(
        tmp_path,
        f'[store]\npath = "{stores["november"]}"\n[server]\nhost = "0.0.0.0"\n[auth]\nenabled = true\n'
        '[[upstream.targets]]\nname = "a"\nbase_url = "http://x/v1"\napi_key_env = "NOT_SET_ANYWHERE"\n',
    )

    assert as_json(run(f"report {options} --json"))["total"]["requests"] == 10_001


# -- budget


def test_a_budget_is_projected_to_the_months_end(run: Run, tmp_path: Path) -> None:
    options = config(tmp_path, "[costs.model]\noperations_usd_per_month = 30\nstorage_usd_per_gb_month = 1000\n")
    document = as_json(run(f"budget --store NOVEMBER {options} --month 2026-11 --json", now="2026-11-16T09:00"))
    parts = {part["part"]: part for part in document["parts"]}

    # The ledger begins on the 1st at 9:00, so 15 days are measured and 14.625 days remain.
    assert document["measured_s"] == 15 * 86_400
    spent = parts["output"]["so_far_nanousd"]
    assert parts["output"]["projected_nanousd"] == spent + spent * 117 // 120
    assert parts["operations"]["projected_nanousd"] == 30_000_000_000
    assert parts["storage"]["projected_nanousd"] > 0
    assert document["growth"] is None
    code, out, _ = run("budget --store NOVEMBER", now="2026-11-16T09:00", width=80)
    assert code == 0
    assert "Projected from 15.0 days measured" in out
    assert "[costs.model] says what they cost" in " ".join(out.split())


def test_less_than_a_day_is_not_projected(run: Run) -> None:
    code, out, _ = run("budget --store NOVEMBER", now="2026-11-02T08:00")

    assert code == 0
    assert "Nothing is projected: 23.0 hours were measured" in out
    document = as_json(run("budget --store NOVEMBER --json", now="2026-11-02T08:00"))
    assert (document["projection"], document["projected_nanousd"]) == (None, None)


def test_growth_over_the_month_before(run: Run, tmp_path: Path) -> None:
    lines = [line(at(f"2027-01-{day:02}"), Status.MISS, 10**9) for day in range(1, 32)]
    lines += [line(at(f"2027-02-{day:02}"), Status.MISS, 11 * 10**8) for day in range(1, 11)]
    write_ledger(tmp_path / "store", lines)
    code, out, _ = run("budget --store TMP/store", now="2027-02-11")

    assert code == 0
    assert "Spending an hour is +10.0 % of the month before: more than the 5 % wanted." in out


def test_a_tenants_budget_bears_its_share(run: Run, tmp_path: Path) -> None:
    options = config(tmp_path, "[costs.model]\nmonitoring_usd_per_month = 10001\n")
    document = as_json(run(f"budget --store NOVEMBER {options} --tenant globex --month 2026-11 --json"))

    assert {part["part"]: part["projected_nanousd"] for part in document["parts"]}["monitoring"] == 1_000 * 10**9


# -- roi


def test_the_articles_cases(run: Run) -> None:
    document = as_json(run(f"roi {EXAMPLES}/roi/enterprise-assistant.toml {EXAMPLES}/roi/code-generation.toml --json"))
    case, other = document["cases"]

    assert (case["before_usd_per_month"], case["after_usd_per_month"]) == (15_000, 9_000)
    assert (case["saved_usd_per_month"], case["saved_usd_in_six_months"], case["payback_months"]) == (6_000, 36_000, 3)
    assert (other["before_usd_per_month"], other["saved_usd_per_month"]) == (240_000, -18_000)
    assert other["never_pays_back"]
    assert [claim["agrees"] for claim in other["claims"]] == [False, False, False]


def test_a_measured_case(run: Run) -> None:
    document = as_json(run("roi --measured --store NOVEMBER --tenant acme --month 2026-11 --investment 60 --json"))
    (case,) = document["cases"]

    assert case["before_usd_per_request"] == 0.005
    assert case["after_usd_per_request"] == 0.0025
    assert case["payback_months"] == pytest.approx(4 * 29.625 / 30)
    assert "Measured, 2026-11, acme" in run("roi --measured --store NOVEMBER --tenant acme --month 2026-11")[1]


def test_the_problems_of_all_cases_come_at_once(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("name = 3\n", "utf-8")
    (tmp_path / "b.toml").write_text("name", "utf-8")
    code, out, err = run("roi TMP/a.toml TMP/b.toml TMP/c.toml")

    assert (code, out) == (2, "")
    assert [row.split(": ")[-1] for row in err.splitlines()][:4] == [
        "name must be a text",
        "before_usd_per_request is missing",
        "after_usd_per_request is missing",
        "requests_per_day is missing",
    ]
    assert "b.toml: not TOML" in err
    assert "c.toml can't be read" in err


# -- chargeback


def test_invoices_as_a_table_a_page_and_csv(run: Run, tmp_path: Path) -> None:
    files = "--csv TMP/invoices.csv --html TMP/invoices.html"
    code, out, err = run(f"chargeback --store NOVEMBER {TARIFF} --month 2026-11 {files}", width=80)

    assert (code, err) == (0, "")
    assert "107.20" in out
    assert "The invoices add up to the ledger: 10,001 requests, 10,500,021 tokens," in out
    assert "$45.250004321." in out
    assert "drafts" not in out
    assert all(len(row) <= 80 for row in out.splitlines())
    rows = read_export((tmp_path / "invoices.csv").read_text("utf-8"), "csv")
    assert sum(int(row["cost_nanousd"]) for row in rows) == 45_250_004_321
    assert {row["tenant"]: row["invoice_total_usd"] for row in rows}["globex"] == "45.00"
    assert "45.00" in (tmp_path / "invoices.html").read_text("utf-8")


def test_invoices_for_programs(run: Run) -> None:
    document = as_json(run(f"chargeback --store NOVEMBER {TARIFF} --month 2026-11 --tenant hooli --json"))

    assert document["adds_up"]
    assert not document["draft"]
    assert document["total_usd"] == "24.00"
    assert [line["amount_usd"] for line in document["invoices"][0]["lines"]] == [
        "10.000000000",
        "8.000000000",
        "6.000000000",
    ]


def test_a_month_that_is_not_over_has_drafts(run: Run) -> None:
    assert (
        "2026-11 isn't over: these are drafts."
        in run(f"chargeback --store NOVEMBER {TARIFF} --month 2026-11", now="2026-11-30T23:59")[1]
    )


def test_invoices_that_do_not_add_up_fail(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def incomplete(*arguments: Any) -> Chargeback:
        complete = chargeback(*arguments)
        return replace(complete, ledger=complete.ledger + Amounts(requests=1))

    monkeypatch.setattr(sys.modules["semcache.cli.cost.chargeback"], "charge", incomplete)
    code, out, _ = run(f"chargeback --store MIXED {TARIFF} --month 2027-10", now="2027-11-01")

    assert code == 1
    assert "The invoices do NOT add up to the ledger" in out


# -- export


def read_export(out: str, file_format: str) -> list[dict[str, Any]]:
    if file_format == "csv":
        return list(csv.DictReader(io.StringIO(out)))
    return [json.loads(row) for row in out.splitlines()]


@pytest.mark.parametrize("file_format", ["csv", "jsonl"])
def test_an_export_adds_up_to_the_rollup(run: Run, file_format: str) -> None:
    code, out, err = run(f"export --format {file_format} --store MIXED")
    lines = read_export(out, file_format)
    hours = read_export(run(f"export --format {file_format} --store MIXED --hours")[1], file_format)

    assert code == 0
    assert err.startswith("Ledger at ")
    assert (tuple(lines[0]), tuple(hours[0])) == (LINE_COLUMNS, HOUR_COLUMNS)
    assert len(lines) == len(mixed_days())
    assert [row["time"] for row in lines] == sorted(row["time"] for row in lines)
    for column in set(LINE_COLUMNS) & set(HOUR_COLUMNS):
        if column.endswith(("_nanousd", "_tokens")) or column == "requests":
            assert sum(int(row[column]) for row in lines) == sum(int(row[column]) for row in hours), column


def test_a_spreadsheet_gets_no_formula_and_json_the_name_itself(run: Run) -> None:
    assert ",'=cmd()," in run("export --format csv --store MIXED")[1]
    assert '"=cmd()"' in run("export --format jsonl --store MIXED")[1]


def test_an_export_to_a_file(run: Run, tmp_path: Path) -> None:
    document = as_json(run("export --format csv --store MIXED --output TMP/log.csv --tenant beta --json"))

    assert document["rows"] == 9
    assert (tmp_path / "log.csv").read_bytes().count(b"\n") == 10
    assert "9 rows are in" in run("export --format jsonl --store MIXED -o TMP/log.jsonl --tenant beta")[1]


def test_a_carriage_return_begins_no_row(run: Run, tmp_path: Path) -> None:
    write_ledger(tmp_path / "store", [line(5.0, Status.MISS, 9, model="one\rtwo", namespace="\r=1")])
    (row,) = read_export(run("export --format csv --store TMP/store")[1], "csv")
    assert (row["model"], row["namespace"], row["spent_nanousd"]) == ("one?two", "?=1", "9")


@pytest.mark.parametrize(
    ("first_line", "words", "incomplete"),
    [
        (0, "", False),
        (3, "", True),  # Only a part of the first hour remains.
        (3, "--from 2026-11-02", False),  # The day's first request came at noon, and none is missing.
        (3, "--tenant beta", False),
        (3, "--hours", False),
        (9, "--from 2026-11-02", True),
    ],
)
def test_an_export_says_when_the_log_no_longer_has_all(
    run: Run, tmp_path: Path, first_line: int, words: str, *, incomplete: bool
) -> None:
    lines = [line(at("2026-11-01T09:00") + number, Status.MISS, 9) for number in range(6)]
    lines += [line(at("2026-11-02T12:00") + number, Status.MISS, 9, tenant="beta") for number in range(3)]
    write_ledger(tmp_path / "store", lines)
    trim_log(tmp_path / "store", first_line)
    _, _, err = run(f"export --format csv --store TMP/store {words}")
    assert ("store.log_ttl_s" in err) == incomplete


def test_an_empty_export_has_its_head(run: Run) -> None:
    assert run("export --format csv --store EMPTY")[1] == ",".join(LINE_COLUMNS) + "\n"
    assert run("export --format jsonl --store EMPTY")[1] == ""


# -- errors


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        ("report --store /nowhere", 1, "there is no store at /nowhere"),
        ("report --store NOVEMBER --month 2026-11 --from 2026-11-01", 1, "Both --month and --from or --to"),
        ("report --store NOVEMBER --from 2026-11-02 --to 2026-11-01", 1, "--to 2026-11-01 is before --from"),
        ("report --store NOVEMBER --from yesterday", 2, "'yesterday' is no date; write it as 2026-11-24."),
        ("report --store NOVEMBER --month 2026-13", 2, "'2026-13' is no month; write it as 2026-11."),
        ("report --store NOVEMBER --to 1969-12-31", 2, "'1969-12-31' is before 1970"),
        ("report --store NOVEMBER --by week", 2, "week"),
        ("report --store NOVEMBER --by day --by hour", 1, "two of hour, day and month"),
        ("report --store NOVEMBER --html /nowhere/page.html", 1, "There is no folder /nowhere"),
        ("report --store EMPTY --html TMP/page.html", 1, "to draw"),
        ("report --config /nowhere.toml", 2, "/nowhere.toml can't be read"),
        ("budget --store NOVEMBER --month 2027-01", 1, "2027-01 hasn't begun"),
        (f"chargeback --store NOVEMBER {TARIFF} --month 2027-01", 1, "2027-01 hasn't begun"),
        ("roi", 1, "There is nothing to compute"),
        ("roi --measured --store EMPTY", 1, "no requests"),
        ("roi --measured --store NOVEMBER --from 2026-11-30 --investment -3", 2, "no number of dollars"),
        ("roi --measured --store NOVEMBER --to 2026-11-01", 1, "15.0 hours"),
        (f"chargeback --store NOVEMBER {TARIFF}", 1, "An invoice is for a month"),
        ("chargeback --store NOVEMBER --month 2026-11", 2, "--tariff"),
        ("chargeback --store NOVEMBER --month 2026-11 --tariff /nowhere.toml", 2, "/nowhere.toml can't be read"),
        ("roi --measured --store NOVEMBER --investment 1e99999", 2, "no number of dollars"),
        ("roi --measured --store NOVEMBER --investment 1e-99999", 2, "no number of dollars"),
        ("export --store NOVEMBER --format xml", 2, "xml"),
        ("export --store NOVEMBER --format csv --json", 1, "--json needs --output"),
        ("export --store NOVEMBER --format csv --output /nowhere/log.csv", 1, "There is no folder /nowhere"),
    ],
)
def test_an_error_is_a_sentence_with_a_hint(run: Run, words: str, code: int, expected: str) -> None:
    ended, out, err = run(words)

    assert (ended, out) == (code, "")
    assert expected in err
    assert len(err.splitlines()) <= 2
