"""Metrics, their page, and logs."""
