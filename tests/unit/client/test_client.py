"""The parts of the clients: arguments become messages, failures become one error, and the import is light."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import grpc
import pytest

import semcache
from semcache.client import failures, messages, results
from semcache.client.connection import Connection
from semcache.errors import InvalidRequestError, SemcacheError
from semcache.v1 import semcache_pb2 as pb


def test_names_are_exported_and_found():
    for name in semcache.__all__:
        assert getattr(semcache, name) is not None
    assert set(semcache.__all__) <= set(dir(semcache))
    with pytest.raises(AttributeError, match="no attribute 'Cleint'"):
        _ = semcache.Cleint


def test_grpc_is_imported_with_the_first_client_only():
    code = "import sys, semcache; before = 'grpc' in sys.modules; semcache.Client; print(before, 'grpc' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False", "True"]


def test_a_prompt_is_one_user_message_of_openai_json():
    request = messages.complete_request(
        {"model": "m", "prompt": "Grüße", "temperature": 0, "stop": ["x"], "extra_body": {"thinking": {"budget": 3}}}
    )
    assert request.prompt.openai_json.decode() == (
        '{"model":"m","messages":[{"role":"user","content":"Grüße"}],"temperature":0,"stop":["x"],"thinking":{"budget":3}}'
    )
    assert request.control.mode == pb.CACHE_MODE_DEFAULT
    assert not request.control.HasField("ttl")
    assert not request.control.HasField("similarity_threshold")


def test_a_whole_body_travels_byte_for_byte():
    body = b'{ "messages": [], "model":"m", "x": 1.0 }'
    assert messages.lookup_request({"openai_json": body}).prompt.openai_json == body


def test_all_of_control_and_scope_arrives():
    request = messages.stream_request(
        {
            "model": "m",
            "messages": [{"role": "user", "content": "q"}],
            "namespace": "n",
            "task_type": "code",
            "template": "t",
            "slots": {"a": "b"},
            "knowledge_version": "7",
            "mode": "refresh",
            "ttl": timedelta(hours=1),
            "max_age": 1.5,
            "no_store": True,
            "similarity_threshold": 0.99,
            "tags": ["x"],
            "sources": ["doc"],
        }
    )
    assert (request.prompt.namespace, request.prompt.task_type, request.prompt.knowledge_version) == ("n", "code", "7")
    assert request.prompt.template == pb.TemplateUse(id="t", slots=[pb.Slot(name="a", value="b")])
    assert request.control.mode == pb.CACHE_MODE_REFRESH
    assert request.control.ttl.seconds == 3600
    assert request.control.max_age.ToMilliseconds() == 1500
    assert request.control.no_store
    assert request.control.similarity_threshold == 0.99
    assert (list(request.tags), list(request.sources)) == (["x"], ["doc"])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"model": "m"}, "none was given"),
        ({"model": "m", "prompt": "q", "messages": []}, "prompt and messages were given"),
        ({"prompt": "q"}, "the model is missing"),
        ({"openai_json": b"{}", "temperature": 1}, "temperature was given beside it"),
        ({"model": "m", "prompt": "q", "extra_body": {"model": "x"}}, "gives model a second time"),
        ({"model": "m", "prompt": "q", "extra_body": {"x": float("nan")}}, "can't be written as JSON"),
        ({"model": "m", "prompt": "\ud800"}, "can't be written as JSON"),
        ({"model": "m", "prompt": "q", "extra_body": {"x": object()}}, "can't be written as JSON"),
        ({"model": "m", "prompt": "q", "mode": "fast"}, "mode 'fast' is unknown"),
        ({"model": "m", "prompt": "q", "ttl": float("inf")}, "ttl is inf seconds"),
    ],
)
def test_what_cannot_be_sent_is_refused_with_a_sentence(given, words):
    with pytest.raises(InvalidRequestError) as raised:
        messages.complete_request(given)
    assert words in raised.value.message
    assert raised.value.hint


def test_a_misspelt_argument_is_a_type_error():
    with pytest.raises(TypeError, match="unknown argument 'temprature'"):
        messages.complete_request({"model": "m", "prompt": "q", "temprature": 1})


def test_a_store_takes_a_text_or_a_completion_and_a_lookup_in_place_of_the_prompt():
    by_text = messages.store_request({"model": "m", "prompt": "q", "answer": "a", "output_tokens": 3})
    assert (by_text.text, by_text.usage.output_tokens, by_text.HasField("prompt")) == ("a", 3, True)
    by_lookup = messages.store_request({"lookup_id": "l", "answer": {"choices": []}})
    assert (by_lookup.openai_json, by_lookup.HasField("prompt")) == (b'{"choices":[]}', False)
    assert not by_lookup.HasField("usage")
    with pytest.raises(InvalidRequestError, match="needs an answer"):
        messages.store_request({"model": "m", "prompt": "q"})


def test_moments_travel_in_utc():
    moment = datetime(2026, 1, 2, 3, tzinfo=UTC)
    request = messages.savings_request(
        start=moment, end=None, models=["m"], task_types=(), group_by=["day", "model"], tenants=()
    )
    assert request.start_time.ToDatetime(tzinfo=UTC) == moment
    assert not request.HasField("end_time")
    assert list(request.group_by) == [pb.SAVINGS_GROUP_DAY, pb.SAVINGS_GROUP_MODEL]


def answered(**fields):
    return results.completion(pb.CompleteResponse(text="t", openai_json=b'{"a": 1}', outcome=pb.Outcome(**fields)))


def test_money_is_decimal_and_unknown_is_not_zero():
    miss = answered(status=pb.STATUS_MISS, cost=pb.Cost(total_nanousd=1_250_001, priced=True))
    assert (miss.cost_usd, miss.saved_usd, miss.hit) == (Decimal("0.001250001"), 0, False)
    hit = answered(status=pb.STATUS_EXACT_HIT, saved=pb.Cost(total_nanousd=5, priced=True), hit_id="h", similarity=1)
    assert (hit.cost_usd, hit.saved_usd, hit.hit, hit.hit_id) == (0, Decimal("0.000000005"), True, "h")
    assert hit.json() == {"a": 1}
    assert hit.age is None
    unpriced = answered(status=pb.STATUS_MISS, cost=pb.Cost())
    assert unpriced.cost_usd is None
    assert answered(status=pb.STATUS_SEMANTIC_HIT, saved=pb.Cost()).saved_usd is None
    assert unpriced.similarity is None


def test_every_status_of_the_wire_has_a_name():
    for number in pb.Status.values():
        if number != pb.STATUS_UNSPECIFIED:
            assert results.status_of(number) == pb.Status.Name(number).removeprefix("STATUS_").lower()


@pytest.mark.parametrize(
    ("chunk", "text"),
    [
        (b'{"choices":[{"index":0,"delta":{"content":"a"}}]}', "a"),
        (b'{"choices":[{"index":1,"delta":{"content":"b"}}]}', ""),
        (b'{"choices":[{"index":0,"delta":{"content":null}}]}', ""),
        (b'{"choices":[],"usage":{}}', ""),
        (b"{}", ""),
    ],
)
def test_only_the_first_choice_is_text(chunk, text):
    assert results.delta_text(chunk) == text


def test_a_batch_keeps_its_failures_in_place():
    batch = [
        pb.LookupResult(response=pb.LookupResponse(text="a", lookup_id="l")),
        pb.LookupResult(error=pb.ItemStatus(code=3, message="bad", reason="INVALID_TTL")),
    ]
    first, second = results.lookups(batch)
    assert (first.text, first.lookup_id) == ("a", "l")
    assert isinstance(second, failures.ClientError)
    assert (second.code, second.reason, second.message) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_TTL", "bad")


class Failed(grpc.RpcError):
    def __init__(self, code, details, trailing=()):
        self._code, self._details, self._trailing = code, details, trailing

    def code(self):
        return self._code

    def details(self):
        return self._details

    def trailing_metadata(self):
        return self._trailing


@pytest.mark.parametrize(
    ("code", "reason", "words"),
    [
        (grpc.StatusCode.UNAVAILABLE, "UNREACHABLE", "No semcache server answers at host:1: refused."),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", "host:1 gave no answer in time"),
        (grpc.StatusCode.UNIMPLEMENTED, "UNIMPLEMENTED", "no semcache server of this version"),
        (grpc.StatusCode.UNKNOWN, "UNKNOWN", "refused"),
    ],
)
def test_a_failure_without_details_is_explained(code, reason, words):
    cause = Failed(code, "refused")
    with pytest.raises(SemcacheError) as raised, failures.translated("host:1"):
        raise cause
    error = raised.value
    assert (error.code, error.reason, error.__cause__) == (code, reason, cause)
    assert words in str(error)


def test_details_that_contradict_the_status_are_left_aside():
    trailing = (("grpc-status-details-bin", b"\x08\x03"),)
    assert failures.from_call(Failed(grpc.StatusCode.UNKNOWN, "x", trailing), "host:1").reason == "UNKNOWN"


def test_an_api_key_is_shown_as_a_bearer_token():
    assert Connection(api_key="k").metadata == (("authorization", "Bearer k"),)
    assert Connection().metadata == ()
    assert "k3y" not in repr(Connection(api_key="k3y"))


def test_certificates_are_read_when_asked_for(tmp_path):
    assert Connection().credentials() is None
    assert Connection(tls=True).credentials() is not None
    with pytest.raises(InvalidRequestError, match="can't be read"):
        Connection(root_certificate=tmp_path / "none.pem").credentials()
    (tmp_path / "ca.der").write_bytes(b"\x30\x82")
    with pytest.raises(InvalidRequestError, match="no PEM file"):
        Connection(root_certificate=tmp_path / "ca.der").credentials()
    with pytest.raises(InvalidRequestError, match="go together"):
        Connection(client_certificate="a.pem").credentials()


def test_the_default_timeout_gives_way_to_a_calls_own():
    assert Connection().timeout(None) == Connection().timeout_s
    assert Connection().timeout(2.0) == 2.0
    assert json.dumps(Connection(timeout_s=None).timeout(None)) == "null"


@pytest.mark.parametrize(
    ("delta", "text"),
    [
        ({"content": "a"}, "a"),
        ({"content": None}, ""),
        ({"content": [{"type": "text", "text": "a"}, {"type": "image_url"}, {"type": "text", "text": "b"}]}, "ab"),
        ({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}]}, ""),
        ({"content": ["a", None, 5]}, "a"),
        ({"content": {"type": "text", "text": "a"}}, "a"),
        ({"content": 5}, ""),
        ({}, ""),
        (None, ""),
        ("a", ""),
    ],
)
def test_the_text_of_a_chunk_is_read_in_any_form(delta, text):
    for choice in ({"index": 0, "delta": delta}, {"delta": delta}, {"index": None, "delta": delta}):
        assert results.delta_text(json.dumps({"choices": [choice]}).encode()) == text


@pytest.mark.parametrize("chunk", [b"{}", b"[]", b'{"choices": null}', b'{"choices": {}}', b'{"choices": [null, 5]}'])
def test_a_chunk_without_a_choice_adds_no_text(chunk):
    assert results.delta_text(chunk) == ""


def test_only_the_first_choice_is_read():
    choices = [{"index": 1, "delta": {"content": "b"}}, {"index": 0, "delta": {"content": "a"}}]
    assert results.delta_text(json.dumps({"choices": choices}).encode()) == "a"
