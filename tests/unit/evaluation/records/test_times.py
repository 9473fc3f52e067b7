"""Times of arrival: every unit and notation names the same moment, and what is no time is refused."""

from __future__ import annotations

import pytest

from semcache.errors import InvalidRequestError
from semcache.evaluation.records.record import record_of
from semcache.evaluation.records.times import read_time

MOMENT_S = 1767607200.0


@pytest.mark.parametrize(
    "value",
    [
        1767607200,
        1767607200.0,
        "1767607200",
        1767607200_000,
        "1767607200000",
        1767607200_000_000,
        1767607200_000_000_000,
        "2026-01-05T10:00:00Z",
        "2026-01-05T10:00:00.000Z",
        "2026-01-05T10:00:00.000000000Z",
        "2026-01-05T11:00:00+01:00",
        "2026-01-05T11:00:00+0100",
        "2026-01-05 11:00:00 +01:00",
        "2026-01-05 02:00:00-08",
        "2026-01-05 10:00:00",
        "2026-01-05 10:00:00.000000",
        "2026-01-05 10:00:00 UTC",
        "2026-01-05 10:00:00 GMT",
        "2026-01-05 10:00:00 +0000 UTC",
        "20260105T100000Z",
    ],
)
@pytest.mark.parametrize(
    "field",
    [
        *("at", "startTime", "start_time", "timestamp", "created_at", "createdAt", "created"),
        *("time", "ts", "@timestamp", "datetime", "request_time", "arrival_time", "received_at"),
    ],
)
def test_one_moment(field: str, value: object) -> None:
    assert read_time(record_of("f:1", {field: value})) == MOMENT_S


@pytest.mark.parametrize("value", [0, 0.5, -3, "12.25", 86_400])
def test_seconds_from_any_moment(value: object) -> None:
    assert read_time(record_of("f:1", {"at": value})) == float(str(value))


@pytest.mark.parametrize("value", [None, ""])
def test_no_time(value: object) -> None:
    assert read_time(record_of("f:1", {"at": value, "prompt": "x"})) is None


def test_the_own_field_counts_first() -> None:
    assert read_time(record_of("f:1", {"created_at": 5, "timestamp": 4, "startTime": 3, "at": 2})) == 2.0
    assert read_time(record_of("f:1", {"created_at": 5, "timestamp": 4, "startTime": 3})) == 3.0


@pytest.mark.parametrize(
    "value", ["noon", "05/01/2026 10:00", "2026-13-01", True, "1" * 400, 10**400, "inf", "nan", 1e21, [1], {"a": 1}]
)
def test_what_is_no_time_is_refused(value: object) -> None:
    with pytest.raises(InvalidRequestError, match="f:1 has the time"):
        read_time(record_of("f:1", {"at": value}))


@pytest.mark.parametrize("field", ["time", "request_time"])
@pytest.mark.parametrize("value", [0.42, "0.42", 12, "10:00", "noon", "05/Jan/2026", None, "", True, [1], {"a": 1}])
def test_an_ambiguous_name_counts_only_for_a_moment(field: str, value: object) -> None:
    assert read_time(record_of("f:1", {field: value})) is None
    assert read_time(record_of("f:1", {field: value, "timestamp": 5})) == 5.0


@pytest.mark.parametrize("value", [None, "", " ", "null", "NaT", "NaN", "None", float("nan")])
def test_an_exports_missing_time_is_no_time(value: object) -> None:
    assert read_time(record_of("f:1", {"created_at": value})) is None
