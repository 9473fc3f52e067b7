"""The memo from a message's bytes to its keyed request: what is found, what is bounded, and what never mixes."""

from dataclasses import dataclass

from semcache.model import Request
from semcache.request.memo import MAX_MESSAGE_BYTES, RequestMemo
from tests.unit.request.keys import key, keying


@dataclass(frozen=True)
class Call:
    request: Request


BODY = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'


def call(tenant: str = "acme", body: bytes = BODY) -> Call:
    return Call(Request(tenant=tenant, body=body))


def test_a_message_is_found_again_with_its_keys():
    memo, read = RequestMemo(), call()
    memo.remember(("acme", 1, b"raw"), read)
    assert memo.find(("acme", 1, b"raw")) is read
    assert memo.keyed(read.request) is None
    keyed = key(BODY)
    memo.remember_keys(read.request, keyed)
    assert memo.keyed(read.request) is keyed


def test_the_tenant_and_the_reader_are_part_of_the_key():
    memo = RequestMemo()
    memo.remember(("acme", 1, b"raw"), call())
    assert memo.find(("other", 1, b"raw")) is None
    assert memo.find(("acme", 2, b"raw")) is None


def test_a_request_that_equals_a_remembered_one_is_another():
    memo, read = RequestMemo(), call()
    memo.remember(("acme", 1, b"raw"), read)
    memo.remember_keys(read.request, key(BODY))
    equal = call().request
    assert equal == read.request
    assert memo.keyed(equal) is None
    memo.remember_keys(equal, key(BODY, tenant="other"))
    assert memo.keyed(equal) is None


def test_the_message_used_longest_ago_goes_first_and_its_keys_with_it():
    memo, calls = RequestMemo(max_entries=2), [call() for _ in range(3)]
    for number in (0, 1):
        memo.remember(("acme", 1, b"%d" % number), calls[number])
        memo.remember_keys(calls[number].request, key(BODY))
    memo.find(("acme", 1, b"0"))
    memo.remember(("acme", 1, b"2"), calls[2])
    assert [memo.find(("acme", 1, b"%d" % number)) for number in range(3)] == [calls[0], None, calls[2]]
    assert memo.keyed(calls[1].request) is None
    assert memo.keyed(calls[0].request) is not None
    assert len(memo) == 2


def test_it_is_bounded_in_bytes():
    memo = RequestMemo(max_bytes=1_000)
    for number in range(50):
        memo.remember(("acme", 1, b"%03d" % number * 100), call())
        assert memo.size_bytes <= 1_000
    assert (len(memo), memo.size_bytes) == (3, 900)


def test_a_long_message_is_not_remembered():
    memo = RequestMemo()
    for size, count in ((MAX_MESSAGE_BYTES, 1), (MAX_MESSAGE_BYTES + 1, 1)):
        memo.remember(("acme", 1, b"x" * size), call())
        assert len(memo) == count
    assert memo.find(("acme", 1, b"x" * (MAX_MESSAGE_BYTES + 1))) is None


def test_a_message_that_two_calls_read_at_once_is_kept_once():
    memo, first, second = RequestMemo(), call(), call()
    memo.remember(("acme", 1, b"raw"), first)
    memo.remember(("acme", 1, b"raw"), second)
    assert memo.find(("acme", 1, b"raw")) is first
    assert (len(memo), memo.size_bytes) == (1, 3)


def test_keying_makes_the_keys_of_a_remembered_request_once():
    memo, read = RequestMemo(), call()
    memo.remember(("acme", 1, b"raw"), read)
    keys = keying(memo=memo)
    assert keys.key(read.request) is keys.key(read.request)
    other = call().request
    assert keys.key(other) == keys.key(read.request)
    assert keys.key(other) is not keys.key(other)
