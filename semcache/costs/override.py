"""The operator's own prices: a TOML file that beats the bundled ones, checked whole before any of it counts."""

from __future__ import annotations

import datetime as dt
import hashlib
import math
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from semcache.costs.tariff import MAX_TOKENS, MAX_USD_PER_MILLION, Band, Rate, Tariff
from semcache.errors import SettingsError

_NEEDED = ("input", "output")
_OPTIONAL = ("cached_input", "cache_write")
_KEYS = frozenset({"model", "from", "per_call", "tiers", *_NEEDED, *_OPTIONAL})
_TIER_KEYS = frozenset({"above", *_NEEDED, *_OPTIONAL})
_MAX_DECIMALS = 18


@dataclass(frozen=True, slots=True)
class Overrides:
    """A price file: by the model's name in lower case, (wall seconds from which it counts, tariff), latest first.

    A name that ends with `*` stands for all that begin with what is before it; the longest of those counts.
    """

    names: Mapping[str, Sequence[tuple[float, Tariff]]]
    prefixes: Mapping[str, Sequence[tuple[float, Tariff]]]

    def find(self, names: Sequence[str], at_s: float) -> tuple[Tariff | None, float, float]:
        """The tariff at a moment of the first of `names` (lower case) that has one, and from when to when it counts.

        None where no name has one yet, or at all; then too the window is the time during which that is so.
        """
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
    """The tariffs of a file of `[[price]]` tables.

    Each has `model`, `input` and `output`, and may have `cached_input` (read from the provider's prompt cache; else as
    `input`) and `cache_write` (written to it; else as `input`), in dollars per million tokens, read as exact decimals;
    0 is a price (a model of one's own). `per_call` is a fee in dollars. `tiers` are tables with `above`, a number of
    input tokens, and prices that hold for the whole of a call beyond it. `from` is the day (UTC) or time from which the
    table counts, beside others of the same model; before the first, the bundled price does. The tariffs'
    `price_version` is `override` with the first eight hex digits of the file's SHA-256.

    Raises:
        SettingsError: all problems of the file at once.
    """
    try:
        content = path.read_bytes()
        values = tomllib.loads(content.decode("utf-8"), parse_float=Decimal)
    except OSError as error:
        raise SettingsError([f"costs.price_file: {path} can't be read: {error.strerror}"]) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError([f"costs.price_file: not TOML: {error}"], source=str(path)) from error
    price_version = f"override {hashlib.sha256(content).hexdigest()[:8]}"
    problems = [f"unknown key {key!r}; prices stand in [[price]] tables" for key in values if key != "price"]
    tables = values.get("price", [])
    if not isinstance(tables, list) or not tables:
        problems.append("no [[price]] table")
        tables = []
    histories: dict[str, dict[float, Tariff]] = {}
    for number, table in enumerate(tables, start=1):
        found = _problems(number, table)
        if not found:
            history = histories.setdefault(table["model"].lower(), {})
            from_s = _from_s(table.get("from"))
            if from_s in history:
                since = f" from {table['from']}" if "from" in table else ""
                found = [f"price {number} ({table['model']}): the model has a price{since} already"]
            else:
                history[from_s] = _tariff(table, price_version)
        problems += found
    if problems:
        raise SettingsError([f"costs.price_file: {problem}" for problem in problems], source=str(path))
    dated = {model: sorted(history.items(), key=lambda item: -item[0]) for model, history in histories.items()}
    return Overrides(
        {model: history for model, history in dated.items() if not model.endswith("*")},
        {model[:-1]: history for model, history in dated.items() if model.endswith("*")},
    )


def _tariff(table: Mapping[str, Decimal | int], price_version: str) -> Tariff:
    tiers: Sequence[Mapping[str, Decimal | int]] = table.get("tiers", ())  # type: ignore[assignment]  # checked before
    ordered = sorted(tiers, key=lambda tier: -tier["above"])
    bands = [_band(int(tier["above"]), tier) for tier in ordered] + [_band(-1, table)]
    return Tariff(tuple(bands), price_version, Rate.of(Decimal(table.get("per_call", 0)), per=1))


def _band(above: int, table: Mapping[str, Decimal | int]) -> Band:
    input_usd = Decimal(table["input"])
    return Band(
        above,
        Rate.of(input_usd),
        Rate.of(Decimal(table.get("cached_input", input_usd))),
        Rate.of(Decimal(table["output"])),
        Rate.of(Decimal(table.get("cache_write", input_usd))),
    )


def _from_s(value: object) -> float:
    """The wall-clock seconds of a TOML date or time; without a zone it is UTC."""
    if value is None:
        return -math.inf
    if not isinstance(value, dt.datetime):
        assert isinstance(value, dt.date)
        value = dt.datetime.combine(value, dt.time())
    return (value if value.tzinfo else value.replace(tzinfo=dt.UTC)).timestamp()


def _problems(number: int, table: object) -> list[str]:
    if not isinstance(table, Mapping):
        return [f"price {number}: not a table"]
    model = table.get("model")
    named = isinstance(model, str) and bool(model.strip())
    where = f"price {number} ({model})" if named else f"price {number}"
    problems = [] if named else [f"{where}: model must be a name"]
    if named and "*" in str(model)[:-1]:
        problems.append(f"{where}: model may have a * at its end alone")
    problems += [f"{where}: unknown key {key!r}" for key in table if key not in _KEYS]
    if "from" in table and not isinstance(table["from"], dt.date):
        problems.append(f"{where}: from must be a date, as in from = 2026-07-01")
    problems += _faults(where, table)
    if fault := _fault(table.get("per_call", 0), "dollars"):
        problems.append(f"{where}: per_call {fault}")
    return problems + _tier_problems(where, table.get("tiers", []))


def _tier_problems(where: str, tiers: object) -> list[str]:
    if not isinstance(tiers, list) or not all(isinstance(tier, Mapping) for tier in tiers):
        return [f"{where}: tiers must be tables, as in tiers = [{{ above = 200_000, input = 2.5, output = 15 }}]"]
    problems: list[str] = []
    starts: set[int] = set()
    for tier in tiers:
        above = tier.get("above")
        if type(above) is not int or not 0 < above <= MAX_TOKENS:
            problems.append(f"{where}: a tier's above must be a number of tokens from 1")
            continue
        inside = f"{where}: tier above {above}"
        if above in starts:
            problems.append(f"{inside}: there is another with the same start")
        starts.add(above)
        problems += [f"{inside}: unknown key {key!r}" for key in tier if key not in _TIER_KEYS]
        problems += _faults(inside, tier)
    return problems


def _faults(where: str, table: Mapping[str, object]) -> list[str]:
    problems = []
    for key in (*_NEEDED, *_OPTIONAL):
        if key not in table:
            if key in _NEEDED:
                problems.append(f"{where}: {key} is missing")
            continue
        fault = _fault(table[key], "dollars per million tokens")
        if fault:
            problems.append(f"{where}: {key} {fault}")
    return problems


def _fault(price: object, unit: str) -> str:
    if isinstance(price, bool) or not isinstance(price, int | Decimal):
        return f"must be a number of {unit}"
    value = Decimal(price)
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int):  # nan and inf have a letter for an exponent
        return "must be a finite number"
    if value < 0:
        return "must not be negative"
    if value > MAX_USD_PER_MILLION:
        return f"must not exceed {MAX_USD_PER_MILLION} {unit}"
    if exponent < -_MAX_DECIMALS:
        return f"must not have more than {_MAX_DECIMALS} decimals"
    return ""
