"""Pages with charts, whole in one file; the only room that knows matplotlib."""

from semcache.reports.charts import require_charts
from semcache.reports.cost_page import cost_page
from semcache.reports.invoice_page import invoice_page
from semcache.reports.tuning_page import tuning_page

__all__ = ["cost_page", "invoice_page", "require_charts", "tuning_page"]
