"""The operator's price file: exact decimals, and every problem named at once."""

import hashlib
import math

import pytest

from semcache.costs.override import read_price_file
from semcache.errors import SettingsError
from semcache.model import Usage

BRIEF = """
[[price]]
model = "house-large"
input = 18.75
output = 75.00

[[price]]
model = "house-small"
input = 0.15
output = 0.60
cached_input = 0.075
"""


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "prices.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def problems(path):
    """Without what stands before each: the setting and the file."""
    with pytest.raises(SettingsError) as caught:
        read_price_file(path)
    start = f"costs.price_file: {path}"
    assert all(problem.startswith(start) for problem in caught.value.problems)
    return tuple(problem.removeprefix(start).removeprefix(": ") for problem in caught.value.problems)


def find(overrides, model, at_s=0.0):
    return overrides.find((model,), at_s)[0]


def test_prices_are_read_as_exact_decimals(write):
    tariffs = read_price_file(write(BRIEF))

    cost = find(tariffs, "house-small").charge(Usage(input_tokens=3, cached_input_tokens=2, output_tokens=1))

    assert (cost.input_nanousd, cost.cached_input_nanousd, cost.output_nanousd) == (150, 150, 600)
    assert find(tariffs, "house-large").charge(Usage(input_tokens=1)).total_nanousd == 18_750


def test_the_version_names_the_files_content(write):
    cost = find(read_price_file(write(BRIEF)), "house-large").charge(Usage())

    assert cost.price_version == f"override {hashlib.sha256(BRIEF.encode()).hexdigest()[:8]}"


def test_zero_is_a_price(write):
    tariffs = read_price_file(write('[[price]]\nmodel = "own"\ninput = 0\noutput = 0.0\n'))

    assert find(tariffs, "own").charge(Usage(1000, 0, 1000)).priced
    assert find(tariffs, "own").charge(Usage(1000, 0, 1000)).total_nanousd == 0


def test_all_problems_come_at_once(write):
    found = problems(
        write("""
currency = "EUR"
[[price]]
model = "a"
input = -1
output = 1
[[price]]
model = "b"
input = 1
outptu = 1
[[price]]
input = "1"
output = true
[[price]]
model = "c"
input = nan
output = 1000000.5
cached_input = 0.0000000000000000001
[[price]]
model = "D"
input = 1
output = 1
[[price]]
model = "d"
input = 2
output = 2
""")
    )

    assert found == (
        "price 1 (a): input must not be negative",
        "price 2 (b): output is missing",
        "price 2 (b): unknown key 'outptu'",
        "price 3: model is missing",
        "price 3: input must be a number of dollars per million tokens",
        "price 3: output must be a number of dollars per million tokens",
        "price 4 (c): input must be a finite number",
        "price 4 (c): output must not exceed 1,000,000 dollars per million tokens",
        "price 4 (c): cached_input must not have more than 18 decimals",
        "price 6 (d): the model has a price already",
        "unknown key 'currency'",
    )


@pytest.mark.parametrize("text", ["", "price = []\n"])
def test_a_file_without_prices_is_refused(write, text):
    assert problems(write(text)) == ("no [[price]] table",)


@pytest.mark.parametrize("text", ["price = 3\n", "price = [1]\n"])
def test_a_price_that_is_no_table_is_refused(write, text):
    assert problems(write(text)) == ("price must be tables, as in [[price]]",)


def test_a_name_is_taken_without_the_blanks_around_it(write):
    overrides = read_price_file(write('[[price]]\nmodel = " Own "\ninput = 1\noutput = 1\n'))
    assert find(overrides, "own") is not None


@pytest.mark.parametrize("text", ["[[price", b"\xff\xfe"])
def test_what_is_not_toml_is_refused(write, text):
    (problem,) = problems(write(text))

    assert problem.startswith("not TOML: ")


def test_a_file_that_is_gone_is_refused(tmp_path):
    (problem,) = problems(tmp_path / "gone.toml")

    assert problem == " can't be read: No such file or directory"


