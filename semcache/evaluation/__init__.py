"""Measures what a decision setting would serve, on labelled pairs and on recorded workloads.

- `records/` reads files in every form, and finds what a record asks.
- `labels/` makes labelled pairs of records.
- `replay/` plays pairs and workloads through a real server.
- `statistics/` has intervals, bounds and scores.
- `tune/` finds the threshold that labels prove to be good enough.

The room runs in the process of a command (`semcache eval`, `tune`, `replay`), starts no thread and remembers nothing.
"""
