"""Whatever is stored can be told: in every text of every value that a message is made of, half a surrogate pair."""

from dataclasses import fields, is_dataclass, replace
from enum import Enum

import pytest

from semcache.errors import InvalidRequestError, UpstreamError
from semcache.finance.savings import SavingsAnswer, SavingsGroup, SavingsQuery
from semcache.model import GuardVerdict, LedgerHour, LookupResult, Status, Task
from semcache.server.grpc.status import sentence_of, status_of
from semcache.wire import outgoing
from semcache.wire.savings import savings_response
from semcache.wire.texts import check_text, replaced_texts, utf8
from tests.unit.wire.test_outgoing import ENTRY, RESPONSE

HALF = "x\ud800"


def broken(value):
    """Return `value` with half a surrogate pair in each text of it and of all that it holds."""
    if isinstance(value, str) and not isinstance(value, Enum):
        return HALF
    if is_dataclass(value):
        return replace(value, **{item.name: broken(getattr(value, item.name)) for item in fields(value) if item.init})
    if hasattr(value, "_replace"):
        return value._replace(**{name: broken(part) for name, part in value._asdict().items()})
    if isinstance(value, tuple):
        return tuple(broken(part) for part in value)
    return value


def told(message):
    """Return how often a message that reached the other side has the replaced text."""
    return type(message).FromString(message.SerializeToString()).SerializeToString().count(b"x?")


def test_an_entry_is_told():
    assert told(outgoing.entry_message(broken(replace(ENTRY, template_id="t", knowledge_version="k")))) >= 12


def test_a_response_is_told():
    response = RESPONSE._replace(verdicts=(GuardVerdict("g", RESPONSE.verdicts[0].effect, "d"),), task=Task("t"))
    whole = broken(response)._replace(request_id="r", hit_id="h", stages=())
    assert told(outgoing.complete_response(whole)) >= 10
    assert told(outgoing.lookup_response(LookupResult(whole))) >= 10


def test_savings_are_told_row_by_row():
    hours = [LedgerHour(0, tenant=f"{name}{HALF}", model=HALF, task_type=HALF, status=Status.MISS, requests=2)
             for name in "ab"]  # fmt: skip
    groups = (SavingsGroup.TENANT, SavingsGroup.MODEL, SavingsGroup.TASK_TYPE)
    query = SavingsQuery(0, 3600, frozenset(), frozenset(), groups, None)
    message = savings_response(query, SavingsAnswer(query.sum(hours), 1.0), [], request_id="r")
    assert [(row.tenant, row.model, row.task_type) for row in message.rows] == [
        ("ax?", "x?", "x?"),
        ("bx?", "x?", "x?"),
    ]
    assert message.total.requests.miss == 4


@pytest.mark.parametrize(
    "error",
    [UpstreamError(HALF), UpstreamError("m", hint=HALF), InvalidRequestError("m", metadata={"upstream_message": HALF})],
    ids=["message", "hint", "metadata"],
)
def test_an_error_that_quotes_such_a_text_is_told(error):
    assert "x?" in sentence_of(error) + str(status_of(error))


def test_what_is_replaced_is_counted():
    before = replaced_texts()
    assert (utf8("plain"), utf8("日本 🙂"), replaced_texts() - before) == ("plain", "日本 🙂", 0)
    assert (utf8("\udfff🙂\ud83d"), replaced_texts() - before) == ("?🙂?", 1)


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "\udc00\ud800", "🙂\ud83d"])
def test_a_text_with_half_a_pair_is_refused(text):
    with pytest.raises(InvalidRequestError) as refused:
        check_text(text, "model")
    assert (refused.value.reason, refused.value.metadata) == ("INVALID_TEXT", {"field": "model"})
    assert check_text("🙂 日本", "model") == "🙂 日本"
