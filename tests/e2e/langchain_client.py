"""What a program does with `SemcacheCache`: run by the clients' environment, it prints what it got as JSON.

`python langchain_client.py ADDRESS API_KEY CLOSED_ADDRESS`
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from langchain_core.language_models import LLM, BaseChatModel
from langchain_core.load import dumps
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult, Generation
from pydantic import BaseModel, Field

from langchain_semcache import SemcacheCache
from langchain_semcache.requests import request_body
from semcache.client import ClientError, SyncClient

ADDRESS, KEY, CLOSED = sys.argv[1:4]
PROMPT = "How do I reset my password please?"
NEAR = "How do I reset my password?"
PIXEL = {"type": "image", "base64": "AAAA", "mime_type": "image/png"}


class Logged(logging.Handler):
    """Keeps what the package logs."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.levelname} {record.getMessage()}")


LOGGED = Logged()
logging.getLogger("langchain_semcache").addHandler(LOGGED)
logging.getLogger("langchain_semcache").setLevel(logging.DEBUG)


class Model(BaseChatModel):
    """Answers with the number of its call, or by script."""

    label: str = "small"
    script: Any = Field(default=None, exclude=True)
    calls: list[str] = Field(default_factory=list, exclude=True)

    @property
    def _llm_type(self) -> str:
        return "counting"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"label": self.label}

    def _generate(self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **_: Any) -> ChatResult:
        self.calls.append(str(messages[-1].content))
        if self.script is not None:
            return ChatResult(generations=self.script())
        usage = {"input_tokens": 100, "output_tokens": 50, "total_tokens": 150}
        metadata = {"finish_reason": "stop", "model_name": "gpt-4o-mini"}
        message = AIMessage(f"answer {len(self.calls)}", usage_metadata=usage, response_metadata=metadata)
        return ChatResult(generations=[ChatGeneration(message=message)])


class Completing(LLM):
    """A completion model: its prompt is a text."""

    calls: list[str] = Field(default_factory=list, exclude=True)

    @property
    def _llm_type(self) -> str:
        return "completing"

    def _call(self, prompt: str, stop: Any = None, run_manager: Any = None, **_: Any) -> str:
        self.calls.append(prompt)
        return f"completion {len(self.calls)}"


def cache(namespace: str, **arguments: Any) -> SemcacheCache:
    return SemcacheCache(ADDRESS, api_key=KEY, namespace=namespace, **arguments)


def hits_and_misses() -> Any:
    """What shares an answer and what doesn't: the text of each answer."""
    hits: list[Any] = []
    model = Model(cache=cache("sharing", on_hit=lambda hit: hits.append([hit.status, bool(hit.hit_id)])))
    other = Model(cache=model.cache, label="large")

    def text(asked: Any, by: Model = model, **fields: Any) -> Any:
        return by.invoke(asked, **fields).content

    told = {
        "first": text(PROMPT),
        "exact": text(PROMPT),
        "near": text(NEAR),
        "another model": text(PROMPT, other),
        "another stop": text(PROMPT, stop=["."]),
        "a system prompt": text([SystemMessage("Be brief."), HumanMessage(PROMPT)]),
        "the system prompt again": text([SystemMessage("Be brief."), HumanMessage(NEAR)]),
        "a name": text([HumanMessage(PROMPT, name="ann")]),
        "an earlier turn": text([HumanMessage("Hello"), AIMessage("Hello!"), HumanMessage(PROMPT)]),
        "that turn again": text([HumanMessage("Hello"), AIMessage("Hello!"), HumanMessage(NEAR)]),
        "an image": text([HumanMessage([{"type": "text", "text": PROMPT}, PIXEL])]),
        "that image again": text([HumanMessage([{"type": "text", "text": PROMPT}, PIXEL])]),
        "a near text with it": text([HumanMessage([{"type": "text", "text": NEAR}, PIXEL])]),
        "parts of text": text([HumanMessage([{"type": "text", "text": PROMPT}])]),
    }
    return {**told, "hits": hits, "calls": [len(model.calls), len(other.calls)]}


def tools() -> Any:
    """A conversation in which a tool was called is served to an equal one alone."""
    call = {"name": "look_up", "args": {"word": "cache", "lc": 1}, "id": "call-1", "type": "tool_call"}
    model = Model(cache=cache("tools"))

    def ask(result: str) -> Any:
        turns = [
            HumanMessage("Look it up"),
            AIMessage("", tool_calls=[call]),
            ToolMessage(result, tool_call_id="call-1"),
        ]
        return model.invoke(turns).content

    told = [ask("A cache is a store."), ask("A cache is a store."), ask("A cache is a shop.")]
    calling = Model(cache=cache("tools"), script=lambda: [ChatGeneration(message=AIMessage("", tool_calls=[call]))])
    answers = [calling.invoke("Which tool?") for _ in range(2)]
    return {
        "told": told,
        "calls": len(calling.calls),
        "equal": answers[0].tool_calls == answers[1].tool_calls == [call],
    }


