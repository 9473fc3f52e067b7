"""What a forked server finds ready made: importing this loads all libraries, tables and prices that a start needs.

The process that forks servers imports it once, before any thread or socket of gRPC exists.
"""

import faiss  # noqa: F401 - it is what takes long

from semcache.costs.prices import PriceBook
from semcache.decision import Decider
from semcache.request import CacheabilityRules
from semcache.settings import load_settings
from semcache.testing.embedder import HashingEmbedder
from semcache.text.lexicon import load_english
from tests.nightly import forked  # noqa: F401 - with it the server and all that it imports

_settings = load_settings(None, {})
_embedder = HashingEmbedder()
CacheabilityRules(_settings.cacheability, fits=_embedder.fits, knows=_embedder.knows)
Decider(_settings.decision)
PriceBook.open(_settings.costs, targets=())
load_english()
