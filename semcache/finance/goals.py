"""The two targets with which every report compares the cost of LLM traffic."""

from __future__ import annotations

COST_PER_REQUEST_USD = 0.03
"""A request should cost fewer dollars than this."""
SAVINGS_PERCENT = 40.0
"""Savings should be more than this percentage of what requests would have cost without the cache."""
