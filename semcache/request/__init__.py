"""From raw bytes to a keyed request: parsing, validation, keys, partition, cacheability."""

from semcache.request.admission import skip_reason
from semcache.request.cacheability import CacheabilityPolicy
from semcache.request.keying import Keying, secret_key_id

__all__ = ["CacheabilityPolicy", "Keying", "secret_key_id", "skip_reason"]
