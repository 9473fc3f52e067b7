"""The story of a request, step by step in call order. `cache.py` tells it; each module beside it does one step.

Owns: the order of the steps, and nothing that lasts. State lies in the store, in coordination/ and in the exact tier.
Thread: the event loop alone.
Remembers: entries of exact hits, decoded (`exact.py`, bounded by `store.exact_cache_bytes`; a commit drops
the entries that it changed); the judge's opinions on 16,384 pairs (`opinions.py`) and its questions under way
(`judge.py`); the partitions that wait to be embedded anew (`reembedding.py`, 4,096 at most).

Every front (gRPC and HTTP) stands on `SemanticCache`, made of `Rooms`; nothing else of this room is used outside.
"""

from semcache.story.cache import SemanticCache
from semcache.story.rooms import Rooms

__all__ = ["Rooms", "SemanticCache"]
