"""LangChain's ChatOpenAI against semcache: only the base URL is new. Streams and tools go through the cache as well.

pip install langchain-openai
"""

import os

from langchain_openai import ChatOpenAI
from pydantic import SecretStr

model = ChatOpenAI(
    model="fast",
    base_url=os.environ.get("SEMCACHE_BASE_URL", "http://127.0.0.1:8080/v1"),
    api_key=SecretStr(os.environ.get("SEMCACHE_API_KEY", "unused")),
    include_response_headers=True,
)
for _ in range(2):
    answer = model.invoke("How do I reset my password?")
    print(answer.response_metadata["headers"]["x-cache-status"], answer.content)