class Parsed(BaseModel):
    word: str


def lossless() -> Any:
    """What is looked up equals what was stored, or nothing was stored."""
    own = cache("lossless")
    usage = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5, "input_token_details": {"cache_read": 1}}
    rich = AIMessage(
        [{"type": "text", "text": "a part"}, {"type": "reasoning", "summary": []}],
        name="bot",
        id="msg_1",
        usage_metadata=usage,
        additional_kwargs={"refusal": None, "plain": {"lc": 2}},
        response_metadata={"finish_reason": "stop", "logprobs": None, "model_name": "gpt-4o-mini"},
    )
    cases: dict[str, list[Generation]] = {
        "a text": [Generation(text="one", generation_info={"finish_reason": "stop", "position": 1})],
        "several": [ChatGeneration(message=AIMessage(text)) for text in ("one", "two", "three")],
        "a rich message": [ChatGeneration(message=rich, generation_info={"finish_reason": "stop"})],
        "other scripts": [Generation(text="číslo 七 \U0001f600")],
        "cut off": [Generation(text="one", generation_info={"finish_reason": "length"})],
        "two ends": [Generation(text=end, generation_info={"finish_reason": end}) for end in ("stop", "length")],
        "an object": [Generation(text="one", generation_info={"is": threading.Lock()})],
        "a set": [Generation(text="one", generation_info={"is": {1}})],
        "numbers as names": [Generation(text="one", generation_info={"is": {1: 2}})],
        "nothing": [],
    }
    told: dict[str, Any] = {}
    model = Model(cache=own)
    told["ids"] = [bool(model.invoke(PROMPT).id) for _ in range(2)]
    for name, answer in cases.items():
        own.update(name, "llm", answer)
        found = own.lookup(name, "llm")
        told[name] = "nothing" if found is None else [type(each).__name__ for each in found if each in answer]
    with_object = AIMessage('{"word": "cache"}', additional_kwargs={"parsed": Parsed(word="cache")})
    own.update("parsed", "llm", [ChatGeneration(message=with_object)])
    parsed = own.lookup("parsed", "llm")
    told["parsed"] = parsed and parsed[0].message.additional_kwargs["parsed"]
    return told


def foreign() -> Any:
    """An entry that this package didn't write, or that names a class beyond the allowed ones, is a miss."""
    own = cache("foreign")
    evil = {"lc": 1, "type": "constructor", "id": ["langchain", "prompts", "prompt", "PromptTemplate"], "kwargs": {}}
    evil["kwargs"] = {"template": "a", "input_variables": []}
    secret = {"lc": 1, "type": "secret", "id": ["HOME"]}
    told = []
    with SyncClient(ADDRESS, api_key=KEY) as client:
        for name, extra in {
            "no generations": {},
            "an older format": {"langchain": {"version": 0, "generations": [dumps(Generation(text="a"))]}},
            "another class": {"langchain": {"version": 1, "generations": [json.dumps(evil)]}},
            "a secret": {"langchain": {"version": 1, "generations": [json.dumps(secret)]}},
            "no list": {"langchain": {"version": 1, "generations": "a"}},
        }.items():
            choice = {"index": 0, "message": {"role": "assistant", "content": "a"}, "finish_reason": "stop"}
            body = request_body(name, "llm", "langchain")
            stored = client.store(openai_json=body, namespace="foreign", answer={"choices": [choice], **extra})
            told.append([name, stored.stored, own.lookup(name, "llm")])
    return told


def prompts() -> Any:
    """Completion models, prompts that look like messages, and what must not be given again."""
    model = Completing(cache=cache("prompts"))
    likeness = dumps([HumanMessage(PROMPT)])
    unknown = json.dumps([{"lc": 1, "type": "constructor", "id": ["mine", "Message"], "kwargs": {"content": PROMPT}}])
    own = cache("prompts")
    own.update(unknown, "llm", [Generation(text="of an unknown class")])
    return {
        "texts": [model.invoke(text) for text in (PROMPT, PROMPT, NEAR)],
        "likeness": model.invoke(likeness),
        "a batch": model.batch(["one", "one", "two"]),
        "time": [model.invoke("What time is it?") for _ in range(2)],
        "unknown": [own.lookup(text, "llm") is not None for text in (unknown, unknown.replace(PROMPT, NEAR))],
    }


def follow_ups() -> Any:
    """The second turn is found, whether the first one's answer was new or came from the cache."""
    model = Model(cache=cache("follow-ups"))
    told = []
    for _ in range(2):
        turns: list[BaseMessage] = [HumanMessage("What is a cache?")]
        turns.append(model.invoke(turns))
        turns.append(HumanMessage("Which kinds of it exist in a processor?"))
        told.append(model.invoke(turns).content)
    return [told, len(model.calls)]


async def asynchronous(own: SemcacheCache) -> Any:
    model = Model(cache=own)
    texts = [(await model.ainvoke(text)).content for text in (PROMPT, PROMPT, NEAR)]
    await own.aclear(tags=["other"])
    kept = await own.alookup(*key(PROMPT)) is not None
    return [texts, kept]


