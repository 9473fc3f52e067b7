"""LangChain's cache over a semcache server: `SemcacheCache`.

from langchain_core.globals import set_llm_cache
from langchain_semcache import SemcacheCache

set_llm_cache(SemcacheCache("127.0.0.1:50051"))
"""

from langchain_semcache.cache import ConnectionArguments, SemcacheCache

__all__ = ["ConnectionArguments", "SemcacheCache"]
