"""docs/costs.md and examples/: the page shows what the commands print, and its numbers are the article's."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

from semcache.cli import main
from semcache.cli.cost import ledger
from semcache.costs.override import read_price_file
from semcache.costs.prices import undated
from semcache.model import Usage
from semcache.settings import load_settings
from tests.support.ledgers import at, november, write_ledger

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "costs.md").read_text("utf-8")
SHOWN = re.findall(r"^```console\n\$ (semcache cost .*)\n((?:.*\n)*?)```$", PAGE, re.MULTILINE)
PRICES = [
    (("openai/gpt-4o", "gpt-4o-2024-08-06"), "18.75", "75.00", "20.00"),
    (("anthropic/claude-sonnet-4-5", "claude-sonnet-4-5"), "18.75", "75.00", "20.00"),
    (("google/gemini-2.5-flash", "gemini-2.5-flash"), "2.50", "10.00", "12.00"),
    (("meta/llama-4", "llama-3.3-70b"), "0.30", "3.00", "5.00"),
    (("mistral/small", "mistral-small-2409"), "0.15", "0.60", "3.00"),
]


def test_the_page_shows_a_command_of_every_kind() -> None:
    assert [shlex.split(command)[2] for command, _ in SHOWN] == ["report", "budget", "roi", "chargeback"]


@pytest.mark.parametrize(("command", "output"), SHOWN, ids=[command.split()[2] for command, _ in SHOWN])
def test_a_command_prints_what_the_page_shows(
    command: str,
    output: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_ledger(tmp_path, november())
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(ledger, "wall_s", lambda: at("2026-12-02"))
    monkeypatch.setattr(sys, "argv", shlex.split(command.replace("semcache-data", str(tmp_path))))

    assert main() == 0
    # The last sentence is left out: it names the folder and the time, which differ on each machine.
    printed = capsys.readouterr().out.partition("Ledger at ")[0]
    assert [row.rstrip() for row in printed.strip().splitlines()] == output.strip().splitlines()


@pytest.mark.parametrize(("models", "input_usd", "output_usd", "month_usd"), PRICES)
def test_the_examples_have_the_articles_prices(
    models: tuple[str, ...], input_usd: str, output_usd: str, month_usd: str
) -> None:
    overrides = read_price_file(ROOT / "examples" / "prices.toml")
    for model in models:
        tariff, _, _ = overrides.find((model, undated(model)), 0.0)
        assert tariff is not None
        cost = tariff.charge(Usage(1_000_000, 0, 1_000_000))
        assert f"{cost.input_nanousd / 1e9:.2f}" == input_usd
        assert f"{cost.output_nanousd / 1e9:.2f}" == output_usd
    assert f"| {input_usd} | {output_usd} | {month_usd} |" in PAGE


def test_the_examples_have_the_articles_fixed_charges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    model = load_settings(ROOT / "examples" / "cost-model.toml").costs.model

    assert [f"{charge.usd_per_month:.2f}" for charge in model.provider_charges] == [month for *_, month in PRICES]
    assert model.growth_limit == 0.05
