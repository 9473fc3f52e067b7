"""The demo's provider: answers depend on the prompt, usage and pace are realistic, and it ends with its parent."""

import asyncio
import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from semcache.demo.provider import Provider, answer_text, count_tokens
from semcache.testing.upstream_server import Received

COMMAND = [sys.executable, "-m", "semcache.demo.provider", "--port", "0", "--seed", "3", "--latency-scale", "0"]


def ask(provider, prompt="What is a mutex?", *, system="", path="/v1/chat/completions", **fields):
    messages = [*([{"role": "system", "content": system}] if system else []), {"role": "user", "content": prompt}]
    body = json.dumps({"model": "gpt-4o-mini", "messages": messages, **fields}).encode()
    return provider.answer(Received("POST", path, {}, body, 1))


def completion(reply):
    assert reply.status == 200
    return json.loads(b"".join(reply.pieces))


def test_an_answer_names_its_prompt_and_is_the_same_under_the_same_seed():
    first, again = completion(ask(Provider(1, 0))), completion(ask(Provider(1, 0)))
    assert first == again
    text = first["choices"][0]["message"]["content"]
    assert text == answer_text("What is a mutex?", 1)
    assert text.startswith("Answer to: What is a mutex?\n\n")
    assert text != answer_text("What is a mutex?", 2)
    assert text.split("\n\n", 1)[1] != answer_text("What is a semaphore?", 1).split("\n\n", 1)[1]


def test_tokens_follow_from_the_characters():
    body = completion(ask(Provider(1, 0)))
    text = body["choices"][0]["message"]["content"]
    assert body["usage"]["completion_tokens"] == count_tokens(text) == -(-len(text) // 4)
    assert body["usage"]["prompt_tokens"] > count_tokens("What is a mutex?")
    assert body["usage"]["prompt_tokens_details"] == {"cached_tokens": 0, "cache_write_tokens": 0}


def test_a_long_prefix_that_came_before_is_cached_in_steps():
    provider = Provider(1, 0)
    system = "You answer questions about our product. " * 150
    first, second = (completion(ask(provider, prompt, system=system))["usage"] for prompt in ("One?", "Two?"))
    assert first["prompt_tokens_details"]["cached_tokens"] == 0
    cached = second["prompt_tokens_details"]["cached_tokens"]
    assert 1024 <= cached <= second["prompt_tokens"]
    assert cached % 128 == 0
    other = completion(ask(provider, "Two?", system="X" + system))["usage"]
    assert other["prompt_tokens_details"]["cached_tokens"] == 0


def test_a_limit_cuts_the_answer():
    choice = completion(ask(Provider(1, 0), max_tokens=3))["choices"][0]
    assert choice["finish_reason"] == "length"
    assert choice["message"]["content"] == "Answer to: W"


def test_paces_are_a_providers():
    provider = Provider(1, 1.0)
    waits = sorted(ask(provider, stream=True).delay_s for _ in range(500))
    assert 0.35 < waits[250] < 0.43
    assert 0.2 < waits[25] < 0.3
    assert 0.5 < waits[475] < 0.7
    reply = ask(provider)
    tokens = completion(reply)["usage"]["completion_tokens"]
    assert tokens * 0.006 < reply.delay_s < 2.0 + tokens * 0.014
    assert ask(Provider(1, 0)).delay_s == 0


def test_a_stream_tells_the_same_answer():
    provider = Provider(1, 0)
    reply = ask(provider, stream=True, stream_options={"include_usage": True})
    assert reply.pieces[-1] == b"data: [DONE]\n\n"
    chunks = [json.loads(piece.removeprefix(b"data: ")) for piece in reply.pieces[:-1]]
    text = "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
    assert text == answer_text("What is a mutex?", 1)
    assert chunks[-1]["usage"]["completion_tokens"] == count_tokens(text)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/v1/models", b"", 404),
        ("POST", "/v1/embeddings", b"{}", 404),
        ("POST", "/v1/chat/completions", b"nonsense", 400),
        ("POST", "/v1/chat/completions", b"[]", 400),
        ("POST", "/v1/chat/completions", b'{"messages": [1]}', 400),
        ("POST", "/v1/chat/completions", b'{"messages": []}', 400),
    ],
)
def test_what_is_no_request_gets_an_error(method, path, body, status):
    reply = Provider(1, 0).answer(Received(method, path, {}, body, 1))
    assert reply.status == status
    assert json.loads(reply.pieces[0])["error"]["message"]


@pytest.mark.parametrize("end", ["stdin", "sigterm"])
def test_the_process_answers_and_ends_when_told(end):
    with subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        base_url = json.loads(process.stdout.readline())["base_url"]
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hello?"}]}).encode()
        with urllib.request.urlopen(f"{base_url}/chat/completions", body, timeout=30) as response:
            answer = json.load(response)
        assert answer["choices"][0]["message"]["content"] == answer_text("Hello?", 3)
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{base_url}/models", timeout=30)
        caught.value.close()
        if end == "stdin":
            process.stdin.close()
        else:
            process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert process.stderr.read() == b""


async def test_a_port_in_use_is_said_in_a_sentence():
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    command = [*COMMAND[:4], str(port)]
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    _, words = await process.communicate()
    server.close()
    await server.wait_closed()
    assert process.returncode == 1
    assert words.startswith(f"Port {port} can't be served".encode())
    assert b"Traceback" not in words
