"""Computes the return on investment: the monthly savings of a lower cost per request, and the time until it pays back.

All amounts are exact fractions of dollars; the caller rounds them for display.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

from semcache.costs.toml_tables import read_toml
from semcache.errors import InvalidRequestError
from semcache.finance.savings import SavingsRow
from semcache.model import NANOUSD_PER_USD

MONTHS = 6
"""Totals are over half a year, which is usual for such cases."""
DAYS_PER_MONTH = 30
"""The default length of a month."""
_DAY_S = 86_400

CLAIMS = (
    "before_usd_per_month",
    "after_usd_per_month",
    "saved_usd_per_month",
    "saved_usd_in_six_months",
    "payback_months",
)
"""The results that a case may claim; each is computed and compared."""


@dataclass(frozen=True, slots=True)
class RoiCase:
    """A change of the cost per request.

    Attributes:
        name: the case's name in tables.
        before_usd: dollars for a request before the change.
        after_usd: dollars for a request after it.
        requests_per_day: the number of requests, before and after.
        days_per_month: the length of a month.
        investment_usd: dollars that the change costs once; None if unknown.
        claimed: results that somebody else computed, by their names in `CLAIMS`.
        note: the source of the numbers.
    """

    name: str
    before_usd: Fraction
    after_usd: Fraction
    requests_per_day: Fraction
    days_per_month: int = DAYS_PER_MONTH
    investment_usd: Fraction | None = None
    claimed: Mapping[str, Decimal] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """A claimed result beside the computed one.

    Attributes:
        name: one of `CLAIMS`.
        claimed: the claimed value.
        computed: the computed value; None if there is none, such as for a payback that never comes.
        agrees: whether the computed value, rounded to the decimals of the claim, equals the claim.
        remark: a likely cause of a difference; empty if none is known.
    """

    name: str
    claimed: Decimal
    computed: Fraction | None
    agrees: bool
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Roi:
    """The results of a case, in dollars."""

    case: RoiCase

    @property
    def requests_per_month(self) -> Fraction:
        """The number of requests in a month."""
        return self.case.requests_per_day * self.case.days_per_month

    @property
    def before_usd_per_month(self) -> Fraction:
        """Dollars for a month before the change."""
        return self.case.before_usd * self.requests_per_month

    @property
    def after_usd_per_month(self) -> Fraction:
        """Dollars for a month after the change."""
        return self.case.after_usd * self.requests_per_month

    @property
    def saved_usd_per_month(self) -> Fraction:
        """Dollars saved in a month; negative if the change raised the cost."""
        return self.before_usd_per_month - self.after_usd_per_month

    @property
    def saved_usd_in_six_months(self) -> Fraction:
        """Dollars saved in six months, without the investment."""
        return MONTHS * self.saved_usd_per_month

    @property
    def net_usd_in_six_months(self) -> Fraction:
        """Dollars saved in six months, less the investment if it is known."""
        return self.saved_usd_in_six_months - (self.case.investment_usd or 0)

    @property
    def never_pays_back(self) -> bool:
        """Whether nothing is saved, so that no investment pays back."""
        return self.saved_usd_per_month <= 0

    @property
    def payback_months(self) -> Fraction | None:
        """The months until savings equal the investment; None if that never happens or the investment is unknown."""
        if self.never_pays_back or self.case.investment_usd is None:
            return None
        return self.case.investment_usd / self.saved_usd_per_month

    @property
    def implied_investment_usd(self) -> Fraction | None:
        """The investment that the claimed payback implies: its months times the computed monthly savings.

        None if no payback is claimed, or if nothing is saved.
        """
        months = self.case.claimed.get("payback_months")
        return None if months is None or self.never_pays_back else Fraction(months) * self.saved_usd_per_month

    @property
    def claims(self) -> tuple[Claim, ...]:
        """Every claimed result beside the computed one."""
        return tuple(
            _claim(name, self.case.claimed[name], getattr(self, name)) for name in CLAIMS if name in self.case.claimed
        )


def _claim(name: str, claimed: Decimal, computed: Fraction | None) -> Claim:
    if computed is None:
        return Claim(name, claimed, None, agrees=False, remark="it never pays back, or no investment is named")
    exponent = claimed.as_tuple().exponent
    assert isinstance(exponent, int)  # The file's reader accepts only finite numbers.
    if round(computed, max(0, -exponent)) == Fraction(claimed):
        return Claim(name, claimed, computed, agrees=True)
    return Claim(name, claimed, computed, agrees=False, remark=_remark(Fraction(claimed), computed))


def _remark(claimed: Fraction, computed: Fraction) -> str:
    if claimed > 0 > computed:
        return "it costs more, it saves nothing"
    for zeros in range(1, 7):
        if claimed * 10**zeros == computed:
            return f"claimed a {10**zeros:,}th of it" if zeros > 1 else "claimed a tenth of it"
        if computed * 10**zeros == claimed:
            return f"claimed {10**zeros:,} times it"
    return ""


def read_roi_file(path: Path) -> RoiCase:
    """Return the case in a TOML file.

    Required keys are `name`, `before_usd_per_request`, `after_usd_per_request` and `requests_per_day`. Optional are
    `days_per_month` (30), `investment_usd`, `note` and a table `[claimed]` with keys of `CLAIMS`.

    Raises:
        SettingsError: the file has problems; all are listed.
    """
    file = read_toml(path)
    root = file.root
    claimed = root.table("claimed")
    claims: dict[str, Decimal] = {}
    if claimed is not None:
        for name in CLAIMS:
            if claimed.has(name):
                claims[name] = claimed.signed_amount(name, "months" if name == "payback_months" else "dollars")
        claimed.finish()
    case = RoiCase(
        name=root.name("name"),
        before_usd=Fraction(root.amount("before_usd_per_request")),
        after_usd=Fraction(root.amount("after_usd_per_request")),
        requests_per_day=Fraction(root.count("requests_per_day")),
        days_per_month=root.count("days_per_month", default=DAYS_PER_MONTH),
        investment_usd=Fraction(root.amount("investment_usd")) if root.has("investment_usd") else None,
        claimed=claims,
        note=root.name("note", default=""),
    )
    root.finish()
    file.finish()
    return case


def measured_case(
    name: str,
    total: SavingsRow,
    measured_s: float,
    *,
    days_per_month: int = DAYS_PER_MONTH,
    investment_usd: Decimal | None = None,
) -> RoiCase:
    """Return the case of the cache itself, from the ledger.

    Before: a request would have cost (spent + saved) / requests. After: it costs (spent + overhead) / requests.
    Requests of models without a price are left out.

    Args:
        name: the case's name in tables.
        total: the sum of a window of the ledger.
        measured_s: the seconds of the window for which the ledger has counted.
        days_per_month: the length of a month.
        investment_usd: dollars that the cache cost once; None if unknown.

    Raises:
        InvalidRequestError: NOTHING_MEASURED: the window has no priced requests. TOO_LITTLE_MEASURED: it has less than
            a day, which says little about a month.
    """
    if not total.priced_requests:
        raise InvalidRequestError(
            "The ledger has no requests with a known price there.",
            reason="NOTHING_MEASURED",
            hint="Name another window or tenant.",
        )
    if measured_s < _DAY_S:
        raise InvalidRequestError(
            f"The ledger has {measured_s / 3600:.1f} hours there, and a case needs at least a day.",
            reason="TOO_LITTLE_MEASURED",
            hint="Name a longer window, or ask again tomorrow.",
        )
    requests = total.priced_requests
    spent_on_requests_nanousd = total.spent_nanousd - total.own_calls_nanousd
    return RoiCase(
        name=name,
        before_usd=Fraction(spent_on_requests_nanousd + total.saved_nanousd, requests * NANOUSD_PER_USD),
        after_usd=Fraction(spent_on_requests_nanousd + total.overhead_nanousd, requests * NANOUSD_PER_USD),
        requests_per_day=Fraction(requests * _DAY_S) / Fraction(measured_s),
        days_per_month=days_per_month,
        investment_usd=None if investment_usd is None else Fraction(investment_usd),
        note="Before: what the upstreams charged and what they would have charged for hits. "
        "After: what they charged, and what the cache's own work cost.",
    )
