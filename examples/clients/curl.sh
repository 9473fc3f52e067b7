#!/bin/sh
# semcache over HTTP with curl: asks twice, and shows what the cache did.
set -eu

base_url=${SEMCACHE_BASE_URL:-http://127.0.0.1:8080/v1}

for _ in 1 2; do
  curl --silent --show-error --fail-with-body --include "$base_url/chat/completions" \
    --header "authorization: Bearer ${SEMCACHE_API_KEY:-unused}" \
    --header 'content-type: application/json' \
    --data '{"model": "fast", "messages": [{"role": "user", "content": "How do I reset my password?"}]}' |
    grep -i -e 'x-cache-status:' -e '"content"'
done
