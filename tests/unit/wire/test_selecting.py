"""Invalidations and savings: what they name, and what makes no sense."""

from __future__ import annotations

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from semcache.errors import InvalidRequestError, PermissionDeniedError
from semcache.finance.savings import SavingsGroup, SavingsQuery
from semcache.model import (
    Selector,
)
from semcache.settings import LimitSettings
from semcache.v1 import semcache_pb2 as pb
from semcache.wire.incoming import (
    selector,
)
from semcache.wire.savings import savings_query

LIMITS = LimitSettings()


def select(message: pb.InvalidateRequest) -> Selector:
    return selector(message, tenant="acme", now_s=1000.0, limits=LIMITS)


def test_a_selector_arrives_whole_and_the_earlier_of_two_times_counts():
    message = pb.InvalidateRequest(
        entry_ids=["e1f", "e2"],
        tags=["t"],
        sources=["d"],
        namespace="n",
        model="m",
        older_than=Duration(seconds=100),
        created_before=Timestamp(seconds=950),
    )
    assert select(message) == Selector(
        tenant="acme",
        entry_ids=(31, 2),
        tags=("t",),
        sources=("d",),
        namespace="n",
        alias="m",
        created_before_s=900.0,
    )
    assert select(pb.InvalidateRequest(all=True)) == Selector(tenant="acme", everything=True)


@pytest.mark.parametrize(
    "message",
    [
        pb.InvalidateRequest(),
        pb.InvalidateRequest(apply=True),
        pb.InvalidateRequest(all=True, namespace="n"),
        # Were a malformed id dropped, the rest would name more than was meant.
        pb.InvalidateRequest(entry_ids=["e1", "nonsense"]),
        pb.InvalidateRequest(tags=[""]),
        pb.InvalidateRequest(namespace="a b"),
        pb.InvalidateRequest(older_than=Duration()),
        pb.InvalidateRequest(created_before=Timestamp(seconds=-1)),
    ],
)
def test_invalidations_that_name_nothing_or_nonsense_are_refused(message: pb.InvalidateRequest):
    with pytest.raises(InvalidRequestError):
        select(message)


def test_a_savings_window_is_widened_to_whole_hours():
    message = pb.GetSavingsRequest(
        start_time=Timestamp(seconds=3601),
        end_time=Timestamp(seconds=7200, nanos=1),
        models=["m"],
        task_types=["chat"],
        group_by=[pb.SAVINGS_GROUP_DAY, pb.SAVINGS_GROUP_MODEL],
    )
    assert savings_query(message, tenant="acme", reads_all=False, now_s=0.0) == SavingsQuery(
        start_s=3600,
        end_s=10800,
        models=frozenset({"m"}),
        task_types=frozenset({"chat"}),
        group_by=(SavingsGroup.DAY, SavingsGroup.MODEL),
        tenants=frozenset({"acme"}),
    )
    open_ended = savings_query(pb.GetSavingsRequest(), tenant="acme", reads_all=False, now_s=5000.0)
    assert (open_ended.start_s, open_ended.end_s, open_ended.group_by) == (0, 7200, ())


@pytest.mark.parametrize(
    "message",
    [
        pb.GetSavingsRequest(start_time=Timestamp(seconds=5), end_time=Timestamp(seconds=5)),
        pb.GetSavingsRequest(start_time=Timestamp(seconds=9000)),
        pb.GetSavingsRequest(end_time=Timestamp(seconds=-5)),
        pb.GetSavingsRequest(group_by=[pb.SAVINGS_GROUP_UNSPECIFIED]),
        pb.GetSavingsRequest(group_by=[9]),
        pb.GetSavingsRequest(tenants=["acme"], all_tenants=True),
        pb.GetSavingsRequest(group_by=[pb.SAVINGS_GROUP_MODEL, pb.SAVINGS_GROUP_MODEL]),
        pb.GetSavingsRequest(group_by=[pb.SAVINGS_GROUP_HOUR, pb.SAVINGS_GROUP_DAY]),
    ],
)
def test_savings_queries_that_make_no_sense_are_refused(message: pb.GetSavingsRequest):
    with pytest.raises(InvalidRequestError):
        savings_query(message, tenant="acme", reads_all=True, now_s=8000.0)


@pytest.mark.parametrize(
    ("message", "tenants"),
    [
        (pb.GetSavingsRequest(all_tenants=True), None),
        (pb.GetSavingsRequest(tenants=["globex"]), {"globex"}),
        (pb.GetSavingsRequest(tenants=["globex", "acme"]), {"globex", "acme"}),
    ],
)
def test_other_tenants_savings_are_for_those_who_may_read_all(message: pb.GetSavingsRequest, tenants: set[str] | None):
    assert savings_query(message, tenant="acme", reads_all=True, now_s=8000.0).tenants == tenants
    with pytest.raises(PermissionDeniedError) as caught:
        savings_query(message, tenant="acme", reads_all=False, now_s=8000.0)
    assert caught.value.reason == "OTHER_TENANTS_SAVINGS"


def test_one_may_name_oneself():
    query = savings_query(pb.GetSavingsRequest(tenants=["acme"]), tenant="acme", reads_all=False, now_s=8000.0)
    assert query.tenants == {"acme"}
