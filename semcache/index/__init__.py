"""Nearest neighbours within a partition: derived from the store, loaded when first searched."""

from semcache.index.factory import open_index

__all__ = ["open_index"]
