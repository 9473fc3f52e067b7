"""Text to unit vectors: finding the model, choosing its backend, and the threads that own the device."""

from semcache.embedding.factory import open_embedder

__all__ = ["open_embedder"]
