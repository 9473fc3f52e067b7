"""Exact hits as bytes: whatever is kept of an earlier one, the message is the one that would be built anew."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semcache.model import NO_TASK, Answer, Cost, Response, Status, Task, Usage
from semcache.server import wire_out
from semcache.server.wire_hits import HitMessages
from semcache.v1 import semcache_pb2 as pb

COUNT = st.integers(0, 2**40)
TEXT = st.text(max_size=12)
ANSWERS = st.builds(
    Answer,
    body=st.binary(max_size=60),
    model=TEXT,
    finish_reason=TEXT,
    usage=st.builds(Usage, COUNT, COUNT, COUNT, st.booleans(), COUNT),
    text=TEXT,
    route=TEXT,
)
HITS = st.builds(
    Response,
    status=st.just(Status.EXACT_HIT),
    reason=st.just("exact_match"),
    alias=TEXT,
    answer=ANSWERS,
    detail=st.just(""),
    entry_id=st.integers(1, 3),
    similarity=st.just(1.0),
    verdicts=st.just(()),
    effective_threshold=st.none(),
    usage=st.builds(Usage, COUNT, COUNT, COUNT, st.booleans(), COUNT),
    cost=st.just(Cost(priced=True)),
    saved=st.builds(Cost, COUNT, COUNT, COUNT, st.booleans(), TEXT),
    stored=st.just(False),
    store_reason=st.just(""),
    task=st.just(NO_TASK) | st.builds(Task, TEXT, TEXT, TEXT, TEXT),
    request_id=TEXT,
    hit_id=TEXT,
    age_s=st.floats(0, 1e8),
    stages=st.lists(st.tuples(TEXT, st.floats(0, 100)), max_size=3).map(tuple),
)
BUILT = {pb.CompleteResponse: wire_out.complete_response, pb.LookupResponse: wire_out.lookup_response}


@given(st.lists(HITS, min_size=1, max_size=5), st.sampled_from([0, 700, 1 << 20]))
def test_the_bytes_are_those_of_the_whole_message(hits: list[Response], max_bytes: int):
    messages = HitMessages(max_bytes)
    for hit in [*hits, *hits]:
        for kind, built in BUILT.items():
            assert kind.FromString(messages.serialised(kind, hit)) == built(hit)
        assert messages.size_bytes <= max_bytes


def hit(entry_id: int = 1) -> Response:
    answer = Answer(b"{}" * 50, "gpt-x", "stop", Usage(1, 0, 2), text="yes")
    return Response(Status.EXACT_HIT, "exact_match", "fast", answer, entry_id=entry_id, request_id="r", age_s=1.0)


@pytest.mark.parametrize(
    "change",
    [
        {"answer": Answer(b"[]", "gpt-y", "stop", Usage(), text="no")},
        {"saved": Cost(5, priced=True)},
        {"task": Task("code", "entry")},
        {"alias": "slow"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_changed_on_an_entry_is_not_served_as_it_was(change):
    messages = HitMessages()
    messages.serialised(pb.CompleteResponse, hit())
    changed = hit()._replace(**change)
    raw = messages.serialised(pb.CompleteResponse, changed)
    assert pb.CompleteResponse.FromString(raw) == wire_out.complete_response(changed)


def test_the_oldest_leave_when_the_bytes_run_out():
    messages = HitMessages(max_bytes=2_000)
    for entry_id in range(1, 50):
        messages.serialised(pb.CompleteResponse, hit(entry_id))
        assert 0 < messages.size_bytes <= 2_000


def test_what_differs_from_hit_to_hit_stands_last():
    assert Response._fields[-4:] == ("request_id", "hit_id", "age_s", "stages")
    assert len(hit().standing) == len(Response._fields) - 4
