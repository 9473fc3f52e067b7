"""Exact hits as bytes: whatever is kept of an earlier one, the message is the one that would be built anew."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from google.protobuf.descriptor import Descriptor
from hypothesis import given
from hypothesis import strategies as st

from semcache.model import (
    NO_TASK,
    Answer,
    Changes,
    Cost,
    Effect,
    GuardVerdict,
    LookupResult,
    Response,
    Status,
    Task,
    Usage,
)
from semcache.v1 import semcache_pb2 as pb
from semcache.wire import outgoing
from semcache.wire.hits import PASSING_FIELDS, HitMessages, lasting_fields
from semcache.wire.outcome import fill_lasting, fill_passing

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
    answer=ANSWERS | st.none(),
    detail=TEXT,
    entry_id=st.integers(1, 3),
    similarity=st.none() | st.floats(-1, 1),
    verdicts=st.lists(st.builds(GuardVerdict, TEXT, st.sampled_from(Effect), TEXT), max_size=2).map(tuple),
    effective_threshold=st.none() | st.floats(0, 1),
    usage=st.builds(Usage, COUNT, COUNT, COUNT, st.booleans(), COUNT),
    cost=st.just(Cost(priced=True)) | st.builds(Cost, COUNT, COUNT, COUNT, st.booleans(), TEXT),
    saved=st.builds(Cost, COUNT, COUNT, COUNT, st.booleans(), TEXT),
    stored=st.booleans(),
    store_reason=TEXT,
    task=st.just(NO_TASK) | st.builds(Task, TEXT, TEXT, TEXT, TEXT),
    request_id=TEXT,
    hit_id=TEXT,
    age_s=st.none() | st.floats(0, 1e8),
    stages=st.lists(st.tuples(TEXT, st.floats(0, 100)), max_size=3).map(tuple),
    stale_s=st.none() | st.floats(0, 1e8),
)
BUILT = {
    pb.CompleteResponse: outgoing.complete_response,
    pb.LookupResponse: lambda response: outgoing.lookup_response(LookupResult(response)),
}
PASSING = ("request_id", "hit_id", "age_s", "stages")


def varint(raw: bytes, at: int) -> tuple[int, int]:
    """The number that starts at `at`, and where the next thing starts."""
    number = shift = 0
    while raw[at] & 0x80:
        number |= (raw[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
    return number | raw[at] << shift, at + 1


def fields(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and value of each field in a message's bytes, as they follow each other."""
    at = 0
    while at < len(raw):
        tag, at = varint(raw, at)
        if tag & 7 == 0:
            end = varint(raw, at)[1]
        elif tag & 7 == 2:
            length, at = varint(raw, at)
            end = at + length
        else:
            end = at + {1: 8, 5: 4}[tag & 7]
        assert end <= len(raw)
        yield tag >> 3, raw[at:end]
        at = end


def outcome_of(fill: Callable[[pb.Outcome, Response], None], response: Response) -> pb.Outcome:
    message = pb.Outcome()
    fill(message, response)
    return message


def written_twice(raw: bytes, kind: Descriptor) -> list[str]:
    """The fields that are no lists and are more than once in a message's bytes, those of its parts included."""
    found = list(fields(raw))
    times = Counter(number for number, _ in found)
    singular = {number for number in times if not kind.fields_by_number[number].is_repeated}
    twice = [kind.fields_by_number[number].full_name for number in singular if times[number] > 1]
    for number, value in found:
        part = kind.fields_by_number[number].message_type
        if part is not None:
            twice += written_twice(value, part)
    return twice


@given(st.lists(HITS, min_size=1, max_size=5), st.sampled_from([0, 40_000, 1 << 20]))
def test_the_bytes_are_those_of_the_whole_message(hits: list[Response], max_bytes: int):
    messages = HitMessages(max_bytes)
    for hit in [*hits, *hits]:
        for kind, built in BUILT.items():
            assert kind.FromString(messages.serialised(kind, hit, "acme")) == built(hit)
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
    messages.serialised(pb.CompleteResponse, hit(), "acme")
    changed = hit()._replace(**change)
    raw = messages.serialised(pb.CompleteResponse, changed, "acme")
    assert pb.CompleteResponse.FromString(raw) == outgoing.complete_response(changed)


def test_the_oldest_leave_when_the_bytes_run_out():
    messages = HitMessages(max_bytes=32_000)
    for entry_id in range(1, 50):
        messages.serialised(pb.CompleteResponse, hit(entry_id), "acme")
        assert 0 < messages.size_bytes <= 32_000
    assert messages.size_bytes > 30_000


