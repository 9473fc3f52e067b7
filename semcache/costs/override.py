"""The operator's own prices: a TOML file that beats the bundled ones, checked whole before any of it counts."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

from semcache.costs.tariff import MAX_USD_PER_MILLION, Tariff
from semcache.errors import SettingsError

_PRICES = ("input", "output", "cached_input")
_MAX_DECIMALS = 18


def read_price_file(path: Path) -> Mapping[str, Tariff]:
    """The tariffs of a file of `[[price]]` tables, by the model's name in lower case.

    Each has `model`, `input`, `output` and optionally `cached_input`, in dollars per million tokens, read as exact
    decimals; 0 is a price (a model of one's own). Their `price_version` is `override` with the first eight hex digits
    of the file's SHA-256.

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
    tariffs: dict[str, Tariff] = {}
    for number, table in enumerate(tables, start=1):
        found = _problems(number, table)
        model = "" if found else table["model"].lower()
        if model in tariffs:
            found = [f"price {number} ({table['model']}): the model has a price already"]
        problems += found
        if found:
            continue
        tariffs[model] = Tariff.flat(
            input_usd=Decimal(table["input"]),
            output_usd=Decimal(table["output"]),
            cached_input_usd=Decimal(table["cached_input"]) if "cached_input" in table else None,
            price_version=price_version,
        )
    if problems:
        raise SettingsError([f"costs.price_file: {problem}" for problem in problems], source=str(path))
    return tariffs


def _problems(number: int, table: object) -> list[str]:
    if not isinstance(table, Mapping):
        return [f"price {number}: not a table"]
    model = table.get("model")
    named = isinstance(model, str) and bool(model.strip())
    where = f"price {number} ({model})" if named else f"price {number}"
    problems = [] if named else [f"{where}: model must be a name"]
    problems += [f"{where}: unknown key {key!r}" for key in table if key not in {"model", *_PRICES}]
    for key in _PRICES:
        if key not in table:
            if key != "cached_input":
                problems.append(f"{where}: {key} is missing")
            continue
        fault = _fault(table[key])
        if fault:
            problems.append(f"{where}: {key} {fault}")
    return problems


def _fault(price: object) -> str:
    if isinstance(price, bool) or not isinstance(price, int | Decimal):
        return "must be a number of dollars per million tokens"
    value = Decimal(price)
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int):  # nan and inf have a letter for an exponent
        return "must be a finite number"
    if value < 0:
        return "must not be negative"
    if value > MAX_USD_PER_MILLION:
        return f"must not exceed {MAX_USD_PER_MILLION} dollars per million tokens"
    if exponent < -_MAX_DECIMALS:
        return f"must not have more than {_MAX_DECIMALS} decimals"
    return ""
