"""From raw bytes to a keyed request: parsing, checks, exact key, partition, cacheability and task."""

from semcache.request.cacheability import CacheabilityRules
from semcache.request.keying import Keying, secret_key_id
from semcache.request.memo import RequestMemo
from semcache.request.storable import skip_reason
from semcache.request.tasks import Tasks, exemplar_texts
from semcache.request.templates import Templates

__all__ = [
    "CacheabilityRules",
    "Keying",
    "RequestMemo",
    "Tasks",
    "Templates",
    "exemplar_texts",
    "secret_key_id",
    "skip_reason",
]
