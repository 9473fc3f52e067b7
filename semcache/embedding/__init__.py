"""Text to unit vectors: the model, its backend, and the queue and threads before the device.

- Owns: the model's files and its vector space (`models`), its LoRA adapter (`adapter`, `adapting`), the tokenizer, the
  network on a device (`backend`), and the texts that wait for it (`queue`). What is computed when is planned by a pure
  function (`scheduling.plan`).
- Threads: one for each forward pass that the device runs at the same time, a lane (`lanes`): two with OpenVINO, one
  with torch. A lane asks the queue for a batch, computes it and answers the callers on their event loops. Callers
  tokenise short texts on the event loop, longer ones in a worker thread.
- Remembers: token ids of the last 1,024 texts, the texts that wait or are computed (`embedding.max_queue` at most), and
  moving averages of what a text and a token take. On disk: OpenVINO's conversion of the model in `embedding.cache_dir`.
- Forgets: vectors. They are the caller's as soon as they are computed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from semcache.embedding.factory import open_embedder

__all__ = ["open_embedder"]


def __getattr__(name: str) -> object:
    """Import `open_embedder` when it is first asked for: a backend alone needs only its own library."""
    if name in __all__:
        from semcache.embedding import factory

        return getattr(factory, name)
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
