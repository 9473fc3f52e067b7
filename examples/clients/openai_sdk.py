"""OpenAI's client against semcache: only the base URL is new.

pip install openai
"""

import os

from openai import OpenAI

client = OpenAI(
    base_url=os.environ.get("SEMCACHE_BASE_URL", "http://127.0.0.1:8080/v1"),
    api_key=os.environ.get("SEMCACHE_API_KEY", "unused"),
)
for _ in range(2):
    response = client.chat.completions.with_raw_response.create(
        model="fast", messages=[{"role": "user", "content": "How do I reset my password?"}]
    )
    print(response.headers["x-cache-status"], response.parse().choices[0].message.content)
