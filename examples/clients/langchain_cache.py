"""LangChain's own cache kept in semcache: any model of LangChain, from any provider, called as before.

pip install langchain-semcache langchain-openai

Its model is OpenAI's: ChatOpenAI reads OPENAI_API_KEY and, where it is set, OPENAI_BASE_URL.
"""

import os

from langchain_core.globals import set_llm_cache
from langchain_openai import ChatOpenAI

from langchain_semcache import SemcacheCache

cache = SemcacheCache(
    os.environ.get("SEMCACHE_ADDRESS", "127.0.0.1:50051"),
    api_key=os.environ.get("SEMCACHE_API_KEY"),
    on_hit=lambda hit: print("from the cache:", hit.status),
)
set_llm_cache(cache)
model = ChatOpenAI(model="gpt-4o-mini")
for _ in range(2):
    print(model.invoke("How do I reset my password?").content)
