"""The nightly checks: servers that are killed, data files that are damaged, inputs that nobody would send.

`python -m tests.nightly` runs all of them, and each by its name with a count and a seed of its own. The suite runs
their short forms (`tests/fault/test_kills.py`, `tests/fault/test_flips.py`, `tests/property/test_fuzz.py`).
"""
