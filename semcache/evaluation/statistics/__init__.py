"""Intervals, bounds and scores of what was counted."""
