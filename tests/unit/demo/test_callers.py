"""The callers send every request once, in order, over a real channel; a failure is a result."""

import asyncio
import json

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from semcache.demo.callers import play
from semcache.demo.prompts import DemoRequest
from semcache.server.clock import SystemClock
from semcache.v1 import semcache_pb2 as pb
from semcache.v1 import semcache_pb2_grpc as pb_grpc


class Scripted(pb_grpc.SemanticCacheServiceServicer):
    """Answers depend on the last word of the question."""

    def __init__(self):
        self.asked = []
        self.at_once = self.most_at_once = 0

    async def Complete(self, request, context):  # noqa: N802 - gRPC's name
        question = self._question(request)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        if question == "fail":
            await context.abort(grpc.StatusCode.UNAVAILABLE, "no details")
        if question == "refuse":
            info = any_pb2.Any()
            info.Pack(error_details_pb2.ErrorInfo(reason="UPSTREAM_REFUSED", domain="semcache"))
            status = status_pb2.Status(code=code_pb2.FAILED_PRECONDITION, message="no", details=[info])
            await context.abort_with_status(rpc_status.to_status(status))
        return pb.CompleteResponse(text="" if question == "empty" else "an answer", outcome=self._outcome(question))

    async def CompleteStream(self, request, context):  # noqa: N802 - gRPC's name
        question = self._question(request)
        yield pb.CompleteStreamResponse(started=pb.Started())
        yield pb.CompleteStreamResponse(chunk=pb.Chunk(openai_json=b"{}"))
        if question != "half":
            yield pb.CompleteStreamResponse(finished=pb.Finished(outcome=self._outcome(question)))

    def _question(self, request):
        body = json.loads(request.prompt.openai_json)
        self.asked.append(body["messages"][-1]["content"])
        return self.asked[-1].split()[-1]

    def _outcome(self, question):
        if question == "hit":
            saved = pb.Cost(total_nanousd=7, priced=True)
            return pb.Outcome(
                status=pb.STATUS_SEMANTIC_HIT, entry_id="e1", hit_id="h1", similarity=0.98, saved=saved, cost=pb.Cost()
            )
        veto = pb.GuardVerdict(guard="numbers", action=pb.GUARD_ACTION_VETO)
        passed = pb.GuardVerdict(guard="negation", action=pb.GUARD_ACTION_PASS)
        cost = pb.Cost(total_nanousd=5, priced=True)
        return pb.Outcome(
            status=pb.STATUS_MISS, entry_id="e2", stored=True, reason="vetoed", cost=cost, guard_verdicts=[veto, passed]
        )


@pytest.fixture
async def scripted():
    servicer = Scripted()
    server = grpc.aio.server()
    pb_grpc.add_SemanticCacheServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield servicer, pb_grpc.SemanticCacheServiceStub(channel)
    await server.stop(None)


def request(asked, *, stream=False):
    return DemoRequest(asked, "", "unlabelled", "gpt-4o", ({"role": "user", "content": asked},), stream=stream)


async def played(stub, *requests, callers=1):
    seen = []
    results = await play(stub, requests, callers=callers, clock=SystemClock(), on_played=seen.append)
    assert sorted(map(id, seen)) == sorted(map(id, results))
    return results


async def test_all_requests_are_sent_once_and_results_keep_their_order(scripted):
    servicer, stub = scripted
    questions = [f"{number} miss" for number in range(40)]
    results = await played(stub, *map(request, questions), callers=5)
    assert sorted(servicer.asked) == sorted(questions)
    assert [result.request.asked for result in results] == questions
    assert 1 <= servicer.most_at_once <= 5


async def test_one_caller_keeps_the_order(scripted):
    servicer, stub = scripted
    questions = [f"{number} miss" for number in range(10)]
    await played(stub, *map(request, questions))
    assert servicer.asked == questions


@pytest.mark.parametrize("stream", [False, True])
async def test_an_outcome_becomes_a_result(scripted, stream):
    _, stub = scripted
    hit, miss = await played(stub, request("a hit", stream=stream), request("a miss", stream=stream))
    assert (hit.status, hit.entry_id, hit.stored, hit.saved_nanousd, hit.spent_nanousd, hit.priced) == (
        *("semantic_hit", "e1", False, 7, 0),
        True,
    )
    assert hit.similarity == pytest.approx(0.98)
    assert (miss.status, miss.entry_id, miss.stored, miss.saved_nanousd, miss.spent_nanousd) == (
        *("miss", "e2", True, 0),
        5,
    )
    assert (miss.similarity, miss.vetoes, miss.reason) == (None, ("numbers",), "vetoed")
    assert min(hit.latency_s, miss.latency_s) > 0


@pytest.mark.parametrize(
    ("asked", "stream", "reason"),
    [
        ("please fail", False, "UNAVAILABLE"),
        ("please refuse", False, "UPSTREAM_REFUSED"),
        ("be empty", False, "BROKEN_ANSWER"),
        ("only half", True, "BROKEN_ANSWER"),
    ],
)
async def test_a_failure_is_a_result_and_the_others_go_on(scripted, asked, stream, reason):
    _, stub = scripted
    failed, miss = await played(stub, request(asked, stream=stream), request("a miss"))
    assert (failed.status, failed.reason) == ("error", reason)
    assert miss.status == "miss"
