"""Pages with charts, whole in one file; the only room that knows matplotlib."""

from semcache.reports.charts import require_charts
from semcache.reports.tuning_page import tuning_page

__all__ = ["require_charts", "tuning_page"]
