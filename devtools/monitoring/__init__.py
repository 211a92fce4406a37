"""Metrics, service levels, alarms, dashboards and saved queries of a deployed stack, described once.

`make observability` writes observability.yaml, docs/metrics.md and docs/service-levels.md from it; `make dashboard` draws the same
dashboards.
"""
