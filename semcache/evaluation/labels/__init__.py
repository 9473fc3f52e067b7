"""Reads labelled pairs from files in every known format; every complaint names its file and line."""