@pytest.mark.parametrize(
    "large", [{"body": b"x" * 200_000}, {"body": b"", "text": "я" * 100_000}], ids=["body", "text"]
)
def test_a_large_answer_drives_out_no_other(large):
    messages = HitMessages(max_bytes=1_000_000)
    messages.serialised(pb.CompleteResponse, hit(), "acme")
    messages.serialised(pb.CompleteResponse, hit(2), "acme")
    both = messages.size_bytes
    response = hit(3)._replace(answer=Answer(model="m", finish_reason="stop", usage=Usage(), **large))
    for _ in range(2):
        raw = messages.serialised(pb.CompleteResponse, response, "acme")
        assert pb.CompleteResponse.FromString(raw) == outgoing.complete_response(response)
        assert messages.size_bytes == both
    messages.serialised(pb.CompleteResponse, response._replace(entry_id=2), "acme")
    assert messages.size_bytes == both / 2  # What was kept of the entry was made from another answer.


def test_the_size_counts_the_answer_that_is_held():
    messages = HitMessages()
    answer = Answer(b"x" * 5_000, "m", "stop", Usage(), text="я" * 1_000)
    messages.serialised(pb.CompleteResponse, hit()._replace(answer=answer), "acme")
    serialised = 5_000 + 2_000
    assert messages.size_bytes > serialised + 5_000 + 2_000
    pb.CompleteResponse(text=answer.text)  # From now on Python holds the text's UTF-8 beside it.
    messages.follow(Changes(rewritten=(1,)))
    assert messages.size_bytes == 0


def test_an_answer_that_was_read_anew_takes_the_place_of_its_equal():
    messages = HitMessages()
    old, new = hit(), hit()
    assert old.answer == new.answer
    assert old.answer is not new.answer
    messages.serialised(pb.CompleteResponse, old, "acme")
    before, held = messages.size_bytes, sys.getrefcount(old.answer)
    messages.serialised(pb.CompleteResponse, new, "acme")
    assert sys.getrefcount(old.answer) < held
    assert messages.size_bytes == before


@pytest.mark.parametrize(
    "changes",
    [Changes(removed=((b"p", 1, b"k"), (b"p", 7, b"l"))), Changes(rewritten=(1, 7))],
    ids=["gone", "rewritten"],
)
def test_nothing_stays_of_an_entry_that_is_gone(changes):
    messages = HitMessages()
    messages.serialised(pb.CompleteResponse, hit(2), "acme")
    of_the_other = messages.size_bytes
    for kind in BUILT:
        messages.serialised(kind, hit(), "acme")
    messages.follow(changes)
    assert messages.size_bytes == of_the_other
    messages.follow(Changes(removed=((b"p", 2, b"m"),)))
    assert messages.size_bytes == 0


@given(HITS)
def test_the_outcome_and_each_of_its_fields_is_written_once(response):
    messages = HitMessages()
    for kind in BUILT:
        for _ in range(2):
            raw = messages.serialised(kind, response, "acme")
            numbers = [number for number, _ in fields(raw)]
            assert numbers.count(kind.DESCRIPTOR.fields_by_name["outcome"].number) == 1
            assert written_twice(raw, kind.DESCRIPTOR) == []


def test_a_field_that_is_written_twice_is_noticed():
    raw = pb.Outcome(reason="a", usage=pb.Usage(input_tokens=1)).SerializeToString()
    assert set(written_twice(raw + raw, pb.Outcome.DESCRIPTOR)) == {
        "semcache.v1.Outcome.reason",
        "semcache.v1.Outcome.usage",
    }
    outcome = pb.CompleteResponse(outcome=pb.Outcome(reason="a")).SerializeToString()
    assert written_twice(outcome + outcome, pb.CompleteResponse.DESCRIPTOR) == ["semcache.v1.CompleteResponse.outcome"]


@given(HITS, HITS)
def test_either_part_of_an_outcome_hangs_on_its_own_fields_alone(one, other):
    mixed = other._replace(**{name: getattr(one, name) for name in PASSING})
    lasting, passing = outcome_of(fill_lasting, mixed), outcome_of(fill_passing, mixed)
    assert lasting == outcome_of(fill_lasting, other)
    assert passing == outcome_of(fill_passing, one)
    assert not {field.name for field, _ in lasting.ListFields()} & {field.name for field, _ in passing.ListFields()}


def test_what_lasts_is_all_but_what_differs_from_hit_to_hit():
    passed = hit()._replace(request_id="s", hit_id="h", age_s=2.0, stages=(("key", 1.0),))
    assert lasting_fields(hit()) == lasting_fields(passed)
    assert len(lasting_fields(hit())) == len(Response._fields) - len(PASSING)
    assert set(PASSING) == PASSING_FIELDS
