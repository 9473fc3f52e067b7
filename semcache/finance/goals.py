"""What the cost of LLM traffic is held against, wherever it is reported."""

from __future__ import annotations

COST_PER_REQUEST_USD = 0.03
"""A request should cost less than this."""
SAVINGS_PERCENT = 40.0
"""More than this of what requests would have cost should be saved."""
