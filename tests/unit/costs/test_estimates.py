"""What a call may cost before it is made: the dearest of the targets that may be asked."""

from datetime import UTC, datetime

import pytest

from semcache.costs.estimates import estimated_costs
from semcache.costs.prices import PriceBook
from semcache.settings import CostSettings, Target

AT_S = datetime(2026, 11, 1, 12, tzinfo=UTC).timestamp()
BOOK = PriceBook.open(
    CostSettings(),
    targets=[
        Target(name="openai", base_url="https://api.openai.com/v1"),
        Target(name="own", base_url="http://127.0.0.1/v1"),
        Target(name="free", base_url="http://127.0.0.1/v1", free=True),
        Target(name="dear", base_url="http://127.0.0.1/v1", price={"input": 1000, "output": 1000}),
    ],
)
# 3,000 bytes count as 1,001 tokens; gpt-4o costs 2.50 and 10.00 a million.
GPT_4O_NANOUSD = 1_001 * 2_500 + 100 * 10_000


@pytest.mark.parametrize(
    ("targets", "nanousd", "priced"),
    [
        ((), GPT_4O_NANOUSD, True),
        (("openai",), GPT_4O_NANOUSD, True),
        (("free",), 0, True),
        (("own",), 0, False),
        (("free", "openai"), GPT_4O_NANOUSD, True),
        (("openai", "dear", "free"), 1_101 * 1_000_000, True),
        (("own", "openai"), GPT_4O_NANOUSD, False),
    ],
    ids=["by name", "the provider's", "free", "unknown", "one free", "the dearest", "one unknown"],
)
def test_the_dearest_target_counts_and_one_without_a_price_makes_it_unpriced(targets, nanousd, priced):
    cost = estimated_costs(BOOK, {"gpt-4o": targets}, 3_000, 100, AT_S)["gpt-4o"]
    assert (cost.total_nanousd, cost.priced) == (nanousd, priced)
