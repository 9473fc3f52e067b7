"""The operator's own prices: a TOML file that precedes the bundled prices, checked as a whole before it is used."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path

from semcache.costs.tariff import MAX_USD_PER_MILLION, PART_GROUPS, Band, Rate, Tariff, part_rate
from semcache.costs.toml_tables import TomlFile, TomlTable, read_toml
from semcache.errors import SettingsError
from semcache.model import standard_or


@dataclass(frozen=True, slots=True)
class Overrides:
    """The tariffs of a price file.

    Attributes:
        names: by a model's name in lower case, (wall seconds from which it holds, tariff), the latest first.
        prefixes: tariffs of names that end with `*` in the file, without it; the longest that fits a model is used.
        tiers: by service tier, the tariffs that hold for it alone.
    """

    names: Mapping[str, Sequence[tuple[float, Tariff]]]
    prefixes: Mapping[str, Sequence[tuple[float, Tariff]]]
    tiers: Mapping[str, Overrides] = field(default_factory=dict)

    def find(self, names: Sequence[str], at_s: float, tier: str = "") -> tuple[Tariff | None, float, float]:
        """Return the tariff of the first of `names` (lower case) that has one at a moment, and its window.

        Where the service tier has none, it is the standard one, and says so (`lacks_tier`).

        Returns:
            The tariff, or None where no name has one yet, and the wall seconds from which and up to which that holds.
        """
        if tier:
            own = self.tiers.get(tier, NO_OVERRIDES).find(names, at_s)
            if own[0] is not None:
                return own
            tariff, start_s, end_s = self.find(names, at_s)
            tariff = None if tariff is None else replace(tariff, lacks_tier=True)
            return tariff, max(own[1], start_s), min(own[2], end_s)
        start_s, end_s = -math.inf, math.inf
        for history in self._histories(names):
            for from_s, tariff in history:
                if from_s <= at_s:
                    return tariff, max(from_s, start_s), end_s
                end_s = min(from_s, end_s)
        return None, start_s, end_s

    def _histories(self, names: Sequence[str]) -> Iterator[Sequence[tuple[float, Tariff]]]:
        for name in names:
            if name in self.names:
                yield self.names[name]
        for prefix in sorted(self.prefixes, key=len, reverse=True):
            if any(name.startswith(prefix) for name in names):
                yield self.prefixes[prefix]


NO_OVERRIDES = Overrides({}, {})


def read_price_file(path: Path) -> Overrides:
    """Read the tariffs of a file of `[[price]]` tables.

    Raises:
        SettingsError: all problems of the file at once.
    """
    try:
        return _overrides(read_toml(path))
    except SettingsError as error:
        problems = [f"costs.price_file: {problem}" for problem in error.problems]
        raise SettingsError(problems, source=str(path)) from error


def _overrides(file: TomlFile) -> Overrides:
    root = file.root
    tables = root.tables("price")
    if not tables and not file.problems:
        root.problem("no [[price]] table")
    tiers: dict[str, dict[str, dict[float, Tariff]]] = {"": {}}
    for table in tables:
        model = table.name("model").lower()
        if model:
            table.where += f" ({model})"
        if "*" in model[:-1]:
            table.problem("model may have a * at its end alone")
        since = table.date("from")
        from_s = -math.inf if since is None else _wall_s(since)
        tier = standard_or(table.name("service_tier", ""))
        history = tiers.setdefault(tier, {}).setdefault(model, {})
        if model and from_s in history:
            table.problem(f"the model has a price{'' if since is None else f' from {since}'} already")
        history[from_s] = _tariff(table, f"override {file.digest}")
        table.finish()
    root.finish()
    file.finish()
    standard = _dated(tiers.pop(""))
    return replace(standard, tiers={tier: _dated(histories) for tier, histories in tiers.items()})


def _dated(histories: Mapping[str, Mapping[float, Tariff]]) -> Overrides:
    """Return the tariffs of one tier, by model the latest first."""
    dated = {model: sorted(history.items(), key=lambda item: -item[0]) for model, history in histories.items()}
    return Overrides(
        {model: history for model, history in dated.items() if not model.endswith("*")},
        {model[:-1]: history for model, history in dated.items() if model.endswith("*")},
    )


def _tariff(table: TomlTable, price_version: str) -> Tariff:
    parts = _parts(table)
    bands = {-1: _band(-1, table, parts)}
    for tier in table.tables("tiers"):
        above = tier.count("above")
        if above in bands:
            tier.problem(f"there is another above {above}")
        bands[above] = _band(above, tier, parts)
        tier.finish()
    fee = table.amount("per_call", default=Decimal(0), maximum=MAX_USD_PER_MILLION)
    return Tariff(tuple(bands[above] for above in sorted(bands, reverse=True)), price_version, Rate.of(fee, per=1))


def _parts(table: TomlTable) -> Mapping[str, Rate]:
    """Return the rates of the table's `parts`: dollars for a million tokens, or for a thousand calls of a tool."""
    parts = table.table("parts")
    if parts is None:
        return {}
    rates = {
        name: part_rate(name, parts.amount(name, default=Decimal(0), maximum=MAX_USD_PER_MILLION))
        for name in PART_GROUPS
        if parts.has(name)
    }
    parts.finish()
    return rates


def _band(above: int, table: TomlTable, parts: Mapping[str, Rate]) -> Band:
    def price(key: str, default: Decimal | None = None) -> Decimal:
        return table.amount(key, default=default, maximum=MAX_USD_PER_MILLION, unit="dollars per million tokens")

    input_usd, output_usd = price("input"), price("output")
    cached_usd, write_usd = price("cached_input", input_usd), price("cache_write", input_usd)
    return Band(above, Rate.of(input_usd), Rate.of(cached_usd), Rate.of(output_usd), Rate.of(write_usd), parts)


def _wall_s(since: dt.date) -> float:
    """Return the wall-clock seconds of a TOML date or time; without a zone it is UTC."""
    if not isinstance(since, dt.datetime):
        since = dt.datetime.combine(since, dt.time())
    return (since if since.tzinfo else since.replace(tzinfo=dt.UTC)).timestamp()
