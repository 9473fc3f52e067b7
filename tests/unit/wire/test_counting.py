"""The fields of a message are counted before protobuf reads them."""

import pytest

from semcache.errors import InvalidRequestError
from semcache.v1 import semcache_pb2 as pb
from semcache.wire.counting import check_fields

LIMIT = 100


def chat(messages: int) -> pb.CompleteRequest:
    request = pb.CompleteRequest()
    for _ in range(messages):
        request.prompt.chat.messages.add(role="user", text="a")
    return request


@pytest.mark.parametrize(
    "message",
    [
        pb.CompleteRequest(tags=["a"] * 200),
        pb.InvalidateRequest(entry_ids=["e1"] * 200),
        pb.StoreBatchRequest(requests=[pb.StoreRequest()] * 200),
        chat(60),
        pb.LookupBatchRequest(requests=[pb.LookupRequest(prompt=chat(10).prompt)] * 10),
    ],
    ids=["tags", "ids", "items", "messages", "items with messages"],
)
def test_a_message_with_too_many_fields_is_refused(message):
    with pytest.raises(InvalidRequestError, match="more than 100 fields") as caught:
        check_fields(message.SerializeToString(), message.DESCRIPTOR, LIMIT)
    assert caught.value.reason == "TOO_MANY_VALUES"


@pytest.mark.parametrize(
    "message",
    [
        chat(20),
        pb.CompleteRequest(prompt=pb.Prompt(openai_json=b"\x0a" * 10_000)),
        pb.StoreRequest(embedding=pb.Embedding(values=[1.0] * 4_096)),
    ],
    ids=["few", "bytes that look like fields", "packed numbers"],
)
def test_other_messages_are_left_alone(message):
    check_fields(message.SerializeToString(), message.DESCRIPTOR, LIMIT)


@pytest.mark.parametrize(
    "raw", [b"\x0a\xff", b"\xff" * 500, b"\x0b" * 500, b"\x0a\x7f" + b"\x08" * 1, b"\x0f" * 500], ids=repr
)
def test_bytes_that_are_no_message_are_left_for_protobuf_to_refuse(raw):
    check_fields(raw, pb.CompleteRequest.DESCRIPTOR, 10)
