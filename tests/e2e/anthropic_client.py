"""What a program does with Anthropic's client: run by that client's own environment, it prints what it got as JSON.

`python anthropic_client.py BASE_URL API_KEY`
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any

import anthropic

BASE_URL, KEY = sys.argv[1:3]
CLIENT = anthropic.Anthropic(base_url=BASE_URL, api_key=KEY, max_retries=0)
TOOLS: Any = [{"name": "look_up", "input_schema": {"type": "object", "properties": {"word": {"type": "string"}}}}]


def asking(text: Any, **fields: Any) -> dict[str, Any]:
    return {"model": "fast", "max_tokens": 100, "messages": [{"role": "user", "content": text}], **fields}


def ask(text: Any, client: anthropic.Anthropic = CLIENT, **fields: Any) -> Any:
    return client.messages.create(**asking(text, **fields))


def plain() -> Any:
    first = ask("What is a cache?")
    again = CLIENT.messages.with_raw_response.create(**asking("What is a cache?"))
    message = again.parse()
    return {
        "texts": [first.content[0].text, message.content[0].text],
        "tokens": [message.usage.input_tokens, message.usage.cache_read_input_tokens, message.usage.output_tokens],
        "reason": message.stop_reason,
        "status": again.headers["x-cache-status"],
        "request_ids": [first._request_id, message._request_id],
    }


def stream() -> Any:
    told = []
    for _ in range(2):
        events = list(ask("Count to ten", stream=True))
        text = "".join(event.delta.text for event in events if event.type == "content_block_delta")
        told.append([text, events[0].message.usage.input_tokens, events[-2].usage.output_tokens, events[-1].type])
    return told


def helper() -> Any:
    told = []
    for _ in range(2):
        with CLIENT.messages.stream(**asking("Count to eleven")) as events:
            text = "".join(events.text_stream)
            message = events.get_final_message()
        told.append([text, message.content[0].text, message.stop_reason, message.usage.output_tokens])
    return told


def tools() -> Any:
    told = []
    for _ in range(2):
        with CLIENT.messages.stream(**asking("call a tool", tools=TOOLS)) as events:
            called = events.get_final_message()
        told.append([called.stop_reason, called.content[0].name, called.content[0].input])
    plain = ask("call a tool", tools=TOOLS)
    result = {"type": "tool_result", "tool_use_id": plain.content[0].id, "content": "42"}
    messages: Any = [
        {"role": "user", "content": "call a tool"},
        {"role": "assistant", "content": plain.content},
        {"role": "user", "content": [result]},
    ]
    statuses = []
    for _ in range(2):
        answer = CLIENT.messages.with_raw_response.create(model="fast", max_tokens=100, messages=messages, tools=TOOLS)
        statuses.append(answer.headers["x-cache-status"])
    return [told, plain.content[0].input, statuses]


def thoughts() -> Any:
    told = []
    for _ in range(2):
        with CLIENT.messages.stream(**asking("think", thinking={"type": "enabled", "budget_tokens": 1024})) as events:
            message = events.get_final_message()
        thought, cited = message.content
        told.append([thought.thinking, thought.signature, cited.text, cited.citations[0].cited_text])
    return told


def beta() -> Any:
    message: Any = CLIENT.beta.messages.create(**asking("What is a cache?"), betas=["b-2", "a-1"])
    with CLIENT.beta.messages.stream(**asking("What is a cache?"), betas=["a-1", "b-2"]) as events:
        streamed: Any = events.get_final_message()
    return [message.content[0].text, streamed.content[0].text]


def wishes() -> Any:
    told = []
    for headers in ({"x-semcache-namespace": "helpdesk"}, {"cache-control": "only-if-cached"}):
        try:
            ask("What is a cache?", extra_headers=headers, extra_body={"cache": {"ttl": 60}})
            told.append("answered")
        except anthropic.APIStatusError as error:
            told.append([error.status_code])
    return told


def failure(call: Callable[[], object]) -> Any:
    try:
        call()
    except anthropic.APIStatusError as error:
        body: Any = error.body
        return [type(error).__name__, error.status_code, body["error"]["type"], body["error"].get("code")]
    except anthropic.APIError as error:
        return [type(error).__name__]
    return "no error"


def errors() -> Any:
    stranger = anthropic.Anthropic(base_url=BASE_URL, api_key="of-nobody", max_retries=0)
    impatient = CLIENT.with_options(timeout=0.2)
    return {
        "unknown model": failure(lambda: ask("a", model="slow")),
        "no key": failure(lambda: ask("a", stranger)),
        "no messages": failure(lambda: CLIENT.messages.create(model="fast", max_tokens=1, messages=[])),
        "other version": failure(lambda: ask("a", extra_headers={"anthropic-version": "2099-01-01"})),
        "rate limit": failure(lambda: ask("too fast")),
        "overload": failure(lambda: ask("too much")),
        "overload of a stream": failure(lambda: ask("too much", stream=True)),
        "broken stream": failure(lambda: list(ask("break off", stream=True))),
        "overload within a stream": failure(lambda: list(ask("give up", stream=True))),
        "count of tokens": failure(
            lambda: CLIENT.messages.count_tokens(model="fast", messages=[{"role": "user", "content": "a"}])
        ),
        "batches": failure(CLIENT.messages.batches.list),
        "timeout": failure(lambda: ask("wait", impatient)),
    }


def retries() -> Any:
    return ask("fail once", CLIENT.with_options(max_retries=2)).content[0].text


def models() -> Any:
    """What the pages of the list hold, forwards and backwards, and one model."""
    forwards = [model.id for model in CLIENT.models.list(limit=2)]
    backwards = [model.id for model in CLIENT.models.list(limit=2, before_id=forwards[-1])]
    first = CLIENT.models.list(limit=2)
    one = CLIENT.models.retrieve("fast")
    return {
        "forwards": forwards,
        "backwards": backwards,
        "page": [len(first.data), first.has_more, first.first_id, first.last_id],
        "retired": [model.id for model in CLIENT.models.list(lifecycle=["retired"])],
        "beta": [model.id for model in CLIENT.beta.models.list()],
        "one": [one.id, one.type, one.display_name, one.lifecycle, one.created_at.tzinfo is not None],
        "request_id": bool(one._request_id),
        "valid": [type(model).model_validate(model.to_dict()).id for model in first.data],
        "unknown": failure(lambda: CLIENT.models.retrieve("slow")),
        "no limit": failure(lambda: CLIENT.models.list(limit=0)),
        "no model": failure(lambda: CLIENT.models.list(after_id="slow")),
    }


async def asynchronous() -> Any:
    async with anthropic.AsyncAnthropic(base_url=BASE_URL, api_key=KEY, max_retries=0) as client:
        plain: Any = await client.messages.create(**asking("What is a cache?"))
        async with client.messages.stream(**asking("Count to ten")) as events:
            text = "".join([piece async for piece in events.text_stream])
        task = asyncio.ensure_future(client.messages.create(**asking("wait")))
        await asyncio.sleep(0.2)
        task.cancel()
        await asyncio.wait([task])
        opened: Any = await client.messages.create(**asking("Count on"), stream=True)
        first = await anext(aiter(opened))
        await opened.close()
        return [plain.content[0].text, text, task.cancelled(), first.type]


told = {
    "plain": plain(),
    "stream": stream(),
    "helper": helper(),
    "tools": tools(),
    "thoughts": thoughts(),
    "beta": beta(),
    "wishes": wishes(),
    "errors": errors(),
    "retries": retries(),
    "models": models(),
    "asynchronous": asyncio.run(asynchronous()),
}
sys.stdout.write(json.dumps(told))
