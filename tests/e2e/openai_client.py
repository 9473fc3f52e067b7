"""What a program does with OpenAI's client: run by that client's own environment, it prints what it got as JSON.

`python openai_client.py BASE_URL API_KEY`
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import openai
from openai_failures import failure

BASE_URL, KEY = sys.argv[1:3]
CLIENT = openai.OpenAI(base_url=BASE_URL, api_key=KEY, max_retries=0)
TOOLS: Any = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}]


def ask(text: str, client: openai.OpenAI = CLIENT, **fields: Any) -> Any:
    return client.chat.completions.create(model="fast", messages=[{"role": "user", "content": text}], **fields)


def plain() -> Any:
    first = ask("What is a cache?")
    again = CLIENT.chat.completions.with_raw_response.create(
        model="fast", messages=[{"role": "user", "content": "What is a cache?"}]
    )
    completion = again.parse()
    return {
        "texts": [first.choices[0].message.content, completion.choices[0].message.content],
        "tokens": completion.usage.total_tokens if completion.usage else None,
        "status": again.headers["x-cache-status"],
        "request_ids": [first._request_id, again.request_id],
    }


def stream() -> Any:
    told = []
    for _ in range(2):
        chunks = list(ask("Count to ten", stream=True, stream_options={"include_usage": True}))
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        usages = [chunk.usage.total_tokens for chunk in chunks if chunk.usage]
        told.append([text, usages, chunks[-2].choices[0].finish_reason])
    return told


def helper() -> Any:
    with CLIENT.chat.completions.stream(model="fast", messages=[{"role": "user", "content": "Count to ten"}]) as events:
        return events.get_final_completion().choices[0].message.content


def tools() -> Any:
    plain = ask("call a tool", tools=TOOLS).choices[0].message.tool_calls
    pieces = [
        call.function
        for chunk in ask("call a tool", tools=TOOLS, stream=True)
        if chunk.choices
        for call in chunk.choices[0].delta.tool_calls or ()
    ]
    streamed = [pieces[0].name, "".join(piece.arguments or "" for piece in pieces)]
    return [[plain[0].function.name, plain[0].function.arguments], streamed]


def wishes() -> Any:
    told = []
    for headers in ({"x-semcache-namespace": "helpdesk"}, {"cache-control": "only-if-cached"}):
        try:
            ask("What is a cache?", extra_headers=headers, extra_body={"cache": {"ttl": 60}})
            told.append("answered")
        except openai.APIStatusError as error:
            told.append([error.status_code, error.code])
    return told


def errors() -> Any:
    stranger = openai.OpenAI(base_url=BASE_URL, api_key="of-nobody", max_retries=0)
    impatient = CLIENT.with_options(timeout=0.2)
    return {
        "unknown model": failure(
            lambda: CLIENT.chat.completions.create(model="slow", messages=[{"role": "user", "content": "a"}])
        ),
        "no key": failure(lambda: ask("a", stranger)),
        "no messages": failure(lambda: CLIENT.chat.completions.create(model="fast", messages=[])),
        "rate limit": failure(lambda: ask("too fast")),
        "broken stream": failure(lambda: list(ask("break off", stream=True))),
        "other endpoint": failure(lambda: CLIENT.images.generate(prompt="a", model="fast")),
        "timeout": failure(lambda: ask("wait", impatient)),
    }


def retries() -> Any:
    return ask("fail once", CLIENT.with_options(max_retries=2)).choices[0].message.content


async def cancelled() -> Any:
    async with openai.AsyncOpenAI(base_url=BASE_URL, api_key=KEY, max_retries=0) as client:
        messages: Any = [{"role": "user", "content": "wait"}]
        task = asyncio.ensure_future(client.chat.completions.create(model="fast", messages=messages))
        await asyncio.sleep(0.2)
        task.cancel()
        await asyncio.wait([task])
        opened = await client.chat.completions.create(
            model="fast", messages=[{"role": "user", "content": "Count on"}], stream=True
        )
        first = await anext(aiter(opened))
        await opened.close()
        return [task.cancelled(), first.object]


def models() -> Any:
    return [[model.id for model in CLIENT.models.list()], CLIENT.models.retrieve("fast").id]


told = {
    "plain": plain(),
    "stream": stream(),
    "helper": helper(),
    "tools": tools(),
    "wishes": wishes(),
    "errors": errors(),
    "retries": retries(),
    "cancelled": asyncio.run(cancelled()),
    "models": models(),
}
sys.stdout.write(json.dumps(told))
