"""Chooses a similarity threshold from labels: compares pairs, scores them under each setting, tests thresholds."""
