"""The ledger read from a store: windows, tenants, order, damage, and what can't be read."""

import lmdb
import pytest

from semcache.errors import StoreUnusableError
from semcache.model import Status
from semcache.store import LedgerReader, layout
from semcache.store.rollup import SECONDS_PER_HOUR, rolled_up
from tests.support.ledgers import at, mixed_days, write_ledger
from tests.support.stored import record, store_settings


@pytest.fixture
def settings(tmp_path):
    write_ledger(tmp_path, mixed_days())
    return store_settings(tmp_path)


def test_everything_is_read_oldest_first(settings):
    with LedgerReader(settings) as reader:
        lines = list(reader.records(0, 2**33))
        hours = reader.hours(0, 2**33)
        extent = reader.extent()

    assert sorted(lines, key=lambda line: line.at_s) == lines
    assert sorted(line.request_id for line in lines) == sorted(line.request_id for line in mixed_days())
    assert set(hours) == set(rolled_up(mixed_days()).values())
    assert (extent.first_hour_s, extent.first_line_s) == (at("2027-10-29"), at("2027-10-29") + 0.25)
    assert (extent.last_hour_s, extent.last_line_s) == (at("2027-10-31T15:00"), at("2027-10-31") + 56_000.25)


def test_windows_are_half_open(settings):
    start_s = at("2027-10-30")
    with LedgerReader(settings) as reader:
        first = list(reader.records(0, start_s + 0.25))
        second = list(reader.records(start_s + 0.25, 2**33))
        hours = [reader.hours(0, start_s + SECONDS_PER_HOUR), reader.hours(start_s + SECONDS_PER_HOUR, 2**33)]
        everything = reader.hours(0, 2**33)

    assert len(first) == len(Status)
    assert len(first) + len(second) == len(mixed_days())
    assert hours[0] + hours[1] == everything
    assert [hour.hour_s for hour in hours[0]][-1] == start_s


def test_only_the_tenants_that_were_asked_for(settings):
    with LedgerReader(settings) as reader:
        assert {line.tenant for line in reader.records(0, 2**33, ["beta"])} == {"beta"}
        assert {hour.tenant for hour in reader.hours(0, 2**33, ["beta"])} == {"beta"}
        assert list(reader.records(0, 2**33, ["nobody"])) == []


def test_more_lines_than_one_snapshot_holds(tmp_path):
    write_ledger(tmp_path, (record(f"r{number}", at_s=number / 4) for number in range(1300)))
    with LedgerReader(store_settings(tmp_path)) as reader:
        lines = list(reader.records(0, 2**33))

    assert [line.request_id for line in lines] == [f"r{number}" for number in range(1300)]


def test_an_empty_ledger(tmp_path):
    write_ledger(tmp_path, [])
    with LedgerReader(store_settings(tmp_path)) as reader:
        assert reader.extent().first_hour_s is None
        assert reader.extent().last_line_s is None
        assert reader.hours(0, 2**33) == ()
        assert reader.file_bytes() >= 4096


def test_damaged_rows_are_left_out_and_counted(settings):
    with (
        lmdb.Environment(str(settings.path), max_dbs=20, map_size=64 << 20, lib_version=layout.LIB_VERSION) as env,
        env.begin(write=True) as txn,
    ):
        for name in (b"hours", b"log"):
            db = env.open_db(name, txn)
            with txn.cursor(db=db) as cursor:
                assert cursor.first()
                cursor.put(cursor.key(), cursor.value()[:-1] + b"\xff")
    with LedgerReader(settings) as reader:
        assert len(list(reader.records(0, 2**33))) == len(mixed_days()) - 1
        assert reader.damaged == 1
        reader.hours(0, 2**33)
        assert reader.damaged == 2


def test_nothing_is_changed(settings):
    before = {file.name: file.read_bytes() for file in settings.path.iterdir() if file.name == "data.mdb"}
    with LedgerReader(settings) as reader:
        list(reader.records(0, 2**33))
    assert before == {file.name: file.read_bytes() for file in settings.path.iterdir() if file.name == "data.mdb"}


def test_a_folder_without_a_store(tmp_path):
    with pytest.raises(StoreUnusableError, match="there is no store"):
        LedgerReader(store_settings(tmp_path))