DATED = """
[[price]]
model = "m"
input = 1
output = 2
per_call = 0.001
cached_input = 0.1
cache_write = 1.25
tiers = [{ above = 100, input = 2, output = 4 }, { above = 1_000, input = 3, output = 6, cached_input = 0.3 }]

[[price]]
model = "m"
from = 1970-01-02
input = 10
output = 20

[[price]]
model = "m"
from = 1970-01-03T01:00:00+01:00
input = 100
output = 200

[[price]]
model = "later"
from = 1970-01-02
input = 5
output = 5

[[price]]
model = "house/*"
input = 7
output = 7

[[price]]
model = "house/large*"
input = 8
output = 8
"""
DAY_S = 86_400


def test_a_fee_tiers_and_the_providers_cache_have_their_prices(write):
    tariff = find(read_price_file(write(DATED)), "m")

    assert tariff.charge(Usage(100, 40, 1, cache_write_tokens=20)) == tariff.charge(Usage(100, 40, 1, False, 20))
    cost = tariff.charge(Usage(100, 40, 1, cache_write_tokens=20))
    assert (cost.input_nanousd, cost.cached_input_nanousd, cost.output_nanousd) == (
        1_000_000 + 40 * 1000 + 20 * 1250,
        40 * 100,
        2000,
    )
    assert tariff.charge(Usage(101, 1, 1)).cached_input_nanousd == 2000
    assert tariff.charge(Usage(1001, 10, 1)).cached_input_nanousd == 3000
    assert tariff.charge(Usage(1001, 0, 1)).output_nanousd == 6000


@pytest.mark.parametrize(
    ("at_s", "nanousd"), [(-1, 1000), (DAY_S - 1, 1000), (DAY_S, 10_000), (2 * DAY_S - 1, 10_000), (2 * DAY_S, 100_000)]
)
def test_the_price_is_that_of_the_day(write, at_s, nanousd):
    tariff, start_s, end_s = read_price_file(write(DATED)).find(("m",), at_s)

    assert tariff.bands[-1].input.charge(1) == nanousd
    assert start_s <= at_s < end_s
    assert {start_s, end_s} <= {-math.inf, DAY_S, 2 * DAY_S, math.inf}


def test_before_its_first_day_an_override_does_not_count(write):
    assert read_price_file(write(DATED)).find(("later",), 5.0) == (None, -math.inf, DAY_S)


@pytest.mark.parametrize(("model", "nanousd"), [("house/small", 7000), ("house/large-2", 8000)])
def test_the_longest_beginning_counts(write, model, nanousd):
    assert find(read_price_file(write(DATED)), model).bands[0].input.charge(1) == nanousd


def test_tiers_dates_and_fees_are_checked(write):
    found = problems(
        write("""
[[price]]
model = "a*b"
from = "yesterday"
input = 1
output = 1
per_call = -1
tiers = [{ above = 0, input = 1, output = 1 }, { above = 5, input = 1 }, { above = 5, input = 1, output = 1, x = 1 }]
[[price]]
model = "b"
input = 1
output = 1
tiers = 3
[[price]]
model = "c"
from = 2026-01-01
input = 1
output = 1
[[price]]
model = "c"
from = 2026-01-01T00:00:00
input = 1
output = 1
""")
    )

    assert found == (
        "price 1 (a*b): model may have a * at its end alone",
        "price 1 (a*b): from must be a date, as in from = 2026-07-01",
        "price 1 (a*b).tiers 1: above must not be below 1",
        "price 1 (a*b).tiers 2: output is missing",
        "price 1 (a*b).tiers 3: there is another above 5",
        "price 1 (a*b).tiers 3: unknown key 'x'",
        "price 1 (a*b): per_call must not be negative",
        "price 2 (b): tiers must be tables, as in [[tiers]]",
        "price 4 (c): the model has a price from 2026-01-01 00:00:00 already",
    )
