"""The counts of a usage, whichever provider wrote it: each count by itself, and flagged where one is impossible."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semcache.model import Usage
from semcache.protocols.usage import completion_usage, find_usage, joined_usage, read_usage


def told(prompt, completion, **others):
    return {"prompt_tokens": prompt, "completion_tokens": completion, **others}


def cached(count):
    return {"prompt_tokens_details": {"cached_tokens": count}}


def reasoning(count):
    return {"completion_tokens_details": {"reasoning_tokens": count}}


WELL_TOLD = {
    "plain": (told(5, 2), Usage(5, 0, 2)),
    "an empty answer": (told(5, 0), Usage(5, 0, 0)),
    "all of it cached": (told(9, 2, **cached(9)), Usage(9, 9, 2)),
    "null details": (told(5, 2, prompt_tokens_details=None), Usage(5, 0, 2)),
    "null cached": (told(5, 2, **cached(None)), Usage(5, 0, 2)),
    "a whole float": (told(5.0, 2), Usage(5, 0, 2)),
    "digits in a text": (told("5", 2, **cached("1")), Usage(5, 1, 2)),
    "names of OpenAI's responses": (
        {"input_tokens": 9, "output_tokens": 2, "input_tokens_details": {"cached_tokens": 4}},
        Usage(9, 4, 2),
    ),
    "both names, one of them 0": ({"prompt_tokens": 0, "input_tokens": 9, "completion_tokens": 2}, Usage(9, 0, 2)),
    "a total in place of the output": ({"prompt_tokens": 5, "total_tokens": 12}, Usage(5, 0, 7)),
    "a total in place of the input": ({"completion_tokens": 5, "total_tokens": 12}, Usage(7, 0, 5)),
    "a total that is too small": (told(5, 2, total_tokens=1), Usage(5, 0, 2)),
}

REASONING = {
    "OpenAI: within the completion": (told(1_000, 2_100, total_tokens=3_100, **reasoning(2_000)), 2_100),
    "xAI: beside the completion": (told(1_000, 100, total_tokens=3_100, **reasoning(2_000)), 2_100),
    "xAI: less than the completion": (told(1_000, 100, total_tokens=1_180, **reasoning(80)), 180),
    "Gemini: the total alone": (told(1_000, 100, total_tokens=3_100), 2_100),
    "Gemini: details of 0": (told(1_000, 100, total_tokens=3_100, **reasoning(0)), 2_100),
    "Gemini's own names": (
        {"promptTokenCount": 1_000, "candidatesTokenCount": 100, "thoughtsTokenCount": 2_000, "totalTokenCount": 3_100},
        2_100,
    ),
    "beside, with as much cached input": (
        told(1_000, 100, total_tokens=1_180, **reasoning(80), **cached(80)),
        180,
    ),
    "nothing but reasoning": (told(1_000, 0, total_tokens=3_000, **reasoning(2_000)), 2_000),
    "Perplexity: apart from the total": (
        told(33, 7_163, total_tokens=7_196, citation_tokens=20_016, reasoning_tokens=73_997, num_search_queries=18),
        7_163 + 20_016 + 73_997,
    ),
}

CACHED = {
    "Kimi: at the top": (told(1_000, 10, cached_tokens=800), Usage(1_000, 800, 10)),
    "DeepSeek": (
        told(1_000, 10, prompt_cache_hit_tokens=800, prompt_cache_miss_tokens=200, total_tokens=1_010),
        Usage(1_000, 800, 10),
    ),
    "DeepSeek without the prompt": (
        {"completion_tokens": 10, "prompt_cache_hit_tokens": 800, "prompt_cache_miss_tokens": 200},
        Usage(1_000, 800, 10),
    ),
    "LiteLLM: within the prompt": (told(1_000, 10, cache_read_input_tokens=800), Usage(1_000, 800, 10)),
    "LiteLLM: both names": (
        told(1_000, 10, total_tokens=1_010, cache_read_input_tokens=800, **cached(800)),
        Usage(1_000, 800, 10),
    ),
    "Anthropic: beside the input": (
        {
            "input_tokens": 10,
            "cache_read_input_tokens": 800,
            "cache_creation_input_tokens": 100,
            "output_tokens": 5,
        },
        Usage(910, 800, 5, cache_write_tokens=100),
    ),
    "Anthropic: all of it cached": (
        {"input_tokens": 0, "cache_read_input_tokens": 800, "output_tokens": 5},
        Usage(800, 800, 5),
    ),
    "beside the prompt, by the total": (told(10, 5, total_tokens=815, **cached(800)), Usage(810, 800, 5)),
    "Anthropic's count beside a prompt": (
        told(10, 5, total_tokens=15, cache_read_input_tokens=800),
        Usage(810, 800, 5),
    ),
    "Anthropic: kept for an hour": (
        {
            "input_tokens": 10,
            "output_tokens": 5,
            "cache_creation_input_tokens": 100,
            "cache_creation": {"ephemeral_5m_input_tokens": 60, "ephemeral_1h_input_tokens": 40},
        },
        Usage(110, 0, 5, cache_write_tokens=100, parts=(("cache_write_1h", 40),)),
    ),
}

ODD = {
    "more cached than read": (told(5, 2, **cached(6)), Usage(5, 0, 2)),
    "more cached than read, by the total": (told(5, 2, total_tokens=7, **cached(6)), Usage(5, 0, 2)),
    "more written than read": (told(5, 2, prompt_tokens_details={"cache_write_tokens": 6}), Usage(5, 0, 2)),
    "cached below 0": (told(5, 2, **cached(-1)), Usage(5, 0, 2)),
    "a prompt below 0": (told(-5, 2), Usage(0, 0, 2)),
    "a prompt of 0": (told(0, 2), Usage(0, 0, 2)),
    "no output": ({"prompt_tokens": 5}, Usage(5, 0, 0)),
    "a fraction": (told(5.5, 2), Usage(6, 0, 2)),
    "a bool": (told(True, 2), Usage(0, 0, 2)),
    "a text": (told("many", 2), Usage(0, 0, 2)),
    "a count beyond all limits": (told(10**13, 2), Usage(0, 0, 2)),
    "reasoning beyond output and total": (told(5, 2, total_tokens=7, **reasoning(30)), Usage(5, 0, 32)),
    "a total that the details contradict": (told(5, 20, total_tokens=90, **reasoning(10)), Usage(5, 0, 20)),
    "audio beyond the output": (told(5, 2, completion_tokens_details={"audio_tokens": 9}), Usage(5, 0, 2)),
    "an empty object": ({}, Usage()),
    "a list": ([], Usage()),
    "null": (None, Usage()),
}


def audio(count, **others):
    return {"prompt_tokens_details": {"audio_tokens": count, **others}}


INPUT_BESIDE = {
    "Mistral: seconds of audio": (
        told(4, 635, total_tokens=3_264, prompt_audio_seconds=203),
        Usage(2_629, 0, 635, parts=(("audio_seconds", 203),)),
    ),
    "seconds of audio and reasoning": (
        told(4, 35, total_tokens=3_239, prompt_audio_seconds=203, **reasoning(200)),
        Usage(3_004, 0, 235, parts=(("audio_seconds", 203),)),
    ),
    "seconds of audio within the prompt": (
        told(2_629, 635, total_tokens=3_264, prompt_audio_seconds=203),
        Usage(2_629, 0, 635, parts=(("audio_seconds", 203),)),
    ),
    "no seconds": (told(4, 635, total_tokens=639, prompt_audio_seconds=None), Usage(4, 0, 635)),
    "audio, as the total says": (
        told(100, 100, total_tokens=500, **audio(300)),
        Usage(400, 0, 100, parts=(("input_audio", 300),)),
    ),
    "a little audio, as the total says": (
        told(1_000, 100, total_tokens=1_400, **audio(300)),
        Usage(1_300, 0, 100, parts=(("input_audio", 300),)),
    ),
    "audio beside, and reasoning beside": (
        told(100, 100, total_tokens=2_500, **audio(300), **reasoning(2_000)),
        Usage(400, 0, 2_100, parts=(("input_audio", 300),)),
    ),
    "images and audio": (
        told(100, 100, total_tokens=550, **audio(300, image_tokens=50)),
        Usage(450, 0, 100, parts=(("input_audio", 300), ("input_image", 50))),
    ),
    "audio within, and thoughts that only the total has": (
        told(1_000, 100, total_tokens=3_100, **audio(300)),
        Usage(1_000, 0, 2_100, parts=(("input_audio", 300),)),
    ),
    "Gemini: a list of kinds": (
        {
            "promptTokenCount": 1_000,
            "candidatesTokenCount": 100,
            "cachedContentTokenCount": 500,
            "totalTokenCount": 1_100,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 400}, {"modality": "AUDIO", "tokenCount": 600}],
            "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 200}],
            "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 30}, {"modality": "TEXT"}],
        },
        Usage(1_000, 500, 100, parts=(("cached_audio", 200), ("input_audio", 400), ("output_image", 30))),
    ),
    "Gemini: other spelling": (
        {
            "prompt_token_count": 1_000,
            "candidates_token_count": 100,
            "prompt_tokens_details": [{"modality": "VIDEO", "token_count": 600}, None, {"modality": 3}],
        },
        Usage(1_000, 0, 100, parts=(("input_video", 600),)),
    ),
    "Gemini: results of tools beside a cached prompt": (
        {
            "promptTokenCount": 1_000,
            "toolUsePromptTokenCount": 300,
            "candidatesTokenCount": 100,
            "cachedContentTokenCount": 500,
            "totalTokenCount": 1_400,
        },
        Usage(1_300, 500, 100),
    ),
}


@pytest.mark.parametrize(("value", "wanted"), INPUT_BESIDE.values(), ids=INPUT_BESIDE)
def test_audio_and_other_input_is_input_wherever_it_stands(value, wanted):
    assert read_usage(value) == wanted


@pytest.mark.parametrize(("value", "wanted"), WELL_TOLD.values(), ids=WELL_TOLD)
def test_what_is_told_is_taken(value, wanted):
    assert read_usage(value) == wanted


@pytest.mark.parametrize(("value", "output_tokens"), REASONING.values(), ids=REASONING)
def test_reasoning_counts_once_wherever_it_stands(value, output_tokens):
    usage = read_usage(value)
    assert (usage.output_tokens, usage.estimated) == (output_tokens, False)


@pytest.mark.parametrize(("value", "wanted"), CACHED.values(), ids=CACHED)
def test_cached_input_is_found_under_each_name(value, wanted):
    assert read_usage(value) == wanted


@pytest.mark.parametrize(("value", "wanted"), ODD.values(), ids=ODD)
def test_an_odd_count_leaves_the_others_and_is_flagged(value, wanted):
    assert read_usage(value) == wanted._replace(estimated=True)


@pytest.mark.parametrize(
    ("usage", "parts"),
    [
        (told(100, 50, prompt_tokens_details={"audio_tokens": 60}), [("input_audio", 60)]),
        (
            told(
                100,
                50,
                prompt_tokens_details={
                    "audio_tokens": 60,
                    "cached_tokens": 30,
                    "cached_tokens_details": {"audio_tokens": 20},
                },
            ),
            [("cached_audio", 20), ("input_audio", 40)],
        ),
        (
            told(100, 50, completion_tokens_details={"audio_tokens": 30, "image_tokens": 5}),
            [("output_audio", 30), ("output_image", 5)],
        ),
        (told(100, 50, server_tool_use={"web_search_requests": 3}), [("web_searches", 3)]),
        (told(100, 50, num_search_queries=2), [("web_searches", 2)]),
        (told(100, 50, num_sources_used=7), [("search_sources", 7)]),
        (
            told(100, 50, server_side_tool_usage_details={"web_search_calls": 2, "x_search_calls": 1}),
            [("social_searches", 1), ("web_searches", 2)],
        ),
        (told(100, 50, prompt_tokens_details={"audio_tokens": 0, "text_tokens": 100}), []),
        (told(100, 50, search_context_size="low"), [("search_context_low", 1)]),
        (told(100, 50, search_context_size="low", cost={"request_cost": 0.005}), [("told_fee", 5_000_000)]),
        (told(100, 50, search_context_size=["low"], cost={"request_cost": "0.005"}), []),
        (told(100, 50, cost=0.005), []),
        (told(100, 50, cost={"request_cost": float("nan")}), []),
    ],
    ids=[
        "audio in",
        "audio in and cached",
        "out",
        "Anthropic",
        "Perplexity",
        "xAI sources",
        "xAI tools",
        "zeros",
        "context",
        "fee",
        "texts",
        "a whole cost",
        "nan",
    ],
)
def test_what_has_a_price_of_its_own_is_a_part(usage, parts):
    assert read_usage(usage).parts == tuple(parts)


@pytest.mark.parametrize(
    ("completion", "tier"),
    [
        ({"service_tier": "flex"}, "flex"),
        ({"service_tier": "Priority"}, "priority"),
        ({"service_tier": "default"}, ""),
        ({"service_tier": "on_demand"}, ""),
        ({"service_tier": None}, ""),
        ({"service_tier": 3}, ""),
        ({"usage": told(5, 2, service_tier="batch")}, "batch"),
        ({"usage": told(5, 2, service_tier="standard")}, ""),
        ({"usage": told(5, 2, speed="fast")}, "fast"),
        ({"usage": told(5, 2, service_tier="standard", speed="standard")}, ""),
        ({"usage": told(5, 2, service_tier="priority", speed="fast", inference_geo="us")}, "priority+fast+us"),
        ({"service_tier": "default", "usage": told(5, 2, speed="fast")}, "fast"),
        ({"usage": told(5, 2, inference_geo="us")}, "us"),
        ({"usage": told(5, 2, inference_geo="global")}, ""),
        ({"usage": told(5, 2, inference_geo="not_available")}, ""),
        ({"usage": told(5, 2, extra_properties={"google": {"traffic_type": "ON_DEMAND"}})}, ""),
        ({"usage": told(5, 2, extra_properties={"google": {"traffic_type": "ON_DEMAND_FLEX"}})}, "flex"),
        ({"usage": told(5, 2, extra_properties={"google": {"traffic_type": "ON_DEMAND_PRIORITY"}})}, "priority"),
        ({"usageMetadata": {"promptTokenCount": 5, "trafficType": "PROVISIONED_THROUGHPUT"}}, "provisioned_throughput"),
        ({"usage": told(5, 2, extra_properties=3, speed=[])}, ""),
    ],
)
def test_the_tier_that_served_is_read(completion, tier):
    assert completion_usage(completion).service_tier == tier


@pytest.mark.parametrize(
    "completion",
    [
        {"usage": None, "choices": [{"usage": told(5, 2)}]},
        {"usage": {}, "choices": [{"message": {"usage": told(5, 2)}}]},
        {"choices": [{"delta": {"usage": told(5, 2)}}]},
        {"x_groq": {"id": "r", "usage": told(5, 2)}},
        {"usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 2}},
    ],
    ids=["in the choice", "in the message", "in the delta", "Groq's", "Gemini's"],
)
def test_a_usage_is_found_wherever_it_stands(completion):
    assert completion_usage(completion) == Usage(5, 0, 2)


def test_usages_of_several_choices_count_the_prompt_once():
    choices = [{"usage": told(5, 2, total_tokens=7)}, {"usage": told(5, 3, total_tokens=8)}]
    assert completion_usage({"choices": choices}) == Usage(5, 0, 5)


BESIDE = told(1_000, 100, **reasoning(1_000))
PER_CHOICE = {
    "reasoning beside": ([told(5, 100, total_tokens=1_105, **reasoning(1_000))] * 2, Usage(5, 0, 2_200)),
    "reasoning beside, no total": ([BESIDE] * 2, Usage(1_000, 0, 2_200, estimated=True)),
    "reasoning within": ([told(5, 1_100, total_tokens=1_105, **reasoning(1_000))] * 2, Usage(5, 0, 2_200)),
    "the total alone": ([told(5, 100, total_tokens=1_105)] * 2, Usage(5, 0, 2_200)),
    "thoughts": (
        [{"promptTokenCount": 5, "candidatesTokenCount": 100, "thoughtsTokenCount": 500}] * 2,
        Usage(5, 0, 1_200),
    ),
    "different ones": ([told(5, 900), told(5, 700)], Usage(5, 0, 1_600)),
    "audio": (
        [told(5, 10, completion_tokens_details={"audio_tokens": 4})] * 2,
        Usage(5, 0, 20, parts=(("output_audio", 8),)),
    ),
    "cached beside": ([told(10, 5, total_tokens=815, **cached(800))] * 2, Usage(810, 800, 10)),
    "one without an output": ([told(5, 900), {"prompt_tokens": 5}], Usage(5, 0, 0, estimated=True)),
}


@pytest.mark.parametrize(("usages", "wanted"), PER_CHOICE.values(), ids=PER_CHOICE)
def test_the_outputs_of_choices_are_added_up_with_all_that_stands_beside_them(usages, wanted):
    choices = [{"index": index, "usage": usage} for index, usage in enumerate(usages)]
    assert completion_usage({"choices": choices}) == wanted


@pytest.mark.parametrize(("usages", "wanted"), PER_CHOICE.values(), ids=PER_CHOICE)
def test_a_stream_adds_the_usages_of_its_choices_up(usages, wanted):
    joined = None
    for index, usage in enumerate(usages):
        for told_so_far in ({"prompt_tokens": 5}, usage, usage):
            joined = joined_usage(joined, find_usage({"choices": [{"index": index, "usage": told_so_far}]}))
            joined = joined_usage(joined, find_usage({"choices": [{"index": index}]}))
    read = read_usage(joined)
    assert (read.output_tokens, read.parts) == (wanted.output_tokens, wanted.parts)


@pytest.mark.parametrize("whole_first", [False, True])
def test_a_usage_of_all_choices_isnt_replaced_by_that_of_one(whole_first):
    chunks = [{"choices": [{"index": 1, "usage": told(5, 700)}]}, {"usage": told(5, 1_600)}]
    usage = None
    for chunk in reversed(chunks) if whole_first else chunks:
        usage = joined_usage(usage, find_usage(chunk))
    assert read_usage(usage) == Usage(5, 0, 1_600)


def test_pages_that_are_cited_are_a_search_that_nobody_counted():
    message = {"annotations": [{"type": "url_citation", "url_citation": {"url": "https://x"}}]}
    completion = {"choices": [{"message": message}], "usage": told(5, 2)}
    assert completion_usage(completion) == Usage(5, 0, 2, estimated=True, parts=(("web_searches", 1),))
    counted = {**completion, "usage": told(5, 2, web_search_requests=4)}
    assert completion_usage(counted) == Usage(5, 0, 2, parts=(("web_searches", 4),))


@pytest.mark.parametrize(
    ("chunks", "wanted"),
    [
        ([told(5, 1), told(5, 7)], Usage(5, 0, 7)),
        ([told(5, 7), told(0, 0)], Usage(5, 0, 7)),
        ([{"input_tokens": 5, "output_tokens": 1}, {"output_tokens": 7}], Usage(5, 0, 7)),
        ([told(5, 7), None], Usage(5, 0, 7)),
        ([None, told(5, 7)], Usage(5, 0, 7)),
        ([told(9, 7, **cached(4)), told(9, 8, **cached(0))], Usage(9, 4, 8)),
        ([told(9, 7, **cached(0)), told(9, 8, **cached(4))], Usage(9, 4, 8)),
        ([told(9, 7, **cached(4)), told(9, 8, prompt_tokens_details=None)], Usage(9, 4, 8)),
        ([told(9, 7, **audio(3)), told(9, 8, **cached(4))], Usage(9, 4, 8, parts=(("input_audio", 3),))),
    ],
    ids=[
        "grows",
        "ends with zeros",
        "in halves",
        "early",
        "late",
        "details that end with zeros",
        "details that grow",
        "details that end with null",
        "details in halves",
    ],
)
def test_the_usages_of_a_streams_chunks_are_joined(chunks, wanted):
    usage = None
    for chunk in chunks:
        usage = joined_usage(usage, find_usage({"usage": chunk}))
    assert read_usage(usage) == wanted


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_NAMES = [
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "input_tokens",
    "cached_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "prompt_cache_miss_tokens",
    "reasoning_tokens",
    "citation_tokens",
]
_counts = st.integers(-2, 50) | _json


@given(
    st.dictionaries(st.sampled_from(_NAMES), _counts),
    st.dictionaries(st.sampled_from(["cached_tokens", "audio_tokens", "cache_write_tokens"]), _counts),
    st.dictionaries(st.sampled_from(["reasoning_tokens", "audio_tokens"]), _counts),
)
def test_no_usage_is_ever_impossible(value, inputs, outputs):
    usage = read_usage({**value, "prompt_tokens_details": inputs, "completion_tokens_details": outputs})
    assert usage.cached_input_tokens >= 0
    assert usage.cache_write_tokens >= 0
    assert usage.cached_input_tokens + usage.cache_write_tokens <= usage.input_tokens
    assert usage.output_tokens >= 0
    assert all(count > 0 for _, count in usage.parts)
    assert usage.estimated or usage.input_tokens
