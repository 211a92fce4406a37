"""What a deployed stack is watched by: metrics, service levels, alarms, dashboards and saved queries, described once.

`make observability` writes observability.yaml, docs/metrics.md and docs/service-levels.md from it; `make dashboard` draws the same
dashboards.
"""
