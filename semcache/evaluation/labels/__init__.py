"""Labelled pairs and rows of records, read from files in every known format."""
