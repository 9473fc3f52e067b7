"""Computes intervals, bounds and scores of counts, without a state."""
