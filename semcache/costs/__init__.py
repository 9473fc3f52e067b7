"""Prices, estimated usage, savings."""