def key(text: str) -> tuple[str, str]:
    return dumps([HumanMessage(text)]), "llm"


def loops() -> Any:
    """One object serves threads and several event loops."""
    own = cache("loops", tags=["mine"])
    own.update(*key(PROMPT), [Generation(text="a")])
    told = [asyncio.run(asynchronous(own)) for _ in range(3)]

    async def end() -> Any:
        await own.aclear(tags=["mine"])
        found = await own.alookup(*key(PROMPT))
        await own.aupdate(*key(PROMPT), [Generation(text="b")])
        again = await own.alookup(*key(PROMPT))
        await own.aclose()
        await own.aclose()
        return [found, again and again[0].text]

    return [told, asyncio.run(end()), Model(cache=own).invoke("Something else?").content]


def clearing() -> Any:
    """`clear` empties its own namespace alone, or what its arguments name."""
    mine, other = cache("mine"), cache("other")
    for each in (mine, other):
        each.update("a prompt", "llm", [Generation(text="a")])
    tagged = cache("mine", tags=["faq"])
    tagged.update("another prompt", "llm", [Generation(text="b")])
    mine.clear(tags=["faq"])
    by_tag = [mine.lookup(prompt, "llm") is not None for prompt in ("a prompt", "another prompt")]
    mine.clear(older_than=3600)
    by_age = mine.lookup("a prompt", "llm") is not None
    mine.clear()
    try:
        mine.clear(tag="faq")
        misspelt = "no error"
    except TypeError as error:
        misspelt = type(error).__name__
    gone = mine.lookup("a prompt", "llm") is None
    # What was being generated while the cache was cleared isn't stored: the lookup's id tells when it began.
    mine.clear()
    mine.update("a prompt", "llm", [Generation(text="late")])
    late = mine.lookup("a prompt", "llm") is None
    return {
        "by tag": by_tag,
        "by age": by_age,
        "misspelt": misspelt,
        "gone": gone,
        "late": late,
        "other": other.lookup("a prompt", "llm") is not None,
        "repr": repr(mine),
    }


def leases() -> Any:
    """Threads that ask the same at once wait for the first of them."""
    own = cache("leases", lease_s=20.0)
    model = Model(cache=own)
    barrier = threading.Barrier(8)

    def ask(_: int) -> Any:
        barrier.wait()
        return model.invoke("What do all of us ask?").content

    with ThreadPoolExecutor(8) as pool:
        texts = set(pool.map(ask, range(8)))
    brief = cache("leases", lease_s=0.01)
    brief.lookup("a slow one", "llm")
    threading.Event().wait(0.2)
    brief.update("a slow one", "llm", [Generation(text="too late")])
    return [sorted(texts), len(model.calls), brief.lookup("a slow one", "llm"), [*LOGGED.lines]]


def failure(call: Callable[[], object]) -> Any:
    try:
        call()
    except ClientError as error:
        return error.reason
    return "no error"


def outages() -> Any:
    """A server that is down is a miss with one warning; with `on_error="raise"` an error."""
    LOGGED.lines.clear()
    secret = "sk-that-nobody-may-see"
    down = SemcacheCache(CLOSED, api_key=secret, pause_s=0.0)
    model = Model(cache=down)
    texts = [model.invoke("my private words").content for _ in range(3)]
    texts.append(asyncio.run(model.ainvoke("my private words")).content)
    unreachable = [*LOGGED.lines]
    LOGGED.lines.clear()
    stranger = Model(cache=SemcacheCache(ADDRESS, api_key=secret))
    texts += [stranger.invoke("my private words").content for _ in range(2)]
    raising = SemcacheCache(CLOSED, api_key=secret, on_error="raise")
    paused = SemcacheCache(CLOSED, pause_s=60.0)
    return {
        "texts": texts,
        "unreachable": unreachable,
        "unauthenticated": [*LOGGED.lines],
        "raised": failure(lambda: Model(cache=raising).invoke("my private words")),
        "raised by update": failure(lambda: raising.update("my private words", "llm", [Generation(text="a")])),
        "cleared": failure(down.clear),
        "pausing": [
            paused.lookup("a", "llm"),
            paused.lookup("a", "llm"),
            paused.update("a", "llm", [Generation(text="a")]),
        ],
        "repr": repr(raising),
    }


def run(names: Sequence[str]) -> dict[str, Any]:
    scenarios: dict[str, Callable[[], Any]] = {
        "hits and misses": hits_and_misses,
        "tools": tools,
        "lossless": lossless,
        "foreign": foreign,
        "prompts": prompts,
        "follow-ups": follow_ups,
        "loops": loops,
        "clearing": clearing,
        "leases": leases,
        "outages": outages,
    }
    told = {}
    for name in names or scenarios:
        LOGGED.lines.clear()
        told[name] = {"told": scenarios[name](), "logged": [*LOGGED.lines]}
    return told


sys.stdout.write(json.dumps(run(sys.argv[4:])))
