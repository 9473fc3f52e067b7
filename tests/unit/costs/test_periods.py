"""Days and months of a time zone, those on which clocks change among them."""

from datetime import date

import pytest

from semcache.costs.periods import Calendar

HOUR_S = 3600


@pytest.mark.parametrize(("day", "hours"), [(date(2027, 3, 28), 23), (date(2027, 10, 31), 25), (date(2027, 7, 1), 24)])
def test_a_day_has_the_hours_that_it_has(day, hours):
    period = Calendar("Europe/Berlin").day(day)

    assert period.end_s - period.start_s == hours * HOUR_S
    assert period.name == day.isoformat()


def test_a_month_that_ends_as_the_clocks_change():
    calendar = Calendar("Europe/Berlin")
    october = calendar.month(2027, 10)

    assert october.end_s - october.start_s == (31 * 24 + 1) * HOUR_S
    assert calendar.period("month", october.end_s - 1) == october
    assert calendar.period("month", october.end_s).name == "2027-11"
    assert calendar.period("day", october.end_s - 1).name == "2027-10-31"
    # The two hours that both begin at 2 o'clock are of one day.
    assert {calendar.period("day", october.end_s - hours * HOUR_S).name for hours in (22, 23)} == {"2027-10-31"}


def test_a_stretch_of_days_includes_both():
    calendar = Calendar("Europe/Berlin")
    stretch = calendar.days(date(2027, 10, 30), date(2027, 10, 31))

    assert stretch.end_s - stretch.start_s == 49 * HOUR_S
    assert stretch.name == "2027-10-30 to 2027-10-31"
    assert calendar.days(date(2027, 10, 31), date(2027, 10, 31)) == calendar.day(date(2027, 10, 31))


def test_december_is_followed_by_january():
    assert Calendar().month(2026, 12).end_s == Calendar().month(2027, 1).start_s
