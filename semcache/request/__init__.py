"""From raw bytes to a keyed request: parsing, validation, keys, partition, cacheability."""

from semcache.request.cacheability import CacheabilityPolicy
from semcache.request.keying import Keying, secret_key_id
from semcache.request.storable import skip_reason
from semcache.request.tasks import Tasks, exemplar_texts
from semcache.request.templates import Templates

__all__ = ["CacheabilityPolicy", "Keying", "Tasks", "Templates", "exemplar_texts", "secret_key_id", "skip_reason"]
