"""A wish for a web search is known by every name that upstreams give it."""

from typing import Any

import pytest

from semcache.model import Tier
from tests.unit.request.keys import BASE, key

SEARCHES: list[dict[str, Any]] = [
    {"web_search_options": {}},
    {"plugins": [{"id": "web"}]},
    {"plugins": [{"id": "file-parser"}, {"id": "web", "max_results": 3}]},
    {"connectors": [{"id": "web-search"}]},
    {"tools": [{"type": "web_search"}]},
    {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
    {"tools": [{"type": "web_search_preview"}]},
    {"tools": [{"type": "web_search", "web_search": {"enable": True}}]},
    {"tools": [{"googleSearch": {}}]},
    {"tools": [{"google_search": {}}]},
    {"tools": [{"google_search_retrieval": {"dynamic": 1}}]},
    {"tools": [{"url_context": {}}]},
    {"tools": [{"type": "browser_search"}]},
    {"tools": [{"type": "x_search"}]},
    {"tools": [{"type": "openrouter:web_search"}]},
    {"tools": [{"type": "web_search_tool"}]},
    {"tools": [{"type": "builtin_function", "function": {"name": "$web_search"}}]},
    {"search_parameters": {"mode": "auto"}},
    {"search_parameters": {}},
    {"enable_search": True},
    {"enable_search": "true"},
    {"web_search": {"enable": True}},
    {"search_recency_filter": "week"},
    {"search_domain_filter": ["example.org"]},
    {"grounding": True},
    {"extra_body": {"enable_search": True}},
    {"model": "openai/gpt-4o:online"},
    {"model": "gpt-4o-search-preview"},
    {"model": "gpt-5-search-api"},
    {"model": "perplexity/sonar-pro"},
    {"model": "sonar"},
    {"model": "o4-mini-deep-research"},
]
NO_SEARCHES: list[dict[str, Any]] = [
    {"plugins": [{"id": "file-parser"}]},
    {"plugins": [{"id": "web", "enabled": False}]},
    {"plugins": []},
    {"tools": [{"type": "function", "function": {"name": "web_search"}}]},
    {"tools": [{"type": "file_search"}]},
    {"tools": [{"type": "web_search", "web_search": {"enable": False}}]},
    {"tools": [3]},
    {"search_parameters": {"mode": "off"}},
    {"enable_search": False},
    {"enable_search": "false"},
    {"enable_search": 0},
    {"disable_search": True},
    {"use_beam_search": True},
    {"extra_body": {"enable_search": False}},
    {"extra_body": [1]},
    {"model": "product-search"},
    {"model": "sonarqube"},
    {"model": "online"},
    {"seed": 7},
]


@pytest.mark.parametrize("fields", SEARCHES, ids=str)
def test_a_web_search_is_not_cached(fields: dict[str, Any]) -> None:
    cacheability = key({**BASE, **fields}).cacheability
    assert (cacheability.tier, cacheability.reason) == (Tier.NONE, "web_search")


@pytest.mark.parametrize("fields", NO_SEARCHES, ids=str)
def test_another_field_is_no_web_search(fields: dict[str, Any]) -> None:
    assert key({**BASE, **fields}).cacheability.reason == "cacheable"
