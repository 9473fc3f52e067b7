"""The operator's price file: exact decimals, and every problem named at once."""

import hashlib

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
    with pytest.raises(SettingsError) as caught:
        read_price_file(path)
    return caught.value.problems


def test_prices_are_read_as_exact_decimals(write):
    tariffs = read_price_file(write(BRIEF))

    cost = tariffs["house-small"].charge(Usage(input_tokens=3, cached_input_tokens=2, output_tokens=1))

    assert (cost.input_nanousd, cost.cached_input_nanousd, cost.output_nanousd) == (150, 150, 600)
    assert tariffs["house-large"].charge(Usage(input_tokens=1)).total_nanousd == 18_750


def test_the_version_names_the_files_content(write):
    cost = read_price_file(write(BRIEF))["house-large"].charge(Usage())

    assert cost.price_version == f"override {hashlib.sha256(BRIEF.encode()).hexdigest()[:8]}"


def test_zero_is_a_price(write):
    tariffs = read_price_file(write('[[price]]\nmodel = "own"\ninput = 0\noutput = 0.0\n'))

    assert tariffs["own"].charge(Usage(1000, 0, 1000)).priced
    assert tariffs["own"].charge(Usage(1000, 0, 1000)).total_nanousd == 0


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
        "costs.price_file: unknown key 'currency'; prices stand in [[price]] tables",
        "costs.price_file: price 1 (a): input must not be negative",
        "costs.price_file: price 2 (b): unknown key 'outptu'",
        "costs.price_file: price 2 (b): output is missing",
        "costs.price_file: price 3: model must be a name",
        "costs.price_file: price 3: input must be a number of dollars per million tokens",
        "costs.price_file: price 3: output must be a number of dollars per million tokens",
        "costs.price_file: price 4 (c): input must be a finite number",
        "costs.price_file: price 4 (c): output must not exceed 1000000 dollars per million tokens",
        "costs.price_file: price 4 (c): cached_input must not have more than 18 decimals",
        "costs.price_file: price 6 (d): the model has a price already",
    )


@pytest.mark.parametrize("text", ["", "price = 3\n", "price = []\n"])
def test_a_file_without_prices_is_refused(write, text):
    assert problems(write(text)) == ("costs.price_file: no [[price]] table",)


def test_a_price_that_is_no_table_is_refused(write):
    assert problems(write("price = [1]\n")) == ("costs.price_file: price 1: not a table",)


@pytest.mark.parametrize("text", ["[[price", b"\xff\xfe"])
def test_what_is_not_toml_is_refused(write, text):
    (problem,) = problems(write(text))

    assert problem.startswith("costs.price_file: not TOML: ")


def test_a_file_that_is_gone_is_refused(tmp_path):
    (problem,) = problems(tmp_path / "gone.toml")

    assert problem.endswith("gone.toml can't be read: No such file or directory")
