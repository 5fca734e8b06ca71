"""The service's own metrics for Prometheus."""

from prometheus_client import Counter, Gauge

ASSIGNED = Counter("attune_assignments_total", "Customers who got an arm", ["source"])
ALARMS = Gauge("attune_sample_ratio_alarms", "Running experiments whose arms do not have the sizes they should have")
