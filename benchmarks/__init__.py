"""Benchmarks: everything that takes time or makes a claim about speed. Each module is a command."""
