"""Writes reports as HTML pages with charts, each complete in one file.

The room is the only one that imports matplotlib, which is optional; charts are inline SVG. It takes the results of
`evaluation` and `finance` and returns text. It runs in the process of a command, starts no thread, remembers nothing.
"""

from semcache.reports.charts import require_charts
from semcache.reports.cost_page import cost_page
from semcache.reports.invoice_page import invoice_page
from semcache.reports.tuning_page import tuning_page

__all__ = ["cost_page", "invoice_page", "require_charts", "tuning_page"]
