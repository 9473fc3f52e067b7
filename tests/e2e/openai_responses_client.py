"""What a program does with `client.responses` of OpenAI's client: run by that client's own environment.

It prints what it got as JSON. `python openai_responses_client.py BASE_URL API_KEY`
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import openai
from openai_failures import failure
from pydantic import BaseModel

BASE_URL, KEY = sys.argv[1:3]
CLIENT = openai.OpenAI(base_url=BASE_URL, api_key=KEY, max_retries=0)
TOOLS: Any = [{"type": "function", "name": "look_up", "parameters": {"type": "object"}, "strict": False}]


class Word(BaseModel):
    """A structured answer."""

    word: str


def ask(text: Any, client: openai.OpenAI = CLIENT, **fields: Any) -> Any:
    return client.responses.create(model="fast", input=text, **fields)


def plain() -> Any:
    first = ask("What is a cache?")
    raw = CLIENT.responses.with_raw_response.create(
        model="fast", input=[{"role": "user", "content": [{"type": "input_text", "text": "What is a cache?"}]}]
    )
    again = raw.parse()
    return {
        "texts": [first.output_text, again.output_text],
        "tokens": again.usage.total_tokens if again.usage else None,
        "status": raw.headers["x-cache-status"],
        "same": first.to_dict() == again.to_dict(),
    }


def stream() -> Any:
    told = []
    for _ in range(2):
        events = list(ask("Count to ten", stream=True))
        text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
        numbers = [event.sequence_number for event in events]
        last = events[-1]
        told.append([text, numbers == list(range(len(numbers))), last.type, last.response.usage.total_tokens])
    return told


def helper() -> Any:
    told = []
    for _ in range(2):
        with CLIENT.responses.stream(model="fast", input="Count to twenty") as events:
            snapshots = [event.snapshot for event in events if event.type == "response.output_text.delta"]
            told.append([snapshots[-1], events.get_final_response().output_text])
    return told


def parsed() -> Any:
    told = [CLIENT.responses.parse(model="fast", input="a word as JSON", text_format=Word).output_parsed.word]
    with CLIENT.responses.stream(model="fast", input="a word as JSON", text_format=Word) as events:
        told.append(events.get_final_response().output_parsed.word)
    return told


def tools() -> Any:
    told = []
    (call,) = ask("call a tool", tools=TOOLS).output
    told.append([call.name, call.arguments, call.call_id])
    with CLIENT.responses.stream(model="fast", input="call a tool", tools=TOOLS) as events:
        pieces = [event.delta for event in events if event.type == "response.function_call_arguments.delta"]
        (call,) = events.get_final_response().output
        told.append([call.name, "".join(pieces), call.call_id])
    turn = [
        {"role": "user", "content": "look it up"},
        {"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": call.arguments},
        {"type": "function_call_output", "call_id": call.call_id, "output": "a store of answers"},
    ]
    told.append([ask(turn, tools=TOOLS).output_text for _ in range(2)])
    return told


def chain() -> Any:
    first = ask("What is a cache?")
    return [ask("How large is one?", previous_response_id=first.id).output_text for _ in range(2)]


def cut_off() -> Any:
    whole = ask("cut it off", max_output_tokens=16)
    events = list(ask("cut it off", max_output_tokens=16, stream=True))
    return [whole.status, whole.incomplete_details.reason, events[-1].type]


def wishes() -> Any:
    told = []
    for headers in ({"x-semcache-namespace": "helpdesk"}, {"cache-control": "only-if-cached"}):
        try:
            told.append(ask("What is a cache?", extra_headers=headers, extra_body={"cache": {"ttl": 60}}).status)
        except openai.APIStatusError as error:
            told.append([error.status_code, error.code])
    return told


def errors() -> Any:
    stranger = openai.OpenAI(base_url=BASE_URL, api_key="of-nobody", max_retries=0)
    impatient = CLIENT.with_options(timeout=0.2)
    broken = list(ask("break off", stream=True))[-1]
    return {
        "unknown model": failure(lambda: CLIENT.responses.create(model="slow", input="a")),
        "no key": failure(lambda: ask("a", stranger)),
        "no input": failure(lambda: ask([])),
        "rate limit": failure(lambda: ask("too fast")),
        "broken stream": [broken.type, broken.code],
        "kept response": failure(lambda: CLIENT.responses.retrieve("resp_1")),
        "cancelled response": failure(lambda: CLIENT.responses.cancel("resp_1")),
        "timeout": failure(lambda: ask("wait", impatient)),
    }


def retries() -> Any:
    return ask("fail once", CLIENT.with_options(max_retries=2)).output_text


async def asynchronous() -> Any:
    async with openai.AsyncOpenAI(base_url=BASE_URL, api_key=KEY, max_retries=0) as client:
        whole = await client.responses.create(model="fast", input="What is a cache?")
        async with client.responses.stream(model="fast", input="Count to ten") as events:
            final = await events.get_final_response()
        task = asyncio.ensure_future(client.responses.create(model="fast", input="wait"))
        await asyncio.sleep(0.2)
        task.cancel()
        await asyncio.wait([task])
        opened = await client.responses.create(model="fast", input="Count on", stream=True)
        first = await anext(aiter(opened))
        await opened.close()
        return [whole.output_text, final.output_text, task.cancelled(), first.type]


told = {
    "plain": plain(),
    "stream": stream(),
    "helper": helper(),
    "parsed": parsed(),
    "tools": tools(),
    "chain": chain(),
    "cut off": cut_off(),
    "wishes": wishes(),
    "errors": errors(),
    "retries": retries(),
    "asynchronous": asyncio.run(asynchronous()),
}
sys.stdout.write(json.dumps(told))
