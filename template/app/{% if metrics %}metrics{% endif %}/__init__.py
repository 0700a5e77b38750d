"""Numbers for Prometheus at /metrics; nothing is counted without METRICS_TOKEN.

`totals` gives the same numbers to a page of your own. A number of yours goes into
`numbers.py`: it has to be made after the files' folder is known.
"""

from app.metrics.middleware import RequestMetrics
from app.metrics.setup import install_metrics, metrics_lifespan
from app.metrics.totals import totals

__all__ = ["MIDDLEWARE", "install_metrics", "metrics_lifespan", "totals"]

# What leaves bodies as they are.
MIDDLEWARE: frozenset[object] = frozenset({RequestMetrics})
