"""`semcache demo` as its user runs it: the installed command, the real model, every figure held against the others."""

import json
import os
import signal
import subprocess
import urllib.request

import grpc
import pytest

from semcache.v1 import semcache_pb2 as pb
from semcache.v1 import semcache_pb2_grpc as pb_grpc

pytestmark = pytest.mark.model


def environment(tmp_path):
    return {**os.environ, "TMPDIR": str(tmp_path), "COLUMNS": "160"}


def test_the_figures_of_a_demo_agree_with_each_other_and_with_the_server(require_program, tmp_path):
    done = subprocess.run(
        [require_program("semcache"), "demo", "--json", "--requests", "150"],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    statuses, kinds, server = told["by_status"], told["by_kind"], told["server"]

    assert told["requests"] == 150 == sum(statuses.values()) == server["requests"]
    assert statuses["error"] == 0, told["errors"]
    assert server["entries"] == statuses["miss"]
    assert (told["spent_nanousd"], told["saved_nanousd"]) == (server["spent_nanousd"], server["saved_nanousd"])
    assert told["savings_percent"] == pytest.approx(
        100 * told["saved_nanousd"] / (told["saved_nanousd"] + told["spent_nanousd"])
    )
    assert told["unpriced"] == 0

    hits = statuses["exact_hit"] + statuses["semantic_hit"] + statuses["coalesced"]
    assert told["hit_ratio"] == pytest.approx(hits / (150 - statuses["bypass"] - statuses["refresh"]))
    assert sum(kind["asked"] for kind in kinds.values()) == 150
    assert hits == sum(kind["right"] + kind["wrong"] + kind["unjudged"] for kind in kinds.values())
    assert sum(kind["wrong"] for kind in kinds.values()) == len(told["wrong_hits"])
    assert sum(kind["unjudged"] for kind in kinds.values()) == len(told["unjudged_hits"]) == 0
    assert kinds["reworded"]["forwarded"] == len(told["rewordings_missed"])
    assert {status: of["count"] for status, of in told["latency_ms"].items()} == {
        status: count for status, count in statuses.items() if count
    }

    # What the cache promises whatever the model: a repeat never goes upstream, what is of the moment always does, and
    # no conversation is served another's answer.
    assert kinds["repeat"]["forwarded"] == 0
    assert kinds["live"]["asked"] == kinds["live"]["forwarded"] == statuses["bypass"]
    assert kinds["conversation"]["wrong"] == 0
    assert statuses["exact_hit"] > 0
    assert statuses["semantic_hit"] > 0
    assert list(tmp_path.iterdir()) == []


def test_a_kept_server_answers_until_it_is_interrupted(require_program, tmp_path):
    prompts = tmp_path / "mine.txt"
    prompts.write_text("What is a cache?\nWhat is a cache?\n", "utf-8")
    command = [require_program("semcache"), "demo", "--keep", "--json", "--prompts", str(prompts)]
    with subprocess.Popen(
        command, env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as demo:
        try:
            told = json.loads(demo.stdout.readline())
            assert told["requests"] == 2
            assert told["by_status"]["miss"] == 1
            assert told["by_kind"]["unlabelled"]["right"] == 1
            address = told["server"]["address"]
            with grpc.insecure_channel(address) as channel:
                stub = pb_grpc.SemanticCacheServiceStub(channel)
                text = pb.TextPrompt(model="gpt-4o-mini", text="What is a cache?")
                answered = stub.Complete(pb.CompleteRequest(prompt=pb.Prompt(text=text)), timeout=30)
            assert answered.outcome.status == pb.STATUS_EXACT_HIT
            with urllib.request.urlopen(told["server"]["metrics_url"], timeout=30) as page:
                assert b"llm_cache_hit_ratio" in page.read()
        finally:
            demo.send_signal(signal.SIGINT)
        _, said = demo.communicate(timeout=30)
    assert demo.returncode == 0, said
    assert f"semcache stats --address {address}" in said
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == [prompts]
